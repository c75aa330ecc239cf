"""What a scope's partner says of its limits, and what its 429s teach: to the tier they speak of, or to the seats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from syncd.clock import Clock
from syncd.limits.adaptive import Learned
from syncd.limits.book import Book, Call
from syncd.limits.bucket import Tier
from syncd.limits.readings import Reading

_STEP_SECONDS = 60.0
"""How often a learned number of seats is raised."""
_SEATS_UNKNOWN = 64
"""Where no number of seats is configured, a learned one that has grown to this is forgotten."""


_EXPLAINED = 0.8
"""When ours and what others spent, as the partner told last, come to so much of the limit, a 429 needs no other reason."""


class Lessons:
    """Of one scope. `notify` hears what is news: `limit_learned`, `limit_near`, `limit_relaxed`."""

    def __init__(self, scope: str, book: Book, clock: Clock, notify: Callable[..., None]) -> None:
        self._scope = scope
        self._book = book
        self._clock = clock
        self._notify = notify
        self._event_number = 0
        """429s of calls up to this number have taught what they can."""
        self._seats = Learned()
        self.refusals = 0
        """429s met."""

    def told(self, call: Call, readings: Iterable[Reading]) -> None:
        """Take the partner's own counts from the answer to this call."""
        for tier, reading, news in self._book.told(call, readings, self._clock.monotonic()):
            if news == "lowered":
                self._learned(tier, tier.told_limit)
                continue
            self._notify(
                "limit_near" if news == "near" else "limit_relaxed",
                scope=self._scope,
                tier=tier.name,
                remaining=reading.remaining,
                limit=tier.most,
                others=tier.foreign,
            )

    def refused(self, call: Call | None, about: str, wait_seconds: float = 0.0) -> bool:
        """A 429, with the wait it told; is it news? Calls sent before the last one that taught belong to its event."""
        self.refusals += 1
        if call is not None and call.number <= self._event_number:
            return False
        if about == "object":
            return True
        self._event_number = self._book.granted
        if about == "seats":
            used = self._book.seats_used
            most = self._book.concurrency or max(1, used)
            # Fewer than half of them in use: then it was not their number.
            told = used if 2 * used >= (self.seats or most) else 0
            self._seats.broke(self._clock.monotonic(), float(most), float(told), _STEP_SECONDS)
            self._book.slowed = self.seats
        else:
            self._book.slowed = 1  # one after another, until one is accepted
            self._break_down(call, wait_seconds)
        return True

    def accepted(self, call: Call) -> None:
        """A call was answered well. One sent after the last 429 shows that more may go again."""
        if call.number > self._event_number:
            most = float(self._book.concurrency or _SEATS_UNKNOWN)
            self._seats.grow(self._clock.monotonic(), most, _STEP_SECONDS)
            self._book.slowed = self.seats

    @property
    def seats(self) -> int | None:
        """How many calls at once the partner is known to bear; None: as many as are configured."""
        return None if self._seats.limit is None else max(1, math.floor(self._seats.limit))

    def export(self) -> dict[str, Any]:
        """What was learned of seats, for the stored state; tiers remember for themselves."""
        if self._seats.limit is None:
            return {}
        return {"seats": {"limit": self._seats.limit, "events": self._seats.events}}

    def absorb(self, state: Mapping[str, Any]) -> None:
        """Take over what `export` told."""
        known = state.get("seats")
        if isinstance(known, Mapping):
            self._seats.absorb(known, self._clock.monotonic(), _STEP_SECONDS)
            self._book.slowed = self.seats

    def _break_down(self, call: Call | None, wait_seconds: float) -> None:
        now = self._clock.monotonic()
        tier = self._book.to_blame(call, now, wait_seconds)
        if tier is None:
            return
        weight = 1.0 if call is None or not tier.weighted else call.weight
        own = weight if call is not None and not call.open else 0.0
        accepted = tier.accepted(now) - own
        if now < tier.left_until and tier.foreign > 0 and accepted + tier.foreign >= _EXPLAINED * tier.most:
            return  # by the partner's own figures others had spent the rest: what is allowed is no less than before
        self._learned(tier, tier.break_down(now, accepted))

    def _learned(self, tier: Tier, observed: float | None) -> None:
        facts = {"yaml": tier.yaml} if tier.is_proven else {}  # one stray 429 is no reason to change a file
        self._notify(
            "limit_learned",
            scope=self._scope,
            tier=tier.name,
            stated=tier.spec.stated_or_limit,
            observed=observed,
            **facts,
        )
