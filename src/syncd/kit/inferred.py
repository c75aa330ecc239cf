"""The shape raw records turn out to have: which fields, of what kind, how often. And how a later shape differs from it.

A shape is a tree of counts, kept up field by field, so it is cheap to add to, to merge and to write down. It holds names
and kinds, never values. Null counts as not there: a field that is null everywhere tells as little as one that is gone.
A whole number and one with a fraction are of one kind, since JSON does not tell them apart.

What is optional is learned: of each field the longest row of objects without it is known, so that one which comes and goes
is missing only after twice the absence it was ever seen to have.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

from syncd.kit.shape_tree import ANY, ENTRY, Node, joined, read, walk, written

MOST_FIELDS: Final = 1_000
"""Fields of one shape that are told apart; what comes after these is not looked at."""
MOST_NAMES: Final = 500
"""Names of one object that are looked at."""
DEEPEST: Final = 8
"""Levels of objects and lists that are looked into."""
ITEMS: Final = 2
"""Entries of a list that are looked at."""
SAMPLE: Final = 4
"""Records of a page that are looked at; those with a number of fields never met are looked at beside them."""
ABSENT_LEAST: Final = 20
"""Objects in a row without a field before it can be missing, however often it was there."""

_KINDS: Final[dict[type, str]] = {str: "text", bool: "boolean", int: "number", float: "number"}
_DATA = re.compile(
    r"[0-9][0-9_.:-]*|[0-9a-f]{16,}|[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}|[0-9]{4}-[0-9]{2}.*|.*[@/].*|.{65,}", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one place."""

    path: str
    kinds: dict[str, int]
    """Kind: how often."""
    present: int
    of: int
    """Objects that could have had it, and how many had (null: had not)."""
    absent: int = 0
    """The latest of these in a row that had not."""

    @property
    def said(self) -> str:
        """Its kinds, the most frequent first."""
        return " or ".join(sorted(self.kinds, key=lambda each: -self.kinds[each])) or "null"


@dataclass(frozen=True, slots=True, order=True)
class Departure:
    """One field that is not as it is known."""

    path: str
    what: str
    """`unknown`, `missing` or `retyped`."""
    expected: str = ""
    """Of a retyped or missing field: what it is known to be."""
    got: str = ""
    """Of a retyped or unknown one: what came."""
    count: int = 1
    """Objects in which it was so."""

    def __str__(self) -> str:
        if self.what == "retyped":
            return f"field {self.path}: expected {self.expected}, got {self.got}"
        return f"field {self.path}: {self.what}" + (f" ({self.got})" if self.got else "")


