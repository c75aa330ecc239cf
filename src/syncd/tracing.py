"""What became of deliveries, for people: lists, one with all it caused, and back to the inbox once more.

Reads rows, never a partner. What a delivery says is read again from its stored bytes by the driver, as the workers did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Final

from syncd import codec, drivers
from syncd.config import Config
from syncd.errors import StoreError, SyncdError
from syncd.kit import Driver
from syncd.kit.webhooks import Delivery, Event
from syncd.model import Headers
from syncd.redaction import KNOWN, veiled
from syncd.store import Store, reached
from syncd.store.received import ALL, Received, Which
from syncd.store.rows import fetch_key

MOST_AT_ONCE: Final = 500
"""Deliveries put back in one transaction."""
MOST_RECORDS: Final = 20
"""Records of one delivery whose fate is looked up."""


class Names:
    """What the records that events tell of are called here, where the partner calls them otherwise."""

    def __init__(self, store: Store, driver: Driver, integration: str, options: Mapping[str, Any]) -> None:
        self._store = store
        self._driver = driver
        self.integration = integration
        self._options = options

    async def of(self, events: Sequence[Event]) -> list[Event]:
        """The events by our names of what they are of; as they came where nothing tells."""
        found: list[Event] = []
        for event in events:
            with self._asking():
                asked = self._driver.named_by(event)
            if asked is None:
                found.append(event)
                continue
            stored = await self._store.records.get(self.integration, *asked)
            with self._asking():
                found += self._driver.named(event, None if stored is None else stored.raw, self._options)
        return found

    async def unknown(self, events: Sequence[Event]) -> tuple[str, str] | None:
        """The record (resource, id) that would name the first event, where it is not stored."""
        with self._asking():
            asked = self._driver.named_by(events[0]) if events else None
        if asked is None or await self._store.records.get(self.integration, *asked) is not None:
            return None
        return asked

    def _asking(self) -> AbstractContextManager[None]:
        return drivers.asking(self._driver.spec.name, "asked what an event is of")


class Tracing:
    """`store` answers None until the database was reached."""

    def __init__(self, config: Callable[[], Config], store: Callable[[], Store | None]) -> None:
        self._config = config
        self._stored = store

    @property
    def _store(self) -> Store:
        return reached(self._stored())

    # -- looking -----------------------------------------------------------------------------------------------------

    async def latest(
        self, integration: str | None = None, which: Which = ALL, *, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The latest deliveries first, without bodies; of every integration for None."""
        return [_told(each) for each in await self._store.inbox.list(integration, which, limit=limit)]

    async def delivery(self, integration: str, name: str, *, body: bool = False) -> dict[str, Any] | None:
        """One by its number or its event id, with all it caused; None where there is none.

        Its body without values, but for ids and type; with `body` as it came, but for known secrets.
        """
        found = await self._found(integration, name)
        if found is None:
            return None
        events, more, unread = await self._events(found)
        told = _told(found)
        told["headers"] = {key: KNOWN.mask(value) for key, value in found.headers.items()}
        told["body_masked"] = not body
        told["body"] = None
        if found.body is not None:
            shown = (
                found.body.decode("utf-8", "backslashreplace") if body else _masked(found.body, _plain(found, events))
            )
            told["body"] = KNOWN.mask(shown)
        told["events"] = [await self._became(found, event) for event in events]
        told["more_events"] = more
        told["unread"] = unread
        told["letter"] = await self._letter(found)
        return told

    async def types(self, integration: str | None = None) -> list[dict[str, Any]]:
        """The kinds of events that came, how often, and whether anything is done for them."""
        return [
            {"integration": each.integration, "type": each.event_type, "known": each.known, "count": each.count,
             "first_at": each.first_at, "last_at": each.last_at}
            for each in await self._store.inbox.types(integration)
        ]  # fmt: skip

    async def _found(self, integration: str, name: str) -> Received | None:
        inbox = self._store.inbox
        number = await inbox.number(integration, name)
        if number is None and name.isascii() and name.isdigit() and len(name) < 19:
            number = int(name)
        return None if number is None else await inbox.get(integration, number)

    async def _events(self, found: Received) -> tuple[Sequence[Event], int, str]:
        """What the delivery says, by our names; how many events more; and why it cannot be read, if it cannot."""
        if found.body is None:
            return [], 0, "its body is no longer kept"
        configured = self._config().integrations.get(found.integration)
        if configured is None:
            return [], 0, "its integration is no longer configured"
        partner, _ = configured
        try:
            driver = drivers.load(partner.driver, rest=partner.rest_for(found.integration), partner=partner.name)
            with drivers.asking(partner.driver, "reading the delivery"):
                events = list(driver.events(Delivery(found.body, Headers(found.headers), route=found.route)))
            names = Names(self._store, driver, found.integration, partner.options_for(found.integration))
            return await names.of(events[:MOST_RECORDS]), max(len(events) - MOST_RECORDS, 0), ""
        except StoreError:
            raise
        except SyncdError as error:
            return [], 0, KNOWN.mask(str(error))

    async def _became(self, found: Received, event: Event) -> dict[str, Any]:
        """What one event led to: the task under way, and the record as it is stored."""
        store, resource, external_id = self._store, event.resource, event.external_id
        task = await store.tasks.keyed(found.integration, fetch_key(resource, external_id))
        record = await store.records.get(found.integration, resource, external_id)
        return {
            "type": event.type,
            "resource": resource,
            "id": external_id,
            "deleted": event.deleted,
            "revoked": event.revoked,
            "task": None
            if task is None
            else {
                "id": task.id,
                "attempts": task.attempts,
                "not_before": task.not_before,
                "taken": task.taken_fence is not None,
                "reason": task.reason,
            },
            "record": None
            if record is None
            else {
                "row_version": record.row_version,
                "fetched_at": record.fetched_at,
                "synced_at": record.synced_at,
                "deleted_at": record.deleted_at,
                "cause": record.cause,
            },
        }

    async def _letter(self, found: Received) -> dict[str, Any] | None:
        each = await self._store.dead_letters.of_origin(found.integration, "inbox", str(found.id))
        if each is None:
            return None
        return {"id": each.id, "state": each.state, "error": each.error_class, "message": KNOWN.mask(each.message)}

    # -- once more ---------------------------------------------------------------------------------------------------

    async def count(self, integration: str, which: Which) -> tuple[int, int]:
        """How many of these are finished and have a body, and of about how many records they tell."""
        return await self._store.inbox.finished(integration, which)

    async def replay(self, integration: str, ids: Sequence[int], *, who: str) -> int:
        """Put these finished deliveries back; returns how many. The others have no body any more, or wait already."""
        store, back = self._store, 0
        for first in range(0, len(ids), MOST_AT_ONCE):
            back += await store.inbox.replay(integration, ids[first : first + MOST_AT_ONCE])
        if back:
            told = {"deliveries": back, "first": min(ids), "last": max(ids)}
            await store.audit.add(who, "webhooks_replayed", integration=integration, after=told)
        return back

    async def replay_range(self, integration: str, which: Which, *, who: str) -> int:
        """The same with all of these, in portions. Killed half way, the rest can be asked for again."""
        store, back, after = self._store, 0, 0
        while ids := await store.inbox.finished_ids(integration, which, after=after, limit=MOST_AT_ONCE):
            back += await store.inbox.replay(integration, ids)
            after = ids[-1]
        if back:
            told = {
                "deliveries": back,
                "since": which.since and which.since.isoformat(),
                "until": which.until and which.until.isoformat(),
                "state": which.state,
                "type": which.event_type,
            }
            await store.audit.add(who, "webhooks_replayed", integration=integration, after=told)
        return back


