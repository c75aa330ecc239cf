"""What goes into the processor and what comes out of it, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from syncd.kit import Identity, Item
from syncd.store import Acknowledge, NewTask, PartShown, Reject, Row


@dataclass(frozen=True, slots=True)
class PageIn:
    """What one answer holds, and what is known of the answer."""

    items: list[Item]
    fetched_at: datetime
    """Our clock when the request began."""
    cause: str
    parent_id: str | None = None
    observed_at: datetime | None = None
    """The partner's clock at that moment: the stamp of records that have none of their own, where events have one."""
    listing: bool = False
    """It is a page of a listing: what it leaves out tells something."""


@dataclass(slots=True)
class PageRead:
    """What one page turned into."""

    rows: list[Row] = field(default_factory=list)
    """New or changed content, deletes included."""
    seen: list[str] = field(default_factory=list)
    """Ids of the listed resource on this page, sound or not: they exist at the partner."""
    parts: list[PartShown] = field(default_factory=list)
    """Of which part of the listing the pages are, where it is walked in parts."""
    unchanged: int = 0
    rejects: list[Reject] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)
    acknowledges: list[Acknowledge] = field(default_factory=list)
    """Of a queue: its messages that are stored with this page."""
    healed: list[tuple[str, str]] = field(default_factory=list)
    """(resource, external_id) of sound records that stood in the rejects."""
    identities: list[Identity] = field(default_factory=list)
    count: int = 0
    """Records on the page, before anything was left out."""
    aside: list[tuple[str, str]] = field(default_factory=list)
    """(resource, external_id) of records that were not handed to the driver."""

    def include(self, later: PageRead) -> None:
        """Add the page that came after this one."""
        unsound = {(reject.resource, reject.key) for reject in later.rejects}
        self.rows += later.rows
        self.seen += later.seen
        self.parts += later.parts
        self.unchanged += later.unchanged
        self.rejects += later.rejects
        self.tasks += later.tasks
        self.acknowledges += later.acknowledges
        self.healed = [key for key in self.healed if key not in unsound] + later.healed
        self.identities += later.identities
        self.count += later.count


def merged(pages: Sequence[PageRead]) -> PageRead:
    """Several pages as one, in their order."""
    whole, *others = pages
    for page in others:
        whole.include(page)
    return whole
