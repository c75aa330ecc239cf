"""The limits in `syncd status`: every scope once, every tier a line, when the next call may leave, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import pytest

from syncd.cli import limits, status
from syncd.cli.output import wrapped
from syncd.limits.tiers import TierSpec
from syncd.sync.scope import label as scope_label

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def tier(**changes: Any) -> dict[str, Any]:
    return {
        "name": "600/60s",
        "label": "600/min",
        "used": 315.0,
        "budget": 420.0,
        "limit": 600.0,
        "configured": 600.0,
        "stated": 600.0,
        "window_seconds": 60.0,
        "frees_in_seconds": 0.0,
        "foreign": 0.0,
        "learned": None,
        "observed": None,
        **changes,
    }


LEARNED = {
    "learned": {
        "limit": 475.0,
        "since": "2026-11-21T11:56:00Z",
        "yaml": "limits: {tiers: [475/min]}",
        "file": "partners/guesty.yaml",
        "proven": True,
    },
    "observed": "stated 600/min, observed about 500/min",
}


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "scope": "guesty/acme",
        "integrations": ["acme"],
        "owned": True,
        "next_call": {"at": "2026-11-21T12:00:00Z", "in_seconds": 0.0, "why": ""},
        "waiting": {"high": 0, "normal": 0, "low": 0},
        "seats": {"used": 0, "limit": 2, "configured": 2, "learned": None},
        "tiers": [tier()],
        "breakers": {"": {"state": "closed", "retry_in_seconds": 0.0, "held": None}},
        "ramp": None,
        "waited_seconds": {},
        "utilisation": None,
        "refusals": 0,
        **changes,
    }


def shown(*scopes: dict[str, Any], verbose: bool = False, width: int = 80) -> str:
    return "\n".join(limits.render(list(scopes), NOW, verbose=verbose, width=width))


def test_a_tier_is_a_line_with_bar_used_budget_ceiling_and_what_is_stated():
    line = shown(scope(tiers=[tier(limit=500.0)])).splitlines()[2]
    assert line == "    600/min  ██████████░░░░┊░░░░░      315/420 ·  75 %  ceiling 500, stated 600"


def test_the_bar_ends_at_the_partners_limit_and_marks_the_budget():
    bar = click.unstyle(limits._bar(420.0, 420.0, 600.0, 20))
    assert bar == "██████████████┊░░░░░"
    assert len(click.unstyle(limits._bar(10.0, 10.0, 10.0, 20))) == 20
    assert limits._bar(10.0, 10.0, 10.0, 20).endswith("┊"), "all of the limit is the budget"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"at": "2026-11-21T12:00:00Z", "in_seconds": 0.0, "why": ""}, "guesty/acme: next call now"),
        (
            {"at": "2026-11-21T12:00:12Z", "in_seconds": 12.0, "why": "600/min is full"},
            "guesty/acme: next call in 12s: 600/min is full",
        ),
        (
            {"at": "2026-11-21T14:00:00Z", "in_seconds": 7200.0, "why": "paused: GET /rooms answered 429"},
            "next call in 2h: paused: GET /rooms answered 429, at 2026-11-21 14:00:00Z",
        ),
    ],
)
def test_it_says_when_the_next_call_may_leave_and_why(told, words):
    assert words in shown(scope(next_call=told))


def test_who_waits_and_how_far_a_ramp_has_come_stand_beside_it():
    text = shown(scope(waiting={"high": 1, "normal": 11}, ramp={"share": 0.25, "ends_in_seconds": 45.0}))
    assert "12 calls waiting; ramping up, 25 % of the budget, all of it in 45s" in text


def test_a_learned_limit_comes_with_the_line_that_makes_it_official_and_its_file():
    lines = shown(scope(tiers=[tier(**LEARNED)])).splitlines()
    assert "    stated 600/min, observed about 500/min 4m ago" in lines
    assert "    do: limits: {tiers: [475/min]} in partners/guesty.yaml" in lines


def test_what_others_spend_is_told():
    assert "others spent about 120 of 600/min" in shown(scope(tiers=[tier(foreign=120.0)]))


def test_unused_tiers_are_named_in_one_line_unless_asked_for():
    tiers = [tier(), tier(label="customers 25/s", used=0.0), tier(label="events 25/s", used=0.0)]
    assert "unused: customers 25/s, events 25/s" in shown(scope(tiers=tiers))
    assert "customers 25/s  ░" in shown(scope(tiers=tiers), verbose=True)


@pytest.mark.parametrize("columns", [0, 80])
def test_many_unused_tiers_fit_80_columns_in_a_pipe_too_and_none_is_torn_apart(columns):
    tiers = [tier(label=f"kind-{number} of things 25/s", used=0.0) for number in range(20)]
    found = {"integrations": [], "scopes": [scope(tiers=tiers)], "queues": []}
    told = [line for line in status.render(found, NOW, columns=columns) if "things" in line]
    assert max(map(len, told)) <= 80
    assert [part.strip(" ,") for line in told for part in line.strip().removeprefix("unused:").split(", ")] == [
        f"kind-{number} of things 25/s" for number in range(20)
    ]


def test_fewer_seats_than_configured_are_explained():
    assert "at once" not in shown(scope())
    assert "0/2 calls at once" in shown(scope(), verbose=True)
    told = shown(scope(seats={"used": 1, "limit": 1, "configured": 8, "learned": None}))
    assert "1/1 calls at once, of 8: few until the partner is known to accept more" in told
    told = shown(scope(seats={"used": 0, "limit": 3, "configured": 8, "learned": 3}))
    assert "0/3 calls at once, of 8: observed about 3" in told


def test_a_breaker_that_is_not_closed_says_when_it_is_tried_again():
    breakers = {"": {"state": "open", "retry_in_seconds": 4.2, "held": None}, "files": {"state": "closed"}}
    text = shown(scope(breakers=breakers))
    assert "breaker: open, next try in 4.2s" in text
    assert "files" not in text


def test_what_limits_cost_is_told_by_reason_in_the_tiers_own_name():
    told = scope(waited_seconds={"600/60s": 41.0, "paused": 72.0, "lane": 0.1}, utilisation=0.96, refusals=2)
    line = shown(told).splitlines()[-1].strip()
    assert (
        line == "calls waited, added up: 1m 12s for paused, 41s for 600/min; 96 % of the budget used meanwhile; 429s: 2"
    )


def test_a_wait_for_a_limit_that_is_gone_is_told_in_peoples_words_too():
    told = scope(waited_seconds={"72/60s": 3180.0, "write 25/1s": 2.0, "lane": 1.0})
    line = shown(told).splitlines()[-1]
    assert line == "    calls waited, added up: 53m for 72/min, 2s for write 25/s, 1s for lane"


def test_an_integrations_fullest_limit_has_its_label():
    raw = tier(name="token 5/86400s", used=1.0, budget=5.0)
    del raw["label"]
    text = "\n".join(
        status.render({"integrations": [{"name": "acme", "state": "healthy", "limits": {"tiers": [raw]}}]}, NOW)
    )
    assert "1/5 · 20 % of token 5/d" in text
    assert "86400" not in text


@pytest.mark.parametrize("budget", ["", "write", "/rooms/{id}"])
@pytest.mark.parametrize("window", [0.5, 1, 10, 60, 90, 120, 300, 3600, 7200, 86400, 2592000])
def test_a_limits_name_is_written_as_the_daemon_labels_it(window: float, budget: str):
    spec = TierSpec(100, window, budget=budget)
    told = {"name": spec.name, "configured": 100.0, "window_seconds": window}
    assert limits.written(spec.name) == scope_label(told)


@pytest.mark.parametrize("reason", ["paused", "lane", "seats", "limit", "breaker /a/5s/b"])
def test_what_is_no_limits_name_is_left_as_it_is(reason: str):
    assert limits.written(reason) == reason


def test_a_scope_that_several_share_is_shown_once_with_their_names():
    found = {"integrations": [], "scopes": [scope(integrations=["acme", "other"])]}
    text = "\n".join(status.render(found, NOW))
    assert text.count("guesty/acme") == 1
    assert "guesty/acme (acme, other): next call now" in text


def test_a_scope_of_another_instance_is_named_and_not_counted():
    assert shown(scope(owned=False)).splitlines()[-1] == "  guesty/acme: another instance calls for it"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_line_fits_the_terminal(width):
    why = {"at": "2026-11-21T12:00:41Z", "in_seconds": 41.0, "why": "paused: GET /api/v1/rooms/{id}/rates answered 429"}
    busy = scope(
        next_call=why,
        tiers=[tier(**LEARNED, limit=475.0, foreign=12.0)],
        waited_seconds={"600/60s": 41.0, "paused": 72},
    )
    lines = status.render({"integrations": [], "scopes": [busy], "queues": []}, NOW, columns=width)
    assert max(len(click.unstyle(line)) for line in lines) <= width
    assert "limits: {tiers: [475/min]}" in " ".join(" ".join(lines).split())


def test_a_long_line_breaks_between_words_and_keeps_its_indent():
    assert wrapped("    do: one two three four", 16) == ["    do: one two", "     three four"]
    assert wrapped("whatever", 0) == ["whatever"]


def test_watching_shows_what_the_screen_holds_and_says_what_it_left_out():
    lines = [str(number) for number in range(30)]
    cut = status._fitting(lines, 10)
    assert cut[:8] == lines[:8]
    assert cut[-1].startswith("… 22 more lines")
    assert len(cut) == 9
    assert status._fitting(lines, 0) == status._fitting(lines, 31) == lines


def test_a_name_narrows_the_limits_too():
    found = {
        "integrations": [{"name": "acme", "partner": "guesty"}, {"name": "shop", "partner": "stripe"}],
        "scopes": [scope(), scope(scope="stripe/shop", integrations=["shop"])],
    }
    assert [one["scope"] for one in status._narrowed(found, "stripe")["scopes"]] == ["stripe/shop"]
