"""What a renormalization is, and what of it is handed to the store: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Renormalization:
    """One of them, as it stands."""

    integration: str
    id: int
    resource: str
    adapter: str | None
    dry: bool
    state: str
    """waiting, running, done, failed or cancelled."""
    phase: str
    """`records`, then `rejects`."""
    cursor: str
    """The id of the last record that is done."""
    fence: int
    seen: int
    changed: int
    unchanged: int
    passed: int
    rejected: int
    healed: int
    fields: dict[str, int]
    examples: list[dict[str, Any]]
    asked_by: str
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deaths: int
    """How often in a row its owner ended while a batch was in hand."""
    reading: str
    """Which mapping and which shares of it the records up to the cursor were read by."""

    @property
    def is_active(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class StoredRaw:
    """One live record, as far as an adapter needs it."""

    external_id: str
    raw: Any
    data: Mapping[str, Any] | None
    content_hash: bytes
    adapter: str


@dataclass(frozen=True, slots=True)
class Reread:
    """What an adapter made of one record that is stored otherwise."""

    external_id: str
    known: bytes
    """The hash it is stored under."""
    content_hash: bytes
    data_json: bytes
    adapter: str


@dataclass(slots=True)
class Batch:
    """Some records in the order of their ids, done."""

    seen: int = 0
    last_id: str = ""
    changed: int = 0
    unchanged: int = 0
    passed: int = 0
    rejected: int = 0
    healed: int = 0
    fields: Mapping[str, int] | None = None
    examples: Sequence[Mapping[str, Any]] = ()
    healing: Mapping[str, str] = field(default_factory=dict)
    """Rejects whose records are on the page, by key: the record's id. Those go whose record is stored; where something
    newer is stored already, the next sound version of it ends the reject."""
    readable: bool = False
    """The partner shows one record by its id: of those for which something newer is stored it is asked which is right."""
    asked: int = 0
    """How many it is asked for."""
