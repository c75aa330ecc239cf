"""What a run came to: its unit's next time, its wishes, what is said of it, and the letter it may become."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import AuthError, BreakerOpenError, OwnershipError, StoreError, TransientError
from syncd.limits import MANY
from syncd.model import Outcome
from syncd.store import NewDeadLetter, Store, Task
from syncd.sync.account import Account
from syncd.sync.decide import Bury, Later, RetryPolicy, decide
from syncd.sync.feeder import Feeder
from syncd.sync.letters import letter_of_run
from syncd.sync.plan import ResourcePlan
from syncd.sync.probing import Probing
from syncd.sync.pull import Pull
from syncd.sync.rejections import CODE, Rejections
from syncd.sync.schedule import Schedule
from syncd.sync.tally import Tally
from syncd.sync.unit import Unit, Wish
from syncd.sync.webhook_fed import is_fed

log = structlog.get_logger()


class RunOutcomes:
    """Of one partner's runs."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        watched: dict[int, Wish],
        store: Store,
        clock: Clock,
        policy: RetryPolicy,
        probing: Probing,
        feeder: Feeder,
    ) -> None:
        """`watched`: the last wishes and what became of them."""
        self._partner = partner
        self._accounts = accounts
        self._watched = watched
        self._store = store
        self._clock = clock
        self._policy = policy
        self._probing = probing
        self._feeder = feeder
        self._sound: set[tuple[str, str]] = set()
        """Resources known to have no dead letter of a run."""

    async def ended(self, unit: Unit, pull: Pull, wishes: list[Task], began_at: datetime) -> None:
        """A run ended well, or was cut short."""
        account, tally = self._accounts[unit.integration], pull.tally
        now = self._clock.now()
        metrics.RUNS.labels(unit.integration, unit.plan.name, str(tally.outcome)).inc()
        if tally.outcome is Outcome.CUT:
            unit.wishes = [*wishes, *unit.wishes]
            unit.due_at = now
            return
        unit.attempt = 0
        wishes, unanswered = _answered(tally, wishes)
        for wish in unanswered:
            self._watched[wish.id] = Wish(unit)
        unit.wishes = [*unanswered, *unit.wishes]
        # Who asked while it ran wants what is there now: once more, at once.
        unit.due_at = now if unit.wishes else max(self.pace(unit).after(began_at, self._clock.random()), now)
        before = account.health.of(unit.plan.name).trouble
        if account.health.succeeded(unit.plan.name, now, await self._rejections(account, unit.plan, tally)):
            log.info("trouble_healed", partner=self._partner, integration=unit.integration, resource=unit.plan.name)
        told = account.health.of(unit.plan.name).trouble
        if told is not None and (before is None or before.code != told.code):
            log.warning(
                "records_rejected",
                partner=self._partner,
                integration=unit.integration,
                resource=unit.plan.name,
                run_id=tally.run_id,
                reason=told.reason,
                action=told.action,
            )
        if account.processor.watch is not None:
            account.processor.watch.ended(unit.plan.name, whole_since=tally.whole_since)
        metrics.LAST_SUCCESS.labels(unit.integration, unit.plan.name).set(now.timestamp())
        if tally.sweep is not None:
            known = account.health.of(unit.plan.name)
            metrics.HELD_DELETIONS.labels(unit.integration, unit.plan.name).set(tally.sweep.held)
            if account.health.holds(unit.plan.name, tally.sweep, now) and known.held is not None:
                log.warning(
                    "deletions_held",
                    partner=self._partner,
                    integration=unit.integration,
                    resource=unit.plan.name,
                    count=tally.sweep.held,
                    reason=known.held.reason,
                    action=known.held.action,
                )
        await self._heal(unit, tally.run_id)
        await self._settle(wishes)
        # A queue is looked at every few seconds: that nothing waited there is no news.
        say = log.debug if unit.plan.resource.queue is not None and not tally.seen else log.info
        say(
            "run_ended",
            partner=self._partner,
            integration=unit.integration,
            resource=unit.plan.name,
            run_id=tally.run_id,
            mode=str(tally.mode),
            pages=tally.pages,
            added=tally.added,
            updated=tally.updated,
            deleted=tally.deleted,
            unchanged=tally.unchanged,
            rejected=tally.rejected,
            calls=tally.calls,
            waited_seconds=round(tally.waited_seconds, 3),
        )

    async def failed(self, unit: Unit, pull: Pull, wishes: list[Task], error: Exception) -> None:
        """A run failed, or was none of ours any more."""
        account, now = self._accounts[unit.integration], self._clock.now()
        pull.tally.outcome = Outcome.FAILED
        if isinstance(error, OwnershipError):
            log.info(
                "run_lost",
                partner=self._partner,
                integration=unit.integration,
                resource=unit.plan.name,
                reason=str(error),
            )
            unit.due_at = now + timedelta(seconds=1)
            unit.wishes = [*wishes, *unit.wishes]
            return
        unit.attempt += 1
        if isinstance(error, AuthError):
            account.health.auth_retry_at = now + timedelta(seconds=self._policy.auth_pause_seconds)
        news = account.health.failed(unit.plan.name, error, now)
        metrics.RUNS.labels(unit.integration, unit.plan.name, "failed").inc()
        outcome = decide(error, unit.attempt, now, self._policy, self._clock.random())
        regular = self.pace(unit).after(unit.last_started_at or now, self._clock.random())
        if news:
            told = account.health.of(unit.plan.name).trouble
            log.warning(
                "run_failed",
                partner=self._partner,
                integration=unit.integration,
                resource=unit.plan.name,
                run_id=pull.tally.run_id,
                attempt=unit.attempt,
                reason=str(error),
                action=told.action if told is not None else "",
                exc_info=not hasattr(error, "hint"),
            )
        waits = isinstance(outcome, Later) and not outcome.counts
        if waits and not isinstance(error, AuthError | StoreError):
            unit.attempt -= 1
        # Whoever's breaker is open comes back when it closes, however soon somebody closes it.
        blameless = isinstance(error, TransientError) and error.blameless
        takes = self._probing.takes(unit.integration, unit.plan.name)
        unit.barred = takes < MANY and (blameless or isinstance(error, BreakerOpenError))
        if isinstance(error, BreakerOpenError):
            unit.due_at = error.retry_at  # one of those that wait is chosen then; they are spread once it is closed
        elif isinstance(outcome, Later):
            unit.due_at = outcome.at if waits else min(outcome.at, max(regular, now))
        else:
            unit.due_at = now + timedelta(seconds=1) if unit.wishes else max(regular, now + timedelta(seconds=1))
        keeps = waits and not isinstance(error, AuthError)  # whoever asked is told now that a person has to act
        if keeps:
            unit.wishes = [*wishes, *unit.wishes]
        letter = None
        # A replay ends in success or in a letter again: one that failed in any other way must not pass for done.
        former_id = next((wish.letter_id for wish in wishes if wish.letter_id is not None), None) if not keeps else None
        if isinstance(outcome, Bury) or former_id is not None:
            letter = letter_of_run(
                unit.integration, unit.plan.name, pull.tally.run_id, error, unit.attempt, former_id=former_id
            )
            self._sound.discard((unit.integration, unit.plan.name))
        await self._settle(wishes if not keeps else [], letter)

    def pace(self, unit: Unit) -> Schedule:
        """When it is polled, as webhooks feed it now."""
        health = self._accounts[unit.integration].health
        return unit.plan.paced(fed=is_fed(health, unit.plan, self._clock.now()))

    async def _rejections(self, account: Account, plan: ResourcePlan, tally: Tally) -> Rejections:
        """What the run set aside; where there is any, or was, what stands set aside too."""
        found = Rejections(
            tally.seen, tally.rejected, tally.reasons, share=plan.rejects_share, least=plan.rejects_least
        )
        known = account.health.of(plan.name)
        if tally.rejected or known.rejected or (known.trouble is not None and known.trouble.code == CODE):
            try:
                found.standing = (await self._store.rejects.counts(account.name)).get((account.name, plan.name), 0)
                found.live, _ = (await self._store.records.count(account.name, plan.name)).get(plan.name, (0, 0))
            except StoreError:
                pass  # the run alone tells then
        return found

    async def _settle(self, wishes: list[Task], letter: NewDeadLetter | None = None) -> None:
        """Note what a run came to. If the database is away now, the wishes are found in nobody's hand and come again; so is
        one whose row was freed and taken anew meanwhile.
        """
        stored = False
        try:
            if letter is not None:
                stored = await self._store.runs.bury(letter, wishes)
            else:
                stored = all([await self._store.tasks.done(wish) for wish in wishes])
        except StoreError as away:
            log.warning("outcome_not_stored", partner=self._partner, reason=str(away))
        finally:
            self._feeder.wishes_ended(wishes, stored=stored)

    async def _heal(self, unit: Unit, run_id: int | None) -> None:
        """A run went well: what lies in the dead letters for earlier ones of it needs nobody any more."""
        key = (unit.integration, unit.plan.name)
        if key in self._sound:
            return
        try:
            await self._store.dead_letters.healed(*key, by=f"run {run_id}" if run_id is not None else "a later run")
            self._sound.add(key)
        except StoreError as away:
            log.warning("outcome_not_stored", partner=self._partner, reason=str(away))


def _answered(tally: Tally, wishes: list[Task]) -> tuple[list[Task], list[Task]]:
    """Wishes a run that ended well has fulfilled, and those it has not.

    One that went on with an older listing has not read again what that had shown before somebody asked. Only then are times
    compared: the next run begins a listing, and whatever the clocks say answers all it was given. Who let deletions go had
    that done by this one, and does not let others go that come up in the next.
    """
    began_at = tally.listing_began_at
    if began_at is None:
        return wishes, []
    late = [wish for wish in wishes if wish.since > began_at and not wish.payload.get("confirm")]
    return [wish for wish in wishes if wish not in late], late
