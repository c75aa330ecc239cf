"""What a backfill would cost: what can be narrowed is, what is listed below counts too, and each limit's share is said."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.config import PartnerConfig
from syncd.planning import Sight
from syncd.planning.backfill import Range, bounds_of, cost
from syncd.plans import resource_plans
from syncd.sync.measured import Measured

KNOWN = Sight(
    {
        ("acme", "things"): Measured(live=12_000, pass_calls=120, pass_records=12_000, runs=3, run_calls=1.0),
        ("acme", "notes"): Measured(live=500, pass_calls=12_000, pass_records=500),
        ("acme", "found"): Measured(live=900, pass_calls=9, pass_records=900),
    }
)


def costs(partner: PartnerConfig, *ranges: tuple[str, int | None, int], sight: Sight = KNOWN) -> dict[str, Any]:
    plans = resource_plans(drivers.load("rest", rest=partner.rest, partner="shop"), partner, "acme")
    made = [
        Range(plans[name], within, below, [plan.name for plan in plans.values() if plan.resource.parent == name])
        for name, within, below in ranges
    ]
    return cost(partner, sight, "acme", made)


def test_pages_of_what_lies_in_the_range_and_a_call_below_each_record(shop):
    found = costs(shop(), ("things", 2350, 300))
    [things] = found["resources"]
    assert things == {
        "name": "things", "bounds": "since", "calls": {"value": 24.0, "known": "assumed"}, "children": {"notes": 300.0},
    }  # fmt: skip
    assert (found["calls"], found["at_least"]) == (324, False)
    assert found["seconds"] >= 324 / 10
    assert 0 < found["shares"]["600/min"] <= 1


def test_what_cannot_be_filtered_is_read_whole(shop):
    found = costs(shop(), ("found", 0, 0))
    assert found["resources"][0]["bounds"] == "none"
    assert found["calls"] == 9


def test_where_stamps_do_not_tell_it_may_be_everything(shop):
    assert costs(shop(), ("things", None, 0))["resources"][0]["calls"] == {"value": 120.0, "known": "assumed"}


def test_before_the_first_pass_nothing_is_known(shop):
    found = costs(shop(), ("things", 0, 0), sight=Sight())
    assert found["at_least"]
    assert found["resources"][0]["calls"]["value"] is None


@pytest.mark.parametrize(
    ("since", "bounds"),
    [
        ("{param: since}", "since"),
        ("{param: since, until: before}", "both"),
        ("{param: since, ascending: true}", "both"),
    ],
)
def test_how_far_a_listing_can_be_narrowed(since: str, bounds: str, read):
    text = f"""
driver: rest
base_url: https://api.shop.example
rest:
  page_size: 10
  resources:
    things: {{path: /things, updated: at, since: {since}}}
"""
    partner = read(base=text).require().partners["shop"]
    plans = resource_plans(drivers.load("rest", rest=partner.rest, partner="shop"), partner, "acme")
    assert bounds_of(plans["things"]) == bounds
