"""What a batch of deliveries means: records to store, tombstones, reads to make, and what cannot be read.

A record that comes whole is stored as it is only where its version is told (its own stamp, or the event's time where the
partner's observed clock stamps its resource): then the order in which deliveries come does not matter (R7). Everything else
says "look again" and becomes a read. So does a version that cannot be told from another one: two contents of one moment, or
of one second where a stamp has no finer part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from syncd.errors import PayloadError
from syncd.kit import Delivery, Event, Item, believed
from syncd.model import Headers, Lane
from syncd.store import NewTask
from syncd.store.graves import tombstone
from syncd.store.inbox import Fate, Taken
from syncd.sync.account import Account
from syncd.sync.derived import Derived
from syncd.sync.doubts import readable
from syncd.sync.freshness import SETTLED
from syncd.sync.letters import letter_of_delivery
from syncd.sync.naming import Naming
from syncd.sync.page import PageIn, PageRead, merged
from syncd.sync.plan import ResourcePlan
from syncd.sync.versions import Key, moment, order, raises, read_since, tied, ties, version_of

TYPES_MOST = 200
"""Event types an integration is remembered by (R12); further ones count as OTHER."""
OTHER = "(other)"
NAMELESS = "(no type)"
LONGEST_TYPE = 200
LONGEST_ID = 500
REPLAYED_AFTER = timedelta(minutes=10)
AHEAD_MOST = timedelta(hours=1)
"""How far a partner's clock may be ahead of ours."""
YIELD_EVERY = 25


