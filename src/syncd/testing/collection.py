"""The partner's own copy of the truth: ordered, mutable, already serialised where nothing changed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

Raw = dict[str, Any]
Key = tuple[float, int]


class Entry:
    """One record: its id, its place in the order of creation, its content (never changed in place) and its bytes."""

    __slots__ = ("_encoded", "id", "key", "raw")

    def __init__(self, external_id: str, key: Key, raw: Raw) -> None:
        self.id = external_id
        self.key = key
        self.raw = raw
        self._encoded: bytes | None = None

    @property
    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = orjson.dumps(self.raw)
        return self._encoded


class Collection:
    """Records of one resource in the order of their creation.

    Contents are replaced, never edited, so a snapshot taken for an event stays what it was. Removed records leave their
    place behind (`gone`), because a cursor that names one goes on working at real partners.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: dict[str, Entry] = {}
        self.order: list[tuple[float, int, str]] = []
        self.gone: dict[str, Key] = {}
        self.version = 0
        self.sequence = 0
        self.indexes: dict[str, list[tuple[Any, str]]] = {}
        self._kept: dict[Any, list[Entry]] = {}
        self._kept_version = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        """Oldest first."""
        return (self.entries[external_id] for _, _, external_id in self.order)

    def get(self, external_id: str) -> Entry | None:
        return self.entries.get(external_id)

    def add(self, external_id: str, raw: Raw, at: float) -> Entry:
        """A new record, created at that epoch second; among equals the later added is the newer."""
        self.sequence += 1
        entry = Entry(external_id, (at, self.sequence), raw)
        place = (at, self.sequence, external_id)
        if not self.order or place > self.order[-1]:
            self.order.append(place)
        else:
            insort(self.order, place)
        self.entries[external_id] = entry
        self.gone.pop(external_id, None)
        for path, index in self.indexes.items():
            insort(index, (value_at(raw, path), external_id))
        self.version += 1
        return entry

    def replace(self, external_id: str, raw: Raw) -> None:
        entry = self.entries[external_id]
        for path, index in self.indexes.items():
            before, after = value_at(entry.raw, path), value_at(raw, path)
            if before != after:
                del index[bisect_left(index, (before, external_id))]
                insort(index, (after, external_id))
        changed = Entry(external_id, entry.key, raw)
        self.entries[external_id] = changed
        self.version += 1

    def remove(self, external_id: str) -> Entry:
        entry = self.entries.pop(external_id)
        del self.order[bisect_left(self.order, (*entry.key, external_id))]
        self.gone[external_id] = entry.key
        for path, index in self.indexes.items():
            del index[bisect_left(index, (value_at(entry.raw, path), external_id))]
        self.version += 1
        return entry

    def place(self, external_id: str) -> Key | None:
        """Where a record stands, or stood before it was removed."""
        entry = self.entries.get(external_id)
        return entry.key if entry is not None else self.gone.get(external_id)

    def before(self, key: Key) -> Iterator[Entry]:
        """Older than `key`, newest first."""
        for position in range(bisect_left(self.order, key) - 1, -1, -1):
            yield self.entries[self.order[position][2]]

    def after(self, key: Key) -> Iterator[Entry]:
        """Newer than `key`, oldest first."""
        start = bisect_left(self.order, (key[0], key[1] + 1))
        for position in range(start, len(self.order)):
            yield self.entries[self.order[position][2]]

    def sorted_by(self, path: str) -> list[Entry]:
        """All records by one text or number field, ascending, ties by id; missing ones first. Kept up to date."""
        index = self.indexes.get(path)
        if index is None:
            index = self.indexes[path] = sorted((value_at(entry.raw, path), entry.id) for entry in self)
        return [self.entries[external_id] for _, external_id in index]

    def chosen(self, token: Any, choose: Callable[[], list[Entry]]) -> list[Entry]:
        """The result of a filter and sort, kept while nothing changes: a client that pages asks for it every time."""
        if self._kept_version != self.version or len(self._kept) > 8:
            self._kept.clear()
            self._kept_version = self.version
        found = self._kept.get(token)
        if found is None:
            found = self._kept[token] = choose()
        return found

    def subset(self, keep: Callable[[Entry], bool]) -> Collection:
        """Another collection with only some of the records, each in its place."""
        thinner = Collection(self.name)
        thinner.order = [place for place in self.order if keep(self.entries[place[2]])]
        thinner.entries = {external_id: self.entries[external_id] for _, _, external_id in thinner.order}
        thinner.gone = dict(self.gone)
        thinner.version, thinner.sequence = self.version, self.sequence
        return thinner


def value_at(raw: Any, path: str) -> Any:
    """The value at a dotted path as something that sorts beside any other: none, numbers, text, the rest."""
    found = dig(raw, path)
    if found is None:
        return (0, 0)
    if isinstance(found, int | float):
        return (1, found)
    return (2, found) if isinstance(found, str) else (3, str(found))


def dig(raw: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for part in path.split("."):
        if not isinstance(raw, dict):
            return None
        raw = raw.get(part)
    return raw


def joined(entries: Iterable[Entry]) -> bytes:
    """A JSON array's inside, from records already serialised."""
    return b",".join([entry.encoded for entry in entries])


def share_of(external_id: str) -> float:
    """A number in [0, 1) that is always the same for an id: how a share of a listing is chosen."""
    return int.from_bytes(hashlib.blake2b(external_id.encode(), digest_size=6).digest()) / 2**48


def merged(raw: Raw, changes: Raw) -> Raw:
    """A new record with the changes laid over it; mappings are merged, everything else is replaced."""
    fresh = dict(raw)
    for name, value in changes.items():
        old = fresh.get(name)
        fresh[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return fresh


class World:
    """All collections of one simulated account, and the few facts they share."""

    def __init__(self, names: Iterable[str] = (), **facts: Any) -> None:
        self.collections: dict[str, Collection] = {name: Collection(name) for name in names}
        self.facts = facts

    def __getitem__(self, name: str) -> Collection:
        return self.collections[name]

    def __contains__(self, name: object) -> bool:
        return name in self.collections

    def add(self, name: str) -> Collection:
        return self.collections.setdefault(name, Collection(name))
