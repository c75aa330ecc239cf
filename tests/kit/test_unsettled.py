"""States that no list of changes shows, and what is below a parent: the arithmetic, and what a description may say."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.drivers import DriverError
from syncd.errors import ConfigError
from syncd.kit.unsettled import Unsettled, has_some


def test_each_look_waits_twice_as_long_up_to_six_hours_and_never_less_than_asked() -> None:
    rules = Unsettled.model_validate({"field": "status", "values": ["queued"]})
    assert [rules.wait_seconds(looks) / 900 for looks in (0, 1, 2, 5, 10_000)] == [1, 2, 4, 24, 24]
    assert Unsettled.model_validate({"field": "s", "values": ["q"], "every": "12h"}).wait_seconds(3) == 12 * 3600


@pytest.mark.parametrize("value", [None, "", "0", 0, False, [], {}])
def test_empty_zero_and_false_mean_that_nothing_is_below(value: Any) -> None:
    assert not has_some("count", {"count": value})


@pytest.mark.parametrize(
    ("where", "parent"), [("count", {"count": 1}), ("count", {}), ("count", None), (None, {"a": 0})]
)
def test_what_is_not_known_is_asked(where: str | None, parent: dict[str, Any] | None) -> None:
    assert has_some(where, parent)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"unsettled": {"field": "other", "values": ["q"]}, "one": "/a/{id}"}, "a field of its own"),
        ({"unsettled": {"field": "status", "values": ["q"]}}, "needs `one`"),
        ({"where": "status"}, "needs `parent:`"),
    ],
)
def test_what_cannot_be_is_told(more: dict[str, Any], said: str) -> None:
    rest = {"resources": {"orders": {"path": "/orders", "fields": {"status": "status"}, **more}}}
    with pytest.raises((ConfigError, DriverError), match=said):
        drivers.load("rest", rest=rest, partner="acme")


def test_where_names_a_field_of_the_parent() -> None:
    orders = {"path": "/orders", "fields": {"status": "status"}}
    parts = {"path": "/orders/{parent.id}/parts", "parent": "orders", "where": "count", "fields": {}}
    with pytest.raises((ConfigError, DriverError), match="orders has no field 'count'"):
        drivers.load("rest", rest={"resources": {"orders": orders, "parts": parts}}, partner="acme")
