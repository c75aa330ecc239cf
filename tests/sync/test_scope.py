"""What a scope's gate says in words: told to wait, used up, learned, ramping, broken; and once for all who share it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.explain import State
from syncd.limits.waiting import OverBudgetError
from syncd.sync import scope
from syncd.sync.health import Health

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def tier(**changes: Any) -> dict[str, Any]:
    return {
        "name": "600/60s",
        "kind": "sliding",
        "used": 400.0,
        "held": 410.0,
        "budget": 420.0,
        "limit": 600.0,
        "configured": 600.0,
        "stated": 600.0,
        "window_seconds": 60.0,
        "frees_in_seconds": 0.0,
        "foreign": 0.0,
        "learned": None,
        **changes,
    }


def lesson(**changes: Any) -> dict[str, Any]:
    return {
        "limit": 475.0,
        "broke_at": 500.0,
        "since": NOW - timedelta(minutes=4),
        "events": 1,
        "source": "429",
        "yaml": "limits: {tiers: [475/min]}",
        **changes,
    }


def view(**changes: Any) -> dict[str, Any]:
    return {
        "scope": "guesty/acme",
        "paused_until": None,
        "pause_reason": "",
        "seats": {"used": 0, "limit": 2},
        "in_flight": 0,
        "waiting": {"high": 0, "normal": 0, "low": 0},
        "tiers": [tier()],
        "breakers": {},
        "held": None,
        "next_call": {"in_seconds": 0.0, "why": ""},
        "ramp": None,
        **changes,
    }


def judged(**changes: Any) -> tuple[State, Any]:
    return Health("acme").judge(view(**changes), NOW)


def test_a_quiet_scope_is_healthy_and_has_nothing_to_say():
    assert judged() == (State.HEALTHY, None)


def test_told_to_wait_says_until_when_and_by_whom_first():
    state, told = judged(paused_until=NOW + timedelta(seconds=41), pause_reason="GET /rooms answered 429")
    assert state is State.WAITING
    assert (told.code, told.action) == ("rate-limited", "nothing to do")
    assert told.reason == "next call at 12:00:41 UTC: GET /rooms answered 429"
    assert judged(paused_until=NOW)[0] is State.HEALTHY, "a pause that is over is no pause"


def test_calls_that_wait_for_a_used_up_limit_are_waiting_with_its_name_and_the_time():
    full = tier(used=420.0, frees_in_seconds=12.0)
    waits = {"tiers": [full], "waiting": {"normal": 3}, "next_call": {"in_seconds": 12.0, "why": "600/60s"}}
    state, told = judged(**waits)
    assert (state, told.code) == (State.WAITING, "rate-limited")
    assert told.reason == "next call at 12:00:12 UTC: 420/420 of 600/min used"
    assert judged(**{**waits, "waiting": {"normal": 0}})[0] is State.HEALTHY, "nobody waits"
    assert judged(**{**waits, "next_call": {"in_seconds": 0.4, "why": "600/60s"}})[0] is State.HEALTHY, "mere pacing"


def test_work_that_was_put_off_waits_too_although_nobody_stands_in_line():
    health = Health("acme")
    full = view(tiers=[tier(used=420.0)], next_call={"in_seconds": 3600.0, "why": "600/60s"})
    assert health.judge(full, NOW)[0] is State.HEALTHY, "nothing is wanted before the limit is back"
    assert not health.failed("rooms", OverBudgetError("full", retry_at=NOW + timedelta(hours=1)), NOW)
    state, told = health.judge(full, NOW)
    assert (state, told.code) == (State.WAITING, "rate-limited")
    assert told.reason == "next call at 13:00:00 UTC: 420/420 of 600/min used"
    assert health.judge(full, NOW + timedelta(hours=1))[0] is State.HEALTHY, "the time it was put off to is over"
    health.failed("rooms", OverBudgetError("full", retry_at=NOW + timedelta(hours=1)), NOW)
    health.succeeded("rooms", NOW)
    assert health.judge(full, NOW)[0] is State.HEALTHY


def test_a_run_put_off_for_a_limit_of_its_own_says_so_although_other_calls_may_go():
    health = Health("acme")
    health.failed(
        "rates",
        OverBudgetError("acme is using all its limits allow (token 5/d)", retry_at=NOW + timedelta(days=1)),
        NOW,
    )
    state, told = health.judge(view(), NOW)
    assert (state, told.code, told.action) == (State.WAITING, "rate-limited", "nothing to do")
    assert told.reason == "rates: next call at 2026-11-22 12:00 UTC: acme is using all its limits allow (token 5/d)"
    assert health.resource_state("rates", view(), NOW) == (State.WAITING, told)
    assert health.resource_state("rooms", view(), NOW) == (State.HEALTHY, None)


def test_a_learned_limit_keeps_it_healthy_and_names_line_and_file():
    state, told = judged(tiers=[tier(learned=lesson())])
    assert (state, told.code) == (State.HEALTHY, "limit-learned")
    assert told.reason == "stated 600/min, observed about 500/min"
    assert told.action == "limits: {tiers: [475/min]} in partners/guesty.yaml"
    assert told.since == NOW - timedelta(minutes=4)


def test_a_limit_learned_from_headers_is_told_apart():
    _, told = judged(tiers=[tier(learned=lesson(source="headers", broke_at=None, limit=100.0, since=None))])
    assert told.reason == "stated 600/min, observed about 100/min"
    assert told.cause == "its answers state a lower limit"
    assert told.since is None


def test_a_429_that_proves_nothing_slows_down_and_suggests_no_line():
    state, told = judged(tiers=[tier(learned=lesson(broke_at=None, limit=210.0))])
    assert (state, told.code, told.action) == (State.HEALTHY, "limit-slowed", "nothing to do")
    assert told.reason == "slowed to 210/min of 600/min after a 429"
    _, told = judged(
        tiers=[tier(learned=lesson(broke_at=None)), tier(name="10/1s", window_seconds=1.0, learned=lesson())]
    )
    assert told.code == "limit-learned", "what is known comes before what is only feared"


def test_after_an_outage_it_is_healthy_and_ramping_until_a_named_moment():
    state, told = judged(ramp={"share": 0.25, "ends_in_seconds": 45.0})
    assert (state, told.code) == (State.HEALTHY, "ramping")
    assert told.reason.endswith("by 12:00:45 UTC")


@pytest.mark.parametrize(
    ("breaker", "words"),
    [
        ({"state": "open", "retry_in_seconds": 9.0}, "next try at 12:00:09 UTC: the partner does not answer"),
        ({"state": "half_open", "retry_in_seconds": 0.0}, "one call finds out whether the partner is back"),
    ],
)
def test_a_partner_that_does_not_answer_is_down_until_a_call_showed_the_opposite(breaker, words):
    state, told = judged(
        breakers={"": breaker, "quiet": {"state": "closed"}}, ramp={"share": 0.1, "ends_in_seconds": 9}
    )
    assert (state, told.code) == (State.DOWN, "breaker-open")
    assert words in told.reason


def test_waiting_as_told_outranks_what_was_learned():
    _, told = judged(paused_until=NOW + timedelta(seconds=5), tiers=[tier(learned=lesson())])
    assert told.code == "rate-limited"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"name": "600/60s"}, "600/min"),
        ({"name": "300/120s", "configured": 300, "window_seconds": 120.0}, "300/120s"),
        ({"name": "token 5/86400s", "configured": 5, "window_seconds": 86400.0}, "token 5/d"),
        ({"name": "GET /rooms 25/1s", "configured": 25, "window_seconds": 1.0}, "GET /rooms 25/s"),
        ({"name": "600/60s", "limit": 300.0}, "600/min"),
        ({"name": "read 1000000/2592000s", "configured": 1e6, "window_seconds": 2592e3}, "read 1000000/30d"),
    ],
)
def test_a_tier_is_called_as_people_write_it(written, said):
    assert scope.label(tier(**written)) == said


def test_a_scope_as_json_names_who_shares_it_when_the_next_call_may_leave_and_why():
    told = scope.as_json(
        view(tiers=[tier(learned=lesson(), used=420.0)], next_call={"in_seconds": 12.0, "why": "600/60s"}),
        NOW,
        integrations=["acme", "other"],
        owned=True,
    )
    assert (told["partner"], told["integrations"]) == ("guesty", ["acme", "other"])
    assert told["next_call"] == {"at": NOW + timedelta(seconds=12), "in_seconds": 12.0, "why": "600/min is full"}
    assert told["tiers"][0]["label"] == "600/min"
    assert told["tiers"][0]["observed"] == "stated 600/min, observed about 500/min"
    assert told["tiers"][0]["learned"]["file"] == "partners/guesty.yaml"
    assert told["tiers"][0]["learned"]["proven"]


@pytest.mark.parametrize(
    ("changes", "seconds", "why"),
    [
        ({}, 0.0, ""),
        ({"next_call": {"in_seconds": 7.0, "why": "paused: 429"}}, 7.0, "paused: 429"),
        ({"next_call": {"in_seconds": 3.0, "why": "600/60s"}}, 3.0, "600/min has only its reserve left"),
        ({"next_call": {"in_seconds": None, "why": "concurrency"}}, None, "all 2 seats are taken"),
        (
            {"next_call": {"in_seconds": 30.0, "why": "concurrency"}, "seats": {"limit": 8, "doubted": 8}},
            30.0,
            "calls of a process that was killed may still hold 8 of 8 seats",
        ),
        (
            {"held": {"who": "ann", "why": "tests", "until": NOW + timedelta(hours=1)}},
            3600.0,
            "held by ann until 13:00:00 UTC: tests",
        ),
        ({"held": {"who": "", "why": "tests", "until": None}}, None, "held: tests"),
        ({"breakers": {"": {"state": "open", "retry_in_seconds": 30.0}}}, 30.0, "the partner does not answer"),
    ],
)
def test_what_holds_the_next_call_is_said_in_words(changes, seconds, why):
    told = scope.next_call(view(**changes), NOW)
    assert (told["in_seconds"], told["why"]) == (seconds, why)


def test_another_instances_scope_has_no_next_call_of_ours():
    assert scope.as_json(view(), NOW, integrations=["acme"], owned=False)["next_call"] is None


OPEN = {"state": "open", "retry_in_seconds": 30.0}
SOON = {"state": "open", "retry_in_seconds": 10.0}
HALF = {"state": "half_open", "retry_in_seconds": 0.0}
HELD = {"state": "open", "held": {"who": "ann", "why": "tests", "until": None}}


@pytest.mark.parametrize(
    ("breakers", "needs", "seconds", "why"),
    [
        ({"token": OPEN}, [("token", ""), ("token", "reports")], 30.0, "the partner does not answer on token"),
        ({"token": OPEN}, [("",)], 0.0, ""),
        ({"reports": OPEN}, [("",), ("reports",)], 0.0, ""),
        ({"": OPEN}, [("",), ("reports",)], 0.0, ""),
        ({"": OPEN, "reports": SOON}, [("",), ("reports",)], 10.0, "the partner does not answer on reports"),
        ({"token": SOON, "": OPEN}, [("token", "")], 30.0, "the partner does not answer"),
        ({"token": HALF}, [("token", "")], 0.0, "one call finds out whether the partner is back on token"),
        ({"token": HELD}, [("token", "")], None, "held by ann: tests"),
        ({"token": HELD, "": OPEN}, [("token", ""), ("",)], 30.0, "the partner does not answer"),
    ],
)
def test_the_next_call_waits_for_the_breaker_that_keeps_every_resource_from_calling(breakers, needs, seconds, why):
    told = scope.as_json(view(breakers=breakers), NOW, integrations=["acme"], owned=True, needs=needs)["next_call"]
    assert (told["in_seconds"], told["why"]) == (seconds, why)
