"""The simulators' own limit keeping: exact windows, counted from outside by another method."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.testing.limits_server import (
    Enforcer,
    Seats,
    Tier,
    budget,
    each_route,
    most_in_window,
    never,
    rate,
    tiers_from,
)


@dataclass
class Arrival:
    method: str = "GET"
    route: str = "/v1/things"
    args: dict[str, str] = field(default_factory=dict)
    budget: str = "read"


@given(
    gaps=st.lists(st.floats(0, 0.6, allow_nan=False), max_size=120),
    limit=st.integers(1, 8),
    window=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_no_sliding_window_ever_holds_more_accepted_calls_than_the_limit(gaps, limit, window):
    enforcer = Enforcer([Tier("all", limit, window)])
    now, accepted, refused = 100.0, [], 0
    for gap in gaps:
        now += gap
        refusal, _ = enforcer.arrive(Arrival(), now)
        if refusal is None:
            accepted.append(now)
        else:
            refused += 1
            inside = [at for at in accepted if at > now - window]
            assert len(inside) == limit, "a call was refused although the window had room"
    assert most_in_window(accepted, window) <= limit
    assert enforcer.violations == refused


def test_a_burst_of_exactly_the_limit_passes_and_one_more_does_not():
    enforcer = Enforcer([Tier("all", 10, 1.0)])
    answers = [enforcer.arrive(Arrival(), 5.0)[0] for _ in range(11)]
    assert answers[:10] == [None] * 10
    assert answers[10] is not None
    assert answers[10].wait_seconds == pytest.approx(1.0)
    assert enforcer.arrive(Arrival(), 5.999)[0] is not None
    assert enforcer.arrive(Arrival(), 6.0)[0] is None, "a call leaves the window exactly one window later"
    assert enforcer.violations == 2
    assert enforcer.view()["all"]["peak"] == 12


def test_a_fixed_window_lets_twice_the_limit_pass_around_its_edge():
    enforcer = Enforcer([Tier("all", 3, 10.0, kind="fixed")])
    assert [enforcer.arrive(Arrival(), 9.9)[0] for _ in range(3)] == [None] * 3
    refusal, _ = enforcer.arrive(Arrival(), 9.95)
    assert refusal is not None
    assert refusal.wait_seconds == pytest.approx(0.05)
    assert [enforcer.arrive(Arrival(), 10.0)[0] for _ in range(3)] == [None] * 3


def test_a_call_refused_by_one_tier_spends_nothing_in_the_others():
    enforcer = Enforcer([Tier("second", 1, 1.0), Tier("minute", 3, 60.0)])
    passed = 0
    for step in range(40):
        passed += enforcer.arrive(Arrival(), 0.1 * step)[0] is None
    assert passed == 3


def test_routes_and_budgets_have_books_of_their_own():
    enforcer = Enforcer([Tier("route", 1, 1.0, key=each_route), Tier("write", 1, 1.0, key=budget("write"))])
    assert enforcer.arrive(Arrival(route="/a"), 0.0)[0] is None
    assert enforcer.arrive(Arrival(route="/b"), 0.0)[0] is None
    assert enforcer.arrive(Arrival(route="/a"), 0.0)[0] is not None
    assert enforcer.arrive(Arrival("POST", "/c", {}, "write"), 0.0)[0] is None
    assert enforcer.arrive(Arrival("POST", "/d", {}, "write"), 0.0)[0] is not None


def test_weights_add_up_and_the_wait_ends_when_enough_has_expired():
    enforcer = Enforcer([Tier("score", 100, 10.0, key=never)])
    assert enforcer.spend("score", 60, 0.0) is None
    assert enforcer.spend("score", 30, 1.0) is None
    refusal = enforcer.spend("score", 50, 2.0)
    assert refusal is not None
    assert refusal.wait_seconds == pytest.approx(8.0)
    assert enforcer.spend("score", 50, 10.0) is None


def test_seats_count_what_is_in_flight():
    enforcer = Enforcer([], [Seats("concurrency", 2)])
    held = [enforcer.arrive(Arrival(), 0.0) for _ in range(3)]
    assert [refusal is None for refusal, _ in held] == [True, True, False]
    for _, places in held:
        enforcer.leave(places)
    assert enforcer.arrive(Arrival(), 0.0)[0] is None
    assert enforcer.view()["concurrency"] == {"limit": 2, "kind": "seats", "peak": 3, "violations": 1}


def test_counting_without_enforcing_refuses_nobody():
    enforcer = Enforcer([Tier("all", 1, 1.0)], enforce=False)
    assert all(enforcer.arrive(Arrival(), 0.0)[0] is None for _ in range(5))
    assert enforcer.violations == 0
    assert enforcer.view()["all"]["peak"] == 5


@pytest.mark.parametrize(
    ("text", "meant"),
    [("10/s", (10, 1)), ("10/1s", (10, 1)), ("120/min", (120, 60)), ("300/120s", (300, 120)), ("5/24h", (5, 86400))],
)
def test_rates_are_read_as_people_write_them(text, meant):
    assert rate(text) == meant


@pytest.mark.parametrize("text", ["10", "10/", "ten/s", "10/fortnight", "/s"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="not a rate"):
        rate(text)


def test_tiers_can_be_given_as_options():
    tiers = tiers_from(["10/s", {"rate": "100/min", "kind": "fixed", "budget": "write", "name": "writes"}])
    assert [(tier.name, tier.limit, tier.window_seconds, tier.kind) for tier in tiers] == [
        ("10/s", 10, 1, "sliding"),
        ("writes", 100, 60, "fixed"),
    ]
    assert tiers[1].key(Arrival()) is None
    assert tiers[1].key(Arrival(budget="write")) == ""


def test_the_fullest_window_is_found_wherever_it_lies():
    assert most_in_window([0.0, 0.9, 1.0, 1.1, 1.2, 5.0], 1.0) == 4
    assert most_in_window([], 1.0) == 0


def test_a_limit_lowered_without_a_word_refuses_surprises_and_still_counts_violations_of_the_stated_one():
    enforcer = Enforcer([Tier("second", 10, 1.0), Tier("hour", 100, 3600.0)])
    enforcer.scale(0.2, "second", silent=True)
    refused = [enforcer.arrive(Arrival(), 5.0)[0] is not None for _ in range(10)]
    assert refused == [False] * 2 + [True] * 8
    assert (enforcer.surprises, enforcer.violations) == (8, 0), "ten calls are within what is stated"
    assert enforcer.arrive(Arrival(), 5.1)[0] is not None
    assert (enforcer.surprises, enforcer.violations) == (8, 1), "the eleventh is not"
    shown = enforcer.view()
    assert (shown["second"]["limit"], shown["second"]["stated"], shown["hour"]["limit"]) == (2, 10, 100)


def test_a_limit_lowered_aloud_is_a_stated_limit():
    enforcer = Enforcer([Tier("second", 10, 1.0)])
    enforcer.scale(0.2, silent=True)
    enforcer.scale(0.5)
    assert [enforcer.arrive(Arrival(), 5.0)[0] is None for _ in range(3)] == [True, False, False]
    assert (enforcer.surprises, enforcer.violations) == (0, 2)
    with pytest.raises(KeyError, match="minute"):
        enforcer.scale(0.5, "minute")