class Inferred:
    """The shape of the records of one resource."""

    __slots__ = ("fields", "open", "root", "sizes")

    def __init__(self, open_names: Collection[str] = ()) -> None:
        """`open_names`: at the top of a record; what is below them is not looked at, since its names are data."""
        self.open = frozenset(open_names)
        self.root = Node()
        self.fields = 0
        """How many are told apart."""
        self.sizes: set[int] = set()
        """Numbers of top-level fields met."""

    @classmethod
    def of(cls, records: Iterable[Any]) -> Self:
        """The shape of all of these."""
        found = cls()
        for record in records:
            found.add(record)
        return found

    @property
    def records(self) -> int:
        """How many were looked at."""
        return self.root.objects

    def add(self, record: Any) -> None:
        """Look at one record, whatever it is."""
        if type(record) is dict:
            self.sizes.add(len(record))
            self._object(self.root, record, 1)

    def sample(self, records: Sequence[dict[str, Any]], *, turn: int = 0) -> None:
        """Look at some of a page: a few spread over it, and each with a number of fields never met. `turn` moves the
        places, so that pages that come again are looked at elsewhere."""
        if not records:
            return
        step = max(1, len(records) // SAMPLE)
        for record in records[turn % step :: step][:SAMPLE]:
            self._object(self.root, record, 1)
        sizes = self.sizes
        for size in {*map(len, records)} - sizes:
            sizes.add(size)
            self.add(next(record for record in records if len(record) == size))

    def merge(self, later: Inferred) -> None:
        """Add what was seen after this."""
        self.sizes |= later.sizes
        self._merge(self.root, later.root)

    def glimpse(self, alone: Inferred) -> list[Departure]:
        """What is new in records that came one by one, known from then on. That they lack a field proves nothing: they are
        another view of it, or the few that happen to change. That they have it proves that it is not gone."""
        found: list[Departure] = []
        _news(self.root, alone.root, "", found)
        self._teach(self.root, alone.root)
        return sorted(found)

    def paths(self) -> Iterator[Field]:
        """Every place, in the order in which they were met."""
        return _paths(self.root, "")

    def departures(self, record: Any) -> list[Departure]:
        """In what one record differs from this shape: unknown and retyped fields, and those that are established as missing.

        Counts nothing. An absent field is no departure: only many absences together are.
        """
        found: list[Departure] = []
        if type(record) is dict:
            _departures(self.root, record, "", 1, found, self.open)
        return found

    def forgive(self, path: str) -> None:
        """That this field stays away is known; when it comes back, its absence counts as one it may have."""
        for where, node, _ in walk(self.root, ""):
            if where == path:
                node.forgiven = True

    def unlearn(self, path: str, kinds: Collection[str]) -> bool:
        """That this field may be of these kinds is forgotten, as if it had never been. True: it was known."""
        node = next((node for where, node, _ in walk(self.root, "") if where == path), None)
        if node is None or not node.kinds.keys() & set(kinds):
            return False
        for kind in kinds:
            node.kinds.pop(kind, None)
        if "list" not in node.kinds:
            node.children.pop(ENTRY, None)
        if "object" not in node.kinds:
            node.children = {key: child for key, child in node.children.items() if key == ENTRY}
        if not node.children:
            node.objects = 0
        if not node.kinds:
            node.present = node.first = node.last = node.longest = 0
        self.fields = sum(1 for _ in walk(self.root, ""))
        return True

    def grant(self) -> None:
        """All absences so far are such as may be: a listing in the order of age has old fields first and new ones last."""
        for _, node, of in walk(self.root, ""):
            if node.present:
                node.longest = max(node.longest, node.first - 1, of - node.last)

    def as_json(self) -> dict[str, Any]:
        """To be stored."""
        return {"sizes": sorted(self.sizes), **written(self.root)}

    @classmethod
    def from_json(cls, stored: Any, open_names: Collection[str] = ()) -> Self:
        """What `as_json` gave. What is none of it is an empty shape."""
        found = cls(open_names)
        if isinstance(stored, dict):
            found.root = read(stored)
            for node in (found.root.children.get(name) for name in found.open):
                if node is not None:
                    node.children, node.objects = {}, 0
            found.sizes = {each for each in stored.get("sizes", ()) if isinstance(each, int)}
            found.fields = sum(1 for _ in walk(found.root, ""))
        return found

    def _object(self, node: Node, value: dict[str, Any], level: int) -> None:
        node.objects = ordinal = node.objects + 1
        if len(value) > MOST_NAMES:
            value = dict(islice(value.items(), MOST_NAMES))
        children, names = node.children, _KINDS
        for key, inner in value.items():
            child = children.get(key)
            if child is None:
                child = self._new(node, key)
                if child is None:
                    continue
            if inner is None:
                child.nulls += 1
                continue
            last = child.last
            if not last or ordinal - last > 1:
                if not last:
                    child.first = ordinal
                elif ordinal - last - 1 > child.longest:
                    child.longest = ordinal - last - 1
                child.forgiven = False
            if last != ordinal:  # several names that are data are one field
                child.present += 1
                child.last = ordinal
            kinds = child.kinds
            kind = names.get(type(inner))
            if kind is None:
                kind = "list" if type(inner) is list else "object"
                if level < DEEPEST and (level > 1 or key not in self.open):
                    if kind == "object":
                        self._object(child, inner, level + 1)
                    elif inner:
                        self._list(child, inner, level + 1)
            if kind in kinds:
                kinds[kind] += 1
            else:
                kinds[kind] = 1

    def _list(self, node: Node, value: list[Any], level: int) -> None:
        for entry in value[:ITEMS]:
            self._object(node, {ENTRY: entry}, level)

    def _new(self, node: Node, key: str) -> Node | None:
        if key != ENTRY and _DATA.fullmatch(key):
            found = node.children.get(ANY)
            if found is not None:
                return found
            key = ANY
        return self._grown(node, key)

    def _grown(self, node: Node, key: str) -> Node | None:
        """A child it did not have; None where too many are told apart already."""
        if self.fields >= MOST_FIELDS:
            return None
        self.fields += 1
        child = node.children[key] = Node()
        return child

    def _teach(self, node: Node, shown: Node) -> None:
        for key, new in shown.children.items():
            if not new.present:
                continue
            own = node.children.get(key)
            if own is None:
                own = self._grown(node, key)
                if own is None:
                    continue
            elif own.last:
                own.longest = max(own.longest, node.objects - own.last)
            own.first, own.last = own.first or max(node.objects, 1), max(node.objects, own.last, 1)
            own.present, own.forgiven = max(own.present, 1), False
            for kind, count in new.kinds.items():
                own.kinds[kind] = own.kinds.get(kind, 0) + count
            own.objects = max(own.objects, min(new.objects, 1))
            self._teach(own, new)

    def _merge(self, node: Node, later: Node) -> None:
        before = node.objects
        node.objects += later.objects
        for key, new in later.children.items():
            own = node.children.get(key) or self._grown(node, key)
            if own is None:
                continue
            if new.last:
                between = before - own.last + new.first - 1 if own.last else 0
                own.longest = max(own.longest, new.longest, between)
                own.first = own.first or before + new.first
                own.last = before + new.last
                own.forgiven = False
            own.present += new.present
            own.nulls += new.nulls
            for kind, count in new.kinds.items():
                own.kinds[kind] = own.kinds.get(kind, 0) + count
            self._merge(own, new)


def difference(known: Inferred, now: Inferred) -> list[Departure]:
    """In what `now` differs from what is known: unknown and retyped fields, then the missing ones, sorted.

    A field is missing where it was absent (or null) so often in a row that by all that is known of it this is no chance:
    at least ABSENT_LEAST objects, twenty times the distance at which it usually comes, and twice its longest absence.
    """
    return learn(Inferred.from_json(known.as_json()), now)


def learn(known: Inferred, now: Inferred) -> list[Departure]:
    """`difference`, and all of it is known from then on."""
    found: list[Departure] = []
    _news(known.root, now.root, "", found)
    known.merge(now)
    return sorted(found) + missing(known)


def missing(shape: Inferred) -> list[Departure]:
    """The fields of a shape that were there and no longer come."""
    return sorted(
        Departure(path, "missing", _field(path, node, of).said, count=of - node.last)
        for path, node, of in walk(shape.root, "")
        if _is_missing(node, of)
    )


def _is_missing(node: Node, of: int) -> bool:
    absent = of - node.last
    if not node.present or node.forgiven or absent < ABSENT_LEAST:
        return False
    return absent > 2 * node.longest and absent >= 20 * node.last / node.present


def _news(known: Node, now: Node, above: str, found: list[Departure]) -> None:
    for key, new in now.children.items():
        path = joined(above, key)
        own = known.children.get(key)
        if own is None:
            if new.present:
                found.append(Departure(path, "unknown", got=_field(path, new, 0).said, count=new.present))
            continue
        strange = {kind: count for kind, count in new.kinds.items() if kind not in own.kinds}
        if strange and own.kinds:
            expected, got = _field(path, own, 0).said, " or ".join(strange)
            found.append(Departure(path, "retyped", expected, got, sum(strange.values())))
        elif strange:
            found.append(Departure(path, "unknown", got=" or ".join(strange), count=sum(strange.values())))
            continue
        _news(own, new, path, found)


def _departures(
    node: Node, value: dict[str, Any], above: str, level: int, found: list[Departure], closed: Collection[str] = ()
) -> None:
    """`closed`: names of this object that are not looked into."""
    children = node.children
    for key, inner in islice(value.items(), MOST_NAMES):
        if inner is None:
            continue
        child = children.get(key)
        if child is None and key != ENTRY and _DATA.fullmatch(key):
            key, child = ANY, children.get(ANY)
        kind = _KINDS.get(type(inner)) or ("list" if type(inner) is list else "object")
        if child is None or not child.kinds:
            found.append(Departure(joined(above, key), "unknown", got=kind))
        elif kind not in child.kinds:
            path = joined(above, key)
            found.append(Departure(path, "retyped", _field(path, child, 0).said, kind))
        elif key in closed:
            continue
        elif level < DEEPEST and type(inner) is dict:
            _departures(child, inner, joined(above, key), level + 1, found)
        elif level < DEEPEST and type(inner) is list:
            for entry in inner[:ITEMS]:
                _departures(child, {ENTRY: entry}, joined(above, key), level + 1, found)
    for key, child in children.items():
        if value.get(key) is None and key != ANY and _is_missing(child, node.objects):
            path = joined(above, key)
            found.append(Departure(path, "missing", _field(path, child, 0).said))


def _paths(node: Node, above: str) -> Iterator[Field]:
    for path, child, of in walk(node, above):
        yield _field(path, child, of)


def _field(path: str, node: Node, of: int) -> Field:
    return Field(path, node.kinds, node.present, of, max(of - node.last, 0))