def _told(found: Received) -> dict[str, Any]:
    return {
        "integration": found.integration,
        "id": found.id,
        "event_id": found.event_id,
        "route": found.route,
        "type": found.event_type,
        "resource": found.resource,
        "record_id": found.external_id,
        "received_at": found.received_at,
        "state": found.state,
        "reason": None if found.reason is None else KNOWN.mask(found.reason),
        "attempts": found.attempts,
        "lost": found.lost,
        "not_before": found.not_before,
        "finished_at": found.finished_at,
        "bytes": found.size,
        "seconds": None
        if found.finished_at is None
        else max((found.finished_at - found.received_at) / timedelta(seconds=1), 0.0),
    }


def _plain(found: Received, events: Sequence[Event]) -> frozenset[str]:
    """The values that may be seen: what the delivery is called, and what it is of."""
    shown = {found.event_id, found.event_type or "", found.external_id or ""}
    for event in events:
        shown |= {event.type, event.external_id}
    return frozenset(shown - {""})


def _masked(body: bytes, shown: frozenset[str]) -> str:
    """The body with its keys and without its values, but for those that may be seen."""
    try:
        value = codec.loads(body)
    except SyncdError:
        return f"{len(body):,} bytes that are no JSON"
    return codec.dumps(veiled(value, shown)).decode()
