"""Why a push waits that has not been tried, or not lately: the row alone cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from syncd.store import PushRow, Store
from syncd.store.controls import PAUSE
from syncd.sync import outage
from syncd.sync.account import Account

WAITING = frozenset({"waiting", "unknown"})


async def held_back(account: Account, store: Store, resource: str, now: datetime) -> str | None:
    """Why nothing of this resource is called at present; None where it is."""
    name = account.name
    if (told := account.health.paused) is not None:
        return f"{name} is paused: syncd resume {name}" if told.code == "paused" else f"{name} is {told.reason}"
    paused = await _paused(store, name, resource) if resource else None
    if paused is not None:
        return paused
    refused_until = account.health.auth_retry_at
    if refused_until is not None and refused_until > now:
        return f"the credential was refused: syncd credential test {name}"
    needs = account.needs(resource) if resource in account.plans else ("",)
    barred = outage.worst(name, account.gate.view(), needs, now)
    return f"{barred.reason}: {barred.action}" if barred is not None else None


async def reasons(
    store: Store,
    rows: Sequence[PushRow],
    known: Collection[str],
    now: datetime,
    account: Callable[[str], Account | None] = lambda name: None,
) -> dict[tuple[str, int], str]:
    """Of pushes that wait: why, by (integration, id). `known`: what is configured; `account`: what runs here, if anything."""
    waiting = [row for row in rows if row.state in WAITING]
    behind = await store.outbox.behind([(row.integration, row.id) for row in waiting if row.integration in known])
    found: dict[tuple[str, int], str] = {}
    for row in waiting:
        key = (row.integration, row.id)
        why = await _why(store, row, known, behind.get(key), now, account(row.integration))
        if why is not None:
            found[key] = why
    return found


async def _why(
    store: Store,
    row: PushRow,
    known: Collection[str],
    before: PushRow | None,
    now: datetime,
    account: Account | None,
) -> str | None:
    if row.integration not in known:
        return "no such integration is configured: it waits until there is one, or until it expires"
    if before is not None:
        theirs = f": {before.reason}" if before.reason else ""
        return f"waits behind push {before.id} of the same record, which is {before.state}{theirs}"
    if row.reason is None and row.not_before is not None and row.not_before > now:
        return f"not before {row.not_before:%Y-%m-%d %H:%M:%S} UTC, as was asked"
    if account is not None:
        held = await held_back(account, store, row.resource, now)
    else:
        held = await _paused(store, row.integration, "") or await _paused(store, row.integration, row.resource)
    return f"{held} ({row.reason})" if held is not None and row.reason else held or row.reason


async def _paused(store: Store, integration: str, resource: str) -> str | None:
    orders = await store.controls.active(integration)
    if any(one.kind == PAUSE and one.resource == resource for one in orders):
        name = f"{integration}/{resource}" if resource else integration
        return f"{name} is paused: syncd resume {name}"
    return None
