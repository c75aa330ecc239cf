"""One account's truth: what lives in it, and every way in which it changes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta
from email.utils import format_datetime
from typing import ClassVar

from syncd.clock import Clock
from syncd.testing.collection import Entry, Raw, World, merged
from syncd.testing.dice import Dice


class Account(ABC):
    """`state` is the truth; every change goes through `create`, `update`, `put`, `delete`, so that it is announced."""

    mutable: ClassVar[tuple[str, ...]] = ()
    """Resources that the random mutation stream touches."""

    clock: Clock
    state: World
    dice: Dice
    mutated: dict[str, int]
    _stream: asyncio.Task[None] | None

    # What a partner says of itself

    @abstractmethod
    def make_world(self, dice: Dice) -> World:
        """Generated data; another dice gives another tenant's."""

    @abstractmethod
    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        """A new record of a resource: id and content."""

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        """The record after a change; None means: change something."""
        return merged(raw, changes or {})

    def placed_at(self, raw: Raw) -> float:
        """When a new record was created, epoch seconds."""
        return self.now()

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:  # noqa: B027
        """Something changed: write the event log, post webhooks."""

    # Changing the truth

    def now(self) -> float:
        """The partner's clock, epoch seconds."""
        return self.clock.now().timestamp()

    def date(self, later_seconds: float = 0.0) -> str:
        """The partner's clock, or a moment after it, as headers spell it."""
        return format_datetime(self.clock.now() + timedelta(seconds=later_seconds), usegmt=True)

    def create(self, resource: str, fields: Raw | None = None) -> str:
        """A new record, with an event; returns its id. One that cannot be told of is not made."""
        external_id, raw = self.make(resource, fields)
        collection = self.state[resource]
        entry = collection.add(external_id, raw, self.placed_at(raw))
        self.mutated["create"] += 1
        try:
            self.announce("create", resource, None, entry)
        except Exception:
            collection.remove(external_id)
            self.mutated["create"] -= 1
            raise
        return external_id

    def update(self, resource: str, external_id: str, changes: Raw | None = None) -> Entry:
        """Change a record, with an event. Raises KeyError when it does not exist."""
        return self.put(
            resource, external_id, self.alter(resource, self.state[resource].entries[external_id].raw, changes)
        )

    def put(self, resource: str, external_id: str, raw: Raw) -> Entry:
        """Replace a record's whole content, with an event. Raises KeyError when it does not exist.

        What cannot be told of is not done: content that the event's writer fails over is taken back."""
        collection = self.state[resource]
        before = collection.entries[external_id]
        collection.replace(external_id, raw)
        after = collection.entries[external_id]
        self.mutated["update"] += 1
        try:
            self.announce("update", resource, before, after)
        except Exception:
            collection.replace(external_id, before.raw)
            self.mutated["update"] -= 1
            raise
        return after

    def delete(self, resource: str, external_id: str) -> None:
        """Remove a record, with an event. Raises KeyError when it does not exist."""
        before = self.state[resource].remove(external_id)
        self.mutated["delete"] += 1
        self.announce("delete", resource, before, None)

    def deletable(self, resource: str) -> bool:
        """Whether the partner can delete such records at all."""
        return True

    def mutate(self, count: int = 1, resources: tuple[str, ...] = (), shares: tuple[float, float] = (0.3, 0.1)) -> None:
        """So many random changes; `shares` of creations and deletions, the rest are updates."""
        for _ in range(count):
            resource = self.dice.pick(resources or self.mutable)
            collection = self.state[resource]
            roll = self.dice.portion()
            if roll < shares[0] or not collection.order:
                self.create(resource)
                continue
            external_id = self.dice.pick(collection.order)[2]
            if roll < sum(shares) and self.deletable(resource):
                self.delete(resource, external_id)
            else:
                self.update(resource, external_id)

    def truth(self, resource: str) -> dict[str, Raw]:
        """Everything that a complete and fresh copy has, by id. Raises KeyError for an unknown resource."""
        return {entry.id: entry.raw for entry in self.state[resource]}

    def stream(
        self,
        per_second: float,
        total: int | None = None,
        resources: tuple[str, ...] = (),
        shares: tuple[float, float] = (0.3, 0.1),
    ) -> None:
        """Begin random changes in the background, replacing an earlier stream; stops after `total`. Shares as of `mutate`."""
        self.stop_stream()

        async def run() -> None:
            done = 0
            began = self.clock.monotonic()
            while total is None or done < total:
                await self.clock.sleep(max(began + (done + 1) / per_second - self.clock.monotonic(), 0.0))
                self.mutate(1, resources, shares)
                done += 1

        self._stream = asyncio.get_running_loop().create_task(run())

    def stop_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    @property
    def streaming(self) -> bool:
        return self._stream is not None and not self._stream.done()
