"""What a partner calls a resource in its deliveries, and what it is called here: stored records may have to tell."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from syncd.kit import Event, Raw
from syncd.model import Outcome
from syncd.store.inbox import Taken
from syncd.sync.account import Account
from syncd.sync.versions import Key

NAMES_MOST = 1000
NAMES_SECONDS = 600.0
NAMELESS_SECONDS = 1.0
"""A name that is not stored is not looked for anew before: thousands of deliveries may wait for the same one."""
NAMED_LATER = timedelta(seconds=5)
NAMED_LATER_STILL = timedelta(minutes=1)
NAMED_WITHIN = timedelta(minutes=10)
"""A delivery of a resource nobody can name yet waits for its name, so long after it was first looked at."""
NAMED_MOST = timedelta(days=3)
"""It goes on waiting until the records that name resources have been listed once since then, but no longer than this."""
UNNAMED_MOST = 10_000
"""Deliveries of which it is remembered since when they wait for a name (R12)."""
RUNS_LOOKED_AT = 10


class Naming:
    """Of one integration."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._names: dict[Key, tuple[float, Raw]] = {}
        """Stored records that name resources, and until when they are believed."""
        self._nameless: dict[Key, float] = {}
        """Those that are not stored, and until when that is believed."""
        self._unnamed: OrderedDict[int, datetime] = OrderedDict()
        """When deliveries that wait for a name were first looked at."""
        self._listed: dict[str, tuple[float, datetime | None]] = {}
        """When the latest listing that ended well began, by resource, and until when that is believed."""

    async def waits(self, one: Taken, resource: str, now: datetime) -> timedelta | None:
        """How long until a delivery is looked at again that a record of this resource would name. None: it names nothing.

        What counts is how long we have been looking, not when it came: it may have come while nothing was worked on.
        """
        first = self._unnamed.setdefault(one.id, now)
        if len(self._unnamed) > UNNAMED_MOST:
            self._unnamed.popitem(last=False)
        # Where more of them wait than are remembered, how often it was looked at says it as well.
        if now < first + NAMED_WITHIN and one.attempts < NAMED_WITHIN / NAMED_LATER:
            return NAMED_LATER
        listed = await self._listed_at(resource)
        if (listed is None or listed < first) and now < one.received_at + NAMED_MOST:
            return NAMED_LATER_STILL
        self._unnamed.pop(one.id, None)
        return None

    async def _listed_at(self, resource: str) -> datetime | None:
        account = self._account
        until, began = self._listed.get(resource, (0.0, None))
        if until <= account.clock.monotonic():
            runs = await account.store.runs.list(account.name, resource, limit=RUNS_LOOKED_AT)
            began = max((run.started_at for run in runs if run.outcome == Outcome.DONE), default=None)
            self._listed[resource] = (account.clock.monotonic() + NAMED_LATER.total_seconds(), began)
        return began

    async def of(self, event: Event) -> Sequence[Event] | None:
        """The event by what it is of is called here. None: the record that would name it is synced, and not stored yet."""
        account = self._account
        asked = account.driver.named_by(event)
        if asked is None:
            return (event,)
        until, raw = self._names.get(asked, (0.0, None))
        if raw is None or until < account.clock.monotonic():
            if self._nameless.get(asked, 0.0) > account.clock.monotonic():
                return None
            stored = await account.store.records.get(account.name, *asked)
            if stored is None and asked[0] in account.plans:
                if len(self._nameless) >= NAMES_MOST:
                    self._nameless.clear()
                self._nameless[asked] = account.clock.monotonic() + NAMELESS_SECONDS
                return None
            raw = stored.raw if stored is not None else None
            if raw is not None:
                if len(self._names) >= NAMES_MOST:
                    self._names.clear()
                self._names[asked] = (account.clock.monotonic() + NAMES_SECONDS, raw)
        return account.driver.named(event, raw, account.options)
