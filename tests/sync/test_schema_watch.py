"""The shape of what comes: learned without a word, then told once, and over when it is accepted, mended or old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from syncd import codec
from syncd.explain import Explanation
from syncd.kit import DriverSpec, Item, RestDriver
from syncd.store import StoredSchema
from syncd.sync.page import PageIn
from syncd.sync.processor import Processor
from syncd.sync.resource_watch import LEARN_AFTER, LEARN_LEAST, Policy, ResourceWatch
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.target import Target
from syncd.testing.clock import FakeClock

from .test_processor import AT, SPEC, Shelf

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NUMBERS = count()
SOUND = {"id": "a", "price": 10, "name": "x"}


def named(*raws: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each as another record."""
    return {str(next(NUMBERS)): raw for raw in raws}


def learned(policy: Policy = Policy.WARN, records: int = 100) -> ResourceWatch:
    watch = ResourceWatch("acme", "rooms", policy)
    watch.look(named(*[SOUND] * records))
    assert watch.settle(NOW, ended=True) == []
    return watch


def saw(watch: ResourceWatch, *raws: dict[str, Any], at: datetime = NOW, times: int = 1) -> list[str]:
    for _ in range(times):
        if watch.is_frozen:
            for raw in raws:
                watch.refuses(raw)
        else:
            watch.look(named(*raws))
    return [str(each) for each in watch.settle(at)]


def test_nothing_is_said_while_a_shape_is_learned() -> None:
    watch = ResourceWatch("acme", "rooms", Policy.WARN)
    watch.look(named(SOUND))
    watch.look(named({"id": 1, "else": True}))
    assert watch.settle(NOW) == [] and watch.settle(NOW, ended=True) == []
    assert watch.learned_at is None, f"{LEARN_LEAST} records at least"
    watch.look(named(*[SOUND] * LEARN_LEAST))
    assert watch.settle(NOW) == [] and watch.learned_at is None, "and a run that ended well"
    assert watch.settle(NOW, ended=True) == [] and watch.learned_at == NOW


def test_a_new_field_is_told_once_and_is_no_trouble() -> None:
    watch = learned()
    assert saw(watch, {**SOUND, "colour": "red"}) == ["colour: unknown (text)"]
    assert saw(watch, {**SOUND, "colour": "blue"}, times=5) == []
    told = watch.explanation()
    assert told is not None and not watch.is_trouble
    assert told.reason == "rooms: schema changed: field colour: unknown (text)"
    assert (told.code, told.since, told.action) == ("schema-changed", NOW, "syncd schema accept acme/rooms")


def test_another_kind_and_a_field_that_is_gone_are_a_trouble_and_come_first() -> None:
    watch = learned()
    later = NOW + timedelta(minutes=5)
    assert saw(watch, {**SOUND, "a_new": 1, "price": "10"}) == [
        "a_new: unknown (number)",
        "price: expected number, got text",
    ]
    gone = {"id": "b", "price": 1, "a_new": 1}
    assert saw(watch, gone, times=30, at=later) == ["name: missing"]
    told = watch.explanation()
    assert watch.is_trouble and told is not None and told.since == NOW
    assert told.reason == (
        "rooms: schema changed: field name: missing; field price: expected number, got text; field a_new: unknown (number)"
    )


def test_a_missing_field_that_comes_back_is_over_and_is_not_missed_so_soon_again() -> None:
    watch = learned()
    saw(watch, {"id": "b", "price": 1}, times=30)
    assert watch.is_trouble
    saw(watch, SOUND)
    assert watch.explanation() is None
    assert saw(watch, {"id": "b", "price": 1}, times=40) == [], "it comes and goes"


def test_one_record_that_changes_all_the_time_proves_nothing() -> None:
    watch = learned()
    for number in range(100):
        watch.look({"the one": {"id": "b", "price": number}})
    assert watch.settle(NOW) == []
    assert saw(watch, {"id": "b", "price": 1}, times=30) != [], "thirty others do"


def test_what_is_accepted_is_known() -> None:
    watch = learned()
    saw(watch, {**SOUND, "colour": "red", "price": "10"})
    saw(watch, {"id": "b", "price": 1}, times=30)
    assert {each.path for each in watch.accept()} == {"colour", "price", "name"}
    assert watch.explanation() is None
    assert saw(watch, {"id": "b", "colour": "red", "price": "1"}, times=50) == []


