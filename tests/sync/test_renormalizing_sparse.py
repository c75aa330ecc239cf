"""Stored raw of records that come in parts and in several shapes: read again, it says what the last answers said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from syncd.kit import Resource
from syncd.store import Store

from .ranged import Desk, rest
from .test_renormalizing import data, done

SHAPES: dict[str, Any] = {
    "sparse": True,
    "instead": [["assetId", "asset"], ["assigneeIds", "assignees"]],
    "fields": {
        "name": "name",
        "asset": "assetId || asset.id",
        "who": {"from": "assignees[].id || assigneeIds", "as": "list", "default": []},
        "guest": "about.guest",
    },
}


def says(desk: Desk, minutes: float, **told: Any) -> None:
    desk.partner.put(0, at=minutes)
    desk.partner.truth["t0000"] |= told


async def test_a_shape_that_was_told_before_is_over_once_the_other_one_is(store: Store) -> None:
    desk = await Desk.open(store, rest(**SHAPES))
    says(desk, 0, assetId=1, assigneeIds=[7])
    await desk.pull()
    says(desk, 100, asset={"id": 2}, assignees=[])
    await desk.pull()
    before = await data(desk)
    assert (before["t0000"]["asset"], before["t0000"]["who"]) == (2, [])
    await done(desk)
    assert await data(desk) == before


async def test_what_the_last_answer_left_out_of_an_object_stays_as_it_is(store: Store) -> None:
    desk = await Desk.open(store, rest(**SHAPES))
    says(desk, 0, about={"guest": "Ilse"})
    await desk.pull()
    says(desk, 100, about={"calledOff": True})
    await desk.pull()
    before = await data(desk)
    assert before["t0000"]["guest"] == "Ilse"
    one = await done(desk)
    assert (one.state, one.changed) == ("done", 0)
    assert await data(desk) == before


def test_elsewhere_an_answer_is_stored_as_it_was_sent() -> None:
    of = {"name": "things", "path": "/things"}
    resource = Resource.model_validate({**of, "sparse": True, "instead": [["a", "b"]]})
    assert resource.laid_over({"a": 1}) == {"a": 1, "b": None}
    assert resource.laid_over({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert resource.laid_over({"c": 1}) == {"c": 1}
    with pytest.raises(ValidationError, match="sparse"):
        Resource.model_validate({**of, "instead": [["a", "b"]]})
