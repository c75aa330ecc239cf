"""A complete pass over a listing that is walked in parts, or has several rows of one record: what it proves of each."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.kit import Request
from syncd.store import Store

from .ranged import Desk, rest

YARDS = list("abcdefgh")


def things(**more: Any) -> dict[str, Any]:
    described = rest(id=["yard", "id"], one=None, updated=None, **more)
    del described["resources"]["things"]["since"]
    return described


class Yards:
    """What each yard lists, in rows; and what it says of their number, where that is something else."""

    def __init__(self, desk: Desk, count: int = 20) -> None:
        self.rows = {yard: [{"yard": yard, "id": str(n), "name": "n"} for n in range(count)] for yard in YARDS}
        self.stated: dict[str, int] = {}
        desk.partner._answer = self.answer  # type: ignore[method-assign]

    def answer(self, request: Request) -> Any:
        asked = dict(request.params)
        yard, at = str(asked.get("yard", "a")), int(asked.get("offset", 0))
        return {"items": self.rows[yard][at : at + 10], "total": self.stated.get(yard, len(self.rows[yard]))}


async def live(desk: Desk) -> list[str]:
    return [each.external_id async for each in desk.store.records.scan("acme", "things")]


@pytest.fixture
async def desk(store: Store) -> Desk:
    return await Desk.open(store, things(each={"param": "yard", "values": YARDS}))


async def passes(desk: Desk) -> int:
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None
    return stand.checkpoint.passes


async def test_one_part_that_shows_fewer_than_it_states_makes_the_pass_incomplete(desk: Desk) -> None:
    yards = Yards(desk)
    await desk.pull(full=True)
    assert await passes(desk) == 1
    del yards.rows["b"][7:]
    yards.stated["b"] = 20
    await desk.pull(full=True)
    assert await passes(desk) == 1
    assert len(await live(desk)) == 160
    yards.stated["b"] = 7
    await desk.pull(full=True)
    assert await passes(desk) == 2


async def test_one_part_that_is_empty_all_at_once_is_held_and_the_others_records_with_it(desk: Desk) -> None:
    yards = Yards(desk)
    await desk.pull(full=True)
    del yards.rows["c"][:], yards.rows["a"][0]
    for _ in range(3):
        await desk.pull(full=True)
    assert len(await live(desk)) == 160
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None and stand.held is not None
    assert stand.held["reason"] == "the listing of c is empty, 20 records of it are stored"
    yards.rows["c"].append({"yard": "c", "id": "0", "name": "n"})
    await desk.pull(full=True)
    assert len(await live(desk)) == 160, "one of twenty is no proof either"


def guests(desk: Desk, *rows: tuple[str, str]) -> list[dict[str, Any]]:
    """A listing with a row for each of a guest's stays."""
    yards = Yards(desk, 0)
    yards.rows["a"] = [{"id": who, "name": f"{who} at {stay}", "at": f"2026-01-{stay}T00:00:00Z"} for who, stay in rows]
    return yards.rows["a"]


STAYS = rest(one=None, repeats=True)


async def test_rows_are_counted_where_a_record_has_several_and_each_repeat_is_one(store: Store) -> None:
    desk = await Desk.open(store, STAYS)
    rows = guests(desk, *((f"g{n:02}", "05") for n in range(19)), ("g03", "07"), ("g03", "02"))
    for _ in range(3):
        await desk.pull(full=True)
    assert await passes(desk) == 3
    assert sorted(await live(desk)) == [f"g{n:02}" for n in range(19)]
    rows[:] = [row for row in rows if row["id"] != "g11"]
    for _ in range(2):
        await desk.pull(full=True)
    assert "g11" not in await live(desk)


@pytest.mark.parametrize("between", [0, 12], ids=["one page", "two pages"])
@pytest.mark.parametrize("order", [("02", "07"), ("07", "02")], ids=["rising", "falling"])
async def test_of_two_rows_of_a_record_the_later_is_kept_wherever_they_stand(
    store: Store, order: tuple[str, str], between: int
) -> None:
    desk = await Desk.open(store, STAYS)
    rows = guests(desk, ("g1", order[0]), *((f"x{n}", "01") for n in range(between)), ("g1", order[1]))
    versions = []
    for _ in range(4):
        await desk.pull(full=True)
        found = await desk.store.records.get("acme", "things", "g1")
        assert found is not None and found.data["name"] == "g1 at 07"
        versions.append(found.row_version)
        await desk.clock.sleep(7200)
    assert len(set(versions)) == 1, "it does not go to and fro"
    rows[:] = [row for row in rows if row["name"] != "g1 at 07"]
    for _ in range(2):
        await desk.pull(full=True)
        await desk.clock.sleep(7200)
    found = await desk.store.records.get("acme", "things", "g1")
    assert found is not None and found.data["name"] == "g1 at 02", "the later one is there no more"