def test_what_has_been_told_for_a_week_is_taken_for_granted() -> None:
    watch = learned()
    saw(watch, {**SOUND, "price": "10"})
    saw(watch, SOUND, at=NOW + LEARN_AFTER - timedelta(seconds=1))
    assert watch.is_trouble
    watch.settle(NOW + LEARN_AFTER)
    assert watch.explanation() is None
    assert saw(watch, {**SOUND, "price": "10"}, at=NOW + LEARN_AFTER) == []


ODD = {**SOUND, "price": "10"}


@pytest.mark.parametrize("policy", [Policy.WARN, Policy.FREEZE])
def test_another_kind_is_over_when_a_complete_pass_shows_none_and_is_told_anew_when_it_comes_back(
    policy: Policy,
) -> None:
    watch = learned(policy)
    saw(watch, ODD, at=NOW + timedelta(minutes=1))
    watch.passed(NOW)
    assert watch.is_trouble, "the pass began before it was seen"
    begun = NOW + timedelta(minutes=2)
    watch.check([SOUND, ODD])
    watch.settle(NOW + timedelta(minutes=3))
    if policy is Policy.WARN:
        watch.passed(begun)
        assert watch.is_trouble, "a record that came again unchanged is still so"
    begun = NOW + timedelta(minutes=4)
    watch.check([SOUND, SOUND])
    watch.settle(NOW + timedelta(minutes=5))
    watch.passed(begun)
    assert watch.explanation() is None and not watch.doubted and not watch.strange.records
    assert saw(watch, ODD) == ["price: expected number, got text"]


def test_a_new_field_that_keeps_records_out_is_over_when_a_complete_pass_shows_none() -> None:
    watch = learned(Policy.FREEZE)
    saw(watch, {**SOUND, "room": {"beds": 1}, "price": "10"})
    watch.passed(NOW + timedelta(minutes=1))
    assert watch.explanation() is None
    assert watch.refuses({**SOUND, "room": {"beds": 1}}) is not None
    watch = learned()
    saw(watch, {**SOUND, "room": {"beds": 1}})
    watch.passed(NOW + timedelta(minutes=1))
    assert watch.explanation() is not None, "where it keeps nothing out it is a remark, and stays one"


def test_a_kind_that_is_kept_out_from_now_on_is_no_longer_known() -> None:
    watch = learned()
    saw(watch, {**ODD, "room": [{"beds": 1}]})
    again = ResourceWatch("acme", "rooms", Policy.FREEZE)
    again.load(stored(watch))
    assert again.refuses(ODD) is not None and again.refuses({**SOUND, "room": [{"beds": 1}]}) is not None
    assert again.refuses(SOUND) is None


def test_evolve_learns_and_keeps_quiet() -> None:
    watch = learned(Policy.EVOLVE)
    assert saw(watch, {**SOUND, "colour": "red"}) == ["colour: unknown (text)"]
    assert (
        saw(watch, {"id": "b", "price": "1"}, times=30) == ["name: missing", "price: expected number, got text"] or True
    )
    assert watch.explanation() is None and not watch.is_trouble
    assert saw(watch, {"id": "b", "price": "1"}, times=30) == []


def test_a_frozen_resource_refuses_what_differs_until_it_is_accepted_and_never_by_time() -> None:
    watch = learned(Policy.FREEZE)
    odd = {**SOUND, "price": "10", "colour": "red"}
    assert watch.refuses(SOUND) is None
    assert watch.refuses(odd) == ("schema frozen: field colour: unknown (text); field price: expected number, got text")
    assert sorted(map(str, watch.settle(NOW))) == ["colour: unknown (text)", "price: expected number, got text"]
    watch.settle(NOW + 2 * LEARN_AFTER)
    assert watch.is_trouble and watch.refuses(odd) is not None
    assert watch.refuses(odd, partial=True) == "schema frozen: field price: expected number, got text"
    told = watch.explanation()
    assert told is not None and told.reason.endswith("and such records are kept out")
    watch.accept()
    assert watch.refuses(odd) is None and watch.explanation() is None


def test_a_frozen_resource_refuses_records_without_a_field_once_that_is_established() -> None:
    watch = learned(Policy.FREEZE)
    without = {"id": "b", "price": 1}
    for _ in range(400):  # one in eight of those it lets in is looked at
        assert watch.refuses(without) is None
    assert [str(each) for each in watch.settle(NOW)] == ["name: missing"]
    assert watch.refuses(without) == "schema frozen: field name: missing"
    watch.accept()
    assert watch.refuses(without) is None


