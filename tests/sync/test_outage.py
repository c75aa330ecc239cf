"""Outages and holds in words: what is wrong, since when, why, and the exact command."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.errors import BreakerOpenError, PayloadError, RejectedError, TransientError
from syncd.explain import State
from syncd.sync import outage
from syncd.sync.health import Health
from syncd.sync.troubles import explain_error, explain_test

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=4)
CLOSED = {"state": "closed", "held": None}


def opened(**more: Any) -> dict[str, Any]:
    errors = [{"at": SINCE, "error": "GET /a: no complete answer"}, {"at": NOW, "error": "GET /a: answered 503"}]
    return {"state": "open", "retry_in_seconds": 30.0, "since": SINCE, "held": None, "errors": errors, **more}


def hold(**more: Any) -> dict[str, Any]:
    return {"who": "ann", "why": "they move house", "since": SINCE, "until": None, **more}


def view(breakers: dict[str, Any], held: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"scope": "plain/acme", "breakers": breakers, "held": held, "paused_until": None, "tiers": [], "waiting": {}}


def test_an_open_breaker_tells_since_when_the_last_real_error_and_the_exact_command():
    told = outage.explain("acme", view({"": opened()}), "", NOW)
    assert (told.code, told.since, told.cause) == ("breaker-open", SINCE, "GET /a: answered 503")
    assert told.reason == "next try at 12:00:30 UTC: the partner does not answer"
    assert told.action.endswith("now: syncd breaker acme reset")
    assert told.runbook == "syncd runbook breaker-open"


def test_of_a_group_it_names_the_group():
    told = outage.explain("acme", view({"": CLOSED, "reports": opened()}), "reports", NOW)
    assert told.reason.endswith("the partner does not answer on reports")
    assert told.action.endswith("syncd breaker acme reset --group reports")
    assert outage.explain("acme", view({"": CLOSED, "reports": opened()}), "", NOW) is None


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (None, "calls are held by ann: they move house"),
        (NOW + timedelta(hours=2), "calls are held by ann until 14:00:00 UTC: they move house"),
        (NOW + timedelta(days=3), "calls are held by ann until 2026-11-24 12:00 UTC: they move house"),
    ],
)
def test_a_hold_tells_who_why_and_until_when(until, words):
    told = outage.explain("acme", view({}, hold(until=until)), "", NOW)
    assert (told.code, told.reason, told.since) == ("breaker-held", words, SINCE)
    assert told.action == "syncd breaker acme release"


def test_a_hold_of_one_group_is_released_by_its_name():
    told = outage.explain("acme", view({"reports": {**CLOSED, "state": "open", "held": hold()}}), "reports", NOW)
    assert told.reason == "calls to reports are held by ann: they move house"
    assert told.action == "syncd breaker acme release --group reports"


@pytest.mark.parametrize(
    ("breakers", "held", "needs", "state", "code"),
    [
        ({"": opened()}, None, [("",)], State.DOWN, "breaker-open"),
        ({"": opened(state="half_open")}, None, [("",)], State.DOWN, "breaker-open"),
        ({"reports": opened()}, None, [("",), ("reports",)], State.DEGRADED, "breaker-open"),
        ({"reports": opened()}, None, [("",)], State.HEALTHY, None),
        ({"token": opened()}, None, [("token", ""), ("token", "reports")], State.DOWN, "breaker-open"),
        ({"token": opened()}, None, [("",), ("reports",)], State.HEALTHY, None),
        ({}, hold(), [("",)], State.PAUSED, "breaker-held"),
        ({"": opened()}, hold(), [("",)], State.PAUSED, "breaker-held"),
        ({"reports": {**CLOSED, "held": hold()}}, None, [("",), ("reports",)], State.PAUSED, "breaker-held"),
        ({"": CLOSED, "reports": CLOSED}, None, [("",), ("reports",)], State.HEALTHY, None),
    ],
)
def test_the_integrations_state_follows_from_what_its_resources_need(breakers, held, needs, state, code):
    found, told = Health("acme").judge(view(breakers, held), NOW, needs)
    assert (found, told.code if told else None) == (state, code)


def test_a_resource_is_down_although_no_run_of_it_failed_yet():
    health = Health("acme")
    seen = view({"": opened(), "reports": CLOSED})
    state, told = health.resource_state("customers", seen, NOW, ("",))
    every = health.resource_states(seen, NOW, {"customers": [""], "orders": [""], "reports": ["reports"]})
    assert every["customers"] == (state, told) and every["orders"][1] is every["customers"][1], "worded once"
    assert (state, told.code) == (State.DOWN, "breaker-open")
    assert health.resource_state("reports", seen, NOW, ("reports",)) == (State.HEALTHY, None)


def test_an_outage_does_not_hide_a_trouble_of_another_group():
    health = Health("acme")
    for _ in range(3):
        health.failed("customers", TransientError("GET /customers: answered 500"), SINCE)
    state, told = health.judge(view({"reports": opened()}), NOW, [("",), ("reports",)])
    assert (state, told.code) == (State.DOWN, "breaker-open")


def test_work_refused_by_a_hold_names_the_release_and_by_a_breaker_the_reset():
    held = explain_error("acme", "things", BreakerOpenError("held", retry_at=NOW, held=True, group="token"), NOW)
    assert (held.code, held.action) == ("breaker-held", "syncd breaker acme release --group token")
    refused = explain_error("acme", "things", BreakerOpenError("open", retry_at=NOW), NOW)
    assert (refused.code, refused.action.endswith("syncd breaker acme reset")) == ("breaker-open", True)


def test_who_waits_is_told_for_what_and_until_when():
    assert outage.waits(view({"": CLOSED}), [""], NOW) is None
    assert outage.waits(view({"": opened()}), [""], NOW) == ("the breaker is open", NOW + timedelta(seconds=30))
    until = NOW + timedelta(hours=1)
    words, at = outage.waits(view({}, hold(until=until)), ["token", ""], NOW)
    assert words.startswith("held by ann until")
    assert at == until


def test_a_test_call_of_no_resource_names_a_command_that_there_is():
    now = datetime(2026, 11, 23, tzinfo=UTC)
    down = explain_test("oddy", TransientError("no complete answer"), now)
    assert down.action == "nothing to do, it is tried again by itself; now: syncd credential test oddy"
    for error in (PayloadError("no JSON"), RejectedError("no", status=422)):
        assert explain_test("oddy", error, now).action == "syncd credential test oddy"
