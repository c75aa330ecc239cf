"""Records put together from what stands around them: rows that hold lists, what only the call says, what is to be
forgotten or never kept.

Compiled once a resource; a resource that needs none of it has no `Assembly`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from syncd.errors import PayloadError
from syncd.kit import coerce
from syncd.kit.paths import MISSING, Getter, getter
from syncd.model import Response

if TYPE_CHECKING:
    from syncd.kit.resource import Forget, Resource

_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Assembly:
    """What `inner`, `asked`, `drop` and `forget` of a resource say."""

    def __init__(self, resource: Resource) -> None:
        inner, forget = resource.inner, resource.forget
        self._keyed = resource.keyed
        self._inner = None if inner is None else getter(inner.records)
        self._keep = [] if inner is None else [(name, getter(path)) for name, path in inner.keep.items()]
        self._asked: Mapping[str, str] = resource.asked
        self._drop = frozenset(resource.drop)
        self._when = None if forget is None or forget.when is None else getter(forget.when)
        self._stays = frozenset() if forget is None else frozenset(forget.keep)

    @staticmethod
    def of(resource: Resource) -> Assembly | None:
        """None: its records are as they stand."""
        needed = resource.inner is not None or resource.asked or resource.drop or resource.forget is not None
        return Assembly(resource) if needed else None

    def records(self, rows: list[Any], response: Response) -> list[Any]:
        """The records in a page's rows. What is none is left as it is, and becomes a reject."""
        return self._whole(rows if self._inner is None else self._out_of(rows, self._inner), response)

    def one(self, raw: Any, response: Response) -> Any:
        """A record that was read by itself, as the listing would show it."""
        return self._whole([raw], response)[0]

    def _whole(self, rows: list[Any], response: Response) -> list[Any]:
        if self._asked:
            query = dict(parse_qsl(response.url.partition("?")[2]))
            known = {name: query[param] for name, param in self._asked.items() if param in query}
            rows = [{**known, **row} if type(row) is dict else row for row in rows]
        if self._drop:
            rows = [_without(row, self._drop) if type(row) is dict else row for row in rows]
        if self._when is None:
            return rows
        return [self._without_person(row, self._when) if type(row) is dict else row for row in rows]

    def _out_of(self, rows: list[Any], get: Getter) -> list[Any]:
        found: list[Any] = []
        for row in rows:
            below = get(row)
            if type(below) is dict and self._keyed:
                below = list(below.values())
            if type(below) is list:
                above = {name: value for name, path in self._keep if (value := path(row)) is not MISSING}
                found += [{**above, **one} if type(one) is dict else one for one in below]
            elif below is not MISSING and below is not None:
                found.append({"value": below})
        return found

    def _without_person(self, row: dict[str, Any], when: Getter) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name in self._stays} if _is_true(when, row) else row


class Forgetting:
    """What `forget` of a resource says, as it concerns what is stored already."""

    def __init__(self, forget: Forget) -> None:
        self._when = None if forget.when is None else getter(forget.when)
        self._emptied = forget.emptied

    @staticmethod
    def of(resource: Resource) -> Forgetting | None:
        """None: nothing is ever taken away from its records."""
        return None if resource.forget is None else Forgetting(resource.forget)

    def is_bare(self, raw: Mapping[str, Any]) -> bool:
        """Is this a record of which only what `keep` names is left? Then what it lacks tells nothing."""
        return self._when is not None and _is_true(self._when, raw)

    def fields(self, raw: Mapping[str, Any], mapped: Mapping[str, Any]) -> tuple[str, ...]:
        """The normalized fields whose past is to go. Empty: of a record of which nothing was erased."""
        if self._when is None:
            return tuple(name for name in self._emptied if name in mapped and mapped[name] in _EMPTY)
        return tuple(name for name, value in mapped.items() if value in _EMPTY) if self.is_bare(raw) else ()


def _is_true(when: Getter, raw: Any) -> bool:
    try:
        return coerce.boolean(when(raw)) is True
    except PayloadError:
        return False


def _without(row: dict[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return row if keys.isdisjoint(row) else {name: value for name, value in row.items() if name not in keys}
