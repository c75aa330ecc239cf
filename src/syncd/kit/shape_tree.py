"""The tree a shape is kept in: one node a place in the records, what was counted there, and how it is written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

ANY: Final = "*"
"""The name of all names that are data: ids, dates, addresses."""
ENTRY: Final = "[]"
"""The name of a list's entries."""

_PLAIN = re.compile(r"[A-Za-z0-9_$:@-]+|\*")


class Node:
    """One place in the records. Ordinals count the objects above it, from 1."""

    __slots__ = ("children", "first", "forgiven", "kinds", "last", "longest", "nulls", "objects", "present")

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        """How often it was of which kind; null is none."""
        self.children: dict[str, Node] = {}
        self.objects = 0
        """How many objects were seen here; of a list's entries too."""
        self.present = 0
        """Objects above it that had it."""
        self.nulls = 0
        self.first = 0
        self.last = 0
        """The first and the last object above that had it; 0: none did."""
        self.longest = 0
        """The longest row of objects without it, between two that had it."""
        self.forgiven = False
        """Somebody has said that it may stay away."""


def joined(above: str, key: str) -> str:
    """A path as a person writes it: `address.city`, `rooms[].beds`, `prices.*`."""
    if key == ENTRY:
        return above + ENTRY
    name = key if _PLAIN.fullmatch(key) else '"' + key.replace('"', '\\"') + '"'
    return f"{above}.{name}" if above else name


def walk(node: Node, above: str) -> Iterator[tuple[str, Node, int]]:
    """Every place below: its path, its node, and how many objects could have had it."""
    for key, child in node.children.items():
        path = joined(above, key)
        yield path, child, node.objects
        yield from walk(child, path)


_COUNTS = ("objects", "present", "nulls", "first", "last", "longest")


def written(node: Node) -> dict[str, Any]:
    """To be stored; what is nothing is left out."""
    told: dict[str, Any] = {name: count for name in _COUNTS if (count := getattr(node, name))}
    if node.kinds:
        told["kinds"] = node.kinds
    if node.forgiven:
        told["forgiven"] = True
    if node.children:
        told["fields"] = {key: written(child) for key, child in node.children.items()}
    return told


def read(stored: dict[str, Any]) -> Node:
    """What `written` gave."""
    node = Node()
    for name in _COUNTS:
        count = stored.get(name, 0)
        setattr(node, name, count if isinstance(count, int) else 0)
    node.kinds = {str(kind): int(count) for kind, count in stored.get("kinds", {}).items()}
    node.forgiven = bool(stored.get("forgiven"))
    node.children = {key: read(child) for key, child in stored.get("fields", {}).items()}
    return node
