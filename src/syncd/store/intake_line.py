"""A delivery on its way to table `inbox`: as it came, as a row, and who waits to hear of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from syncd import codec
from syncd.errors import StoreError
from syncd.store.scribe import Row

KEY_LENGTH = 255
"""Longest id kept as it is. Beyond, and where it holds what nobody can read or store, its hash stands for it."""
_TEXT_LENGTH = 200


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

    def __init__(
        self, key: tuple[str, str], row: Row, size: int, since: float, share: Share, caller: asyncio.Future[bool | str]
    ) -> None:
        self.key = key
        self.row = row
        self.size = size
        self.since = since
        self.share = share
        self.callers: tuple[asyncio.Future[bool | str], ...] = (caller,)
        """The first one brought it, the others brought it again meanwhile; empty once they were answered."""


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
