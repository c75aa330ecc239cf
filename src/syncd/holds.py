"""What people order of breakers: hold, release, reset. Orders are rows, so any instance takes them; the owner's gate obeys.

A hold belongs to the scope of the integration it was ordered for, whatever others share it, and so does its release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.explain import NOT_RUNNING
from syncd.limits import Hold
from syncd.store import BREAKER_HOLD, BREAKER_RESET, Control, Store
from syncd.sync import outage
from syncd.sync.account import Account

log = structlog.get_logger()

RESET_SECONDS = 60.0
"""A reset that no instance carried out within this time is forgotten."""


def in_force(controls: Iterable[Control], scope: str, scopes: Mapping[str, str]) -> dict[str | None, Hold]:
    """The holds of one scope by group (None: the whole scope). Of several the one that lasts longest counts.

    `scopes` says to which scope each integration that runs belongs now: a hold follows its integration, and that of one
    that does not run stays with the scope it was ordered for.
    """
    found: dict[str | None, Hold] = {}
    for one in controls:
        if one.kind != BREAKER_HOLD or scopes.get(one.integration, one.detail.get("scope")) != scope:
            continue
        known = found.get(one.resource or None)
        if known is None or (known.until is not None and (one.until is None or one.until > known.until)):
            found[one.resource or None] = Hold(one.why, one.who, one.set_at, one.until)
    return found


class Breakers:
    """Asks and orders for the breakers of everything that runs here."""

    def __init__(self, accounts: Callable[[], Sequence[Account]], store: Callable[[], Store], clock: Clock) -> None:
        self._accounts = accounts
        self._store = store
        self._clock = clock

    # -- orders of people

    async def hold(
        self, integration: str, group: str | None, *, who: str, reason: str, until: datetime | None
    ) -> dict[str, Any]:
        """Let nothing be sent until then, or until released. `already_held`: this replaces another hold."""
        store, scope = self._store(), self._running(integration)
        before = [one for one in await self._held(scope) if one.resource == (group or "")]
        await store.controls.set(
            integration,
            BREAKER_HOLD,
            who=who,
            why=reason,
            until=until,
            resource=group or "",
            detail={"scope": scope},
            action="breaker_held",
        )
        for one in before:  # only now: with none in force for a moment, calls would leave
            if one.integration != integration:
                await store.controls.clear(one.integration, BREAKER_HOLD, resource=one.resource)
        return {
            "scope": scope,
            "integrations": self._sharing(scope),
            "group": group,
            "already_held": bool(before),
            "until": until,
        }

    async def release(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        """End the holds of one endpoint group, or (None) all of the scope. `released`: how many there were."""
        store, scope = self._store(), self._running(integration)
        gone = [one for one in await self._held(scope) if group is None or one.resource == group]
        for one in gone:
            await store.controls.clear(
                one.integration, BREAKER_HOLD, resource=one.resource, who=who, action="breaker_released"
            )
        left = [one.resource for one in await self._held(scope)]
        return {"scope": scope, "integrations": self._sharing(scope), "released": len(gone), "still_held": left}

    async def reset(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        """Close what is open, now. `closed` names the groups; None where another instance owns the scope and does it."""
        store, scope = self._store(), self._running(integration)
        after = {"scope": scope, "group": group or ""}
        await store.audit.add(who, "breaker_reset", integration=integration, after=after)
        owner = next((one for one in self._accounts() if one.scope == scope and one.ownership.held), None)
        closed: list[str] | None = None
        if owner is not None:
            closed = owner.gate.reset(group)
        else:
            until = self._clock.now() + timedelta(seconds=RESET_SECONDS)
            await store.controls.set(
                integration, BREAKER_RESET, who=who, until=until, resource=group or "", detail={"scope": scope}
            )
        held = [one.resource for one in await self._held(scope)]
        return {"scope": scope, "integrations": self._sharing(scope), "closed": closed, "still_held": held}

    def groups(self, integration: str) -> list[str]:
        """The endpoint groups one may name."""
        found: set[str] = set()
        for account in self._accounts():
            if account.name == integration:
                found |= {*account.groups, *account.gate.view()["breakers"]}
        return sorted(found - {""})

    # -- what the daemon does with them

    async def carry_out(self, controls: Iterable[Control]) -> None:
        """Resets that another instance took for a scope we own; holds whose time is over are noted and go."""
        store = self._store()
        for one in controls:
            if one.kind != BREAKER_RESET:
                continue
            scope = self._scope(one.integration, str(one.detail.get("scope", "")))
            owner = next((each for each in self._accounts() if each.scope == scope and each.ownership.held), None)
            if owner is not None and await store.controls.clear(
                one.integration, BREAKER_RESET, resource=one.resource, quietly=True
            ):
                owner.gate.reset(one.resource or None)
        await store.controls.end(BREAKER_RESET)
        await store.controls.end(BREAKER_HOLD, action="breaker_hold_ended")

    # -- telling

    def view(self, integration: str | None = None) -> list[dict[str, Any]]:
        """Every scope's breakers as this instance sees them, or those of one integration's scope."""
        now = self._clock.now()
        wanted = None if integration is None else self._running(integration)
        scopes: dict[str, list[Account]] = {}
        for account in self._accounts():
            if wanted in (None, account.scope):
                scopes.setdefault(account.scope, []).append(account)
        return [self._scope_view(scope, accounts, now) for scope, accounts in sorted(scopes.items())]

    def _scope_view(self, scope: str, accounts: Sequence[Account], now: datetime) -> dict[str, Any]:
        first = accounts[0]
        view = first.gate.view()
        known: Mapping[str, Mapping[str, Any]] = view["breakers"]
        groups = sorted({*known, *(group for account in accounts for group in account.groups)})
        name = first.name
        return {
            "scope": scope,
            "partner": first.partner,
            "integrations": [account.name for account in accounts],
            "owned": first.ownership.held,
            "held": view["held"],
            "groups": [_group_view(name, view, group, {**_UNUSED, **known.get(group, {})}, now) for group in groups],
        }

    # -- inside

    def _running(self, integration: str) -> str:
        """The scope of an integration that runs here. Raises StoreError."""
        scope = self._scope(integration, "?")
        if scope == "?":
            raise StoreError(f"{integration} does not run here now", hint=NOT_RUNNING)
        return scope

    def _scope(self, integration: str, otherwise: str = "") -> str:
        return next((one.scope for one in self._accounts() if one.name == integration), otherwise or integration)

    def _sharing(self, scope: str) -> list[str]:
        return [one.name for one in self._accounts() if one.scope == scope]

    async def _held(self, scope: str) -> list[Control]:
        active = await self._store().controls.active()
        return [
            one
            for one in active
            if one.kind == BREAKER_HOLD and self._scope(one.integration, str(one.detail.get("scope", ""))) == scope
        ]


_UNUSED: Mapping[str, Any] = {
    "state": "closed", "failures": 0, "failed_probes": 0, "since": None, "held": None, "errors": ()
}  # fmt: skip
"""A group nobody has called yet."""


def _group_view(
    integration: str, view: Mapping[str, Any], group: str, told: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    explanation = outage.explain(integration, view, group, now)
    held = told["held"] or view["held"]
    probing = told["state"] != "closed" and not held
    return {
        "group": group,
        "state": "open" if held else told["state"],
        "failures": told["failures"],
        "failed_probes": told["failed_probes"],
        "since": told["since"],
        "next_probe_at": now + timedelta(seconds=told["retry_in_seconds"]) if probing else None,
        "held": held,
        "errors": told["errors"],
        "explanation": None if explanation is None else explanation.as_dict(),
    }
