"""A listing on which the process dies: the one record is put aside, or the one resource parked, and nobody else is blamed."""

from __future__ import annotations

import random

import pytest

from syncd.kit import Item
from syncd.store import KILLED, PULL, Store
from syncd.sync.careful import DEATHS, PAGES_ALONE
from syncd.sync.page import PageIn
from tests.sync.dying import Mortal


async def names(mortal: Mortal) -> set[str]:
    return set(await mortal.desk.stored())


def every(mortal: Mortal, *but: str) -> set[str]:
    return set(mortal.desk.partner.truth) - set(but)


@pytest.mark.parametrize("at", ["fields", "identify"])
@pytest.mark.parametrize("number", [0, 25, 64])
async def test_a_record_that_kills_the_process_is_put_aside_after_five_deaths_and_the_others_are_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str, number: int
):
    mortal, deadly = await Mortal.open(store, monkeypatch, 65), f"t{number:04}"
    mortal.kills = lambda step: step == f"{at} {deadly}"
    assert await mortal.until_alive() == 5
    assert await names(mortal) == every(mortal, deadly)
    [reject] = await store.rejects.list("acme")
    assert reject.fingerprint == KILLED
    assert reject.external_id == deadly if at == "fields" else reject.external_id.startswith("?")
    assert "killed the process three times" in reject.reason and "syncd sync acme/things" in reject.reason
    assert deadly.encode() in reject.raw
    assert await mortal.peril() is None, "it got through"


@pytest.mark.parametrize("at", ["fields", "identify"])
async def test_what_was_put_aside_is_no_longer_handed_to_the_driver_and_is_never_missed_by_a_pass(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str
):
    mortal = await Mortal.open(store, monkeypatch, 30)
    assert await mortal.life(), "all are stored while nothing is wrong"
    mortal.desk.partner.put(7, "poison")
    mortal.kills = lambda step: step == f"{at} t0007"
    await mortal.until_alive()
    for _ in range(3):
        await mortal.pass_later()
    assert await names(mortal) == every(mortal), "the copy from before stays"
    [reject] = await store.rejects.list("acme")
    assert reject.times >= 3, "it is counted and listed each time"


async def test_a_record_put_aside_is_tried_once_more_when_somebody_asks(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 30)
    mortal.kills = lambda step: step == "fields t0007"
    await mortal.until_alive()
    assert not await mortal.life(retry=True), "it is still deadly"
    assert await mortal.life(), "and put aside again after this one death"
    assert [one.external_id for one in await store.rejects.list("acme")] == ["t0007"]
    mortal.kills = lambda step: False  # the driver was mended
    await mortal.pass_later()
    assert "t0007" not in await names(mortal), "nobody asked"
    assert await mortal.life(retry=True)
    assert await names(mortal) == every(mortal)
    assert await store.rejects.list("acme") == []


async def test_one_that_only_the_driver_can_name_is_healed_too(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 12)
    mortal.kills = lambda step: step == "identify t0007"
    await mortal.until_alive()
    assert await mortal.life() and "t0007" not in await names(mortal)
    mortal.kills = lambda step: False
    assert await mortal.life(retry=True)
    assert await names(mortal) == every(mortal)
    assert await store.rejects.list("acme") == []


async def test_two_deadly_records_on_one_page_are_both_found(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 25)
    mortal.kills = lambda step: step in ("fields t0013", "fields t0016")
    assert await mortal.until_alive() <= 9
    assert await names(mortal) == every(mortal, "t0013", "t0016")


async def test_one_that_moves_on_to_another_page_meanwhile_is_found(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 40)
    mortal.kills = lambda step: step == "fields t0015"
    for life in range(10):
        if await mortal.life():
            break
        mortal.desk.partner.put(100 + life, at=-100 - life)  # before all others: everything moves by one
    else:
        raise AssertionError("it never got through")
    assert "t0015" not in await names(mortal)
    assert [one.external_id for one in await store.rejects.list("acme")] == ["t0015"]


@pytest.mark.parametrize("step", ["request", "items", "following", "newest", "total"])
async def test_a_driver_that_dies_where_no_record_is_at_hand_parks_the_resource(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
):
    mortal = await Mortal.open(store, monkeypatch, 25)
    mortal.kills = lambda reached: reached == step
    deaths, error = await mortal.parked()
    assert deaths <= 5
    assert str(error).endswith("this resource alone is parked")
    assert error.hint.endswith("syncd sync acme/things")
    [run] = await store.runs.list("acme")
    assert (run.outcome, run.explanation["code"]) == ("failed", KILLED)
    mortal.asked.clear()
    assert (await mortal.parked())[0] == 0
    assert mortal.asked == [], "the driver is left alone"
    mortal.kills = lambda reached: False
    assert await mortal.life(retry=True), "somebody asked for it"
    assert await names(mortal) == every(mortal)
    assert await mortal.peril() is None


