"""Taking turns: one queue for many members, none of which can crowd out another."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

_MEMBERS = 1024
"""Idle members remembered; one forgotten merely starts level with the others again."""


class _Member(Generic[T]):
    __slots__ = ("cost", "items", "name", "queued", "turn_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: OrderedDict[int, tuple[T, float]] = OrderedDict()
        self.cost = 0.0
        self.turn_at = 0.0
        self.queued = False


class FairQueue(Generic[T]):
    """First come, first served within a member; among members by virtual time.

    A member's clock advances by `cost / share` with each item served, and the member furthest behind goes next. One
    that was idle starts level with the others: silence earns no credit. `shares` defaults to 1 for each.
    """

    def __init__(self, shares: Mapping[str, float] | None = None) -> None:
        self.shares: Mapping[str, float] = shares or {}
        self._members: dict[str, _Member[T]] = {}
        self._turns: list[tuple[float, int, _Member[T]]] = []
        self._clock = 0.0
        self._count = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for member in self._members.values():
            for item, _ in member.items.values():
                yield item

    def push(self, member: str, item: T, cost: float = 1.0) -> tuple[str, int]:
        """Append; the ticket returned takes the item out again by `discard`."""
        if len(self._members) > _MEMBERS:
            self._members = {name: known for name, known in self._members.items() if known.items}
        found = self._members.get(member)
        if found is None:
            found = self._members[member] = _Member(member)
        self._count += 1
        ticket = member, self._count
        found.items[self._count] = (item, cost)
        found.cost += cost
        self._length += 1
        if not found.queued:
            found.turn_at = max(found.turn_at, self._clock)
            self._enter(found)
        return ticket

    def discard(self, ticket: tuple[str, int]) -> bool:
        """Take one item out; False if it was gone already."""
        member = self._members.get(ticket[0])
        taken = member.items.pop(ticket[1], None) if member is not None else None
        if member is None or taken is None:
            return False
        member.cost -= taken[1]
        self._length -= 1
        return True

    def peek(self) -> T | None:
        """Whose turn it is, without taking it."""
        member = self._next()
        return None if member is None else next(iter(member.items.values()))[0]

    def pop(self) -> T:
        """Take the next item. Raises IndexError when empty."""
        member = self._next()
        if member is None:
            raise IndexError("empty")
        heapq.heappop(self._turns)
        member.queued = False
        _, (item, cost) = member.items.popitem(last=False)
        member.cost -= cost
        self._length -= 1
        self._clock = max(self._clock, member.turn_at)
        member.turn_at += cost / max(self.shares.get(member.name, 1.0), 1e-6)
        if member.items:
            self._enter(member)
        return item

    def ahead(self, member: str) -> tuple[int, float]:
        """How many items this member has waiting, and their cost."""
        found = self._members.get(member)
        return (len(found.items), found.cost) if found else (0, 0.0)

    def _enter(self, member: _Member[T]) -> None:
        self._count += 1
        member.queued = True
        heapq.heappush(self._turns, (member.turn_at, self._count, member))

    def _next(self) -> _Member[T] | None:
        while self._turns:
            member = self._turns[0][2]
            if member.items:
                return member
            heapq.heappop(self._turns)
            member.queued = False
        return None