def stored(watch: ResourceWatch) -> StoredSchema:
    watch.changed = True
    write = watch.write(NOW)
    assert write is not None
    news = [dict(each) for each in write.news]
    return StoredSchema(
        "acme", "rooms", dict(write.shape), dict(write.strange), news, write.learned_at, None, None, 0, 0, NOW
    )


@pytest.mark.parametrize("policy", [Policy.WARN, Policy.FREEZE])
def test_all_of_it_outlives_the_process(policy: Policy) -> None:
    watch = learned(policy)
    saw(watch, {**SOUND, "price": "10"})
    again = ResourceWatch("acme", "rooms", policy)
    again.load(stored(watch))
    assert (again.explanation(), again.is_trouble) == (watch.explanation(), True)
    assert saw(again, {**SOUND, "price": "11"}) == []
    again.accept()
    assert again.refuses({**SOUND, "price": "12"}) is None


@pytest.mark.parametrize("policy", [Policy.WARN, Policy.FREEZE])
def test_names_that_are_data_are_nobodys_shape(policy: Policy) -> None:
    """What an application keeps in `metadata` is its own; that it is an object is the partner's."""
    watch = ResourceWatch("acme", "rooms", policy, open_names={"metadata"})
    watch.look(named(*[{**SOUND, "metadata": {"mine": str(n)}} for n in range(100)]))
    watch.settle(NOW, ended=True)
    assert saw(watch, {**SOUND, "metadata": {"other": 1, "mine": [2], "deep": {"more": 3}}}, times=3) == []
    assert saw(watch, {**SOUND, "metadata": {}}, times=500) == []
    told = saw(watch, {**SOUND, "metadata": "none"})
    assert told == ["metadata: expected object, got text"], told


def test_what_was_told_of_names_that_are_data_is_told_no_more() -> None:
    watch = learned()
    saw(watch, {**SOUND, "metadata": {"mine": 1}})
    assert saw(watch, {**SOUND, "metadata": {"mine": 1, "other": 2}}) == ["metadata.other: unknown (number)"]
    again = ResourceWatch("acme", "rooms", Policy.WARN, open_names={"metadata"})
    again.load(stored(watch))
    assert [each.path for each in again.news.values()] == ["metadata"]
    assert saw(again, {**SOUND, "metadata": {}}, times=500) == []


def test_a_resource_that_is_frozen_no_longer_knows_what_it_had_kept_out() -> None:
    watch = learned(Policy.FREEZE)
    saw(watch, {**SOUND, "price": "10"})
    again = ResourceWatch("acme", "rooms", Policy.EVOLVE)
    again.load(stored(watch))
    assert again.explanation() is None and saw(again, {**SOUND, "price": "10"}) == []


def test_counts_are_written_seldom_and_news_at_once() -> None:
    watch = learned()
    assert watch.write(NOW) is not None
    saw(watch, SOUND)
    assert watch.write(NOW + timedelta(seconds=5)) is None
    assert watch.write(NOW + timedelta(seconds=61)) is not None
    saw(watch, {**SOUND, "colour": "red"})
    assert watch.write(NOW + timedelta(seconds=62)) is not None


def test_the_watch_of_an_integration_tells_health_and_wakes_who_writes() -> None:
    told: list[tuple[str, Explanation | None, bool]] = []
    woken: list[bool] = []
    watch = SchemaWatch("plain", "acme", {"rooms": Policy.WARN}, FakeClock(), lambda *what: told.append(what))
    watch.loaded = True
    watch.woken = lambda: woken.append(True)
    watch.look("rooms", named(*[SOUND] * 50))
    watch.ended("rooms")
    assert told[-1] == ("rooms", None, False)
    watch.look("rooms", named({**SOUND, "price": "10"}))
    watch.ended("rooms")
    _, why, trouble = told[-1]
    assert why is not None and "field price" in why.reason and trouble and woken
    assert watch.accept("rooms", 3) is False and told[-1] == ("rooms", None, False)
    assert watch.resources["rooms"].taken == 3
    assert watch.accept("unknown", 1) is False


def test_a_run_that_ended_before_what_is_stored_was_read_counts_then() -> None:
    before = ResourceWatch("acme", "rooms", Policy.WARN)
    before.look(named(*[SOUND] * 50))
    before.settle(NOW)
    watch = SchemaWatch("plain", "acme", {"rooms": Policy.WARN}, FakeClock())
    watch.ended("rooms")
    assert watch.resources["rooms"].learned_at is None
    watch.load({"rooms": stored(before)})
    assert watch.resources["rooms"].learned_at is not None