async def test_a_parked_resource_costs_one_more_death_when_it_is_tried_in_vain(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    mortal = await Mortal.open(store, monkeypatch, 5)
    mortal.kills = lambda step: step == "items"
    await mortal.parked()
    assert not await mortal.life(retry=True)
    assert (await mortal.parked())[0] == 0
    assert await store.perils.relieve(["acme"], most=DEATHS - 1) == [("acme", "things")], "as a reload does"
    assert await store.perils.relieve(["acme"], most=DEATHS - 1) == []
    assert not await mortal.life()
    assert (await mortal.parked())[0] == 0


async def test_nothing_is_written_while_nobody_dies(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 30)
    marked: list[object] = []
    plain = store.perils.mark

    async def mark(*given: object, **more: object) -> None:
        marked.append(given)
        await plain(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store.perils, "mark", mark)
    assert await mortal.life()
    await mortal.pass_later()
    assert marked == [] and await mortal.peril() is None


async def test_after_a_death_of_its_own_accord_the_pages_behind_it_go_as_usual_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    mortal = await Mortal.open(store, monkeypatch, 10 * (PAGES_ALONE + 8))
    once = iter([True])
    mortal.kills = lambda step: step == "fields t0042" and next(once, False)
    assert await mortal.until_alive() == 1
    assert await names(mortal) == every(mortal)
    assert await store.rejects.list("acme") == []
    assert await mortal.peril() is None


async def test_a_page_that_goes_alone_is_among_the_answers_in_hand(store: Store, monkeypatch: pytest.MonkeyPatch):
    """Want of memory ends a process too, and whatever was under way in it then goes alone, of all integrations at once."""
    mortal, in_hand = await Mortal.open(store, monkeypatch, 60), set()
    mortal.kills = lambda step: step == "fields t0007"
    assert not await mortal.life()

    def look(step: str) -> bool:
        if step == "items":
            bound = mortal.desk.account.inflight.inflight
            in_hand.add((bound.narrowing.held, bound.used > 0))
        return False

    mortal.kills = look
    assert await mortal.life()
    assert in_hand == {(1, True)}
    bound = mortal.desk.account.inflight.inflight
    assert (bound.narrowing.held, bound.used) == (0, 0)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 12))])