class Deriver:
    """Reads the deliveries of one integration."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._readable: dict[str, bool] = {}
        self._naming = Naming(account)
        self._types: set[str] | None = None

    async def derive(self, taken: Sequence[Taken]) -> Derived:
        """What these deliveries mean. Raises StoreError; whatever a driver raises is a dead letter of its delivery alone."""
        account, found = self._account, Derived(self._account)
        if self._types is None:
            self._types = {one.event_type for one in await account.store.inbox.types(account.name)}
        await account.processor.aside.load(account.processor.resources)
        stamped: list[tuple[Event, Taken]] = []
        for number, one in enumerate(taken, 1):
            if number % YIELD_EVERY == 0:
                await account.clock.sleep(0)  # who answers webhooks is not kept waiting
            delivery = Delivery(one.body or b"", Headers(one.headers), route=one.route)
            try:
                whose = self._others(delivery)
                events = [] if whose else self._events(one, delivery)
            except Exception as error:
                self.buries(found, one, error)
            else:
                if whose:
                    why = f"it is of account {whose}, which this integration is not of"
                    self._passes(found, one, why, " of another account")
                else:
                    await self._take(found, one, events, stamped)
        if stamped:
            await self._judge(found, stamped)
            found.fates = [
                fate._replace(reason=fate.reason or found.unasked[fate.id]) if fate.id in found.unasked else fate
                for fate in found.fates
            ]
        return found

    def buried(self, one: Taken, error: Exception) -> Derived:
        """The end of a delivery that cannot be worked on, whatever it says."""
        found = Derived(self._account)
        self.buries(found, one, error)
        return found

    def _others(self, delivery: Delivery) -> str:
        """The account a delivery is of that came to our address and is of none of ours; else "". Intake hands one of another
        integration's account on to that one."""
        own = self._account.driver.account(self._account.options)
        named = self._account.driver.accounts(delivery) if own else ()
        return named[0] if named and own not in named else ""

    def _events(self, one: Taken, delivery: Delivery) -> list[Event]:
        events = believed(delivery, self._account.driver.events(delivery))
        for event in events:
            if event.revoked or event.credentials is not None or self._is_of_all(event):
                continue
            if not 0 < len(event.external_id) <= LONGEST_ID or not 0 < len(event.resource) <= LONGEST_ID:
                raise PayloadError(f"event {event.type}: not an id that a record can have")
        # A time to come would keep a record dead, or as it is, until then.
        latest = one.received_at + AHEAD_MOST
        return [replace(event, at=None) if event.at is not None and event.at > latest else event for event in events]

    def _is_of_all(self, event: Event) -> bool:
        """Does it name no record of what only a listing shows? Then that is what it asks for."""
        plan = self._account.plans.get(event.resource)
        if event.external_id or event.deleted or event.raw is not None or plan is None:
            return False
        return plan.resource.parent is None and not self._is_readable(plan, "")

    def buries(self, found: Derived, one: Taken, error: Exception) -> None:
        """This delivery of a batch is a dead letter."""
        found.letters.append(letter_of_delivery(self._account.name, one, error))
        found.fates.append(Fate(one.id, "buried", f"{type(error).__name__}: {error}"[:500]))
        self._counts(found, one.event_type or NAMELESS, known=False)

    # -- one delivery ----------------------------------------------------------------------------------------------

    async def _take(self, found: Derived, one: Taken, events: list[Event], stamped: list[tuple[Event, Taken]]) -> None:
        now, plans = self._account.clock.now(), self._account.plans
        used: list[Event] = []
        passed: list[Event] = []
        for told in events:
            if told.resource in plans or not told.resource:
                (used if self._is_ours(told) else passed).append(told)
                continue
            named = await self._naming.of(told)
            if named is None:
                asked = self._account.driver.named_by(told)
                if asked is not None and (later := await self._naming.waits(one, asked[0], now)) is not None:
                    self._asks_for_run(found, asked[0], one)
                    why = f"what {told.resource} is called is not known yet"
                    found.fates.append(Fate(one.id, "waiting", why, later=now + later))
                    return
                named = (told,)
            synced = [event for event in named if event.resource in plans]
            used += synced
            passed += [] if synced else [told]
        for event in used:
            if event.revoked:
                found.revoked = (event, one)
            elif event.credentials is not None:
                found.credentials.append((event, one))
            elif event.deleted or event.raw is not None:
                stamped.append((event, one))
            else:
                await self._looks_again(found, event, one)
        self._tells(found, one, used, passed)

    def _is_ours(self, event: Event) -> bool:
        """Is it of a property, an account or the like that the options name, as far as its id tells?"""
        plan = self._account.plans.get(event.resource)
        if plan is None or event.revoked or event.credentials is not None or not event.external_id:
            return True
        above = self._account.plans.get(plan.resource.parent or "")
        if above is not None and event.parent_id is not None:
            return self._account.driver.covers(above.resource, event.parent_id)
        return self._account.driver.covers(plan.resource, event.external_id)

    def _tells(self, found: Derived, one: Taken, used: list[Event], passed: list[Event]) -> None:
        """Count the delivery and say what became of it."""
        found.told += [event.resource for event in used if event.resource] + [""] * len(passed)
        for name in {event.type or one.event_type or NAMELESS for event in used}:
            self._counts(found, name, known=True)
        for name in {f"{event.type or one.event_type or NAMELESS} of {event.resource}" for event in passed}:
            self._counts(found, name, known=False)
        if used:
            about = used[0] if len(used) == 1 and used[0].resource else None
            where = (about.resource, about.external_id or None) if about is not None else (None, None)
            why = found.unasked.get(one.id)
            nothing = why is not None and len(used) == 1
            if about is not None and not about.external_id:
                why = f"it names no record: the listing of {about.resource} is read"[:500]
            found.fates.append(Fate(one.id, "dropped" if nothing else "done", why, *where))
        elif passed:
            what = passed[0].resource
            if what in self._account.plans:
                what = f"what the options do not name: {what} {passed[0].external_id}"
            found.fates.append(Fate(one.id, "dropped", f"{what} is not synced here"[:500]))
        else:
            self._passes(found, one, f"nothing is done for {one.event_type or NAMELESS}")

    def _passes(self, found: Derived, one: Taken, why: str, of: str = "") -> None:
        """Nothing of this delivery is anything of ours. `of`: whose it is, since its type may be one that we do handle."""
        self._counts(found, (one.event_type or NAMELESS) + of, known=False)
        rules = self._account.driver.spec.webhooks
        if rules is not None and rules.forgets:
            found.forgets.append(one.id)
        found.fates.append(Fate(one.id, "dropped", why[:500]))

    def _counts(self, found: Derived, name: str, *, known: bool) -> None:
        name, names = name[:LONGEST_TYPE], self._types if self._types is not None else set()
        if name not in names:
            if len(names) >= TYPES_MOST:
                name, known = OTHER, False
            names.add(name)
        _, count = found.types.get(name, (known, 0))
        found.types[name] = (known, count + 1)

    # -- look again ------------------------------------------------------------------------------------------------

    async def _looks_again(self, found: Derived, event: Event, one: Taken) -> None:
        """Have the record read, as soon as coalescing allows; where that cannot be, the listing it stands in."""
        account, name, external_id = self._account, event.resource, event.external_id
        plan = account.plans[name]
        if event.unless_stored and await account.store.records.get(account.name, name, external_id) is not None:
            return
        if self._is_readable(plan, external_id):
            self._asks(found, plan, "fetch", external_id, one, external_id=external_id)
        elif plan.resource.parent is None:
            self._asks_for_run(found, name, one)
        else:
            parent_id = event.parent_id
            if parent_id is None:
                stored = await account.store.records.get(account.name, name, external_id)
                parent_id = stored.parent_id if stored is not None else None
            if parent_id is not None:
                self._asks(found, plan, "children", parent_id, one, parent_id=parent_id)
            else:  # to list below every parent is too dear for an event
                of = f"of which record of {plan.resource.parent} this one of {name} is"
                found.unasked[one.id] = f"{of}, nobody knows yet: the next pass brings it"[:500]

    def _is_readable(self, plan: ResourcePlan, external_id: str) -> bool:
        known = self._readable.get(plan.name)
        if known is None:
            known = self._readable[plan.name] = readable(self._account.driver, plan.resource, external_id)
        return known

    def _asks(
        self,
        found: Derived,
        plan: ResourcePlan,
        kind: str,
        subject: str,
        one: Taken,
        *,
        external_id: str | None = None,
        parent_id: str | None = None,
    ) -> None:
        key = f"{kind}:{plan.name}:{subject}"
        now, expires = self._account.clock.now(), plan.expires_seconds
        # What a read tells that began after the event came in, however late the event is worked on. Another instance may
        # have taken it in, by its own clock.
        since = min(one.received_at + SETTLED, now)
        if kind == "fetch" and self._account.freshness.read_since(plan.name, subject, since):
            return
        if key in found.tasks:
            known = found.tasks[key]
            known.wanted_at = max(known.wanted_at or now, since)
            return
        found.tasks[key] = NewTask(
            kind=kind,
            resource=plan.name,
            external_id=external_id,
            parent_id=parent_id,
            payload={"events": True},
            lane=_lane(one, now),
            dedupe_key=key,
            not_before=self._account.coalescing.not_before(plan.name, subject),
            expires_at=now + timedelta(seconds=expires) if expires is not None else None,
            cause=f"webhook {one.event_id}",
            wanted_at=since,
        )

    def _asks_for_run(self, found: Derived, resource: str, one: Taken) -> None:
        key = f"sync:{resource}"
        if resource in self._account.plans and key not in found.tasks:
            found.tasks[key] = NewTask(
                kind="sync",
                resource=resource,
                payload={"events": True},
                lane=Lane.HIGH,
                dedupe_key=key,
                not_before=self._account.coalescing.run_not_before(resource),
                cause=f"webhook {one.event_id}",
            )

    # -- what comes with a version ---------------------------------------------------------------------------------

    async def _judge(self, found: Derived, stamped: Sequence[tuple[Event, Taken]]) -> None:
        """Records that came whole, and deletions: what is stored of them decides whether they can be told apart from it."""
        account = self._account
        keys = list(dict.fromkeys((event.resource, event.external_id) for event, _ in stamped))
        stored = await account.store.records.stamps(account.name, keys)
        ended = {(event.resource, event.external_id) for event, _ in stamped if event.deleted and event.at is None}
        newest: dict[Key, PageIn] = {}
        sources: dict[Key, tuple[Event, Taken]] = {}
        alike: set[Key] = set()
        for event, one in stamped:
            key = (event.resource, event.external_id)
            sources[key] = (event, one)
            if event.deleted:
                is_back = read_since(stored.get(key), event)
                if not is_back:
                    self._digs(found, event, one)
                # Without a time it may be of another life than the one it ends.
                if is_back or (
                    event.at is None and self._is_readable(account.plans[event.resource], event.external_id)
                ):
                    await self._looks_again(found, event, one)
                continue
            page = self._page_of(event, one)
            revives = key in ended or (page is not None and raises(stored.get(key), page))
            if page is None or (revives and self._is_readable(account.plans[event.resource], event.external_id)):
                await self._looks_again(found, event, one)
            elif (other := newest.get(key)) is None:
                newest[key] = page
            else:  # of a burst only the last version is stored
                if tied(version_of(page), version_of(other)) and page.items[0].raw != other.items[0].raw:
                    alike.add(key)
                newest[key] = max(other, page, key=order)
        if newest:
            found.read = merged(await self._read(list(newest.values())))
            await self._asks_about_rejects(found, sources)
        for key in sorted(alike | ties(found.read.rows if found.read is not None else (), found.graves, stored)):
            await self._looks_again(found, *sources[key])

    async def _asks_about_rejects(self, found: Derived, sources: Mapping[Key, tuple[Event, Taken]]) -> None:
        """A delivery may tell less of a record, or otherwise, than its own URL: what that says decides what is unsound."""
        assert found.read is not None
        kept = []
        for reject in found.read.rejects:
            key = (reject.resource, reject.external_id or "")
            if key in sources and self._is_readable(self._account.plans[reject.resource], key[1]):
                await self._looks_again(found, *sources[key])
            else:
                kept.append(reject)
        found.read.rejects = kept

    async def _read(self, pages: Sequence[PageIn]) -> list[PageRead]:
        """Whatever is known of these records, the store judges them: only there it is certain what it is."""
        account, by_resource = self._account, dict[str, list[PageIn]]()
        for page in pages:
            by_resource.setdefault(page.items[0].resource, []).append(page)
        reads: list[PageRead] = []
        for resource, own in by_resource.items():
            for first in range(0, len(own), YIELD_EVERY):
                chunk = own[first : first + YIELD_EVERY]
                keys = [(resource, page.items[0].identity.external_id) for page in chunk if page.items[0].identity]
                reads += await account.processor.read_all(
                    resource, chunk, rejected=set(keys), unstored=Counter(keys), empty=True
                )
                await account.clock.sleep(0)
        return reads

    def _digs(self, found: Derived, event: Event, one: Taken) -> None:
        """A tombstone as of the event's time; of several of one record the latest."""
        key = (event.resource, event.external_id)
        row = tombstone(*key, one.received_at, updated_at=event.at, cause=f"webhook {one.event_id}")
        before = found.graves.get(key)
        if before is None or moment(row) > moment(before):
            found.graves[key] = row

    def _page_of(self, event: Event, one: Taken) -> PageIn | None:
        """The record as a page of its own; None where it has no version to tell it from others by, and can be read."""
        account, raw = self._account, event.raw
        plan = account.plans[event.resource]
        assert raw is not None
        aside = account.processor.aside
        if aside and aside.names(plan.name, event.external_id):
            return (
                None  # whoever reads it ends the process: the listing, or its own answer, makes it a reject untouched
            )
        try:
            identity = account.driver.identify(plan.resource, raw, plan.adapter)
        except Exception:
            return None  # its own answer says what is wrong with it, if anything is
        if identity.external_id != event.external_id:
            return None
        fetched_at = one.received_at
        if identity.source_version is None and identity.source_updated_at is None:
            if event.at is not None and plan.resource.stamped_by == "observed":
                identity = replace(identity, source_updated_at=event.at)
            elif self._is_readable(plan, event.external_id):
                return None
            else:
                fetched_at = min(fetched_at, event.at or fetched_at)
        return PageIn([Item(plan.name, raw, identity)], fetched_at, f"webhook {one.event_id}", observed_at=event.at)


def _lane(one: Taken, now: datetime) -> Lane:
    """Urgent, unless somebody has it worked on once more: a day that is replayed must not hold up what comes now."""
    again = one.attempts > one.lost and one.received_at + REPLAYED_AFTER < now
    return Lane.LOW if again else Lane.HIGH
