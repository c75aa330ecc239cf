"""A listing during which the process ended, read again with care: what the driver has in hand is said in a row beforehand.

A run that was under way when a process ended may have been what ended it. From then on its pages are handled one at a time;
the page in hand when it ends again, record by record; and the one that is in hand three times in a row is put aside. What is
no record, such as making the request or reading the page's frame, parks the resource after three times in a row.

Only what the driver has in hand counts, and as briefly as can be, and surviving once clears it. So whoever kills the process
every second finds the same innocent record in hand three times in a row about as often as lightning strikes thrice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import structlog

from syncd.client import Judging
from syncd.errors import PoisonError, StoreError
from syncd.kit import Item, Resource
from syncd.store import PULL, Peril
from syncd.sync.account import Account
from syncd.sync.aside import content_key, told_id
from syncd.sync.suspects import turn_of

log = structlog.get_logger()

DEATHS = 3
"""So often in a row may the process end while the driver has one thing in hand."""
PAGES_ALONE = 24
"""Pages that go one at a time after a death: as many as may have been read ahead of the stored cursor."""
LEAVE_SECONDS = 3.0

REQUEST = "!request"
ANSWER = "!answer"
PAGE = "!page"
FRAME = "!frame"
NEXT = "!next"
NEWEST = "!newest"
_SAID = {
    REQUEST: "making the request for a page",
    ANSWER: "judging an answer",
    FRAME: "reading what a page holds",
    NEXT: "finding the page after one",
    NEWEST: "finding the newest moment on a page",
}


def parked(suspects: Mapping[str, int]) -> str | None:
    """The step of the work that the resource is parked for, where it is."""
    return next((step for step in _SAID if suspects.get(step, 0) >= DEATHS), None)


def parked_error(integration: str, resource: str, step: str, work: str = PULL) -> PoisonError:
    """What is said of a parked resource, or of a backfill that is given up."""
    told = "this resource alone is parked" if work == PULL else "this backfill is given up"
    again = f"syncd {'sync' if work == PULL else 'backfill'} {integration}/{resource}"
    return PoisonError(
        f"{resource}: {_SAID[step]} killed the process three times; {told}",
        hint=f"mend the driver, restart, then: {again}",
    )


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record that is to be read under a mark of its own."""

    item: Item
    resource: Resource
    key: str
    named: bool
    """The id is known without asking the driver."""