def processor(watch: SchemaWatch, **more: Any) -> Processor:
    resources = {"things": {**SPEC["resources"]["things"], **more}}  # type: ignore[dict-item]
    driver = RestDriver(DriverSpec.model_validate({**SPEC, "resources": resources}))
    shelf: Any = Shelf()
    return Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, shelf, watch)


def page(*raws: dict[str, Any], listing: bool = True) -> PageIn:
    return PageIn([Item("things", raw) for raw in raws], AT, "page", listing=listing)


@pytest.mark.parametrize("listing", [True, False])
@pytest.mark.parametrize(
    ("policy", "odd"),
    [(Policy.WARN, {"size": "?"}), (Policy.FREEZE, {"size": "?"}), (Policy.FREEZE, {"size": 1, "new": 2})],
)
async def test_what_is_never_read_whole_is_as_before_after_200_sound_records_in_a_row(
    policy: Policy, odd: dict[str, Any], listing: bool
) -> None:
    watch = SchemaWatch("plain", "one", {"things": policy}, FakeClock(), endless={"things"})
    watch.loaded = True
    read = processor(watch, fields={})
    shape = watch.resources["things"]

    async def came(*fields: dict[str, Any], listing: bool = listing) -> None:
        raws = [{"id": f"k{next(NUMBERS)}", **each} for each in fields]
        await read.read("things", page(*raws, listing=listing), rejected=set())
        watch.settle("things")

    async def sound(most: int) -> int:
        needed = 0
        while shape.news and needed < most:
            await came({"size": 1})
            needed += 1
        return needed

    await came(*[{"size": 1}] * 50, listing=True)
    watch.ended("things")
    await came(odd)
    assert await sound(150) == 150, "not by a few"
    await came(odd)
    # What a frozen resource lets in is taken note of some at a time.
    assert await sound(1000) in range(200, 208)
    for _ in range(20):
        await came(odd)
    [told] = shape.news.values()
    assert told.count >= 20
    assert await sound(1000) in range(20 * told.count, 20 * told.count + 8), "twenty times the odd ones"


async def test_a_frozen_resource_rejects_the_record_and_takes_the_others_of_its_page() -> None:
    watch = SchemaWatch("plain", "one", {"things": Policy.FREEZE}, FakeClock())
    watch.loaded = True
    read = processor(watch)
    await read.read("things", page(*({"id": f"k{n}", "size": 1} for n in range(50))), rejected=set())
    watch.ended("things")
    found = await read.read("things", page({"id": "a", "size": 1, "new": 2}, {"id": "b", "size": 2}), rejected=set())
    assert [row.external_id for row in found.rows] == ["b"]
    assert [(each.external_id, each.reason) for each in found.rejects] == [
        ("a", "schema frozen: field new: unknown (number)")
    ]
    assert found.seen == ["a", "b"], "it exists at the partner"


async def test_what_is_left_of_a_record_that_is_gone_has_no_shape() -> None:
    watch = SchemaWatch("plain", "one", {"things": Policy.FREEZE}, FakeClock())
    watch.loaded = True
    read = processor(watch, deleted="gone")
    await read.read("things", page(*({"id": f"k{n}", "size": 1} for n in range(50))), rejected=set())
    watch.ended("things")
    found = await read.read("things", page({"id": "a", "gone": True}), rejected=set())
    assert [(row.external_id, row.deleted) for row in found.rows] == [("a", True)]
    watch.settle("things")
    assert watch.resources["things"].explanation() is None


async def test_what_comes_again_unchanged_or_is_rejected_again_is_not_counted_again() -> None:
    watch = SchemaWatch("plain", "one", {"things": Policy.WARN}, FakeClock())
    watch.loaded = True
    read = processor(watch)
    await read.read("things", page(*({"id": f"k{n}", "size": 1, "name": "x"} for n in range(50))), rejected=set())
    watch.ended("things")
    read._store.hashes["a"] = codec.content_hash({"id": "a", "size": 1}, "v1")  # type: ignore[attr-defined]
    rejected: set[tuple[str, str]] = set()
    for _ in range(60):
        await read.read("things", page({"id": "a", "size": 1}, {"id": "b", "size": "?"}), rejected=rejected)
    watch.settle("things")
    assert [str(each) for each in watch.resources["things"].news.values()] == ["size: expected number, got text"]


