"""Taking turns: queues for many members, none of which can crowd out another."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

_MEMBERS = 1024
"""Idle members remembered; one forgotten merely starts level with the others again."""


class Turns:
    """Whose turn it is, by virtual time: shared by queues whose members are to share one thing fairly.

    A member's clock advances by `cost / share` with each item served, and the member furthest behind goes next. One that
    was idle starts level with the others: silence earns no credit. `shares` defaults to 1 for each.
    """

    def __init__(self, shares: Mapping[str, float] | None = None) -> None:
        self.shares: Mapping[str, float] = shares or {}
        self._at: dict[str, float] = {}
        self._clock = 0.0

    def of(self, member: str) -> float:
        """The member's clock."""
        return self._at.get(member, 0.0)

    def enter(self, member: str) -> float:
        """It has work again: level with the others at least."""
        if len(self._at) > _MEMBERS:
            self._at = {name: at for name, at in self._at.items() if at > self._clock}
        at = self._at[member] = max(self._at.get(member, 0.0), self._clock)
        return at

    def serve(self, member: str, cost: float) -> float:
        """It was its turn, and it took so much; returns its clock after that."""
        at = self._at.get(member, 0.0)
        self._clock = max(self._clock, at)
        at = self._at[member] = at + cost / max(self.shares.get(member, 1.0), 1e-6)
        return at


class _Member(Generic[T]):
    __slots__ = ("items", "name", "queued", "weight")

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: OrderedDict[int, tuple[T, float, float]] = OrderedDict()
        self.weight = 0.0
        self.queued = False


class FairQueue(Generic[T]):
    """First come, first served within a member; among members by `turns`."""

    def __init__(self, turns: Turns | None = None) -> None:
        self.turns = turns or Turns()
        self._members: dict[str, _Member[T]] = {}
        self._heap: list[tuple[float, int, _Member[T]]] = []
        self._count = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for member in self._members.values():
            for item, *_ in member.items.values():
                yield item

    def push(self, member: str, item: T, cost: float = 1.0, weight: float = 1.0) -> tuple[str, int]:
        """Append; the ticket returned takes the item out again by `discard`. `cost` moves the member's turn."""
        if len(self._members) > _MEMBERS:
            self._members = {name: known for name, known in self._members.items() if known.items}
        found = self._members.get(member)
        if found is None:
            found = self._members[member] = _Member(member)
        self._count += 1
        ticket = member, self._count
        found.items[self._count] = (item, cost, weight)
        found.weight += weight
        self._length += 1
        if not found.queued:
            self._enter(found, self.turns.enter(member))
        return ticket

    def discard(self, ticket: tuple[str, int]) -> bool:
        """Take one item out; False if it was gone already."""
        member = self._members.get(ticket[0])
        taken = member.items.pop(ticket[1], None) if member is not None else None
        if member is None or taken is None:
            return False
        member.weight -= taken[2]
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
        heapq.heappop(self._heap)
        member.queued = False
        _, (item, cost, weight) = member.items.popitem(last=False)
        member.weight -= weight
        self._length -= 1
        at = self.turns.serve(member.name, cost)
        if member.items:
            self._enter(member, at)
        return item

    def ahead(self, member: str) -> tuple[int, float]:
        """How many items this member has waiting, and their weight."""
        found = self._members.get(member)
        return (len(found.items), found.weight) if found else (0, 0.0)

    def _enter(self, member: _Member[T], at: float) -> None:
        self._count += 1
        member.queued = True
        heapq.heappush(self._heap, (at, self._count, member))

    def _next(self) -> _Member[T] | None:
        while self._heap:
            at, count, member = self._heap[0]
            if not member.items:
                heapq.heappop(self._heap)
                member.queued = False
                continue
            now = self.turns.of(member.name)
            if now <= at:
                return member
            heapq.heapreplace(self._heap, (now, count, member))  # it was served from another queue meanwhile
        return None
