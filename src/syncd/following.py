"""A wish as its watcher sees it: queued, running, waiting for a limit or a breaker, ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from syncd.explain import Explanation
from syncd.server.ports import Progress, RunState
from syncd.store import Task
from syncd.sync import outage, scope
from syncd.sync.account import Account
from syncd.sync.tally import Tally
from syncd.sync.unit import Unit, Wish


def of_run(account: Account, wish_id: int, wish: Wish, now: datetime, *, paused: Explanation | None = None) -> Progress:
    """A wish as its watcher sees it: queued until a run takes it up, waiting while limits, a breaker or a pause hold it.

    `paused` says who paused its resource or the whole integration.
    """
    unit, tally = wish.unit, wish.tally or Tally(wish.unit.integration, wish.unit.plan.name)
    state = RunState.QUEUED if wish.tally is None else RunState(str(tally.outcome))
    waiting, resumes_at = "", None
    barred: Explanation | None = None
    if not state.ended or (state is RunState.FAILED and unit.wishes):
        waiting, resumes_at = _held_by(account, unit, now, paused)
        if waiting:
            state = RunState.WAITING
            barred = _barred(account, unit.plan.name, now, paused)
    told = account.health.of(unit.plan.name).trouble if state is RunState.FAILED else None
    return Progress(
        wish_id=wish_id,
        integration=unit.integration,
        resource=unit.plan.name,
        run_id=tally.run_id,
        state=state,
        page=tally.pages,
        added=tally.added,
        updated=tally.updated,
        unchanged=tally.unchanged,
        rejected=tally.rejected,
        deleted=tally.deleted,
        calls=tally.calls,
        waited_seconds=tally.waited_seconds,
        waiting_reason=waiting,
        resumes_at=resumes_at,
        total=tally.total,
        eta_seconds=tally.eta_seconds(now),
        explanation=told or barred,
    )


def of_row(account: Account | None, task: Task, now: datetime, *, paused: Explanation | None = None) -> Progress:
    """A wish that is a row yet; a pause, a breaker or a hold may be why it is not taken."""
    waiting, resumes_at = "", None
    if paused is not None:
        waiting = paused.reason
    elif account is not None:
        waiting, resumes_at = outage.waits(account.gate.view(), account.needs(task.resource), now) or ("", None)
    return Progress(
        wish_id=task.id,
        integration=task.integration,
        resource=task.resource,
        external_id=task.external_id,
        state=RunState.WAITING if waiting else RunState.QUEUED,
        waiting_reason=waiting,
        resumes_at=resumes_at,
        explanation=_barred(account, task.resource, now, paused) if waiting else None,
    )


def _barred(account: Account | None, resource: str, now: datetime, paused: Explanation | None) -> Explanation | None:
    """Who or what keeps everything of this resource back: a pause, a hold, an open breaker. None: it waits for its turn."""
    if paused is not None or account is None:
        return paused
    return outage.worst(account.name, account.gate.view(), account.needs(resource), now)


def _held_by(account: Account, unit: Unit, now: datetime, paused: Explanation | None) -> tuple[str, datetime | None]:
    """What keeps a unit from calling at this moment; nothing where it may."""
    view = account.gate.view()
    if paused is not None:
        return paused.reason, None
    if view["paused_until"] is not None:
        return "rate limited by the partner", view["paused_until"]
    blocked = outage.waits(view, account.needs(unit.plan.name), now)
    if blocked is not None:
        return blocked
    if unit.running and sum(view["waiting"].values()) and not view["in_flight"]:
        full = [tier for tier in view["tiers"] if tier["frees_in_seconds"] > 0]
        names = ", ".join(f"{tier['used']:.0f}/{tier['budget']:.0f} of {scope.label(tier)}" for tier in full)
        soonest = max((tier["frees_in_seconds"] for tier in full), default=0.0)
        return f"limit {names}" if names else "limit", now + timedelta(seconds=soonest)
    if not unit.running and unit.due_at > now:
        known = account.health.of(unit.plan.name)
        if known.limited_until is not None and known.limited_until > now:
            return known.limited_by, known.limited_until
        return "backing off", unit.due_at
    return "", None
