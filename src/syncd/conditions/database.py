"""The database as the daemon meets it: away, slow, without room, or kept from writing by a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from syncd import own_troubles
from syncd.clock import Clock
from syncd.conditions.hold import Hold
from syncd.conditions.own import Trouble
from syncd.explain import State
from syncd.store import Store
from syncd.store.vitals import DISK_FULL, NO_SPACE

DOWN_SECONDS: Final = 10.0
"""So long nothing can be stored before it is said: a server that restarts at once is no news."""
SLOW_SECONDS: Final = 10.0
"""It is slow, or is not, for so long before it is said."""


class DatabaseWatch:
    """Looks at what the store and intake found out anyway."""

    def __init__(self, store: Callable[[], Store | None], cannot_store: Callable[[], str], clock: Clock) -> None:
        """`cannot_store`: why a delivery could not be stored now, as far as known; empty while it could."""
        self._store = store
        self.cannot_store = cannot_store
        self._down = Hold(clock, DOWN_SECONDS, 0.0)
        self._slow = Hold(clock, SLOW_SECONDS, SLOW_SECONDS)
        self._full = Hold(clock, 0.0, 0.0)
        self._locked = Hold(clock, 0.0, 0.0)

    def down(self) -> Trouble | None:
        why = self.cannot_store()
        since = self._down.look(bool(why) and not _without_room(why))
        return Trouble(State.DOWN, own_troubles.database_down(why, since)) if since is not None and why else None

    def full(self) -> Trouble | None:
        store, why = self._store(), self.cannot_store()
        said = why if _without_room(why) else store.vitals.full if store is not None else ""
        since = self._full.look(bool(said))
        return Trouble(State.DOWN, own_troubles.disk_full_database(said, since)) if since is not None else None

    def slow(self) -> Trouble | None:
        store = self._store()
        if store is None:
            return None
        vitals = store.vitals
        vitals.look()
        since = self._slow.look(vitals.slow and not self.cannot_store())
        if since is None:
            return None
        total, slow, seconds = vitals.latest
        return Trouble(State.DEGRADED, own_troubles.database_slow(seconds, vitals.usual, slow, total, since))

    def locked(self) -> Trouble | None:
        store = self._store()
        tables = store.vitals.locked if store is not None else frozenset()
        since = self._locked.look(bool(tables) and not self.cannot_store())
        return Trouble(State.DOWN, own_troubles.tables_locked(sorted(tables), since)) if since is not None else None


def _without_room(why: str) -> bool:
    return DISK_FULL in why or NO_SPACE in why
