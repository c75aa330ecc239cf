"""What a stated simulator is stated with: how it is proven who calls, one kind of record, and how its pages go on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from syncd.kit import put
from syncd.testing.collection import Raw, dig
from syncd.testing.dice import epoch, iso

_PARENT = re.compile(r"\{parent\.[a-z_]+\}")


def place_of(path: str) -> str:
    """A listing's path as a route: its parent's id is one segment."""
    return _PARENT.sub("{parent}", path)


@dataclass(frozen=True)
class Proof:
    """What proves who calls. `kind` as in `auth:`; a signer signs time, method and path in `header`, by HMAC-SHA256."""

    kind: str
    header: str = "Authorization"
    query: str = ""
    prefix: str = ""
    token_path: str = ""

    @property
    def credentials(self) -> dict[str, str]:
        """Name of the credential: the simulator's option that has what is accepted."""
        return {
            "api_key": {"api_key": "key"},
            "bearer": {"token": "key"},
            "basic": {"username": "user", "password": "secret"},
            "signer": {"secret": "secret"},
            "oauth2_client": {"client_id": "user", "client_secret": "secret"},
            "oauth2_refresh": {"client_id": "user", "client_secret": "secret", "refresh_token": "refresh"},
        }.get(self.kind, {})


@dataclass(frozen=True)
class Paging:
    """How a listing goes on. Paths are dotted places in the answer; `most` is the largest page there is."""

    kind: str = "none"
    """cursor, offset, page, next, link or none."""
    param: str = ""
    """The parameter of cursor, offset or page number."""
    size: str = ""
    """The parameter of the page size."""
    next: str = ""
    """Where the answer has the next cursor (cursor) or URL (next); of a cursor, empty: it is the last record's id."""
    more: str = ""
    total: str = ""
    pages: str = ""
    """Where the answer has the number of pages."""
    first: int | None = None
    most: int = 100
    place: str = "query"
    """query, or body."""

    @property
    def start(self) -> int:
        return self.first if self.first is not None else int(self.kind == "page")


@dataclass(frozen=True)
class Rows:
    """One kind of record and how it is listed."""

    name: str
    path: str
    """Below the base path; of a child with {parent.id}."""
    records: str = "data"
    """Where the list sits; empty: the answer is the list."""
    id: str = "id"
    updated: str = ""
    stamp_as: str = "timestamp"
    """timestamp, epoch, epoch_ms or mail_date."""
    since: str = ""
    """The parameter that asks for what changed."""
    paging: Paging = Paging()
    parent: str = ""
    parent_field: str = "_parent"
    one: str = ""
    """Where one record is read, with {id}."""
    one_records: str = ""
    method: str = "GET"
    like: Mapping[str, Any] = field(default_factory=dict)
    """What a record looks like; ids, moments and `words` are made up for each."""
    words: str = "name"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """What every answer has beside its list."""

    # Records

    def record(self, number: int, at: float, parent: str) -> Raw:
        """The record of that number, changed at that epoch second."""
        raw = deepcopy(dict(self.like))
        before = dig(raw, self.id)
        put(raw, self.id, number if isinstance(before, int) else f"{self.name[:3]}_{number:06d}")
        if self.updated:
            put(raw, self.updated, self.stamp(at))
        if isinstance(raw.get(self.words), str) and self.words != self.id:
            raw[self.words] = f"{self.name} {number}"
        if parent:
            raw[self.parent_field] = parent
        return raw

    def stamp(self, at: float) -> Any:
        """A moment as this partner writes it."""
        match self.stamp_as:
            case "timestamp":
                return iso(at, 0)
            case "mail_date":
                return formatdate(at)
        return int(at * (1000 if self.stamp_as == "epoch_ms" else 1))

    def id_of(self, raw: Raw) -> str:
        return str(dig(raw, self.id))

    def parent_of(self, raw: Raw) -> str:
        return str(raw.get(self.parent_field, ""))

    def changed_at(self, raw: Raw) -> float:
        """When a record changed, epoch seconds; 0 where it does not say."""
        value = dig(raw, self.updated) if self.updated else None
        if isinstance(value, int):
            return value / (1000 if self.stamp_as == "epoch_ms" else 1)
        if isinstance(value, str) and self.stamp_as == "mail_date":
            return parsedate_to_datetime(value).timestamp()
        return epoch(value) if isinstance(value, str) else 0.0

    # Pages

    def given(self, given: Mapping[str, Any], name: str) -> Any:
        """A parameter of the call: in a body it is a dotted place."""
        return dig(dict(given), name) if self.paging.place == "body" else given.get(name)

    def answer(self, raws: Sequence[Raw], given: Mapping[str, Any], url: str) -> tuple[Any, dict[str, str]]:
        """One page of these records, asked for at that URL: body and headers. Raises ValueError for a wrong parameter."""
        paging = self.paging
        said = self.given(given, paging.size) if paging.size else None
        size = min(_number(said, paging.size), paging.most) if said is not None else paging.most
        if size < 1:
            raise ValueError(f"{paging.size} must be at least 1")
        at = self._position(raws, given, size)
        page = list(raws) if paging.kind == "none" else list(raws[at : at + size])
        more = paging.kind != "none" and at + size < len(raws)
        shown = [{name: value for name, value in raw.items() if name != self.parent_field} for raw in page]
        headers: dict[str, str] = {}
        if not self.records:
            body: Any = shown
        else:
            body = deepcopy(dict(self.fixed))
            put(body, self.records, shown)
        if paging.kind == "link" and more:
            headers["Link"] = f'<{_onward(url, at + size)}>; rel="next"'
        if isinstance(body, dict):
            if paging.next and paging.kind == "cursor":
                put(body, paging.next, f"c{at + size}" if more else None)
            if paging.next and paging.kind == "next":
                put(body, paging.next, _onward(url, at + size) if more else None)
            if paging.more:
                put(body, paging.more, more)
            if paging.total:
                put(body, paging.total, len(raws))
            if paging.pages:
                put(body, paging.pages, -(-len(raws) // size))
        return body, headers

    def _position(self, raws: Sequence[Raw], given: Mapping[str, Any], size: int) -> int:
        paging = self.paging
        if paging.kind in {"next", "link"}:
            return _number(given.get("at", 0), "at")
        said = self.given(given, paging.param) if paging.param else None
        if said is None or said == "":
            return 0
        match paging.kind:
            case "offset":
                return max(_number(said, paging.param) - paging.start, 0)
            case "page":
                return max(_number(said, paging.param) - paging.start, 0) * size
            case "cursor" if paging.next:
                return _number(str(said).removeprefix("c"), paging.param)
            case "cursor":
                ids = [self.id_of(raw) for raw in raws]
                if str(said) not in ids:
                    raise ValueError(f"{paging.param}: no such record")
                return ids.index(str(said)) + 1
        return 0


def _number(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number") from None


def _onward(url: str, at: int) -> str:
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith("at=")]
    query = "&".join([*kept, urlencode({"at": at})])
    return parts._replace(query=query).geturl()
