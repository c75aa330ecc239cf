"""Comparisons under way: begun for somebody who watches, ended when nobody does. They live in memory and write nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from syncd import metrics
from syncd.clock import Clock
from syncd.config import Config
from syncd.errors import ConfigError, RejectedError, StoreError, SyncdError
from syncd.limits import Gate
from syncd.limits.views import next_call
from syncd.model import Lane
from syncd.planning import Sight
from syncd.planning.backfill import figure, loads_of, priced
from syncd.sync.account import Account, asked
from syncd.sync.comparing import MOST_IDS, Comparison, Findings
from syncd.sync.differences import Difference, shown
from syncd.sync.loads import Figure, Known
from syncd.sync.plan import ResourcePlan, Strategy

log = structlog.get_logger()

MOST_AT_ONCE = 2
MOST_KEPT = 10
"""Comparisons remembered after their end."""
ABANDONED_SECONDS = 20.0
"""Nobody asked for one so long: whoever began it was cut off."""
LOOK_SECONDS = 2.0


@dataclass(slots=True)
class _Job:
    key: str
    integration: str
    seed: int
    values: bool
    comparisons: list[Comparison]
    skipped: list[dict[str, str]]
    began_at: datetime
    asked_at: float
    """Monotonic."""
    state: str = "running"
    """running, done, failed or stopped."""
    reason: str = ""
    hint: str = ""
    ended_at: datetime | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Comparisons:
    """Answers `server.desk_drift`. `run()` in the daemon's task group owns what is under way."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        accounts: Callable[[], Sequence[Account]],
        clock: Clock,
        names: Callable[[], Mapping[str, Sequence[str]]],
        sight: Callable[[], Awaitable[Sight]],
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._clock = clock
        self._names = names
        self._sight = sight
        self._jobs: dict[str, _Job] = {}
        self._group: TaskGroup | None = None
        self._last = 0
        metrics.BOUND.labels("comparisons").set(MOST_AT_ONCE)
        metrics.BOUND.labels("comparison_ids").set(MOST_IDS)

    async def run(self) -> None:
        """Own what is begun; end what nobody watches any more. Until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                while True:
                    await self._clock.sleep(LOOK_SECONDS)
                    now = self._clock.monotonic()
                    for job in self._running():
                        if now - job.asked_at > ABANDONED_SECONDS:
                            self._end(job, "stopped", "nobody watched it any more")
            finally:
                self._group = None

    def names(self) -> Mapping[str, Sequence[str]]:
        return self._names()

    async def comparison_plan(self, integration: str, resource: str | None, sample: int | None) -> dict[str, Any]:
        account = self._account(integration)
        plans, skipped = self._chosen(account, resource, sample)
        partner, _ = self._config().integrations[integration]
        told = await to_thread.run_sync(
            partial(_cost, partner, await self._sight(), integration, plans, sample, self._by_id(account, plans))
        )
        told = awaited(told, account.gate)
        return {"integration": integration, "resource": resource, "sample": sample, "skipped": skipped, **told}

    async def compare(
        self, integration: str, resource: str | None, sample: int | None, seed: int | None, *, values: bool
    ) -> dict[str, Any]:
        account = self._account(integration)
        if self._group is None:
            raise StoreError("the daemon is still starting", hint="try again in a moment")
        if len(self._running()) >= MOST_AT_ONCE:
            raise RejectedError(f"{MOST_AT_ONCE} comparisons are under way already", hint="wait for one to end")
        plans, skipped = self._chosen(account, resource, sample)
        chance = seed if seed is not None else int(self._clock.random() * 2**31)
        self._last += 1
        job = _Job(
            f"{self._last}-{int(self._clock.random() * 2**40):x}",
            integration,
            chance,
            values,
            [Comparison(account, plan, sample=sample, seed=chance) for plan in plans],
            skipped,
            self._clock.now(),
            self._clock.monotonic(),
        )
        self._jobs[job.key] = job
        ended = [one for one in self._jobs.values() if one.state != "running"]
        for old in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self._jobs[old.key]
        self._group.start_soon(self._work, job, name=f"comparison {job.key}")
        log.info("comparison_began", integration=integration, resources=[plan.name for plan in plans], sample=sample)
        return self._as_json(job)

    async def comparison(self, key: str) -> dict[str, Any] | None:
        job = self._jobs.get(key)
        if job is None:
            return None
        job.asked_at = self._clock.monotonic()
        return self._as_json(job)

    async def stop_comparison(self, key: str) -> bool:
        job = self._jobs.get(key)
        if job is None or job.state != "running":
            return False
        self._end(job, "stopped", "stopped by whoever began it")
        return True

    # -- inside

    async def _work(self, job: _Job) -> None:
        with job.scope:
            try:
                for comparison in job.comparisons:
                    await comparison.run()
            except SyncdError as error:
                job.state, job.reason, job.hint = "failed", str(error), error.hint
            except Exception as error:
                log.exception("work_crashed", work=f"comparison {job.key}")
                job.state, job.reason = "failed", f"{type(error).__name__}: {error}"
            else:
                job.state = "done"
        job.ended_at = self._clock.now()
        drift = sum(one.found.drift for one in job.comparisons)
        log.info("comparison_ended", integration=job.integration, state=job.state, drift=drift, reason=job.reason)

    def _end(self, job: _Job, state: str, reason: str) -> None:
        job.state, job.reason = state, reason
        job.scope.cancel()

    def _running(self) -> list[_Job]:
        return [job for job in self._jobs.values() if job.state == "running"]

    def _account(self, name: str) -> Account:
        return asked(self._accounts(), name)

    def _chosen(
        self, account: Account, resource: str | None, sample: int | None
    ) -> tuple[list[ResourcePlan], list[dict[str, str]]]:
        """What can be compared, and why the rest cannot."""
        chosen, skipped = [], []
        for plan in account.plans.values() if resource is None else [account.plans[resource]]:
            why = ""
            if plan.resource.queue is not None:  # to read it may be to take from it
                why = "a queue: what it shows is what nobody has fetched yet"
            elif plan.strategy is Strategy.FEED:
                why = "an event log: nothing to compare"
            elif sample is not None and not Comparison(account, plan).by_id:
                why = "its records cannot be asked for by id: compare it whole"
            if why:
                skipped.append({"resource": plan.name, "why": why})
            else:
                chosen.append(plan)
        if not chosen:
            raise ConfigError(f"{skipped[0]['resource']}: {skipped[0]['why']}" if skipped else "nothing is synced")
        return chosen, skipped

    @staticmethod
    def _by_id(account: Account, plans: Sequence[ResourcePlan]) -> dict[str, int]:
        """How many records one call by id may name, by resource."""
        return {plan.name: plan.resource.many.max if plan.resource.many is not None else 1 for plan in plans}

    def _as_json(self, job: _Job) -> dict[str, Any]:
        found = [one.counted() for one in job.comparisons]
        return {
            "id": job.key,
            "integration": job.integration,
            "state": job.state,
            "reason": job.reason,
            "hint": job.hint,
            "began_at": job.began_at,
            "ended_at": job.ended_at,
            "seed": job.seed,
            "drift": sum(one.drift for one in found),
            "resources": [_findings(one, values=job.values, whole=job.state != "running") for one in found],
            "skipped": job.skipped,
        }


def _cost(
    partner: Any,
    sight: Sight,
    integration: str,
    plans: Sequence[ResourcePlan],
    sample: int | None,
    at_once: Mapping[str, int],
) -> dict[str, Any]:
    scope, loads = loads_of(partner, sight, integration)
    parts, resources = [], []
    for plan in plans:
        load = loads[plan.name]
        calls = load.full
        if sample is not None:
            records = min(float(sample), load.records.value) if load.records.value is not None else float(sample)
            calls = Figure(-(-records // at_once[plan.name]), Known.ASSUMED)
        parts.append((load, calls))
        resources.append({"name": plan.name, "calls": figure(calls)})
    return {"resources": resources, **priced(scope, parts)}


def awaited(cost: Mapping[str, Any], gate: Gate) -> dict[str, Any]:
    """What it costs from now on: a budget that is spent, or a pause, is waited for before the first call."""
    first = next_call(gate, gate.clock.monotonic(), Lane.LOW)
    waits = round(max(first["in_seconds"] or 0.0, 0.0), 1) if cost["calls"] else 0.0
    held = first["why"] if waits else ""
    return {**cost, "seconds": round(cost["seconds"] + waits, 1), "waits_seconds": waits, "waits_for": held}


def _findings(found: Findings, *, values: bool, whole: bool) -> dict[str, Any]:
    """One resource's part; the records one by one only at the end."""
    return {
        "name": found.resource,
        "method": "whole" if found.sampled is None else "sample",
        "sampled": found.sampled,
        "stage": found.stage,
        "checked": found.checked,
        "equal": found.equal,
        "pending": found.pending,
        "settled": found.settled,
        "unsound": found.unsound,
        "missing_here": found.missing_here,
        "missing_there": found.missing_there,
        "differing": found.differing,
        "unsettled": found.unsettled,
        "drift": found.drift,
        "calls": found.calls,
        "waited_seconds": round(found.waited_seconds, 3),
        "notes": found.notes,
        "records": [_difference(one, values=values) for one in found.details] if whole else [],
    }


def _difference(one: Difference, *, values: bool) -> dict[str, Any]:
    return {
        "id": one.external_id,
        "kind": str(one.kind),
        "there_at": one.there_at,
        "here_at": one.here_at,
        "note": one.note,
        "fields": [
            {"field": each.field, "here": shown(each.here, values=values), "there": shown(each.there, values=values)}
            for each in one.fields
        ],
    }
