"""What the engine hands the store, and what it gets back: plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from syncd.model import History, Lane


class Known(NamedTuple):
    """What the store already has of a record: enough to tell whether a page brings news."""

    content_hash: bytes
    deleted: bool


class Row(NamedTuple):
    """One record to store. `data_json` must be jsonb-safe (`codec.dumps_storable`); `raw_json` may be any JSON."""

    external_id: str
    resource: str
    data_json: bytes
    raw_json: bytes
    content_hash: bytes
    fetched_at: datetime
    source_version: int | None = None
    source_updated_at: datetime | None = None
    parent_id: str | None = None
    adapter: str = "v1"
    deleted: bool = False
    """A tombstone: data and raw of a record known already are kept."""
    sparse: bool = False
    """A partial view: its fields are laid over those stored."""
    cause: str = ""
    """Empty: the page's."""
    observed: bool = False
    """`source_updated_at` is the partner's clock as an answer showed it: not exact enough to tell two requests apart."""
    erased: tuple[str, ...] = ()
    """Fields that the partner was made to forget and that are empty now: what they held goes from the past too."""


@dataclass(slots=True)
class Reject:
    """One record that failed validation (R15)."""

    raw: bytes
    reason: str
    external_id: str | None = None
    resource: str = ""
    """Empty: the page's."""
    fingerprint: str = ""
    """Equal for troubles of one cause; empty: the reason itself."""
    adapter: str = ""
    cause: str = ""

    @property
    def key(self) -> str:
        """Its id; where it has none, `?` and a hash of the raw bytes."""
        return self.external_id or "?" + sha256(self.raw).hexdigest()[:24]


@dataclass(slots=True)
class NewTask:
    """One unit of work to come. With a `parent_id` it is made only if the same page added or changed that parent."""

    kind: str
    resource: str = ""
    external_id: str | None = None
    parent_id: str | None = None
    parent_resource: str = ""
    """Empty: the page's resource."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    lane: Lane = Lane.NORMAL
    dedupe_key: str | None = None
    """While one with this key waits, another is not made: the waiting one becomes as urgent as the more urgent of both."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    cause: str = ""
    wanted_at: datetime | None = None
    """What was fetched later than that answers it; left out, or in the future: now."""
    suspicion: int = 0
    """Of work that comes back from a dead letter saying it killed the process: one more time and it is one again."""

    @classmethod
    def fetch(
        cls, resource: str, external_id: str, *, lane: Lane, cause: str, expires_at: datetime | None = None
    ) -> NewTask:
        """Read one record by its id."""
        key = fetch_key(resource, external_id)
        return cls("fetch", resource, external_id, lane=lane, dedupe_key=key, expires_at=expires_at, cause=cause)

    @classmethod
    def children(
        cls, child: str, parent: str, parent_id: str, *, lane: Lane, cause: str, expires_at: datetime | None = None
    ) -> NewTask:
        """List the children of one record."""
        return cls(
            "children",
            child,
            parent_id=parent_id,
            parent_resource=parent,
            lane=lane,
            dedupe_key=f"children:{child}:{parent_id}",
            expires_at=expires_at,
            cause=cause,
        )

    @classmethod
    def media(cls, resource: str, external_id: str, cause: str) -> NewTask:
        """Fetch the files of one record, when nothing else is to do."""
        key = f"media:{resource}:{external_id}"
        return cls("media", resource, external_id, lane=Lane.LOW, dedupe_key=key, cause=cause)

    def as_json(self, resource: str, cause: str) -> dict[str, Any]:
        made: dict[str, Any] = {
            "kind": self.kind,
            "resource": self.resource,
            "external_id": self.external_id,
            "payload": dict(self.payload),
            "lane": int(self.lane),
            "dedupe_key": self.dedupe_key,
            "not_before": self.not_before,
            "expires_at": self.expires_at,
            "cause": self.cause or cause,
        }
        if self.parent_id is not None:
            made["parent_id"] = self.parent_id
            made["parent_resource"] = self.parent_resource or resource
        if self.wanted_at is not None:
            made["wanted_at"] = self.wanted_at
        if self.suspicion:
            made["suspicion"] = self.suspicion
        return made


def fetch_key(resource: str, external_id: str) -> str:
    """Under what a read of one record by its id waits, at most once."""
    return f"fetch:{resource}:{external_id}"


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Tell the partner's queue, once these messages are stored, that they are: a push written with them."""

    kind: str
    ids: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the push says beside the ids; `queue` names which of several queues it is."""

    def without(self, refused: Sequence[str]) -> Acknowledge:
        """The same without messages that could not be stored after all."""
        return Acknowledge(self.kind, tuple(one for one in self.ids if one not in refused), self.data)


@dataclass(frozen=True, slots=True)
class PartShown:
    """What a page of a complete pass shows of one part of a listing that is walked in parts, or counted by its rows."""

    part: str
    """VALUE/WINDOW, as in the listing's cursor; empty where the listing is one."""
    ids: Sequence[str]
    listed: int
    """Rows, one that stands there twice counted twice."""
    stated: int | None = None
    """How many rows the partner says the part has."""


@dataclass(slots=True)
class PageWrite:
    """One page, or several that follow each other, to be committed whole or not at all (R1)."""

    partner: str
    integration: str
    resource: str
    scope: str
    fence: int
    run_id: int | None = None
    cursor_read: str | None = None
    """Where the checkpoint must stand for this page to be the next one."""
    cursor_next: str | None = None
    last: bool = False
    """The listing ends with this page."""
    pages: int = 1
    rows: Sequence[Row] = ()
    seen_ids: Sequence[str] | None = None
    """All ids the page showed, sound or not, changed or not: the evidence of a full pass."""
    parts: Sequence[PartShown] = ()
    """The same by part, where the listing is walked in parts."""
    unchanged: int = 0
    """Records the engine left out because `known` had their hash."""
    rejects: Sequence[Reject] = ()
    tasks: Sequence[NewTask] = ()
    acknowledges: Sequence[Acknowledge] = ()
    healed: Sequence[tuple[str, str]] = ()
    """(resource, id) of records that are sound now, of whatever resource: their rejects go."""
    calls: int = 0
    waited_seconds: float = 0.0
    newest_at: datetime | None = None
    """The newest change on this page."""
    ceiling_at: datetime | None = None
    """The partner's own time when the listing began (its Date); the first one given stays."""
    cause: str = ""
    fresh: bool = False
    """`known` found none of the rows: storing them costs a quarter less. If others stored one meanwhile, nothing is lost."""
    history: History | Mapping[str, History] = History.CHANGES
    """Of the page's resource, or of each resource on it."""


@dataclass(slots=True)
class PageResult:
    """What became of a page. `added` includes records that came back from the dead."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unchanged: int = 0
    """Rows that turned out equal to what was stored meanwhile."""
    stale: int = 0
    """Rows older than what is stored."""
    refused: list[str] = field(default_factory=list)
    """Rows the database could not hold; they are among the rejects now."""

    def include(self, other: PageResult) -> None:
        """Add the result of another part of the same page."""
        self.added += other.added
        self.updated += other.updated
        self.deleted += other.deleted
        self.unchanged += other.unchanged
        self.stale += other.stale
        self.refused += other.refused
