"""Stored raw read again: to the end through stops, pauses and new owners, without a call, and never over what is newer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from syncd.errors import OwnershipError, StoreError
from syncd.kit import Reading
from syncd.store import Renormalization, Store
from syncd.sync import renormalize_walk
from syncd.sync.processor import Processor
from syncd.sync.renormalize_walk import Walk
from syncd.sync.renormalizing import Renormalizing, reading_of
from syncd.sync.resource_watch import Policy
from syncd.sync.rollout import Rollout
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.target import Target
from syncd.sync.watching import Watching

from .ranged import Desk, rest

V2 = {"fields": {"name": {"from": "name", "required": True}, "length": "size"}}


async def opened(store: Store, count: int = 25, **more: Any) -> Desk:
    desk = await Desk.open(store, rest(adapters={"v2": V2}, **more))
    for number in range(count):
        desk.partner.put(number)
    await desk.pull()
    desk.partner.calls.clear()
    use(desk, "v2")
    return desk


def use(desk: Desk, adapter: str, rollout: Rollout | None = None, **more: Any) -> None:
    """The file says otherwise from now on."""
    desk.plans["things"] = replace(desk.plans["things"], adapter=adapter, rollout=rollout)
    targets = {"things": Target(desk.plans["things"].resource, adapter, rollout=rollout)}
    desk.account.processor = Processor(desk.driver, "acme", targets, desk.store, **more)


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[Renormalizing]:
    part = Renormalizing("plain", {"acme": desk.account}, desk.store, desk.clock, lambda _, name: name in desk.paused)
    async with anyio.create_task_group() as group:
        group.start_soon(part.run)
        yield part
        group.cancel_scope.cancel()


async def until(desk: Desk, one: Renormalization, *states: str) -> Renormalization:
    for _ in range(400):
        [found] = await desk.store.renormalizations.find([one.id])
        if found.state in states:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {found}")


async def done(desk: Desk, **more: Any) -> Renormalization:
    one, _ = await desk.store.renormalizations.ask("acme", "things", **more)
    async with working(desk):
        return await until(desk, one, "done", "failed")


async def data(desk: Desk) -> dict[str, dict[str, Any]]:
    return {one.external_id: one.data async for one in desk.store.records.scan("acme", "things")}


async def test_every_record_is_read_by_the_new_adapter_and_no_call_is_made(store: Store):
    desk = await opened(store)
    one = await done(desk)
    assert (one.state, one.seen, one.changed, one.unchanged) == ("done", 25, 25, 0)
    assert await data(desk) == {f"t{n:04}": {"name": "n", "length": n} for n in range(25)}
    assert desk.partner.calls == []
    before = await store._database.fetchval("SELECT sum(row_version) FROM syncd.records")
    await desk.pull(full=True)
    assert await store._database.fetchval("SELECT sum(row_version) FROM syncd.records") == before, (
        "a pass finds it known"
    )


async def test_a_dry_one_says_what_would_change_and_changes_nothing(store: Store):
    desk = await opened(store)
    use(desk, "v1")
    before = await data(desk)
    one = await done(desk, adapter="v2", dry=True)
    assert (one.seen, one.changed, one.fields) == (25, 25, {"length": 25, "size": 25})
    assert len(one.examples) == 20 and one.examples[0]["fields"]["length"] == ["no such field", "a number"]
    assert await data(desk) == before
    assert await store._database.fetchval("SELECT count(*) FROM syncd.changes") == 0


@pytest.mark.parametrize("batch", [3, 8])
async def test_it_goes_on_at_its_cursor_whoever_dies_and_whoever_owns_it_next(
    store: Store, batch: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(renormalize_walk, "BATCH", batch)
    desk = await opened(store)
    one, _ = await store.renormalizations.ask("acme", "things")
    reading = reading_of(desk.plans["things"], one)
    for _ in range(3):  # one batch each, then it dies
        taken = await store.renormalizations.take(one, scope="acme", fence=desk.ownership.fence, reading=reading)
        assert taken is not None
        left = iter((True,))
        assert not await Walk(desk.account, desk.plans["things"], taken, desk.ownership.fence).run(
            lambda left=left: next(left, False)  # type: ignore[misc]
        )
        await desk.take_over()
    (part,) = await store.renormalizations.find([one.id])
    assert part.seen == 3 * batch if 3 * batch < 25 else part.seen <= 25
    async with working(desk):
        found = await until(desk, one, "done")
    assert (found.seen, found.changed, found.passed) == (25, 25, 0)
    assert {tuple(each) for each in (await data(desk)).values()} == {("name", "length")}


async def test_a_batch_that_was_stored_before_its_cursor_moved_is_found_done(store: Store):
    desk = await opened(store)
    one = await done(desk)
    await store._database.execute(
        "UPDATE syncd.renormalizations SET state = 'running', phase = 'records', cursor = '', seen = 0, changed = 0"
    )
    async with working(desk):
        found = await until(desk, one, "done")
    assert (found.seen, found.changed, found.unchanged, found.passed) == (25, 0, 25, 0)


async def test_what_a_run_stores_meanwhile_is_newer_and_stays(store: Store, monkeypatch: pytest.MonkeyPatch):
    desk = await opened(store)
    read = store.renormalizations.records

    async def read_slowly(*what: Any, **more: Any) -> Any:
        found = await read(*what, **more)
        use(desk, "v1")
        desk.partner.put(3, "changed meanwhile", at=100)
        await desk.pull()
        use(desk, "v2")
        return found

    monkeypatch.setattr(store.renormalizations, "records", read_slowly)
    one = await done(desk)
    assert one.passed >= 1
    assert (await data(desk))["t0003"]["name"] == "changed meanwhile"


async def test_a_record_the_adapter_cannot_read_stays_and_becomes_a_reject_and_heals_when_it_can(store: Store):
    desk = await opened(store, 3)
    use(desk, "v1")
    desk.partner.truth["t0001"]["name"] = None
    desk.partner.truth["t0001"]["at"] = "2026-01-02T00:00:00.000000000Z"
    await desk.pull()
    use(desk, "v2")
    one = await done(desk)
    assert (one.state, one.changed, one.rejected) == ("done", 2, 1)
    assert (await data(desk))["t0001"] == {"name": None, "size": 1}, "as it was"
    (reject,) = await store.rejects.list("acme")
    assert (reject.external_id, reject.reason, reject.adapter) == ("t0001", "field name: required, got null", "v2")
    use(desk, "v1")
    again = await done(desk)
    assert (again.healed, again.rejected) == (1, 0)
    assert await store.rejects.list("acme") == []


async def test_a_fault_of_the_driver_becomes_the_reject_that_a_listing_makes_of_it_and_is_shown_without_values(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    desk = await opened(store, 2)
    reading = desk.driver.reading

    def faulty(resource: Any, adapter: str = "") -> Reading:
        found = reading(resource, adapter)

        def read(raw: dict[str, Any]) -> dict[str, Any]:
            if adapter == "v2" and raw["id"] == "t0001":
                raise KeyError("her name")
            return found.fields(raw)

        return found._replace(fields=read)

    monkeypatch.setattr(desk.driver, "reading", faulty)
    one = await done(desk, adapter="v2", dry=True)
    assert [each for each in one.examples if "refused" in each] == [
        {"id": "t0001", "refused": "KeyError in the driver"}
    ]
    await done(desk)
    (reject,) = await store.rejects.list("acme")
    assert (reject.reason, reject.adapter) == ("KeyError in the driver: 'her name'", "v2")


async def test_a_reject_that_is_sound_now_becomes_a_record_and_one_that_is_not_stays_as_it_is(store: Store):
    desk = await opened(store, 2, fields={"size": {"as": "integer"}})
    use(desk, "v1")
    for number, size in ((7, "seven"), (8, "8")):
        desk.partner.put(number)
        desk.partner.truth[f"t{number:04}"]["size"] = size
    desk.partner.truth["t0008"]["size"] = []
    await desk.pull()
    before = {each.external_id: (each.times, each.last_at) for each in await store.rejects.list("acme")}
    assert set(before) == {"t0007", "t0008"}
    desk.plans["things"] = replace(
        desk.plans["things"],
        resource=desk.plans["things"].resource.model_copy(
            update={
                "fields": {"size": desk.plans["things"].resource.fields["size"].model_copy(update={"kind": "text"})}
            }
        ),
    )
    use(desk, "v1")
    one = await done(desk)
    assert (one.healed, one.seen, one.changed) == (1, 2, 2), "what stood aside was not among those that were read"
    assert (await data(desk))["t0007"] == {"size": "seven"}
    (left,) = await store.rejects.list("acme")
    assert (left.external_id, (left.times, left.last_at)) == ("t0008", before["t0008"])


async def test_a_reject_that_something_newer_has_overtaken_neither_takes_its_place_nor_is_lost_by_it(store: Store):
    desk = await opened(store, 2, fields={"size": {"as": "integer"}}, stamp="fetched")
    use(desk, "v1")
    desk.partner.truth["t0001"]["size"] = "seven"
    await desk.pull(full=True)
    desk.plans["things"] = replace(
        desk.plans["things"],
        resource=desk.plans["things"].resource.model_copy(
            update={
                "fields": {"size": desk.plans["things"].resource.fields["size"].model_copy(update={"kind": "text"})}
            }
        ),
    )
    use(desk, "v1")
    one = await done(desk)  # without stamps, what was stored within seconds of the reject may be newer
    assert one.healed == 0
    row = await store.records.get("acme", "things", "t0001")
    assert row is not None and row.raw["size"] == 1
    assert len(await store.rejects.list("acme")) == 1
    asked = await store._database.fetch("SELECT external_id FROM syncd.tasks WHERE kind = 'fetch'")
    assert [tuple(each) for each in asked] == [("t0001",)], "only the partner knows which of both is right"
    await store._database.execute("UPDATE syncd.records SET fetched_at = fetched_at - interval '1 minute'")
    one = await done(desk)
    assert one.healed == 1 and await store.rejects.list("acme") == []
    row = await store.records.get("acme", "things", "t0001")
    assert row is not None and row.raw["size"] == "seven"


async def test_by_percent_each_record_is_read_by_its_own(store: Store):
    desk = await opened(store)
    rollout = Rollout.of({"v1": 60, "v2": 40})
    use(desk, "v1", rollout)
    one = await done(desk)
    expected = {f"t{n:04}" for n in range(25) if rollout.adapter_of(f"t{n:04}") == "v2"}
    assert {each for each, fields in (await data(desk)).items() if "length" in fields} == expected
    assert one.changed == len(expected) and 3 < len(expected) < 20
    before = await store._database.fetchval("SELECT sum(row_version) FROM syncd.records")
    await desk.pull(full=True)
    assert await store._database.fetchval("SELECT sum(row_version) FROM syncd.records") == before
    desk.partner.put(100)
    await desk.pull()
    (row,) = [each async for each in store.records.scan("acme", "things", after="t0024")]
    assert row.adapter == rollout.adapter_of("t0100")


async def test_where_the_file_says_otherwise_meanwhile_it_begins_anew(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renormalize_walk, "BATCH", 10)
    desk = await opened(store)
    one, _ = await store.renormalizations.ask("acme", "things")
    fence, left = desk.ownership.fence, iter((True, True))
    reading = reading_of(desk.plans["things"], one)
    taken = await store.renormalizations.take(one, scope="acme", fence=fence, reading=reading)
    assert taken is not None
    await Walk(desk.account, desk.plans["things"], taken, fence).run(lambda: next(left, False))
    assert sum("length" in fields for fields in (await data(desk)).values()) == 20
    use(desk, "v1")
    assert (await store.renormalizations.ask("acme", "things"))[1] is False, "it joins the one there is"
    async with working(desk):
        found = await until(desk, one, "done")
    assert (found.seen, found.changed, found.unchanged) == (25, 20, 5)
    assert not any("length" in fields for fields in (await data(desk)).values())


async def test_one_whose_resource_has_left_the_file_tells_of_what_it_had_done(store: Store):
    desk = await opened(store)
    one, _ = await store.renormalizations.ask("acme", "things")
    fence, reading, left = desk.ownership.fence, reading_of(desk.plans["things"], one), iter((True,))
    taken = await store.renormalizations.take(one, scope="acme", fence=fence, reading=reading)
    assert taken is not None
    await Walk(desk.account, desk.plans["things"], taken, fence).run(lambda: next(left, False))
    del desk.plans["things"]
    async with working(desk):
        found = await until(desk, one, "failed")
    assert (found.reason, found.seen, found.changed) == ("acme has no resource things any more", 25, 25)
    assert (found.phase, found.reading) == ("rejects", reading)


async def test_who_asks_while_it_is_at_the_rejects_has_all_of_them_tried(store: Store):
    await opened(store)
    one, _ = await store.renormalizations.ask("acme", "things")
    await store._database.execute("UPDATE syncd.renormalizations SET phase = 'rejects', cursor = 't0005'")
    joined, new = await store.renormalizations.ask("acme", "things", who="schema accept")
    assert (joined.id, new, joined.phase, joined.cursor) == (one.id, False, "rejects", "")


async def test_who_asks_while_its_first_rejects_are_in_hand_has_them_tried_again_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """What was read before an acceptance must not end what the acceptance asked for."""
    desk = await opened(store, 2)
    read, reads = store.renormalizations.rejects, []

    async def asked_meanwhile(*words: Any, **more: Any) -> Any:
        found = await read(*words, **more)
        reads.append(more["after"])
        if len(reads) == 1:
            joined, new = await store.renormalizations.ask("acme", "things", who="schema accept")
            assert (joined.phase, joined.cursor, new) == ("rejects", "", False)
        return found

    monkeypatch.setattr(store.renormalizations, "rejects", asked_meanwhile)
    before = desk.clock.monotonic()
    one = await done(desk)
    assert (one.state, one.deaths, reads) == ("done", 0, ["", ""])
    assert desk.clock.monotonic() - before < 1, "no look is waited for"


async def test_by_percent_an_adapter_that_looks_for_the_id_elsewhere_reads_its_share_all_the_same(store: Store):
    desk = await Desk.open(store, rest(adapters={"v2": {**V2, "id": "identifier"}}))
    for number in range(25):
        desk.partner.put(number)
    await desk.pull()
    rollout = Rollout.of({"v1": 60, "v2": 40})
    use(desk, "v1", rollout)
    for number in range(25):
        desk.partner.put(number, "other", at=number + 100)
    await desk.pull(full=True)
    assert await store.rejects.list("acme") == []
    moved = {each for each, fields in (await data(desk)).items() if "length" in fields}
    assert moved == {f"t{n:04}" for n in range(25) if rollout.adapter_of(f"t{n:04}") == "v2"}


async def test_a_pause_holds_it_and_a_stop_ends_it(store: Store):
    desk = await opened(store)
    desk.paused.add("things")
    one, _ = await store.renormalizations.ask("acme", "things")
    async with working(desk) as part:
        await asyncio.sleep(0.1)
        assert (await store.renormalizations.find([one.id]))[0].state == "waiting"
        (gone,) = await store.renormalizations.cancel("acme", "things", who="ann")
        assert (gone.state, gone.reason) == ("cancelled", "stopped by ann")
        desk.paused.clear()
        part.wake()
        await asyncio.sleep(0.1)
    assert "length" not in (await data(desk))["t0000"]


async def test_a_fault_fails_it_with_its_reason_and_the_next_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch):
    desk = await opened(store)

    def broken(*what: Any, **more: Any) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(desk.account.driver, "reading", broken)
    one = await done(desk)
    assert (one.state, one.reason) == ("failed", "RuntimeError: a fault")
    monkeypatch.undo()
    assert (await done(desk)).state == "done"


@pytest.mark.parametrize("trouble", [StoreError("the database is away"), OwnershipError("somebody else's")])
async def test_a_fault_that_cannot_be_noted_now_is_noted_later_and_ends_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch, trouble: StoreError
):
    desk = await opened(store)
    fail, refusals = store.renormalizations.fail, [trouble]

    def broken(*what: Any, **more: Any) -> Any:
        raise RuntimeError("a fault")

    async def failing(*what: Any, **more: Any) -> None:
        if refusals:
            raise refusals.pop()
        await fail(*what, **more)

    monkeypatch.setattr(desk.account.driver, "reading", broken)
    monkeypatch.setattr(store.renormalizations, "fail", failing)
    one = await done(desk)
    assert (one.state, one.reason, refusals) == ("failed", "RuntimeError: a fault", [])


async def test_one_that_ends_the_process_again_and_again_is_given_up_and_an_orderly_stop_is_no_death(store: Store):
    desk = await opened(store)
    one, _ = await store.renormalizations.ask("acme", "things")
    for _ in range(5):
        taken = await store.renormalizations.take(one, scope="acme", fence=desk.ownership.fence, reading="v1")
        assert taken is not None and taken.deaths == 0
        await store.renormalizations.give_back(taken, fence=desk.ownership.fence)
        await desk.take_over()
    for deaths in range(3):
        taken = await store.renormalizations.take(one, scope="acme", fence=desk.ownership.fence, reading="v1")
        assert taken is not None and taken.deaths == deaths
        await desk.take_over()
    async with working(desk):
        found = await until(desk, one, "failed", "done")
    assert found.state == "failed"
    assert found.reason == (
        "the process ended 3 times in a row while adapter and driver had a batch in hand, at the first records"
    )
    assert (await done(desk)).state == "done", "whoever asks again means it"


async def test_what_is_frozen_is_known_before_the_first_record_of_a_new_process_comes(store: Store):
    desk = await opened(store)
    watch = SchemaWatch("plain", "acme", {"things": Policy.FREEZE}, desk.clock)
    use(desk, "v1", watch=watch)
    await desk.pull(full=True)
    watch.ended("things")
    await store.schemas.put("acme", "acme", desk.ownership.fence, watch.writes(all_of_it=True))
    use(desk, "v1", watch=SchemaWatch("plain", "acme", {"things": Policy.FREEZE}, desk.clock))
    desk.partner.put(3, at=50)
    desk.partner.truth["t0003"]["colour"] = "red"
    await desk.pull()
    assert [each.external_id for each in await store.rejects.list("acme")] == ["t0003"]


async def test_an_acceptance_is_carried_out_by_the_owner_and_lets_in_what_was_kept_out(store: Store):
    desk = await opened(store)
    watch = SchemaWatch("plain", "acme", {"things": Policy.FREEZE}, desk.clock, desk.account.health.shape_told)
    use(desk, "v1", watch=watch)
    part = Watching("plain", {"acme": desk.account}, store, desk.clock)
    await desk.pull(full=True)
    watch.ended("things")
    await part._turn(False)
    desk.partner.put(3, at=50)
    desk.partner.truth["t0003"]["colour"] = "red"
    await desk.pull()
    watch.ended("things")
    assert desk.account.health.of("things").misshapen
    await part._turn(True)
    again = Watching("plain", {"acme": desk.account}, store, desk.clock)  # another process, which reads what is stored
    await store.schemas.accept("acme", "things", who="ann")
    await again._turn(True)
    assert desk.account.health.of("things").shape is None
    (one,) = await store.renormalizations.active(["acme"])
    calls = len(desk.partner.calls)
    async with working(desk):
        found = await until(desk, one, "done")
    assert found.healed == 1 and len(desk.partner.calls) == calls
    row = await store.records.get("acme", "things", "t0003")
    assert row is not None and row.raw["colour"] == "red"
    assert await store.rejects.list("acme") == []
