"""Remembering over a restart what was spent: what is stored before a call may leave, what a new process believes.

The rule for a stop that was not clean (kill -9, power):

* windows up to 2 s are stored at a clean end only: otherwise a new process waits one out, and a second more for requests
  that were on their way;
* of a longer window each commit allows a few more calls before the next one (what two seconds bring or a fiftieth of the
  budget, never more than a tenth, at least one); a call beyond waits for it. A new process counts what was stored, and
  as spent now what was in flight then and what the last commit had allowed. The commit at its own start allows nothing
  yet, so a process that is killed before it calls costs nothing;
* what comes back after a day or later (daily and monthly budgets) allows at most 20 calls, or a hundredth;
* where fewer than 20 calls a window are allowed (rare, dear: token requests) each is stored before it leaves;
* where calls at once are counted, the first call of a process sees a commit: from then on any number of them may be under
  way when it is killed, but for what longer windows bound.

Saves are shared: one commit carries every call that waits for it. While calls are made, state is stored about once a
second by one of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

from syncd.clock import Clock
from syncd.limits.book import Book, Call
from syncd.limits.bucket import Tier
from syncd.ports import SlotKeeper

RARE = 20
DEAR_SECONDS = 86400.0
DEAR = 20.0
"""Of what comes back after a day or later (daily and monthly budgets) a kill costs so much at most."""
SAVE_EVERY_SECONDS = 1.0
_MOMENTS = 120
"""A stored window has at most about so many moments in it."""


def allowance(tier: Tier) -> float:
    """How much of a tier may be spent between two commits: little, since each kill loses that much of a window."""
    if tier.ceiling < RARE:
        return 0.0
    if tier.spec.window_seconds >= DEAR_SECONDS:
        return max(1.0, min(DEAR, math.floor(tier.budget * 0.01)))
    brought = math.ceil(2.0 * SAVE_EVERY_SECONDS * tier.budget / tier.spec.window_seconds)
    return max(1.0, min(math.floor(tier.budget * 0.1), max(brought, math.floor(tier.budget * 0.02))))


class Recorder:
    """Stores the book of one scope through its keeper, and reads it back at the start."""

    def __init__(
        self, scope: str, book: Book, clock: Clock, keeper: SlotKeeper | None, *, lost_seconds: float = 1.0
    ) -> None:
        self.scope = scope
        self.lost_seconds = lost_seconds
        """How long a request whose answer nobody waits for may still be on its way."""
        self.book = book
        self.clock = clock
        self.keeper = keeper
        self._saving = asyncio.Lock()
        self._saved = 0
        """The number of the last call that is stored."""
        self._saved_at = float("-inf")
        self._loose: dict[str, float] = {}
        """By tier: what was spent since the last commit."""
        self._allowed: dict[str, float] = {}
        """By tier: what the last commit allowed to be spent before the next."""
        self._clean = False
        """The last commit says that nothing follows it."""
        self._seated = False
        """The last commit says that calls may be under way."""
        self._recalled = False
        self.told: Callable[[], Mapping[str, Any]] = dict
        """What the gate wants remembered beside the slots, as JSON; moments on the wall clock."""

    # -- before a call leaves

    def note(self, call: Call, now: float) -> bool:
        """A call was let go: it counts as not stored. True: `before` has to look whether it must see a commit first."""
        if self.keeper is None:
            return False
        loose, allowed = self._loose, self._allowed
        due = self._clean or self._unseated
        for tier, _ in call.holds:
            if not tier.is_short:
                key = tier.key
                spent = loose[key] = loose.get(key, 0.0) + (call.weight if tier.weighted else 1.0)
                due = due or spent > allowed.get(key, 0.0)
        return due or (bool(loose) and now - self._saved_at >= SAVE_EVERY_SECONDS)

    async def before(self, call: Call) -> None:
        """Return once the call may leave. Raises what the keeper raises; then nothing may be sent."""
        if self._required(call):
            while self._saved < call.number:
                await self._save(call.number)
        elif self._stale() and not self._saving.locked():
            await self._save(call.number)

    def _required(self, call: Call) -> bool:
        if self._saved >= call.number:
            return False
        if self._clean or self._unseated:
            return True
        loose, allowed = self._loose, self._allowed
        keys = [tier.key for tier, _ in call.holds if not tier.is_short]
        return any(loose.get(key, 0.0) > allowed.get(key, 0.0) for key in keys)

    @property
    def _unseated(self) -> bool:
        return self.book.concurrency is not None and not self._seated

    def _stale(self) -> bool:
        return any(self._loose.values()) and self.clock.monotonic() - self._saved_at >= SAVE_EVERY_SECONDS

    async def _save(self, number: int) -> None:
        async with self._saving:
            if self._saved < number:
                await self._write(allow=True)

    # -- the state

    async def persist(self, *, clean: bool) -> None:
        """Store the state now. `clean`: nothing will be sent after this (a call made all the same is stored first)."""
        if self.keeper is not None:
            async with self._saving:
                await self._write(clean=clean)

    async def _write(self, *, clean: bool = False, allow: bool = False) -> None:
        """One commit. Until it is known to have happened, calls keep to what the former and this one both allow."""
        assert self.keeper is not None
        covers, loose = self.book.granted, dict(self._loose)
        started = self.clock.monotonic()
        allowed = {}
        for tier in self.book.tiers:
            key = tier.key
            running = max(0.0, self._allowed.get(key, 0.0) - loose.get(key, 0.0))  # may leave while this is under way
            allowed[key] = 0.0 if clean else max(allowance(tier) if allow else 0.0, running)
        self._clean = self._clean or clean
        seated = not clean and (allow or self._seated)
        self._seated = self._seated and seated
        await self.keeper.save(self.scope, self.snapshot(clean=clean, allowed=allowed, seated=seated))
        self._clean, self._seated = clean, seated
        self._saved = max(self._saved, covers)
        self._saved_at = started
        self._allowed = allowed
        for key, amount in loose.items():
            self._loose[key] = max(0.0, self._loose.get(key, 0.0) - amount)

    def snapshot(
        self, *, clean: bool = False, allowed: Mapping[str, float] | None = None, seated: bool = True
    ) -> dict[str, Any]:
        """The book as JSON: moments as seconds of the wall clock's epoch."""
        now = self.clock.monotonic()
        wall = self.clock.now().timestamp()
        tiers = {}
        for tier in self.book.tiers:
            if tier.is_short and not clean:
                if lessons := _moved(tier.lessons(), wall - now):
                    tiers[tier.key] = lessons
                continue
            state = tier.export(now)
            step = tier.hold_seconds / _MOMENTS
            for name in ("held", "sent"):
                state[name] = _coarse(state[name], wall - now, step)
            state["allowed"] = (allowed or {}).get(tier.key, 0.0)
            tiers[tier.key] = state | _moved(tier.lessons(), wall - now)
        return {
            "version": 1,
            "clean": clean,
            "seated": seated,
            "saved_at": wall,
            "saved_monotonic": now,
            "boot": self.clock.boot,
            "tiers": tiers,
            **self.told(),
        }

    def recall(self, state: Mapping[str, Any] | None, *, clean: bool | None) -> None:
        """Count what a former owner spent. `clean` overrides what the state says about how that one ended.

        Read again (a lease lost and got back), the state takes the place of what is in memory: it knows what we stored,
        what another owner spent meanwhile, and the allowance covers what we had not stored.
        """
        again, self._recalled = self._recalled, True
        if state is None:
            return
        now = self.clock.monotonic()
        ahead = self.ahead(state)
        ended_well = bool(state.get("clean")) if clean is None else clean
        late_seconds = 0.0 if ended_well else self.lost_seconds  # what it sent last may still be on its way
        stored: Mapping[str, Any] = state.get("tiers") or {}
        for tier in self.book.tiers:
            known = stored.get(tier.key)
            if again and (tier.is_short or (known is not None and "held" in known)):
                tier.forget()  # but what a tier counts that was written after the state was stored, only we know
            if known is not None:
                tier.relearn(_moved(known, -ahead), now)
            if tier.is_short and (known is None or "held" not in known or not ended_well):
                tier.charge(now, tier.ceiling, late_seconds=late_seconds)
                continue
            known = known or (None if again else _nearest(tier, stored))
            if known is None:
                continue
            moved = {
                name: [[entry[0] - ahead, *entry[1:]] for entry in known.get(name, ())] for name in ("held", "sent")
            }
            tier.absorb(now, moved, self.lost_seconds)
            unknown = 0.0 if ended_well else float(known.get("allowed", allowance(tier)))
            flown = float(known.get("flying", 0.0))
            if unknown + flown > 0:
                tier.charge(now, unknown, flown=flown, late_seconds=late_seconds)

    def left_behind(self, state: Mapping[str, Any]) -> tuple[float, float]:
        """Calls that were under way when the state was stored, and at most so many that left later, unseen."""
        if not state.get("seated", True):
            return float(state.get("under_way", 0.0)), 0.0
        stored: Mapping[str, Any] = state.get("tiers") or {}
        allowed = [
            float(known.get("allowed", allowance(tier)))
            for tier in self.book.tiers
            if not tier.is_short and not tier.spec.budget and not tier.weighted and (known := stored.get(tier.key))
        ]
        return float(state.get("under_way", 0.0)), min(allowed, default=math.inf)

    def ahead(self, state: Mapping[str, Any]) -> float:
        """By how much the wall clock of this state's moments was ahead of our monotonic one.

        The wall clock may have jumped since. On the same boot of the same machine the monotonic clock tells how much time
        passed; else the database's clock does (`age_seconds`), and only where neither is known the wall clock.
        """
        saved_at = float(state.get("saved_at", 0.0))
        if state.get("boot") and state.get("boot") == self.clock.boot:
            return saved_at - float(state["saved_monotonic"])
        age = state.get("age_seconds")
        passed = self.clock.now().timestamp() - saved_at if age is None else float(age)
        return saved_at + max(passed, 0.0) - self.clock.monotonic()


def _moved(lessons: Mapping[str, Any], by: float) -> dict[str, Any]:
    """What was learned, its moments moved between the monotonic clock and the wall clock."""
    told = lessons.get("learned")
    if told is None:
        return {}
    at = {name: told[name] + by for name in ("since", "forgets_at") if isinstance(told.get(name), float | int)}
    return {"learned": {name: value for name, value in (told | at).items() if value != math.inf}}


def _coarse(entries: list[list[float]], ahead: float, step: float) -> list[list[float]]:
    """The same on the wall clock, moments within a step told as the last of them: few numbers, none too early."""
    told: list[list[float]] = []
    first = -math.inf
    for at, weight, *lane in entries:
        told_at = math.ceil((at + ahead) * 1000) / 1000
        if told and told_at - first <= step and told[-1][2:] == lane:
            told[-1][0] = told_at
            told[-1][1] += weight
        else:
            first = told_at
            told.append([told_at, weight, *lane])
    return told


def _nearest(tier: Tier, stored: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What another tier of the same budget remembered, for one that was configured between two starts."""
    kin = [state for key, state in stored.items() if "held" in state and key.split("|")[0] in ("", tier.spec.budget)]
    return max(kin, key=lambda state: float(state.get("window", 0)), default=None)
