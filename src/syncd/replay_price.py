"""What a replay of dead letters costs: about how many calls, and how much of the partner's limits that is. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from syncd import causes
from syncd.store import Group, Run
from syncd.sync.account import Account
from syncd.wording import lasting

_PERIODS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day", 604_800.0: "week"}
_TELLING_SECONDS = 60.0
_READ, _WRITE = ("read", "GET"), ("write", "POST")


def of(groups: Sequence[Group], accounts: Mapping[str, Account], runs: Sequence[Run]) -> dict[str, Any]:
    """Letters, calls and causes, and by scope the share of its limits. `runs`: the last one of each resource."""
    last = {(run.integration, run.resource): run for run in runs}
    scopes: dict[str, dict[str, Any]] = {}
    for group in groups:
        account = accounts.get(group.integration)
        key = account.scope if account is not None else group.integration
        scope = scopes.setdefault(
            key,
            {
                "scope": key,
                "partner": account.partner if account is not None else None,
                "integrations": [],
                "letters": 0,
                "reads": 0,
                "writes": 0,
            },
        )
        scope["letters"] += group.count
        scope["writes" if group.origin == "outbox" else "reads"] += _calls(group, account, last)
        if group.integration not in scope["integrations"]:
            scope["integrations"].append(group.integration)
    by_scope = {account.scope: account for account in accounts.values()}
    for key, scope in scopes.items():
        scope["calls"] = scope["reads"] + scope["writes"]
        scope |= _share(by_scope.get(key), scope["reads"], scope["writes"])
    return {
        "letters": sum(group.count for group in groups),
        "under_way": sum(group.running for group in groups),
        "calls": sum(scope["calls"] for scope in scopes.values()),
        "upto": max((group.upto for group in groups), default=None),
        "causes": [
            {
                "cause": causes.cause_of(causes.LETTER, group.integration, group.resource, group.fingerprint),
                "integration": group.integration,
                "resource": group.resource,
                "from": group.origin,
                "message": group.message,
                "count": group.count,
                "under_way": group.running,
                "replayed_before": group.again,
            }
            for group in groups
        ],
        "scopes": list(scopes.values()),
    }


def _calls(group: Group, account: Account | None, runs: Mapping[tuple[str, str], Run]) -> int:
    """About how many calls the work of a group makes."""
    plan = account.plans.get(group.resource) if account is not None else None
    if group.origin == "run":
        run = runs.get((group.integration, group.resource))
        return max(run.calls if run is not None else 1, 1) * group.count
    if group.kind == "fetch" and plan is not None and plan.resource.many is not None:
        return math.ceil(group.count / plan.resource.many.max)
    return group.count


def _share(account: Account | None, reads: int, writes: int) -> dict[str, Any]:
    """How much of the scope's limits so many calls are, in the window they fill most, and how long they take at least."""
    worst: dict[str, Any] = {"share": None, "window": None, "window_seconds": None, "limit": None, "seconds": None}
    most: tuple[float, bool, float] | None = None
    for tier in account.gate.book.tiers if account is not None else ():
        calls = sum(
            number
            for number, names in ((reads, _READ), (writes, _WRITE))
            if account is not None and tier in account.gate.book.counting(names)
        )
        if not calls:
            continue
        window = tier.spec.window_seconds
        seconds = max(calls / tier.per_window - 1.0, 0.0) * window
        # What takes longest; where nothing waits, a minute or more says more to a person than a second.
        rank = (seconds, window >= _TELLING_SECONDS, calls / tier.most)
        if most is None or rank > most:
            most = rank
            worst = {
                "share": calls / tier.most,
                "window": _PERIODS.get(window) or lasting(window),
                "window_seconds": window,
                "limit": tier.most,
                "seconds": seconds,
            }
    return worst
