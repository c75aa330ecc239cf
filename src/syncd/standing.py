"""What the status says of integrations, resources, limits and queues: plain data from what runs and what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.config import Config
from syncd.explain import NOTHING_TO_DO, Explanation, State
from syncd.model import Outcome
from syncd.store import Run
from syncd.supervisor import Supervisor
from syncd.sync import drift, measured, scope, webhook_fed
from syncd.sync.account import Account
from syncd.sync.health import Drift
from syncd.sync.runner import Runner
from syncd.sync.unit import Unit

By = Mapping[tuple[str, str], Run]
"""Runs by integration and resource."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one integration on this instance is like at a moment: looked at once, for all that tell of it."""

    account: Account
    view: Mapping[str, Any]
    """Of its scope's gate."""
    state: State
    told: Explanation | None
    refuses: Explanation | None
    """Why it may refuse its partner's deliveries."""
    resources: Mapping[str, tuple[State, Explanation | None]]
    needs: Sequence[Sequence[str]]
    """The endpoint groups that each of its resources needs."""


def judge(account: Account, now: datetime, refuses: Explanation | None = None) -> Judged:
    """Look at it. `refuses` says why it may refuse its partner's deliveries, which nothing that is less than a trouble
    hides."""
    view = account.gate.view()
    needs = {name: account.needs(name) for name in account.plans}
    resources = account.health.resource_states(view, now, needs)
    groups = list(needs.values())
    return Judged(account, view, *_judged(account, now, view, groups, refuses), refuses, resources, groups)


def _judged(
    account: Account,
    now: datetime,
    view: Mapping[str, Any],
    needs: Sequence[Sequence[str]],
    refuses: Explanation | None,
) -> tuple[State, Explanation | None]:
    state, told = _working(account, now, view, needs)
    if account.chaos and refuses is None and state.rank > State.DEGRADED.rank:
        return State.DEGRADED, Explanation(
            "chaos-on", f"faults on purpose: {account.chaos}", cause="`chaos` in its file",
            action=f"take `chaos` out of integrations.{account.name}, then: syncd reload --wait",
        )  # fmt: skip
    return (State.DEGRADED, refuses) if refuses is not None and state.rank > State.DEGRADED.rank else (state, told)


def _working(
    account: Account, now: datetime, view: Mapping[str, Any], needs: Sequence[Sequence[str]]
) -> tuple[State, Explanation | None]:
    if not account.ownership.held:
        return State.WAITING, Explanation(
            "not-owner", "another instance works for this scope", action="nothing to do", cause=account.scope
        )
    return account.health.judge(view, now, needs)


