"""A record that is gone while another one has the same names is said to be perhaps that one, once."""

from __future__ import annotations

from datetime import timedelta

import pytest
import structlog.testing

from syncd.explain import State
from syncd.kit.reading import SpecError, parse
from syncd.store import Store

from .ranged import START, Desk, rest, stamp


def put(desk: Desk, number: int, name: str, street: str | None) -> None:
    at = stamp(START)
    desk.partner.truth[f"t{number}"] = {"id": f"t{number}", "name": name, "street": street, "at": at}


def passed_id(told: object) -> str:
    return str(told).rpartition("the same name and street: ")[2]


async def test_what_went_while_another_one_came_with_the_same_names_is_said_once(store: Store) -> None:
    desk = await Desk.open(store, rest(alike=["name", "street"], fields={"name": "name", "street": "street"}))
    for number in range(30):
        put(desk, number, f"Cottage {number}", f"Lane {number}")
    await desk.pull(full=True)
    for number in (1, 2, 3, 4):
        del desk.partner.truth[f"t{number}"]
    put(desk, 101, "Cottage 1", "Lane 1")
    put(desk, 102, "Cottage 2", None)
    put(desk, 103, "Cottage 3", "another Lane")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await desk.pull(full=True)
    told = desk.account.health.of("things").renewed
    assert told is not None
    assert passed_id(told.reason) == "t1 is perhaps t101 now, t2 is perhaps t102 now"
    assert [log["event"] for log in logs].count("ids_changed") == 1
    assert desk.account.health.judge({}, desk.clock.now()) == (State.HEALTHY, told)
    await desk.clock.sleep(timedelta(days=8).total_seconds())
    await desk.pull(full=True)
    assert desk.account.health.of("things").renewed is None


def test_fields_that_are_alike_are_fields_of_it() -> None:
    with pytest.raises(SpecError, match="alike: there is no field 'street'"):
        parse({"name": "plain", **rest(alike=["street"])})
