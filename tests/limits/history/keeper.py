"""Stored state as a database keeps it: a commit takes its time, and a process may be killed on either side of it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from syncd.testing.clock import FakeClock


class Storage:
    """What outlives a process: one row, as text."""

    def __init__(self) -> None:
        self.row: str | None = None
        self.commits = 0


class Keeper:
    """One process's way to the storage; once it is dead nothing of it is committed any more."""

    def __init__(self, storage: Storage, clock: FakeClock, dice: random.Random, seconds: float) -> None:
        self._storage = storage
        self._clock = clock
        self._dice = dice
        self._seconds = seconds
        self._alive = True
        self._on_its_way: list[str] = []

    async def save(self, scope: str, state: Mapping[str, Any]) -> None:
        row = json.dumps(state)
        if self._seconds > 0:
            self._on_its_way.append(row)
            try:
                await self._clock.sleep(self._dice.uniform(0.0, self._seconds))
            finally:
                if row in self._on_its_way:
                    self._on_its_way.remove(row)
            self._commit(row)
            await self._clock.sleep(self._dice.uniform(0.0, self._seconds))
        else:
            self._commit(row)

    async def load(self, scope: str) -> Mapping[str, Any] | None:
        return None if self._storage.row is None else json.loads(self._storage.row)  # type: ignore[no-any-return]

    def kill(self) -> None:
        """The process is gone; a commit on its way still happens, or does not."""
        for row in self._on_its_way:
            if self._dice.random() < 0.5:
                self._commit(row)
        self._alive = False

    def _commit(self, row: str) -> None:
        if self._alive:
            self._storage.row = row
            self._storage.commits += 1
