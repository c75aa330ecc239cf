"""How a simulator enforces limits: exactly, on arrival, and with every arrival remembered.

This is the partner's side of the quota and shares nothing with `syncd.limits`, so that a mistake there cannot hide
here. A sliding tier is a true log: a call is refused when the calls accepted in the `window_seconds` before it
already make up the limit. Refused calls do not count against the client (a client that only ever waits must
recover), but each of them is a violation, and the peaks count every arrival. A limit that was lowered without a word
is enforced all the same; refusals that only this explains are `surprises` and no violations.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}
RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*$")


class Counted(Protocol):
    """What a tier may look at to decide whether, and in which book, a call counts."""

    @property
    def method(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def args(self) -> Mapping[str, str]: ...
    @property
    def budget(self) -> str: ...


KeyOf = Callable[["Counted"], "str | None"]


def everything(call: Counted) -> str | None:
    """One book for all calls that spend from an account's budgets (not the token endpoint)."""
    return None if call.budget == "token" else ""


def each_route(call: Counted) -> str | None:
    """A book for each method and route; ids in the path share it."""
    return None if call.budget == "token" else f"{call.method} {call.route}"


def budget(name: str) -> KeyOf:
    """One book for the calls of that budget."""
    return lambda call: "" if call.budget == name else None


def never(call: Counted) -> str | None:
    """Counted by the handler itself (`Enforcer.spend`), since the cost is known only there."""
    return None


@dataclass(frozen=True, slots=True)
class Tier:
    """At most `limit` (calls, or units of weight) in any `window_seconds`. `key` names the book, None: does not
    count. `stated` is what the partner goes on saying where it lowered the limit without a word."""

    name: str
    limit: float
    window_seconds: float
    kind: str = "sliding"
    key: KeyOf = everything
    reason: str = ""
    stated: float | None = None

    @property
    def told(self) -> float:
        """The limit as the partner states it."""
        return self.limit if self.stated is None else self.stated


@dataclass(frozen=True, slots=True)
class Seats:
    """At most `limit` calls in flight at once."""

    name: str
    limit: int
    key: KeyOf = everything
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was turned away, and after how many seconds it would pass if nothing else came."""

    tier: Tier | Seats
    wait_seconds: float


def rate(text: str) -> tuple[float, float]:
    """(limit, window in seconds) of `10/s`, `10/1s`, `120/min`, `300/120s`, `5/24h`. Raises ValueError."""
    found = RATE.match(text.lower())
    if found is None or found[3] not in UNITS:
        raise ValueError(f"not a rate: {text!r}; write it like 10/s, 120/min or 300/120s")
    return float(found[1]), float(found[2] or 1) * UNITS[found[3]]


def tiers_from(option: Iterable[str | Mapping[str, Any]]) -> list[Tier]:
    """Tiers from a simulator's `tiers` option: rates, or mappings with `rate`, `kind`, `budget`, `per_route`,
    `name`."""
    made = []
    for entry in option:
        facts: Mapping[str, Any] = {"rate": entry} if isinstance(entry, str) else entry
        limit, window = rate(str(facts["rate"]))
        key: KeyOf = each_route if facts.get("per_route") else everything
        if "budget" in facts:
            key = budget(str(facts["budget"]))
        made.append(Tier(str(facts.get("name", facts["rate"])), limit, window, str(facts.get("kind", "sliding")), key))
    return made


class Log:
    """Arrivals of the last window with their running sum."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[tuple[float, float]] = deque()
        self.total = 0.0

    def expire(self, before: float) -> None:
        entries = self.entries
        while entries and entries[0][0] <= before:
            self.total -= entries.popleft()[1]
        if not entries:
            self.total = 0.0  # no drift from float weights

    def add(self, at: float, weight: float) -> None:
        self.entries.append((at, weight))
        self.total += weight


