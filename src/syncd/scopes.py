"""Gates with their slots and leases, by scope: what outlives a configuration and is handed to the next one (R13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from syncd.clock import Clock
from syncd.config import PartnerConfig, TierConfig
from syncd.kit import Driver
from syncd.limits import BreakerPolicy, Gate, TierSpec
from syncd.model import Lane
from syncd.store import Store
from syncd.sync.ownership import Ownership
from syncd.sync.scope import file_of

log = structlog.get_logger()

GOOD_NEWS = frozenset({"limit_relaxed", "breaker_closed", "breaker_released"})
"""What gates tell that is no warning: each ends what a warning had begun."""


@dataclass(slots=True)
class ScopeState:
    """What a scope keeps while configurations come and go."""

    gate: Gate
    ownership: Ownership
    _ended: bool = False

    async def keep(self) -> None:
        """Hold the lease until ended."""
        if not self._ended:
            await self.ownership.keep()

    async def end(self) -> None:
        """After the last call: remember the slots as they are, let another instance have the scope.

        Raises StoreError when that could not be written; the lease is kept up no longer all the same, and runs out.
        """
        self._ended = True
        try:
            if self.ownership.held:
                await self.gate.persist(clean=True)
        finally:
            try:
                await self.ownership.release()
            finally:
                self.gate.close()


class Scopes:
    """The gates and leases of this process, by scope name."""

    def __init__(self, store: Store, owner: str, clock: Clock, begun: Callable[[ScopeState], None]) -> None:
        """`begun` is told of each new scope, to keep its lease."""
        self._store = store
        self._owner = owner
        self._clock = clock
        self._begun = begun
        self.known: dict[str, ScopeState] = {}

    def get(self, name: str, settings: GateSettings) -> ScopeState:
        """The living scope, or a new one with these numbers. New numbers for a living one wait for `adopt`."""
        state = self.known.get(name)
        if state is None:
            gate = Gate(
                name,
                settings.tiers,
                clock=self._clock,
                keeper=self._store.limit_state,
                notify=self._told(name),
                **settings.rest(),
            )
            ownership = Ownership(name, self._owner, self._store, self._clock, taken=gate.open)
            state = self.known[name] = ScopeState(gate, ownership)
            self._begun(state)
        return state

    def drop_unused(self, used: set[str]) -> list[ScopeState]:
        """Forget scopes no configuration names any more; they are returned to be ended."""
        return [self.known.pop(name) for name in list(self.known) if name not in used]

    def _told(self, scope: str) -> Callable[..., None]:
        def notify(event: str, **facts: Any) -> None:
            shown = {name: fact.isoformat() if isinstance(fact, datetime) else fact for name, fact in facts.items()}
            say = log.info if event in GOOD_NEWS else log.warning
            more = {"file": file_of(scope)} if "yaml" in facts else {}
            say(event, **{"scope": scope, **shown, **more})

        return notify


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The numbers of one gate."""

    tiers: tuple[TierSpec, ...]
    concurrency: int | None
    share: float
    lanes: Mapping[Lane, float] | None
    breaker: BreakerPolicy
    members: Mapping[str, float]
    deadline_seconds: float = 30.0
    """How long a call may take, so how long one of a killed process may keep its partner busy."""

    def rest(self) -> dict[str, Any]:
        return {
            "concurrency": self.concurrency,
            "share": self.share,
            "lanes": self.lanes,
            "breaker": self.breaker,
            "members": self.members,
            "deadline_seconds": self.deadline_seconds,
        }


def gate_settings(driver: Driver, partner: PartnerConfig, members: list[str]) -> GateSettings:
    """The driver's limits with the file's laid over them: same window and budget replaces, anything else is added."""
    options = partner.options_for(members[0])
    limits, stated = driver.limits(options), partner.limits
    share = limits.share
    if stated is not None and stated.share is not None:
        share = stated.share
    auth = driver.auth(options)
    tiers = [tier.spec() for tier in limits.tiers]
    # A limit of the token endpoint counts token requests alone, and all of it is used, since each one is rare.
    tiers += [replace(tier.spec(), budget="token", share=tier.share or 1.0) for tier in auth.tiers]
    for tier in stated.tiers if stated is not None else ():
        own = tier_spec(tier)
        known = next((known for known in tiers if _counts(known) == _counts(own)), own)
        own = replace(own, stated=known.stated, after=known.after)
        tiers = [known for known in tiers if _counts(known) != _counts(own)] + [own]
    breaker = stated.breaker if stated is not None and "breaker" in stated.model_fields_set else limits.breaker
    lanes = dict(stated.lanes) if stated is not None and stated.lanes else dict(limits.lanes)
    return GateSettings(
        tiers=tuple(tiers),
        concurrency=(stated.concurrency if stated is not None else None) or limits.concurrency,
        share=share,
        lanes={Lane[name.upper()]: part for name, part in lanes.items()} or None,
        breaker=BreakerPolicy(
            breaker.failures,
            breaker.cooldown,
            ratio=breaker.ratio,
            calls=breaker.calls,
            longest_seconds=breaker.longest_cooldown,
        ),
        members=dict.fromkeys(members, 1.0),
        deadline_seconds=partner.deadline_seconds,
    )


def tier_spec(tier: TierConfig) -> TierSpec:
    """A limit as a partner's file writes it, in the gate's words."""
    return TierSpec(
        limit=tier.rate.limit,
        window_seconds=tier.rate.window_seconds,
        kind=tier.kind,
        burst=tier.burst,
        budget=tier.budget or "",
        weighted=tier.weighted,
        share=tier.share,
    )


def _counts(tier: TierSpec) -> tuple[float, str, bool]:
    """What makes two limits the same one: window, budget, and whether points are counted."""
    return tier.window_seconds, tier.budget, tier.weighted
