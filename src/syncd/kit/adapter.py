"""From a raw record to what is stored: its identity and its normalized fields, by paths compiled once per resource.

This runs for every record of every page, so each step is a closure made beforehand and nothing is decided twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from syncd.errors import PayloadError
from syncd.kit import coerce
from syncd.kit.assembling import Assembly
from syncd.kit.identity import identifier, moment
from syncd.kit.paths import MISSING, Getter, getter, kind, only_key, steps
from syncd.kit.shapes import HEADER, MappedField
from syncd.model import Identity, Item, Raw, Record, Response

if TYPE_CHECKING:
    from syncd.kit.resource import Resource

_ADAPTER = "v1"
PLACES = re.compile(r"\{[^{}]*\}")
_Fit = Callable[[Any], Any]
_Plan = tuple[tuple[str, str | None, Getter, _Fit | None, type | None, Any, bool, bool], ...]
_AS_IT_IS: dict[str | None, type] = {"text": str, "boolean": bool, "list": list, "object": dict}
"""A value of just this type is what the coercion would return."""


def answer_getter(path: str) -> Callable[[Response], Any]:
    """Compile a path into an answer: into its JSON body, or `header:NAME`."""
    if path.startswith(HEADER):
        name = path.removeprefix(HEADER).strip()
        return lambda response: response.headers.get(name, MISSING)
    inside = getter(path)
    return lambda response: inside(response.json())


class Shape:
    """One adapter of one resource, compiled."""

    def __init__(self, resource: Resource, name: str) -> None:
        other = resource.adapters.get(name)
        self.name = name
        self.identify = identifier(
            resource,
            resource.id if other is None or other.id is None else other.id,
            resource.updated if other is None or other.updated is None else other.updated,
        )
        self.plan = _plan(resource.mapped(name), sparse=resource.sparse)

    def normalize(self, raw: Raw) -> dict[str, Any]:
        """The normalized fields. Raises PayloadError naming the field that does not fit."""
        data: dict[str, Any] = {}
        name = ""
        try:
            for name, key, get, fit, sound, default, required, leave_out in self.plan:
                value = get(raw) if key is None else raw.get(key, MISSING)
                if value is None or value is MISSING:
                    if value is MISSING and leave_out:
                        continue
                    if required:
                        raise PayloadError(f"required, got {kind(value)}")
                    data[name] = default
                else:
                    data[name] = value if fit is None or type(value) is sound else fit(value)
        except PayloadError as error:
            raise PayloadError(f"field {name}: {error}", hint=error.hint) from None
        return data


class Reader:
    """What a resource's description says about reading its answers, compiled."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        names = {_ADAPTER, *resource.adapters}
        self._shapes = {name: Shape(resource, name) for name in names}
        self._own = self._shapes[_ADAPTER]
        paths = (resource.records,) if isinstance(resource.records, str) else resource.records
        self._lists = [(path, answer_getter(path)) for path in paths]
        self._assembly = Assembly.of(resource)
        self._total = answer_getter(resource.total) if resource.total else None
        self._tenant = getter(resource.tenant) if resource.tenant else None
        self._order = moment(resource.order, "order") if resource.order else None
        self._volatile = tuple(path.split(".") for path in resource.volatile)
        self._compared = resource.compared
        self._adopts = _parent_in(resource.path) if resource.adopt is not None else None

    def shape(self, adapter: str = "") -> Shape:
        """The compiled adapter; the resource's own where it has none of that name."""
        return self._shapes.get(adapter, self._own)

    def identify(self, raw: Raw, adapter: str = "") -> Identity:
        """Who a raw record is. Raises PayloadError when it has no usable id or its stamp does not read."""
        return self._shapes.get(adapter, self._own).identify(raw)

    def normalize(self, raw: Raw, adapter: str = "") -> Record:
        """The record. Raises PayloadError naming the field that does not fit."""
        shape = self._shapes.get(adapter, self._own)
        return Record(shape.identify(raw), shape.normalize(raw), adapter or _ADAPTER)

    def records(self, response: Response) -> list[Any]:
        """The page's raw records. `null` in place of the list is an empty one; anything else raises PayloadError."""
        found = self.rows(response)
        return found if self._assembly is None or not found else self._assembly.records(found, response)

    def rows(self, response: Response) -> list[Any]:
        """What the page lists, which is what partners count: the records, or what has them in a list inside. As `records`."""
        found: Any = MISSING
        for _, get in self._lists:
            found = get(response)
            if type(found) is dict and self._resource.keyed:
                found = list(found.values())
            if type(found) is list:
                return found
        if found is None or (response.reads is not None and self._is_empty(response)):
            return []
        where = " or ".join(f"`{path}`" if path else "the top of the answer" for path, _ in self._lists)
        raise PayloadError(
            f"{self._resource.name}: expected a list at {where}, got {kind(found)}",
            resource=self._resource.name,
            status=response.status_code,
        )

    def _is_empty(self, response: Response) -> bool:
        """XML has no empty list: below the right root the list's element, or one above it, is not there. Or nothing came."""
        told = response.json()
        if told == {}:
            return True
        for path, _ in self._lists:
            way = steps(path) or [0]
            if not isinstance(told, dict) or way[0] not in told:
                continue
            inner: Any = told
            for step in way:
                if not isinstance(inner, dict) or step not in inner:
                    break
                inner = inner[step]
            else:
                return bool(inner == "")
            return isinstance(inner, dict) or inner == ""
        return False

    def completed(self, raw: Any, response: Response) -> Any:
        """A raw record that was read by itself, as the listing would show it."""
        return raw if self._assembly is None else self._assembly.one(raw, response)

    def items(self, response: Response) -> list[Item]:
        """The page's records as items. What is no object is wrapped, so that it becomes a reject and not an exception."""
        name, found = self._resource.name, self.records(response)
        if self._adopts is None or not found:
            return [Item(name, raw if type(raw) is dict else {"value": raw}) for raw in found]
        above = {self._resource.adopt or "": self._adopts(response)}
        return [Item(name, {**raw, **above} if type(raw) is dict else {"value": raw}) for raw in found]

    def total(self, response: Response) -> int | None:
        """How many records the partner says the listing has; None where it does not say or says nonsense."""
        if self._total is None:
            return None
        value = self._total(response)
        try:
            stated = coerce.integer(value)
        except PayloadError:
            return None
        return stated if stated >= 0 else None

    def tenant(self, raw: Raw) -> str | None:
        """The account the record says it belongs to."""
        value = None if self._tenant is None else self._tenant(raw)
        return None if value is None or value is MISSING else coerce.text(value)

    def ordered_at(self, raw: Raw) -> datetime | None:
        """The moment `since` filters by, where that is not the record's own stamp; None where it does not read."""
        if self._order is None:
            return None
        try:
            return self._order(raw)
        except PayloadError:
            return None

    @property
    def has_order(self) -> bool:
        return self._order is not None

    def hashable(self, raw: Raw) -> Raw:
        """What tells whether the record changed: what of it is `compared`, or all but what changes and means nothing; itself
        where neither is stated. Raises PayloadError where a field that is compared does not fit."""
        if self._compared:
            known = self._own.normalize(raw)
            return {name: known.get(name) for name in self._compared}
        if not self._volatile:
            return raw
        for path in self._volatile:
            raw = _without(raw, path)
        return raw