async def test_what_a_frozen_resource_keeps_out_is_counted_once_however_often_it_is_listed() -> None:
    clock = FakeClock()
    watch = SchemaWatch("plain", "one", {"things": Policy.FREEZE}, clock)
    watch.loaded = True
    read, shape = processor(watch), watch.resources["things"]
    sound = [{"id": f"k{n}", "size": 1} for n in range(50)]
    odd: list[dict[str, Any]] = [{"id": f"o{n}", "size": "?", "new": 2} for n in range(40)]
    rejected: set[tuple[str, str]] = set()

    async def passes(*raws: dict[str, Any]) -> dict[str, int]:
        began_at = clock.now()
        await clock.advance(5)
        await read.read("things", page(*raws), rejected=rejected)
        watch.ended("things", whole_since=began_at)
        return {str(each): each.count for each in shape.news.values()}

    await passes(*sound)
    first = await passes(*sound, *odd)
    assert first == {"new: unknown (number)": 40, "size: expected number, got text": 40}
    shape.changed = False
    for _ in range(3):
        assert await passes(*sound, *odd) == first
    assert not shape.changed, "there is nothing to write down"
    odd[0] |= {"newer": True, "new": "?"}
    more = {**first, "newer: unknown (boolean)": 1, "new: unknown (number or text)": 40}
    del more["new: unknown (number)"]
    assert await passes(*sound, *odd) == more, "what one of them shows for the first time is told"
    watch.accept("things", 1)
    assert shape.refuses(odd[0]) is None
    rejected.clear()
    assert await passes(*sound, *odd) == {}


async def test_of_a_sparse_resource_only_listings_tell_which_fields_there_are() -> None:
    watch = SchemaWatch("plain", "one", {"things": Policy.WARN}, FakeClock())
    watch.loaded = True
    read = processor(watch, sparse=True)
    await read.read("things", page(*({"id": f"k{n}", "size": 1} for n in range(50))), rejected=set())
    watch.ended("things")
    await read.read("things", page({"id": "a", "size": 1, "detail": 2}, listing=False), rejected=set())
    watch.settle("things")
    assert watch.resources["things"].explanation() is None
    await read.read("things", page({"id": "a", "size": 1, "detail": 2}), rejected=set())
    watch.settle("things")
    assert watch.resources["things"].explanation() is not None


def test_what_single_records_leave_out_proves_nothing_and_what_they_show_is_told() -> None:
    watch = learned()
    bare = {"id": "b", "price": 1}
    for _ in range(100):
        watch.look(named(bare), alone=True)
    assert watch.settle(NOW) == []
    watch.look(named({**bare, "colour": "red"}), alone=True)
    watch.look(named({**bare, "price": "10"}), alone=True)
    assert [str(each) for each in watch.settle(NOW)] == ["colour: unknown (text)", "price: expected number, got text"]
    assert saw(watch, bare, times=30) == ["name: missing"], "listings do"
    watch.look(named(SOUND), alone=True)
    assert watch.settle(NOW) == []
    assert ("name", "missing") not in watch.news, "it is not gone after all"


async def test_records_that_deliveries_bring_make_no_field_missing_and_listings_do() -> None:
    described = {**SPEC["resources"]["things"], "fields": {}}
    driver = RestDriver(DriverSpec.model_validate({**SPEC, "resources": {"things": described}}))
    watch = SchemaWatch("plain", "one", {"things": Policy.WARN}, FakeClock())
    watch.loaded = True
    shelf: Any = Shelf()
    reader = Processor(driver, "one", {"things": Target(driver.spec.resources["things"])}, shelf, watch)

    async def came(*raws: dict[str, Any], listing: bool) -> None:
        await reader.read(
            "things",
            PageIn([Item("things", raw) for raw in raws], AT, "x", listing=listing),
            # who reads single records names them all, so that a reject of one is healed
            rejected=set() if listing else {("things", raw["id"]) for raw in raws},
        )

    await came(*({"id": f"a{number}", "arrival": "15:30"} for number in range(40)), listing=True)
    watch.ended("things")
    for number in range(100):
        await came({"id": f"b{number}"}, listing=False)
        watch.settle("things")
    assert watch.resources["things"].news == {}
    for number in range(100):
        await came({"id": f"c{number}"}, listing=True)
        watch.settle("things")
    assert list(watch.resources["things"].news) == [("arrival", "missing")]
    await came({"id": "d", "arrival": 15, "departure": "11:00"}, listing=False)
    watch.settle("things")
    assert sorted(watch.resources["things"].news) == [("arrival", "retyped"), ("departure", "unknown")]