def integration(
    one: Judged,
    runner: Runner,
    last: By,
    ended: By,
    counts: Mapping[tuple[str, str], int] | None,
    now: datetime,
    company: str = "",
    hour: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One integration with its resources; `last` and `ended` are runs, `counts` live records; None: they are not known.
    `hour`: what came of its calls within the last sixty minutes."""
    account = one.account
    paused = runner.paused.get(account.name)
    return {
        "name": account.name,
        "partner": account.partner,
        "company": company or account.name,
        "state": str(one.state),
        "enabled": True,
        "latency_ms": account.health.latency_ms,
        "clock_skew_seconds": account.session.skew_seconds,
        "explanation": one.told.as_dict() if one.told is not None else None,
        "refuses": one.refuses.as_dict() if one.refuses is not None else None,
        "paused": None
        if paused is None
        else {"reason": paused.why, "who": paused.who, "since": paused.set_at, "until": paused.until},
        "resources": [
            _resource(one, runner.units.get((account.name, name)), name, last, ended, counts, now)
            for name in account.plans
        ],
        "limits": one.view,
        "hour": hour,
        "tasks": {"done": account.flow.done, "skipped": dict(account.flow.skipped)},
    }


def _resource(
    one: Judged,
    unit: Unit | None,
    name: str,
    last: By,
    ended: By,
    counts: Mapping[tuple[str, str], int] | None,
    now: datetime,
) -> dict[str, Any]:
    account = one.account
    plan = account.plans[name]
    fed = webhook_fed.is_fed(account.health, plan, now)
    state, told = one.resources[name]
    run = last.get((account.name, name))
    known = account.health.of(name)
    live = counts.get((account.name, name), 0) if counts is not None else None
    good_at = known.last_success_at or (run.ended_at if run and run.outcome == Outcome.DONE else None)
    return {
        "name": name,
        "state": str(state),
        "explanation": told.as_dict() if told is not None else None,
        "strategy": plan.shown,
        "fed": fed if plan.backup is not None else None,
        "last_run": None if run is None else _run(run),
        "last_success_at": good_at,
        "stale_since": plan.stale_since(good_at, now, fed=fed)
        if state is not State.HEALTHY or one.view["ramp"]
        else None,
        "next_run_at": unit.due_at if unit is not None and not unit.running else None,
        "running": unit is not None and unit.running,
        "records": live,
        "held_deletions": known.held_count,
        "drift": _drift(known.drift),
        "hint": _outlasting(account, name, [run, ended.get((account.name, name))], now),
        "remarks": _remarks(account, name, live or 0, now),
    }


def _outlasting(account: Account, name: str, runs: Sequence[Run | None], now: datetime) -> str | None:
    """What to say of the first of these runs that lasts longer than its schedule allows."""
    fed = webhook_fed.is_fed(account.health, account.plans[name], now)
    different = {run.id: run for run in runs if run is not None}
    told = (measured.lagging(account.plans[name], run, now, fed=fed) for run in different.values())
    return next((hint for hint in told if hint is not None), None)


def _drift(found: Drift | None) -> dict[str, int] | None:
    return None if found is None else {"added": found.added, "updated": found.updated, "deleted": found.deleted}


def _remarks(account: Account, name: str, live: int, now: datetime) -> list[str]:
    """What is worth knowing of a resource and no trouble, each a sentence."""
    plan, known = account.plans[name], account.health.of(name)
    told = [webhook_fed.remark(account.name, account.health, plan, now)]
    if known.drift is not None:
        by_events = plan.backup is not None or any(name in other.resource.feeds for other in account.plans.values())
        told.append(drift.remark(name, known.drift, live, tells_deletions=by_events))
    return [each for each in told if each is not None]


def _run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "mode": run.mode,
        "outcome": run.outcome,
        "trigger": run.trigger,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "pages": run.pages,
        "added": run.added,
        "updated": run.updated,
        "deleted": run.deleted,
        "unchanged": run.unchanged,
        "stale": run.stale,
        "rejected": run.rejected,
        "calls": run.calls,
        "waited_seconds": run.waited_seconds,
    }


def scopes(judged: Iterable[Judged], now: datetime) -> list[dict[str, Any]]:
    """The limits of every scope, once however many integrations share it."""
    sharing: dict[str, list[Judged]] = {}
    for one in judged:
        sharing.setdefault(one.account.scope, []).append(one)
    return [
        scope.as_json(
            members[0].view,
            now,
            integrations=[one.account.name for one in members],
            owned=members[0].account.ownership.held,
            needs=[groups for one in members for groups in one.needs],
        )
        for _, members in sorted(sharing.items())
    ]


def idle(config: Config, broken: Mapping[str, str], running: Sequence[str]) -> list[dict[str, Any]]:
    """Integrations that are configured and do not run: switched off, or not startable."""
    found = []
    for name, (partner, settings) in config.integrations.items():
        if name in running:
            continue
        enabled = partner.is_enabled(name)
        state, told = not_running(enabled, broken.get(partner.name, ""))
        found.append(
            {
                "name": name,
                "partner": partner.name,
                "company": settings.company or name,
                "state": str(state),
                "enabled": enabled,
                "latency_ms": None,
                "explanation": told.as_dict(),
                "paused": None,
                "resources": [],
                "limits": None,
                "hour": None,
            }
        )
    return found


def not_running(enabled: bool, reason: str) -> tuple[State, Explanation]:
    """Of an integration that is configured and does not run; `reason`: why it could not be started, where that is so."""
    if not enabled:
        return State.PAUSED, Explanation(
            "disabled",
            "switched off in its file or by the environment",
            action="enabled: true, then syncd reload --wait",
        )
    if reason:
        return State.DOWN, not_started(reason)
    return State.WAITING, Explanation(
        "starting",
        "it is about to start",
        cause="the daemon starts, which needs its database, or a reload puts new settings in force",
        action=NOTHING_TO_DO,
    )


def workers(supervisor: Supervisor | None) -> dict[str, int]:
    """Coroutines that live, of those that should."""
    pools = [one.runner.pool for one in supervisor.running.values()] if supervisor is not None else []
    return {"alive": sum(pool.alive for pool in pools), "total": sum(pool.seats for pool in pools)}


def not_started(reason: str) -> Explanation:
    """Of an integration that is configured and does not run."""
    return Explanation(
        "not-started", f"could not be started: {reason}", cause="its configuration", action="syncd check --env"
    )
