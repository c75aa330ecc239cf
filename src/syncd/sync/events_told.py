"""What is told of deliveries that were worked on: to who goes on with the work, to health, metrics and the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.kit import Event
from syncd.store import NewDeadLetter, PageResult
from syncd.store.inbox import Taken
from syncd.store.queues import INBOX
from syncd.sync.account import Account
from syncd.sync.derived import Derived
from syncd.sync.page import PageRead

log = structlog.get_logger()

SAID_SECONDS = 3600.0
SAID_MOST = 1000
REVOKED_SECONDS = 3600.0
"""How long nothing is called after the partner said that our access was taken away; a reload ends it sooner."""


class Telling:
    """One partner's."""

    def __init__(self, partner: str, clock: Clock) -> None:
        self._partner = partner
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}
        """When each cause of dead letters was last said."""

    def ended(
        self, account: Account, taken: Sequence[Taken], derived: Derived, result: PageResult, began: float
    ) -> None:
        """A batch is committed: wake who goes on with it, count it, say it."""
        if derived.tasks or (derived.read is not None and derived.read.tasks):
            account.tasks_added()
        if derived.revoked is not None:
            self._revoked(account, *derived.revoked)
        account.moved()
        ended = sum(fate.state != "waiting" for fate in derived.fates)  # what was put off has not left the queue
        account.flow.ended[INBOX] += ended
        account.heard([one.received_at for one in taken])
        seconds = self._clock.monotonic() - began
        _count(account, derived, result)
        duration = metrics.WEBHOOK_SECONDS.labels(self._partner)
        for _ in range(ended):
            duration.observe(seconds)
        for letter in derived.letters:
            metrics.WEBHOOK_FAILURES.labels(self._partner, letter.error_class).inc()
            self._says(account, letter)
        log.debug(
            "events_worked_on",
            partner=self._partner,
            integration=account.name,
            count=len(taken),
            first=taken[0].id,
            added=len(result.added),
            updated=len(result.updated),
            deleted=len(result.deleted),
            stale=result.stale,
            tasks=len(derived.tasks),
            buried=len(derived.letters),
            duration_ms=round(seconds * 1000, 3),
        )

    def _says(self, account: Account, letter: NewDeadLetter) -> None:
        """One line for each cause: a partner that has changed its shape buries thousands."""
        key, now = (account.name, letter.fingerprint), self._clock.monotonic()
        if self._said.get(key, now - SAID_SECONDS) > now - SAID_SECONDS:
            return
        while len(self._said) >= SAID_MOST:
            del self._said[next(iter(self._said))]
        self._said.pop(key, None)
        self._said[key] = now
        log.warning(
            "event_buried",
            partner=self._partner,
            integration=account.name,
            delivery=letter.origin_id,
            reason=letter.message,
            action=f"syncd dlq list {account.name}",
        )

    def _revoked(self, account: Account, event: Event, one: Taken) -> None:
        """The partner says that it no longer lets us in: nothing is called until a person, or a later success, says else."""
        since, success = event.at or one.received_at, account.health.last_success_at
        if success is not None and success > since:
            log.info("revocation_outlived", partner=self._partner, integration=account.name, event_type=event.type)
            return  # an old one, worked on late or once more: calls have been let in since
        told = account.health.revoked(event.type, since, self._clock.now() + timedelta(seconds=REVOKED_SECONDS))
        log.warning(
            "access_revoked",
            partner=self._partner,
            integration=account.name,
            event_type=event.type,
            reason=told.reason,
            action=told.action,
        )


def _count(account: Account, derived: Derived, result: PageResult) -> None:
    """Into the metrics, by resource; what was unchanged or stale is not told apart, and counted for the first."""
    read = derived.read or PageRead()
    of = {row.external_id: row.resource for row in read.rows} | {key[1]: key[0] for key in derived.graves}
    left, rejects = (result.unchanged, result.stale), read.rejects
    for resource in sorted(set(of.values())):
        own = PageResult(
            [one for one in result.added if of.get(one) == resource],
            [one for one in result.updated if of.get(one) == resource],
            [one for one in result.deleted if of.get(one) == resource],
            *left,
        )
        account.count(resource, PageRead(rejects=rejects), own, pages=0)
        left, rejects = (0, 0), []
