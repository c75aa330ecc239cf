"""One record here and there: what differs, field by field. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from syncd import codec
from syncd.kit import Driver, Item, Resource
from syncd.redaction import KNOWN
from syncd.store.comparisons import Kept

LONGEST_VALUE = 200
"""Characters of a value that are shown."""
ALTERED = "altered here: it was stored as the partner sends it"
"""Of a record whose hash is that of the partner's answer, and whose fields are not."""
RAW = "raw."
"""Before the name of a key that only the raw record has."""


class Kind(StrEnum):
    """How a record differs."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field; `raw.` before the name where no adapter maps it."""

    field: str
    here: Any
    there: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that is not the same here and there."""

    external_id: str
    kind: Kind
    fields: tuple[FieldDifference, ...] = ()
    there_at: datetime | None = None
    """Its last change, by the partner's stamp."""
    here_at: datetime | None = None
    """When it was stored here."""
    note: str = ""


@dataclass(slots=True)
class There:
    """One record as the partner shows it now."""

    external_id: str
    item: Item
    updated_at: datetime | None = None
    version: int | None = None
    deleted: bool = False
    fields: dict[str, Any] | None = field(default=None, repr=False)


def seen_there(driver: Driver, resource: Resource, item: Item, adapter: str) -> There:
    """Who an item is. Raises PayloadError for one that does not say."""
    identity = item.identity
    if identity is None:
        assert item.raw is not None
        identity = driver.reading(resource, adapter).identify(item.raw)
    return There(identity.external_id, item, identity.source_updated_at, identity.source_version, identity.deleted)


def differing(driver: Driver, resource: Resource, kept: Kept | None, there: There, adapter: str) -> Difference | None:
    """How the copy differs from what the partner shows; None where it does not. Raises what the driver raises for a record
    it cannot read.

    The copy is compared in the words of the adapter that made it, so that a change of adapter is no drift.
    """
    here = kept if kept is not None and kept.deleted_at is None else None
    if there.deleted:
        return gone(here) if here is not None else None
    if here is None:
        note = f"buried here at {kept.deleted_at:%Y-%m-%d %H:%M} UTC" if kept is not None and kept.deleted_at else ""
        return Difference(there.external_id, Kind.MISSING_HERE, (), there.updated_at, None, note)
    raw = there.item.raw
    if raw is None:
        return None
    _, fields, hashable = driver.reading(resource, here.adapter)
    told = raw if hashable is None else hashable(raw)
    as_sent = not resource.sparse and codec.fingerprint(told, here.adapter)[1] == here.content_hash
    mapped = codec.loads(codec.dumps_storable(fields(raw)))
    if as_sent and here.data == mapped:
        return None
    found = [
        FieldDifference(name, here.data.get(name), mapped.get(name))
        for name in (mapped if resource.sparse else {**mapped, **here.data})
        if not _same(here.data.get(name), mapped.get(name)) or (name in here.data) != (name in mapped)
    ]
    if not found and not as_sent and isinstance(here.raw, dict):
        before = here.raw if hashable is None else hashable(here.raw)
        now = codec.loads(codec.dumps_storable(told))
        before = codec.loads(codec.dumps_storable(before))
        found = [
            FieldDifference(f"{RAW}{name}", before.get(name), now.get(name))
            for name in (now if resource.sparse else {**now, **before})
            if before.get(name) != now.get(name) or (name in before) != (name in now)
        ]
    if not found:
        return None
    note = ALTERED if as_sent else ""
    return Difference(there.external_id, Kind.DIFFERS, tuple(found), there.updated_at, here.synced_at, note)


def _same(here: Any, there: Any) -> bool:
    """Equal as the database tells them: it writes a float that is whole as the number with all its digits."""
    if here == there:
        return True
    match here, there:
        case dict(), dict():
            return here.keys() == there.keys() and all(_same(value, there[name]) for name, value in here.items())
        case list(), list():
            return len(here) == len(there) and all(map(_same, here, there))
        case (int(), float()) | (float(), int()):
            try:
                return float(here) == float(there)
            except OverflowError:
                return False
    return False


def gone(here: Kept) -> Difference:
    """A live record the partner does not have."""
    return Difference(here.external_id, Kind.MISSING_THERE, (), None, here.synced_at)


def shown(value: Any, *, values: bool) -> str:
    """A value for a person: itself where asked for, cut and without secrets, else no more than what kind of thing it is."""
    if values:
        text = KNOWN.mask(value if isinstance(value, str) else codec.dumps_text(value))
        return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"
    match value:
        case None:
            return "nothing"
        case bool():
            return "a yes or no"
        case int() | float():
            return "a number"
        case str():
            return f"text, {len(value)} long"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)}"
    return type(value).__name__
