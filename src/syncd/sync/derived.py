"""What a batch of deliveries comes to, and how that is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from syncd.kit import Event
from syncd.store import NewDeadLetter, NewTask, PageWrite, Row
from syncd.store.inbox import Fate, Finish, Taken
from syncd.sync.account import Account
from syncd.sync.page import PageRead
from syncd.sync.versions import Key


@dataclass(slots=True)
class Derived:
    """What a batch comes to."""

    account: Account
    fates: list[Fate] = field(default_factory=list)
    graves: dict[Key, Row] = field(default_factory=dict)
    tasks: dict[str, NewTask] = field(default_factory=dict)
    letters: list[NewDeadLetter] = field(default_factory=list)
    types: dict[str, tuple[bool, int]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    forgets: list[int] = field(default_factory=list)
    """Deliveries whose bodies must not be kept."""
    read: PageRead | None = None
    unasked: dict[int, str] = field(default_factory=dict)
    """Deliveries of which something could be asked of nobody, and why."""
    revoked: tuple[Event, Taken] | None = None
    credentials: list[tuple[Event, Taken]] = field(default_factory=list)

    def finish(self, taken: Sequence[Taken]) -> Finish:
        """All of it, as one transaction."""
        account, graves = self.account, dict[str, list[Row]]()
        for (resource, _), row in sorted(self.graves.items()):
            graves.setdefault(resource, []).append(row)
        return Finish(
            integration=account.name,
            scope=account.scope,
            fence=account.fence,
            fates=self.fates,
            page=self._page(),
            graves=graves,
            children={resource: account.children(resource) for resource in graves},
            tasks=list(self.tasks.values()),
            letters=self.letters,
            types=self.types,
            told=self.told,
            told_at=max(one.received_at for one in taken),
            history=account.history,
            forgets=self.forgets,
        )

    def _page(self) -> PageWrite | None:
        read = self.read
        if read is None or not (read.rows or read.rejects):
            return None
        return self.account.write((read.rows or read.rejects)[0].resource, "webhook", read)