def _parent_in(path: str) -> Callable[[Response], str]:
    """The parent's id in the address of an answer, which ends as the resource's path does."""
    before, _, after = path.partition("{parent.id}")
    after = "[^/]+".join(re.escape(part) for part in PLACES.split(after))  # days are known when the call leaves
    pattern = re.compile(f"{re.escape(before.rpartition('{')[2].rpartition('}')[2])}([^/]+){after}$")

    def read(response: Response) -> str:
        found = pattern.search(response.url.partition("?")[0])
        if found is None:
            raise PayloadError(
                f"the answer's address does not end as {path} does: whose records these are, nothing tells"
            )
        return unquote(found[1])

    return read


def _without(raw: Any, path: list[str]) -> Any:
    if not isinstance(raw, dict) or path[0] not in raw:
        return raw
    if len(path) == 1:
        return {key: value for key, value in raw.items() if key != path[0]}
    return {**raw, path[0]: _without(raw[path[0]], path[1:])}


def _plan(fields: Mapping[str, MappedField], *, sparse: bool) -> _Plan:
    return tuple(
        (
            name,
            only_key(field.source or name),
            _telling(field.source or name) if sparse else getter(field.source or name),
            None if field.kind is None or field.kind == "json" else coerce.coercion(field.kind, field.zone),
            _AS_IT_IS.get(field.kind),
            field.default,
            field.required,
            sparse and field.default is None and not field.required,
        )
        for name, field in fields.items()
    )


def _telling(path: str) -> Getter:
    """A path into a record that may leave things out: what is null, or would stand in something that is null, is told."""
    get, either = getter(path), [one.strip() for one in path.split("||")]
    plain = [steps(one) for one in either]
    if any(not one for one in plain) or len(plain) == len(plain[0] or ()) == 1:
        return get
    places = [*map(getter, either), *(getter(str(one[0])) for one in plain if one is not None and len(one) > 1)]

    def told(raw: Any) -> Any:
        value = get(raw)
        return None if value is MISSING and any(place(raw) is None for place in places) else value

    return told
