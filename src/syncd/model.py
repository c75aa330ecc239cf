"""The nouns every floor shares: plain data, no behaviour beyond reading themselves.

A partner is a company, an integration one configured account there, a resource a kind of record. Keys are always
(integration, resource, external_id). Times are aware UTC datetimes and end in `_at`; durations are float seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum, StrEnum
from functools import cached_property, lru_cache
from typing import Any

from syncd.markup import Markup

Raw = dict[str, Any]
"""One record as the partner sent it, parsed."""


class Lane(IntEnum):
    """How urgent a piece of work is; lower goes first."""

    HIGH = 0
    """Webhook follow-ups, "sync now", pushes."""
    NORMAL = 1
    """Scheduled pulls."""
    LOW = 2
    """Media and backfills."""


class History(StrEnum):
    """What the event log keeps of a resource."""

    OFF = "off"
    CHANGES = "changes"
    """Updates and deletes (the default)."""
    FULL = "full"
    """Also the first sight of each record."""


class Mode(StrEnum):
    """How one run reads a listing."""

    FULL = "full"
    """Every record; a sound one counts as a complete pass (R9)."""
    INCREMENTAL = "incremental"
    """What changed since the watermark, less the overlap (R8)."""


class Outcome(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CUT = "cut"
    """Stopped by shutdown, pause or death; the next run goes on at the stored cursor."""


class Headers(Mapping[str, str]):
    """Response headers, looked up without regard to case. Repeated ones are joined by a comma (Set-Cookie is not kept)."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | list[tuple[str, str]] | tuple[tuple[str, str], ...] = ()) -> None:
        pairs = items.items() if isinstance(items, Mapping) else items
        found: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            found[key] = f"{found[key]}, {value}" if key in found else value
        self._items = found

    @classmethod
    def of_lower(cls, items: dict[str, str]) -> Headers:
        """Round a dictionary whose names are in lower case already."""
        found = cls.__new__(cls)
        found._items = items
        return found

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """As a mapping's own, without an exception for each header that is not there."""
        return self._items.get(name.lower(), default)

    @property
    def lower(self) -> dict[str, str]:
        """All, by names in lower case, for who looks up many. Not to be changed."""
        return self._items

    def few(self, names: Iterable[str]) -> dict[str, str]:
        """Those of these names, in lower case, that are there."""
        items = self._items
        return {name: items[name] for name in names if name in items}

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items


@dataclass(frozen=True, slots=True)
class Request:
    """One call a driver wants made. Pure data: the client adds base URL, credential, limits, deadline and retries.

    `path` is relative to the integration's `base_url`, or an absolute URL that must lie in an allowed origin (a next
    link). `route` is the template used as the metric label (`/listings/{id}`), never a path with ids in it; empty means
    the path itself has no variable part. `cursor` says where a listing would resume with this request; None is its start.
    """

    path: str
    method: str = "GET"
    route: str = ""
    params: Mapping[str, Any] | tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    xml: Mapping[str, Any] | None = None
    """A document to send as XML: see markup.py."""
    reads: Markup | None = None
    """The answer is XML, read by these rules; None: it is JSON."""
    dated: bool = False
    """It has days in it that are known when it is sent: `{today-30d}`."""
    cursor: str | None = None
    weight: float = 1.0
    """How much of each weighted tier the call is expected to cost."""
    budget: str = ""
    """What it counts as beside its method and route: `read` or `write` where the method does not tell, or a name the
    driver's limits declare."""
    repeatable: bool | None = None
    """May it be sent again after a lost answer? None: yes for GET, HEAD, PUT, DELETE and OPTIONS."""
    deadline_seconds: float | None = None
    """Total time for all tries together where the default (30 s) does not fit."""
    group: str = ""
    """Endpoint group for the breaker; empty is the scope's common one."""

    @property
    def safe_to_repeat(self) -> bool:
        if self.repeatable is not None:
            return self.repeatable
        return self.method in {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}


@dataclass(slots=False)
class Response:
    """A complete answer, its body already inflated and within the cap."""

    status_code: int
    headers: Headers
    content: bytes
    url: str = ""
    requested_at: datetime | None = None
    """Our clock when the request that brought it began: the record's `fetched_at`."""
    elapsed_seconds: float = 0.0
    on_purpose: bool = False
    """The partner knows nothing of it: `chaos` made it."""
    reads: Markup | None = None
    """How it is read where it is XML."""

    @cached_property
    def _parsed(self) -> Any:
        from syncd import markup
        from syncd.codec import loads  # floor 0, kept lazy so that model has no import cycle

        return loads(self.content) if self.reads is None else markup.loads(self.content, self.reads)

    def json(self) -> Any:
        """The parsed body, parsed once. Raises PayloadError for what is not JSON (XML, where that was said to come)."""
        return self._parsed

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    @property
    def date(self) -> datetime | None:
        """The partner's own clock at the answer (header Date), or None."""
        value = self.headers.get("date")
        return None if value is None else _moment(value)


@lru_cache(maxsize=64)  # answers of one second share it
def _moment(date: str) -> datetime | None:
    try:
        return parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return None


# Identity and Item are values like the others here. They are not frozen because one of each is made for every record, and
# a frozen dataclass takes five times as long to make.


@dataclass(slots=True, unsafe_hash=True)
class Identity:
    """Who a raw record is and which version of itself: what the store must know before anything else."""

    external_id: str
    source_version: int | None = None
    source_updated_at: datetime | None = None
    parent_id: str | None = None
    deleted: bool = False
    """The partner itself says that this record is gone."""


@dataclass(frozen=True, slots=True)
class Record:
    """One normalized record."""

    identity: Identity
    data: dict[str, Any]
    adapter: str = "v1"


@dataclass(slots=True, unsafe_hash=True)
class Item:
    """One fact found in an answer: a record, whole or only named, of some resource.

    Listings give whole records of their own resource. An event log gives items of several resources: whole where the
    event carries a trusted snapshot (`raw`), only named (`raw is None`) where the record has to be fetched or is deleted.
    """

    resource: str
    raw: Raw | None = None
    identity: Identity | None = None
    """Given for items without raw, and where the source knows better than the raw (an event's time)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where (integration, resource) stands."""

    integration: str
    resource: str
    mode: Mode = Mode.FULL
    """Of the run in progress, or of the last one."""
    cursor: str | None = None
    """Where the run in progress goes on; None is the start of the listing."""
    run_id: int | None = None
    """The run in progress; None between runs."""
    watermark: datetime | None = None
    """Everything the partner changed before this is stored (R8)."""
    since: datetime | None = None
    """The watermark less the overlap: what an incremental request asks for. Set by the engine."""
    until: datetime | None = None
    """Of a backfill: what changed later need not be shown, where the partner can leave it out. Set by the engine."""
    passes: int = 0
    """Complete passes so far."""
    fence: int = 0