async def test_an_innocent_record_outlives_somebody_who_kills_the_process_again_and_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Forty deaths, each at any moment whatever, also between the mark and the driver."""
    chance = random.Random(seed)
    mortal = await Mortal.open(store, monkeypatch, 30)
    mortal.kills = lambda step: chance.random() < 0.02
    for _ in range(40):
        await mortal.life()
    mortal.kills = lambda step: False
    assert await mortal.life()
    assert await store.rejects.list("acme") == []
    assert await names(mortal) == every(mortal)


async def test_whoever_lost_the_scope_and_lives_is_not_counted_as_dead(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 5)
    assert await mortal.life()
    assert await store.perils.list(["acme"]) == []
    await store.perils.lost("acme", "things", PULL, scope="acme", fence=mortal.desk.ownership.fence)
    [peril] = await store.perils.list(["acme"])
    assert (peril.lost, peril.handled, peril.suspects) == (1, None, {})


async def backfilled(mortal: Mortal) -> int:
    """Processes until the backfill has ended; returns how many died."""
    for deaths in range(12):
        if await mortal.backfill_life(begins=deaths == 0):
            return deaths
    raise AssertionError("it never ended")


async def test_a_backfill_puts_the_record_aside_too(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 40)
    mortal.kills = lambda step: step == "fields t0017"
    assert await backfilled(mortal) <= 5
    assert await names(mortal) == every(mortal, "t0017")
    [done] = await store.backfills.latest(["acme"])
    assert (done.state, done.rejected) == ("done", 1)
    assert await store.perils.list(["acme"]) == []


async def test_a_backfill_whose_pages_kill_the_process_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 40)
    mortal.kills = lambda step: step == "items"
    assert await backfilled(mortal) <= 5
    [given_up] = await store.backfills.latest(["acme"])
    assert given_up.state == "failed" and given_up.reason is not None
    assert "killed the process three times; this backfill is given up" in given_up.reason
    assert not await mortal.backfill_life(begins=True), "who asks for it again has one more try"
    assert await mortal.backfill_life()
    assert [one.state for one in await store.backfills.latest(["acme"])] == ["failed"]


async def test_whoever_else_meets_what_was_put_aside_does_not_hand_it_to_the_driver(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """A fetch by its id, a delivery that brings it whole, a backfill: all read by the same processor."""
    mortal = await Mortal.open(store, monkeypatch, 12)
    mortal.kills = lambda step: step == "fields t0007"
    await mortal.until_alive()
    await mortal.begin()
    mortal.asked.clear()
    desk = mortal.desk
    page = PageIn([Item("things", desk.partner.truth["t0007"])], desk.clock.now(), "task")
    read = await desk.account.processor.read("things", page, rejected=set())
    assert (read.rows, read.seen) == ([], ["t0007"])
    assert [(reject.key, reject.fingerprint) for reject in read.rejects] == [("t0007", KILLED)]
    assert mortal.asked == ["identify t0007"]


async def test_a_run_beside_it_does_not_forget_what_is_put_aside_and_not_stored_yet(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    mortal = await Mortal.open(store, monkeypatch, 12)
    account, things = mortal.desk.account, mortal.desk.plans["things"].resource
    aside, raw = account.processor.aside, mortal.desk.partner.truth["t0003"]
    aside.add(things, raw, "t0003")
    aside.add(things, {"id": {"odd": 1}}, None)
    await aside.load(account.processor.resources, again=True)
    assert aside.names("things", "t0003") and aside.holds(things, Item("things", {"id": {"odd": 1}}))
    mortal.kills = lambda step: step == "fields t0007"
    await mortal.until_alive()
    aside = account.processor.aside
    assert aside.drop(things, Item("things", mortal.desk.partner.truth["t0007"]), "t0007") is None
    await aside.load(account.processor.resources, again=True)
    assert not aside.names("things", "t0007"), "it was read, and its row goes with the page that heals it"


async def test_an_exit_over_one_record_is_a_fault_of_that_record(store: Store, monkeypatch: pytest.MonkeyPatch):
    mortal = await Mortal.open(store, monkeypatch, 12)

    def leaves(step: str) -> bool:
        if step == "fields t0007":
            raise SystemExit(0)
        return False

    mortal.kills = leaves
    assert await mortal.life()
    [reject] = await store.rejects.list("acme")
    assert (reject.external_id, reject.reason.startswith("SystemExit in the driver")) == ("t0007", True)
    assert await names(mortal) == every(mortal, "t0007")


@pytest.mark.parametrize("at", ["fields", "identify"])
async def test_a_deadly_child_is_put_aside_and_the_others_below_its_parent_and_all_parents_are_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str
):
    mortal = await Mortal.open(store, monkeypatch, 6)
    for number in range(6):
        mortal.desk.partner.notes[f"t{number:04}"] = [{"id": f"n{number}{one}", "text": "x"} for one in "abc"]
    assert await mortal.life()
    mortal.kills = lambda step: step == f"{at} n3b"
    assert await mortal.until_alive(resource="notes") <= 5
    found = {one.external_id async for one in store.records.scan("acme", "notes")}
    assert found == {f"n{number}{one}" for number in range(6) for one in "abc"} - {"n3b"}
    [reject] = await store.rejects.list("acme")
    assert (reject.resource, reject.fingerprint) == ("notes", KILLED)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 16))])
async def test_whatever_is_deadly_in_the_end_all_else_is_stored_and_nobody_dies_any_more(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Several deadly records, some of which only the driver can name, on pages that move between the deaths."""
    chance = random.Random(seed)
    mortal = await Mortal.open(store, monkeypatch, chance.randint(20, 60))
    deadly = chance.sample(sorted(mortal.desk.partner.truth), chance.randint(1, 3))
    steps = {f"{chance.choice(['fields', 'identify'])} {one}" for one in deadly}
    mortal.kills = lambda step: step in steps
    for life in range(25):
        if await mortal.life():
            break
        if chance.random() < 0.3:
            mortal.desk.partner.put(100 + life, at=chance.uniform(-50, 50))
    else:
        raise AssertionError(f"it never got through: {steps}")
    assert await names(mortal) >= every(mortal, *deadly) - {f"t{number:04}" for number in range(100, 125)}
    await mortal.pass_later()  # brings what came to pages that had been read
    await mortal.pass_later()
    assert await names(mortal) == every(mortal, *deadly)
    assert len(await store.rejects.list("acme")) == len(deadly)