class Careful:
    """Of one listing."""

    def __init__(
        self,
        account: Account,
        resource: str,
        work: str,
        peril: Peril | None,
        *,
        died: bool = False,
        retry: bool = False,
        thorough: bool = False,
    ) -> None:
        """`died`: the process ended while it was read last. `retry`: somebody asked for it, so what was put aside or parked
        has one more try. `thorough`: every page is gone through record by record, for who is in no hurry.
        """
        self._account = account
        self._resource = resource
        self._work = work
        self.retry = retry
        self.on = peril is not None
        self.healed: list[tuple[str, str]] = []
        """(resource, key) of rejects without a name whose record was read now."""
        self._suspects: dict[str, int] = dict(peril.suspects) if peril is not None else {}
        if peril is not None and peril.handled is not None and not died:
            self._count(peril.handled, self._suspects.get(peril.handled, 1) - 1)
        if retry:
            self._suspects = {key: min(times, DEATHS - 1) for key, times in self._suspects.items()}
        self._thorough = thorough
        self._narrow = thorough or any(key == PAGE or not key.startswith("!") for key in self._suspects)
        self._pages = 0
        self._turn = turn_of(account.store)
        self._marked = peril is not None
        self._trying: str | None = None
        self._settled: list[str] = []
        """What was put aside, and is not stored yet."""

    @property
    def parked(self) -> str | None:
        """The step of the work that this is not begun any more for."""
        return parked(self._suspects)

    @property
    def narrow(self) -> bool:
        """Is the next page gone through record by record?"""
        return self._narrow

    @property
    def through(self) -> bool:
        """So many pages went well that what was read ahead when the process ended is behind us."""
        return self._pages >= PAGES_ALONE

    def judging(self) -> Judging | None:
        """What goes round the judging of an answer."""
        return (lambda: self.handling(ANSWER)) if self.on else None

    @asynccontextmanager
    async def handling(self, key: str) -> AsyncIterator[None]:
        """Round what the driver does. Raises OwnershipError when the listing is no longer ours."""
        if not self.on:
            yield
            return
        async with self._turn, self._in_hand(key):
            yield

    @asynccontextmanager
    async def _in_hand(self, key: str) -> AsyncIterator[None]:
        before = self._suspects.get(key, 0)
        await self._mark(key, before + 1)
        try:
            yield
        except asyncio.CancelledError:
            await self._leave(key, before)
            raise
        except Exception:
            await self._leave(key, 0)
            raise  # whatever else is raised, an exit above all, ends the process: the mark stays
        else:
            await self._leave(key, 0)

    async def _leave(self, key: str, times: int) -> None:
        self._count(key, times)
        with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_SECONDS), suppress(StoreError):
            await self._write(None)

    async def _mark(self, key: str, times: int) -> None:
        self._count(key, times)
        await self._write(key)

    def _count(self, key: str, times: int) -> None:
        if times > 0:
            self._suspects[key] = times
        else:
            self._suspects.pop(key, None)

    async def _write(self, handled: str | None) -> None:
        account = self._account
        self._marked = True
        await account.store.perils.mark(
            account.name,
            self._resource,
            self._work,
            scope=account.scope,
            fence=account.fence,
            handled=handled,
            suspects=self._suspects,
        )

    # -- record by record ----------------------------------------------------------------------------------------------

    def key_of(self, resource: Resource, item: Item) -> tuple[str, bool]:
        """By what a record is suspected, and whether that is its id."""
        external_id = told_id(self._account.driver, resource, item)
        if external_id is not None:
            return f"{resource.name}/{external_id}", True
        return f"{resource.name}/{content_key(resource, item.raw)}", False

    async def sift(self, items: Sequence[Item], resources: Mapping[str, Resource]) -> None:
        """Hand the records that are to be doubted to the driver, each under its own mark, those suspected already first.

        On the page that was in hand when the process ended these are all; on others those suspected by name. The one that
        ended it three times in a row is not handed over any more: `account.processor.aside` knows it from here on.
        """
        found = [one for item in items if (one := self._doubted(item, resources.get(item.resource))) is not None]
        if not found:
            return
        found.sort(key=lambda one: -self._suspects.get(one.key, 0))
        async with self._turn:
            try:
                for one in found:
                    await self._try(one)
            except (Exception, asyncio.CancelledError):
                if self._trying is not None:  # the process lives
                    self._count(self._trying, self._suspects.get(self._trying, 1) - 1)
                raise
            finally:
                self._trying = None
                with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_SECONDS), suppress(StoreError):
                    await self._write(None)

    def _doubted(self, item: Item, resource: Resource | None) -> Suspect | None:
        if resource is None or item.raw is None:
            return None
        aside = self._account.processor.aside
        key, named = self.key_of(resource, item)
        if aside and aside.holds(resource, item):
            if not self.retry:
                return None
            self._suspects.setdefault(key, DEATHS - 1)
        elif aside and self.retry and not named:
            identity = self._account.processor.identify(item)
            if identity is not None and aside.names(resource.name, identity.external_id):
                self._suspects.setdefault(f"{resource.name}/{identity.external_id}", DEATHS - 1)
                return Suspect(item, resource, key, named)
        return Suspect(item, resource, key, named) if self._narrow or self._suspects.get(key) else None

    async def _try(self, one: Suspect) -> None:
        """Have the driver read one record, whatever comes of it, and live or die."""
        processor, name, key = self._account.processor, one.resource.name, one.key
        external_id = key.partition("/")[2] if one.named else None
        if not await self._hands_over(one, key, external_id):
            return
        identity = processor.identify(one.item)
        if external_id is None and identity is not None:
            self._count(key, 0)
            external_id = identity.external_id
            key = f"{name}/{external_id}"
            if not await self._hands_over(one, key, external_id):
                return
        processor.rehearse(one.item, identity)
        self._count(key, 0)
        self._trying = None
        stood = processor.aside.drop(one.resource, one.item, external_id)
        if stood is not None:
            self.healed.append((name, stood))

    async def _hands_over(self, one: Suspect, key: str, external_id: str | None) -> bool:
        """Say so in the row. False: it is put aside."""
        times = self._suspects.get(key, 0)
        aside = self._account.processor.aside
        if times >= DEATHS:
            aside.add(one.resource, one.item.raw, external_id)
            self._settled.append(key)
            log.error(
                "record_put_aside",
                partner=self._account.partner,
                integration=self._account.name,
                resource=one.resource.name,
                record_id=external_id,
                reason="reading it killed the process three times in a row",
                action=f"syncd dlq list {self._account.name}",
            )
            return False
        if not self.retry and external_id is not None and aside.names(one.resource.name, external_id):
            self._count(key, 0)
            return False  # it was put aside before
        self._trying = key
        await self._mark(key, times + 1)
        return True

    # -- going on ------------------------------------------------------------------------------------------------------

    def page_ended(self) -> None:
        """A page is stored, with what was put aside of it."""
        self._pages += 1
        self._narrow = self._thorough
        for key in (PAGE, *self._settled):
            self._count(key, 0)
        self._settled.clear()

    async def gives_up(self) -> None:
        """It is parked elsewhere; when somebody begins it again, what it was parked for has one more try."""
        self._suspects = {key: min(times, DEATHS - 1) for key, times in self._suspects.items()}
        await self._write(None)

    async def ended(self) -> None:
        """The listing got through, or so far that the rest can go as usual."""
        if self._marked:
            await self._account.store.perils.clear(self._account.name, self._resource, self._work)
        self.on = self._marked = False
        self._suspects = {}