class Book:
    """One tier's count for one key."""

    __slots__ = ("accepted", "peak", "seen", "surprises", "tier", "violations", "window")

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.accepted, self.seen = Log(), Log()
        self.peak = 0.0
        self.violations = 0
        self.surprises = 0
        self.window = -1

    def wait(self, now: float, weight: float) -> float:
        """Seconds until a call of that weight would pass; 0 when it passes now. Counts it as seen."""
        tier = self.tier
        if tier.kind == "fixed":
            window = int(now // tier.window_seconds)
            if window != self.window:
                self.window = window
                self.accepted, self.seen = Log(), Log()
        else:
            self.accepted.expire(now - tier.window_seconds)
            self.seen.expire(now - tier.window_seconds)
        self.seen.add(now, weight)
        self.peak = max(self.peak, self.seen.total)
        over = self.accepted.total + weight - tier.limit
        if over <= 1e-9:
            return 0.0
        if tier.stated is not None and self.seen.total <= tier.stated + 1e-9:
            self.surprises += 1
        else:
            self.violations += 1
        if tier.kind == "fixed":
            return max((self.window + 1) * tier.window_seconds - now, 1e-3)
        for at, spent in self.accepted.entries:
            over -= spent
            if over <= 1e-9:
                return max(at + tier.window_seconds - now, 1e-3)
        return tier.window_seconds

    def left(self, now: float) -> float:
        """What remains of the limit at this moment."""
        if self.tier.kind == "fixed":
            spent = self.accepted.total if int(now // self.tier.window_seconds) == self.window else 0.0
        else:
            self.accepted.expire(now - self.tier.window_seconds)
            spent = self.accepted.total
        return max(self.tier.limit - spent, 0.0)


class Enforcer:
    """All tiers and seats of one simulated partner."""

    def __init__(self, tiers: Sequence[Tier], seats: Sequence[Seats] = (), *, enforce: bool = True) -> None:
        self.tiers = list(tiers)
        self.seats = list(seats)
        self.enforce = enforce
        self.reset()

    def reset(self) -> None:
        """Forget every count; seats in use stay in use."""
        self.books: dict[tuple[str, str], Book] = {}
        self.in_flight: dict[tuple[str, str], int] = getattr(self, "in_flight", {})
        self.seat_peaks: dict[str, int] = {}
        self.seat_violations: dict[str, int] = {}

    def scale(self, factor: float, tier: str = "", *, silent: bool = False) -> None:
        """Lower (or raise) every limit, or one tier's, from now on, as partners do during an incident.

        `silent`: what the partner says of itself stays as it was. Raises KeyError for a tier it does not have.
        """
        if tier and all(known.name != tier for known in self.tiers):
            raise KeyError(tier)
        self.tiers = [
            replace(known, limit=max(known.limit * factor, 1.0), stated=known.told if silent else None)
            if tier in ("", known.name)
            else known
            for known in self.tiers
        ]
        for (name, _), book in self.books.items():
            book.tier = next(known for known in self.tiers if known.name == name)

    def book(self, tier: Tier, key: str) -> Book:
        book = self.books.get((tier.name, key))
        if book is None:
            book = self.books[(tier.name, key)] = Book(tier)
        return book

    def arrive(self, call: Counted, now: float) -> tuple[Refusal | None, list[tuple[str, str]]]:
        """Count one arrival. Returns the refusal, if any, and the seats it holds (give them to `leave`)."""
        refusal: Refusal | None = None
        held: list[tuple[str, str]] = []
        for seats in self.seats:
            key = seats.key(call)
            if key is None:
                continue
            place = (seats.name, key)
            taken = self.in_flight.get(place, 0) + 1
            self.in_flight[place] = taken
            held.append(place)
            if taken > self.seat_peaks.get(seats.name, 0):
                self.seat_peaks[seats.name] = taken
            if taken > seats.limit and self.enforce:
                self.seat_violations[seats.name] = self.seat_violations.get(seats.name, 0) + 1
                refusal = Refusal(seats, 1.0)
        passed: list[Book] = []
        for tier in self.tiers:
            key = tier.key(call)
            if key is None:
                continue
            book = self.book(tier, key)
            wait = book.wait(now, 1.0)
            if wait and self.enforce:
                if refusal is None or wait > refusal.wait_seconds:
                    refusal = Refusal(tier, wait)
            else:
                passed.append(book)
        if refusal is None:
            for book in passed:
                book.accepted.add(now, 1.0)
        return refusal, held

    def leave(self, held: list[tuple[str, str]]) -> None:
        """The call is answered; call it before the last byte leaves, or an honest client looks like one too many."""
        for place in held:
            self.in_flight[place] -= 1
        held.clear()

    def spend(self, name: str, weight: float, now: float, key: str = "") -> Refusal | None:
        """Charge a tier the handler counts itself. A tier that is not configured refuses nothing."""
        for tier in self.tiers:
            if tier.name == name:
                book = self.book(tier, key)
                wait = book.wait(now, weight)
                if wait and self.enforce:
                    return Refusal(tier, wait)
                book.accepted.add(now, weight)
        return None

    @property
    def violations(self) -> int:
        """Arrivals beyond a stated limit (a call that broke two tiers counts in both)."""
        if not self.enforce:
            return 0
        return sum(book.violations for book in self.books.values()) + sum(self.seat_violations.values())

    @property
    def surprises(self) -> int:
        """Refusals under a limit that was lowered without a word, of calls within the stated one."""
        return sum(book.surprises for book in self.books.values()) if self.enforce else 0

    def view(self) -> dict[str, Any]:
        """For each tier: limit, stated, window, the highest sum ever seen in a window, violations, surprises."""
        shown: dict[str, Any] = {}
        for tier in self.tiers:
            books = [book for (name, _), book in self.books.items() if name == tier.name]
            shown[tier.name] = {
                "limit": tier.limit,
                "stated": tier.told,
                "window_seconds": tier.window_seconds,
                "kind": tier.kind,
                "peak": max((book.peak for book in books), default=0),
                "violations": sum(book.violations for book in books) if self.enforce else 0,
                "surprises": sum(book.surprises for book in books) if self.enforce else 0,
            }
        for seats in self.seats:
            shown[seats.name] = {
                "limit": seats.limit,
                "kind": "seats",
                "peak": self.seat_peaks.get(seats.name, 0),
                "violations": self.seat_violations.get(seats.name, 0),
            }
        return shown


def most_in_window(times: Sequence[float] | array[float], window_seconds: float) -> int:
    """The most arrivals in any sliding window: computed after the fact from the whole log, for every window there
    was."""
    ordered = sorted(times)
    most = first = 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - window_seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def busiest(times: Sequence[float], window_seconds: float) -> float:
    """When the fullest window began (for failure messages)."""
    ordered = sorted(times)
    best, start = 0, 0.0
    for first, at in enumerate(ordered):
        count = bisect_right(ordered, at + window_seconds) - first
        if count > best:
            best, start = count, at
    return start
