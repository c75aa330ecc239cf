"""What became of tasks, written to their rows: done, later, dropped or buried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from syncd.errors import AuthError, GoneError, OwnershipError, PayloadError, RejectedError, SyncdError
from syncd.store import Task
from syncd.sync.account import Account
from syncd.sync.decide import Bury, Done, Drop, Later, RetryPolicy, decide
from syncd.sync.flow import Reason
from syncd.sync.gone import refused
from syncd.sync.let_in import whose
from syncd.sync.letters import letter_of_task

log = structlog.get_logger()

TOLD_MOST = 200
_OF_ONE = frozenset({400, 404, 409, 410, 413, 414, 422})


def blames_one(error: Exception) -> bool:
    """May one of the records asked for together be what is wrong, and not the call, the credential or the partner?"""
    if isinstance(error, RejectedError | GoneError):
        return error.status in _OF_ONE
    return isinstance(error, PayloadError) or not isinstance(error, SyncdError)


class TaskOutcomes:
    """Of one integration."""

    def __init__(self, account: Account, policy: RetryPolicy) -> None:
        self._account = account
        self._policy = policy
        self._told: set[str] = set()
        """Causes of dead letters that the log has been told of."""

    async def skip(self, task: Task, reason: Reason) -> None:
        """It is not worth doing any more."""
        if await self._account.store.tasks.drop(task):
            self._account.flow.skip(self._account.name, task.lane, reason)

    async def done(self, task: Task) -> None:
        """It is done."""
        if await self._account.store.tasks.done(task):
            self._account.flow.ran(self._account.name, task.lane)

    async def ended_badly(self, tasks: Sequence[Task], error: Exception) -> None:
        """One call for these was refused, or its answer could not be used. Raises StoreError."""
        account, store = self._account, self._account.store.tasks
        error = await whose(account, tasks[0].resource, error, tasks[0].lane)
        if isinstance(error, OwnershipError):
            for task in tasks:  # whoever owns the scope now does it; where nobody has freed it yet it is free at once
                await store.give_back(task)
            return
        if isinstance(error, GoneError):
            error = refused(error)  # what a record's own URL says was heeded where it was asked
        now = account.clock.now()
        if isinstance(error, AuthError):  # the next call would be refused as well
            account.health.auth_retry_at = now + timedelta(seconds=self._policy.auth_pause_seconds)
        account.health.task_failed(tasks[0].resource, error, now)
        certain = len(tasks) == 1 or not blames_one(error)
        for task in tasks:
            outcome = decide(error, task.tries, now, self._policy, account.clock.random())
            if isinstance(outcome, Bury) and not certain and task.tries < self._policy.attempts:
                # Nobody knows whether it is this one: with others about it, it may be found out.
                outcome = Later(now + self._policy.backoff(task.tries, account.clock.random()))
            match outcome:
                case Later(at=at, counts=counts):
                    await store.later(task, at, counts=counts, reason=str(error))
                case Done():
                    await self.done(task)
                case Drop():
                    await self.skip(task, "stale")
                case Bury():
                    letter = letter_of_task(task, error)
                    # Thousands may be buried for one cause: it is said once, and counted where letters are.
                    say = log.debug if letter.fingerprint in self._told else log.warning
                    if len(self._told) >= TOLD_MOST:
                        self._told.clear()
                    self._told.add(letter.fingerprint)
                    say(
                        "task_buried",
                        partner=account.partner,
                        integration=account.name,
                        resource=task.resource,
                        record_id=task.external_id or task.parent_id,
                        attempt=task.attempts,
                        reason=letter.message,
                    )
                    if await store.bury(task, letter):
                        account.flow.buried(account.name, task.lane)
