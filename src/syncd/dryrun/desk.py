"""Dry runs as the admin API asks for them: one call, one answer, in the lowest lane, and never for long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.clock import Clock
from syncd.dryrun.cassette import DEFAULT_CASE, samples
from syncd.dryrun.reading import DryRun, Outcome, Shown
from syncd.errors import AskedWrongError, BreakerOpenError, RejectedError, TransientError
from syncd.redaction import KNOWN
from syncd.sync.account import Account, asked
from syncd.sync.differences import shown
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule

MOST_RECORDS = 1_000
MOST_AT_ONCE = 2


class DryRuns:
    """Answers `server.desk_dryrun`."""

    def __init__(
        self,
        *,
        accounts: Callable[[], Sequence[Account]],
        clock: Clock,
        names: Callable[[], Mapping[str, Sequence[str]]],
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._names = names
        self._running = 0

    def names(self) -> Mapping[str, Sequence[str]]:
        """Also what is not synced: that is worth a look before it is."""
        known = {one.name: list(one.driver.resources(one.options)) for one in self._accounts()}
        return {name: [*found, *(set(known.get(name, ())) - set(found))] for name, found in self._names().items()}

    async def dry_run(
        self,
        integration: str,
        resource: str,
        limit: int,
        *,
        since: datetime | None = None,
        values: bool = False,
        save: bool = False,
        case: str = DEFAULT_CASE,
        seconds: float = 60.0,
    ) -> dict[str, Any]:
        """What a pull would make of up to `limit` records. Raises SyncdError where the partner could not be asked in time."""
        account = self._account(integration)
        if self._running >= MOST_AT_ONCE:
            raise RejectedError(f"{MOST_AT_ONCE} dry runs are under way already", hint="wait for one to end")
        plan = account.plans.get(resource) or _unsynced(account, resource)
        queue = plan.resource.queue
        if queue is not None and queue.acknowledge is None:
            raise AskedWrongError(
                f"to read {resource} removes what is read from the partner's queue: a dry run would lose it",
                hint=f"look at what came of it: syncd records export {integration}/{resource}",
            )
        dry = DryRun(account, plan, limit, since=since, keep=save)
        self._running += 1
        try:
            async with self._clock.timeout(seconds):
                await dry.run()
        except BreakerOpenError as error:
            error.hint = error.hint or f"syncd status {integration}"  # what is wrong with the partner
            raise
        except TimeoutError:
            dry.notes.append(f"{seconds:g} s were over before the rest came")
            if not dry.shown:
                raise TransientError(
                    f"{integration}/{resource}: nothing came within {seconds:g} s"
                    + (f": {dry.waits_for}" if dry.waits_for else ""),
                    hint="give it longer: --wait 300",
                ) from None
        finally:
            self._running -= 1
        found = samples(dry, case=case) if save else {}
        return {
            "integration": integration,
            "resource": resource,
            "partner": account.partner,
            "limit": limit,
            "since": since,
            "calls": dry.calls,
            "waited_seconds": round(dry.waited_seconds, 3),
            "ended": dry.ended,
            "counts": dict(dry.counts),
            "notes": dry.notes,
            "records": [_record(one, values=values) for one in dry.shown],
            **({"samples": found} if save else {}),
        }

    def _account(self, name: str) -> Account:
        return asked(self._accounts(), name)


def _unsynced(account: Account, name: str) -> ResourcePlan:
    """How a resource that is switched off would be read. Raises RejectedError where there is none of that name."""
    resource = account.driver.resources(account.options).get(name)
    if resource is None:
        raise RejectedError(f"{account.name} has no resource {name}", hint=f"syncd status {account.name}")
    strategy = Strategy.CHILDREN if resource.parent is not None else Strategy(resource.reads)
    return ResourcePlan(resource, strategy, Schedule(every_seconds=resource.every or 900.0))


def _record(one: Shown, *, values: bool) -> dict[str, Any]:
    """What is unchanged has fields to look at only where their values are asked for."""
    fields = () if one.outcome is Outcome.UNCHANGED and not values else one.fields
    return {
        "resource": one.resource,
        "id": one.external_id,
        "outcome": str(one.outcome),
        "reason": KNOWN.mask(one.reason),
        "fields": [
            {"field": each.field, "here": shown(each.here, values=values), "there": shown(each.there, values=values)}
            for each in fields
        ],
    }
