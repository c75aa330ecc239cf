"""Deliveries on their way to table `inbox`: as they came, as rows, who waits to hear of them, and how many there may be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import NamedTuple

import structlog

from syncd import codec
from syncd.errors import StoreError
from syncd.store.scribe import Row

say = structlog.get_logger()

KEY_LENGTH = 255
"""Longest id kept as it is. Beyond, and where it holds what nobody can read or store, its hash stands for it."""
_TEXT_LENGTH = 200

BATCH_ROWS = 500
BATCH_BYTES = 4 * 1024 * 1024
WAITING_ROWS = 10_000
WAITING_BYTES = 64 * 1024 * 1024
"""Deliveries that may wait for their commit, and the bytes of their bodies; further ones are refused."""
CROWDED, ALONE = 2, 8
"""Once this part of the room is taken (a half), who alone holds more than that part of it (an eighth) is refused: however
much one integration brings, the others find room."""

Caller = Callable[[bool | str], None]
"""Who waits: told True (stored now), False (known already) or why it is in doubt."""


class IntakeFullError(StoreError):
    """Too much waits to be stored: come back later."""


class Arrival(NamedTuple):
    """One verified delivery."""

    integration: str
    event_id: str
    route: str
    event_type: str
    headers: dict[str, str]
    """The chosen few to keep."""
    body: bytes
    received_at: datetime


class Share:
    """What one integration has waiting."""

    __slots__ = ("rows", "size")

    def __init__(self) -> None:
        self.rows = 0
        self.size = 0
        """Bytes of bodies."""


class Waiting:
    """A delivery on its way to the table, and those who wait to hear of it."""

    __slots__ = ("callers", "key", "row", "share", "since", "size")

    def __init__(self, key: tuple[str, str], row: Row, size: int, since: float, share: Share, caller: Caller) -> None:
        self.key = key
        self.row = row
        self.size = size
        self.since = since
        self.share = share
        self.callers: tuple[Caller, ...] = (caller,)
        """The first one brought it, the others brought it again meanwhile; empty once they were answered."""


class Room:
    """Where deliveries wait: bounded as a whole, and fair among integrations."""

    def __init__(self) -> None:
        self.line: deque[Waiting] = deque()
        """What no writer has taken yet, oldest first."""
        self.known: dict[tuple[str, str], Waiting] = {}
        """All that is on its way, by key, oldest first: one key is never in two batches at a time."""
        self.rows = 0
        self.size = 0
        self.shares: dict[str, Share] = {}
        """By integration; one that has been configured stays, there are few."""

    def enter(self, arrival: Arrival, caller: Caller, now: float) -> None:
        """Stand in line, or beside the one who brought the same. Raises IntakeFullError."""
        row = row_of(arrival)
        key = row[:2]
        entry = self.known.get(key)
        if entry is not None and len(entry.callers) < BATCH_ROWS:
            entry.callers = (*entry.callers, caller)
            return
        size = len(arrival.body)
        if self.rows >= WAITING_ROWS or self.size + size > WAITING_BYTES or entry is not None:
            raise IntakeFullError(f"{self.rows:,} deliveries wait to be stored already")
        share = self.shares.get(key[0])
        if share is None:
            share = self.shares[key[0]] = Share()
        elif (self.rows * CROWDED >= WAITING_ROWS or self.size * CROWDED >= WAITING_BYTES) and (
            share.rows * ALONE > WAITING_ROWS or share.size * ALONE > WAITING_BYTES
        ):
            raise IntakeFullError(f"{share.rows:,} deliveries of this integration wait to be stored already")
        entry = self.known[key] = Waiting(key, row, size, now, share, caller)
        self.line.append(entry)
        self.rows += 1
        self.size += size
        share.rows += 1
        share.size += size

    def take(self) -> list[Waiting]:
        """All that waits, within a batch's bounds; in the order of their keys, as `Scribe.store` wants it."""
        batch: list[Waiting] = []
        room = BATCH_BYTES
        line = self.line
        while line and len(batch) < BATCH_ROWS and (room >= line[0].size or not batch):
            entry = line.popleft()
            if entry.callers:
                room -= entry.size
                batch.append(entry)
        batch.sort(key=attrgetter("key"))
        return batch

    def settle(self, entry: Waiting, outcome: bool | str) -> None:
        """Tell those who wait for this one, once. What they do with it is not our trouble."""
        callers = entry.callers
        if not callers:
            return
        entry.callers = ()
        del self.known[entry.key]
        size, share = entry.size, entry.share
        self.rows -= 1
        self.size -= size
        share.rows -= 1
        share.size -= size
        for caller in callers:
            try:
                caller(outcome)
            except Exception:
                say.exception("intake_failed")
            if outcome is True:
                outcome = False  # those who brought it again

    def fail(self, entries: Iterable[Waiting], reason: str) -> None:
        for entry in list(entries):
            self.settle(entry, reason)

    def late(self, before: float) -> list[Waiting]:
        """Those who have waited since then or longer."""
        late = []
        for entry in self.known.values():
            if entry.since > before:
                break
            late.append(entry)
        return late

    def tidy(self) -> None:
        """Let go of those at the head of the line who were answered meanwhile, and so of their bodies."""
        while self.line and not self.line[0].callers:
            self.line.popleft()


def row_of(arrival: Arrival) -> Row:
    """As the table takes it, whatever it holds: a NUL, half a surrogate pair or a monstrous id are no reason to fail."""
    integration, event_id, route, event_type, headers, body, received_at = arrival
    if len(event_id) > KEY_LENGTH or not event_id.isprintable() or not event_id:
        event_id = "sha256:" + sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()
    kept = codec.dumps_storable(headers).decode() if headers else "{}"
    return integration, event_id, _text(route), _text(event_type) or None, kept, body, received_at


def _text(text: str) -> str:
    if not text:
        return text
    if len(text) > _TEXT_LENGTH:
        text = text[:_TEXT_LENGTH]
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
