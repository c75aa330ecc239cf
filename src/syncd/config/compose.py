"""From PyYAML's events to nodes that know their place. PyYAML parses the text; meaning and bounds are decided here.

Refused, each with its place: duplicate keys, unknown tags, a second document, aliases that multiply or contain
themselves, deep nests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from syncd.config.scalars import resolve

MOST_DEPTH = 40
MOST_NODES = 50_000
"""After aliases are followed: what a reader would have to hold."""
_TAG = "tag:yaml.org,2002:"


class Mark(NamedTuple):
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Node:
    """One YAML node. `value` is a scalar's value, a list of Nodes, or a dict of key -> (the key's Mark, Node)."""

    value: Any
    mark: Mark
    end: Mark
    size: int = 1
    """Nodes at and below this one, aliases followed."""
    depth: int = 1


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Node
    key: Node | None = None
    """In a mapping: the key that waits for its value."""


class RefusedError(Exception):
    """The document cannot be used at all; `mark` says where reading stopped."""

    def __init__(self, message: str, mark: Mark, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark
        self.help = help


Note = Callable[[str, Mark, str], object]
"""Takes a mistake that does not stop the reading: message, place, help."""


def compose(text: str, note: Note) -> Node | None:
    """The document's root, or None if it is empty. Raises RefusedError, and PyYAML's own errors for what is no YAML.

    Read by libyaml, ten times as fast. What that cannot take, or takes otherwise, is read by PyYAML, whose words and places
    are the ones shown.
    """
    if any(odd in text for odd in _READ_OTHERWISE):
        return _Composer(note).run(text, yaml.SafeLoader)
    noted: list[tuple[str, Mark, str]] = []
    try:
        root = _Composer(lambda *mistake: noted.append(mistake)).run(text, _QUICK)
    except (yaml.YAMLError, RefusedError):
        return _Composer(note).run(text, yaml.SafeLoader)
    for mistake in noted:
        note(*mistake)
    return root


_QUICK: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_READ_OTHERWISE: Final = ("\t", "\ufeff")
"""Tabs between words, which libyaml lets pass more often, and a byte order mark, which it counts as a column."""


class _Composer:
    """Keeps a stack of its own, so that depth costs memory and never recursion."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self._documents = 0

    def run(self, text: str, parser: Any) -> Node | None:
        root: Node | None = None
        for event in yaml.parse(text, Loader=parser):
            node = self._take(event)
            if node is None:
                continue
            if self._stack:
                self._attach(self._stack[-1], node)
            else:
                root = node
        return None if root is None or root.value is None else root

    def _take(self, event: Any) -> Node | None:
        """The node that this event completes, if it completes one."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise RefusedError("a second document", _at(event.start_mark), "one file holds one document")
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.ScalarEvent():
                node = Node(_scalar(event), _at(event.start_mark), _at(event.end_mark))
                if event.anchor:
                    self._anchors[event.anchor] = node
                return node
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._open(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                node = self._stack.pop().node
                node.end = _at(event.end_mark)
                return node
        return None

    def _open(self, event: Any) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        mark = _at(event.start_mark)
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            raise RefusedError(f"unknown tag {event.tag!r}", mark, "syncd knows no YAML tags")
        if len(self._stack) >= MOST_DEPTH:
            raise RefusedError(f"nested deeper than {MOST_DEPTH} levels", mark)
        opened = Node({} if is_mapping else [], mark, mark)
        if event.anchor:
            self._anchors[event.anchor] = opened
        self._stack.append(_Open(opened))

    def _alias(self, event: Any) -> Node:
        mark = _at(event.start_mark)
        held = self._anchors.get(event.anchor)
        if held is None:
            raise RefusedError(f"unknown alias '*{event.anchor}'", mark)
        if any(place.node is held for place in self._stack):
            raise RefusedError(f"alias '*{event.anchor}' contains itself", mark)
        node = Node(held.value, mark, _at(event.end_mark), held.size, held.depth)
        if node.depth + len(self._stack) > MOST_DEPTH:
            raise RefusedError(f"nested deeper than {MOST_DEPTH} levels", mark)
        return node

    def _attach(self, place: _Open, node: Node) -> None:
        parent = place.node
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif place.key is None:
            place.key = node
            return
        else:
            key, place.key = place.key, None
            if self._is_sound_key(parent, key):
                parent.value[key.value] = (key.mark, node)
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > MOST_NODES:
            raise RefusedError(f"more than {MOST_NODES} values once aliases are followed", node.mark)

    def _is_sound_key(self, parent: Node, key: Node) -> bool:
        if isinstance(key.value, (dict, list)):
            self._note("a key must be a plain text", key.mark, "")
        elif not isinstance(key.value, str):
            # `1: x` and `true: x` are legal YAML; everything here is looked up by text.
            self._note("a key must be a text, this reads as another type", key.mark, "put the key in quotes")
        elif key.value == "<<":
            self._note(
                "'<<' merges mappings in YAML 1.1 only",
                key.mark,
                "a partner's `resources:` are the defaults of all its integrations",
            )
        elif key.value in parent.value:
            first = parent.value[key.value][0]
            self._note(f"duplicate key {key.value!r}", key.mark, f"it stands in line {first.line} already; keep one")
        else:
            return True
        return False


def _at(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def _scalar(event: Any) -> Any:
    text: str = event.value
    tag: str | None = event.tag
    if tag is None:
        return resolve(text) if event.implicit[0] and not event.style else text  # plain: None, or "" of libyaml
    if tag in ("!", _TAG + "str"):
        return text
    mark = _at(event.start_mark)
    value = resolve(text)
    match tag.removeprefix(_TAG):
        case "int":
            sound = isinstance(value, int) and not isinstance(value, bool)
        case "float":
            sound = isinstance(value, (int, float)) and not isinstance(value, bool)
            value = float(value) if sound else value
        case "bool":
            sound = isinstance(value, bool)
        case "null":
            sound = value is None
        case _:
            raise RefusedError(f"unknown tag {tag!r}", mark, "syncd knows no YAML tags")
    if not sound:
        raise RefusedError(f"{text!r} is not of type {tag.removeprefix(_TAG)}", mark)
    return value
