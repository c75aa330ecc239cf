"""A complete pass over a listing that is walked in parts, or has several rows of one record: what it proves of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncd.errors import AuthError, RejectedError, TransientError
from syncd.explain import State
from syncd.kit import Request
from syncd.kit.listing import Each
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
    yards = {"about": "Which yards.", "as": "list", "default": YARDS}
    return await Desk.open(store, {**things(each={"param": "yard", "option": "yards"}), "options": {"yards": yards}})


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


def refusing(desk: Desk, *yards: str, words: str = "that yard is closed") -> list[str]:
    """The partner answers so whoever asks for one of these; returns who was asked for."""
    asked: list[str] = []

    async def before(request: Request) -> None:
        asked.append(str(dict(request.params)["yard"]))
        if asked[-1] in yards:
            raise RejectedError(words, status=400)

    desk.partner.before = before
    return asked


async def test_one_that_refuses_to_be_listed_starves_none_after_it_and_loses_nothing(desk: Desk) -> None:
    Yards(desk)
    await desk.pull(full=True)
    yards = Yards(desk, 21)
    asked = refusing(desk, "a", "c", "h")
    for _ in range(3):
        await desk.pull(full=True)
    assert asked == list("abbbcdddeeefffggghabbbcdddeeefffggghabbbcdddeeefffgggh")
    shown = await live(desk)
    assert [sum(one.startswith(f"{yard}:") for one in shown) for yard in YARDS] == [20, 21, 20, 21, 21, 21, 21, 20]
    told = desk.account.health.of("things").refused
    assert told is not None and "refuses to list a, c, h: that yard is closed" in told.reason
    state, why = desk.account.health.judge({}, desk.clock.now())
    assert (state, why) == (State.DEGRADED, told)
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None and stand.passed_at is not None, "no reason to list all of it in each run"
    assert stand.held is None, "nothing is missed of what was not listed"
    yards.rows["b"].pop()
    for _ in range(2):
        await desk.pull(full=True)
    assert len([one for one in await live(desk) if one.startswith("b:")]) == 20, "nor do the others keep what is gone"
    refusing(desk)
    yards.rows["c"].pop()
    await desk.pull(full=True)
    assert len(await live(desk)) == 8 * 21 - 2
    assert desk.account.health.of("things").refused is None


@pytest.mark.parametrize("let_in", [True, False])
async def test_a_credential_that_one_refuses_is_refused_by_that_one_alone_where_its_own_test_is_let_in(
    desk: Desk, let_in: bool
) -> None:
    Yards(desk)
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]

    async def before(request: Request) -> None:
        if (request.path == "/me" and not let_in) or dict(request.params).get("yard") == "b":
            raise AuthError("not available to be connected", status=401, permanent=True)

    desk.partner.before = before
    if let_in:
        await desk.pull(full=True)
        assert len(await live(desk)) == 140
        told = desk.account.health.of("things").refused
        assert told is not None and "refuses to list b: not available" in told.reason
    else:
        with pytest.raises(AuthError):
            await desk.pull(full=True)


def shutting(desk: Desk, *calls: tuple[str, str]) -> list[tuple[str, str]]:
    """The credential is let in, and refused for these calls, each a yard and an offset; returns the calls of the listing."""
    asked: list[tuple[str, str]] = []
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]

    async def before(request: Request) -> None:
        if request.path == "/me":
            return
        params = dict(request.params)
        asked.append((str(params["yard"]), str(params.get("offset", 0))))
        if asked[-1] in calls:
            raise AuthError("not available to be connected", status=401, permanent=True)

    desk.partner.before = before
    return asked


async def test_a_pass_that_met_a_refused_credential_goes_on_where_it_was(desk: Desk) -> None:
    Yards(desk)
    asked = shutting(desk, ("c", "10"))
    for _ in range(2):
        with pytest.raises(TransientError, match=r"connected \(the credential itself is let in"):
            await desk.pull(full=True)
    assert asked[-2:] == [("c", "10")] * 2, "what was listed is not listed anew"
    asked = shutting(desk, *((yard, "0") for yard in YARDS))
    await desk.pull(full=True)
    assert asked[0] == ("c", "10") and len(await live(desk)) == 60
    assert set(desk.account.health.of("things").refused_places) == set("defgh")


async def test_the_last_one_that_refuses_the_credential_ends_a_pass_that_was_gone_on_with(desk: Desk) -> None:
    Yards(desk)
    shutting(desk, ("h", "0"))
    answer = desk.partner.before

    async def out(request: Request) -> None:
        if request.path == "/me":
            raise AuthError("expired", status=401)
        assert answer is not None
        await answer(request)

    desk.partner.before = out
    with pytest.raises(AuthError, match="not available"):
        await desk.pull(full=True)
    desk.partner.before = answer
    await desk.pull(full=True)
    assert (await passes(desk), len(await live(desk))) == (1, 140)
    assert desk.account.health.of("things").refused_places == {"h"}


async def test_where_the_credential_is_refused_for_all_the_listing_has_failed_and_is_begun_anew(desk: Desk) -> None:
    Yards(desk)
    asked = shutting(desk, *((yard, "0") for yard in YARDS))
    for _ in range(2):
        with pytest.raises(TransientError, match=r"connected \(the credential itself is let in"):
            await desk.pull(full=True)
    assert "".join(yard for yard, _ in asked) == "abcdefgh" * 2


async def test_a_listing_all_of_which_is_refused_has_failed(desk: Desk) -> None:
    Yards(desk)
    asked = refusing(desk, *YARDS)
    with pytest.raises(RejectedError):
        await desk.pull(full=True)
    assert asked == YARDS
    refusing(desk, *YARDS[1:])
    await desk.pull(full=True)
    assert len(await live(desk)) == 20


async def test_what_is_refused_in_the_middle_of_one_fails_the_run_as_ever(desk: Desk) -> None:
    Yards(desk)

    async def before(request: Request) -> None:
        if dict(request.params) | {"limit": ""} == {"yard": "b", "offset": "10", "limit": ""}:
            raise RejectedError("no such page", status=400)

    desk.partner.before = before
    with pytest.raises(RejectedError):
        await desk.pull(full=True)
    assert desk.account.health.of("things").refused is None


async def test_the_changes_of_one_that_was_refused_are_asked_for_until_a_complete_pass(store: Store) -> None:
    desk = await Desk.open(store, rest(each={"param": "yard", "values": ["a", "b"]}))
    yards = Yards(desk, 0)
    yards.rows["a"] = [{"id": "1", "name": "n", "at": "2026-01-01T00:00:00Z"}]
    await desk.pull(full=True)
    yards.rows["a"].append({"id": "2", "name": "n", "at": "2026-01-03T00:00:00Z"})

    async def watermark() -> str:
        stand = await desk.store.checkpoints.stand("acme", "things")
        assert stand is not None
        return str(stand.checkpoint.watermark)[:10]

    refusing(desk, "b")
    await desk.pull()
    assert (await watermark(), await live(desk)) == ("2026-01-01", ["1", "2"])
    refusing(desk)
    await desk.pull()
    assert await watermark() == "2026-01-03"


async def test_one_that_is_added_or_let_in_again_is_listed_whole_at_once(store: Store) -> None:
    desk = await Desk.open(store, rest(each={"param": "yard", "values": ["a"]}))
    yards = Yards(desk, 0)
    old = {"name": "n", "at": "2026-01-01T00:00:00Z"}
    yards.rows |= {"a": [{"id": "1", **old}], "b": [{"id": "2", **old}], "c": []}
    await desk.pull(full=True)
    plan = desk.account.plans["things"]
    resource = plan.resource.model_copy(update={"each": Each(param="yard", values=("a", "b", "c"))})
    desk.plans["things"] = replace(plan, resource=resource)

    async def modes() -> list[str]:
        await desk.pull()
        return [str(run.mode) for run in reversed(await desk.store.runs.list("acme", "things"))]

    refusing(desk, "b")
    assert await modes() == ["full", "full"]
    assert (await modes(), await live(desk)) == (["full", "full", "incremental"], ["1"])
    refusing(desk)
    assert await modes() == ["full", "full", "incremental", "incremental"], "it is seen that it is let in again"
    assert (await modes())[-1] == "full"
    assert await live(desk) == ["1", "2"]
    assert (await modes())[-1] == "incremental"


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
