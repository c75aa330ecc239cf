"""How figures are drawn: commands cut out of actions, bars, little lines, breakers, the filter of the table."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.server.ui import front, integrations, rows, shown
from syncd.server.ui.deliveries import as_curl
from syncd.server.ui.paper import Paper
from syncd.server.ui.records import refusal, source
from syncd.testing.clock import FakeClock

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("action", "commands"),
    [
        ("nothing to do", []),
        ("syncd credential test acme", ["syncd credential test acme"]),
        ("nothing to do, it is tried again by itself; now: syncd breaker acme reset", ["syncd breaker acme reset"]),
        (
            "syncd credential set acme NAME < file; then: syncd reload --wait",
            ["syncd credential set acme NAME < file", "syncd reload --wait"],
        ),
        ("wait for syncd", []),
    ],
)
def test_commands_are_told_from_words(action: str, commands: list[str]):
    pieces = shown.pieces(action)
    assert [text for is_command, text in pieces if is_command] == commands
    assert "".join(text for _, text in pieces) == action


def test_a_bar_marks_the_ceiling_below_the_partners_own_limit():
    assert shown.gauge(450, 500, 600) == {"full": 75.0, "mark": 83.3, "near": True}
    assert shown.gauge(10, 500, 600)["near"] is False
    assert shown.gauge(700, 500, 600) == {"full": 100.0, "mark": 71.4, "near": True}
    assert shown.gauge(0, 0, 0) == {"full": 0.0, "mark": None, "near": False}


def test_a_little_line_has_few_points_and_none_where_nothing_happened():
    assert shown.spark([]) == ""
    assert shown.spark([None, 0.0]) == ""
    assert shown.spark([float(at) for at in range(360)]).count("L") < shown.SPARK_POINTS
    assert shown.spark([0.0, 2.0]) == "M0,19L96,1"


def test_who_has_no_scripts_sees_each_plot_that_was_measured_with_its_latest_and_its_largest_value():
    measured = {"calls": [0.0, 2.0], "p95_ms": [None, None], "p99_ms": [640.0, None], "errors": [0.0, 0.0]}
    times = [NOW.timestamp(), NOW.timestamp() + 10]
    figures = {"times": times, "integrations": {"acme": measured}, "changes": [{"at": NOW}]}
    found = {each["title"]: each for each in integrations.drawn(figures, "acme")}
    assert list(found) == ["calls a second", "p99", "errors"]
    assert found["calls a second"] == {
        "title": "calls a second", "path": "M0,19L96,1", "marks": "M0,0V20", "latest": "2.00", "most": "2.00",
    }  # fmt: skip
    assert (found["p99"]["latest"], found["errors"]["most"]) == ("640 ms", "0.0 %")
    assert found["errors"]["path"] == "M0,19H96", "nothing at all is a line too"
    assert integrations.drawn({"times": [], "integrations": {}, "changes": []}, "acme") == []


def test_a_little_line_is_marked_where_something_was_changed():
    times = [NOW.timestamp() + 10 * at for at in range(11)]
    assert shown.strokes(times, [times[0], times[5], times[5], times[10]]) == "M0,0V20M48,0V20M96,0V20"
    assert shown.strokes(times, [times[0] - 1, times[10] + 1]) == ""
    assert shown.strokes(times[:1], times[:1]) == ""
    changes = [{"at": NOW + timedelta(seconds=50), "integration": "acme"}, {"at": NOW, "integration": ""}]
    lines = front.Lines({"times": times, "changes": changes, "integrations": {"acme": {"calls": [0.0, 2.0]}}})
    assert lines.of("acme") == {"spark": "M0,19L96,1", "marks": "M0,0V20M48,0V20"}
    assert lines.of("shop") == {"spark": "", "marks": "M0,0V20"}, "a reload is everybody's"


def test_calls_are_asked_for_only_when_something_was_measured_since():
    asked, times = [], [1.0, 2.0]

    def view(window: str, *, series: tuple[str, ...]) -> dict[str, Any]:
        asked.append(series)
        return {"times": [*times], "changes": [], "integrations": {"acme": {"calls": [0.0, 2.0]} if series else {}}}

    sources: Any = SimpleNamespace(figures=SimpleNamespace(view=view))
    made = front.Front(sources, Paper(), FakeClock())
    for _ in range(2):
        made.lines(made.figures())
        assert made.lines(made.figures()).of("acme")["spark"]
        times.append(times[-1] + 10)
    assert asked == [(), ("calls",), (), (), ("calls",), ()]


def test_a_queue_without_a_bound_is_not_full_with_a_few():
    told = front.gauge(
        {"name": "inbox", "waiting": 50, "capacity": None, "rate_per_second": 1.0, "drains_in_seconds": 50}
    )
    assert (told["full"], told["share"]) == (1.0, "")


def test_a_delivery_as_curl_is_one_command_whatever_it_holds():
    body = '{"name": "it\'s $(reboot)"}'
    command = as_curl({"body": body, "headers": {"x-note": "a'; reboot", "content-type": "application/json"}})
    words = shlex.split(command.replace("\\\n", " "))
    assert words == ["curl", "-X", "POST", "$URL", "-H", "content-type: application/json", "-H", "x-note: a'; reboot",
                     "--data-raw", body]  # fmt: skip
    assert as_curl({"body": None, "headers": {}}) == as_curl({"body": "x" * 200_000, "headers": {}}) == ""


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (41.6, "42 ms"), (1234.0, "1.2 s"), (125_000.0, "2m 5s")])
def test_a_time_is_written_as_short_as_it_is_said(value: float | None, text: str):
    assert shown.milliseconds(value) == text


@pytest.mark.parametrize(
    ("groups", "state", "short"),
    [
        ({}, "", ""),
        ({"": {"state": "closed"}}, "closed", ""),
        ({"": {"state": "closed"}, "token": {"state": "open", "retry_in_seconds": 41.0}}, "open", "41s"),
        ({"": {"state": "half_open"}}, "half-open", ""),
        ({"": {"state": "open"}, "x": {"state": "closed", "held": {"who": "ann"}}}, "held", "by ann"),
    ],
)
def test_the_worst_breaker_is_shown(groups: dict[str, Any], state: str, short: str):
    told = rows.breaker(groups)
    assert (told["state"], told["short"]) == (state, short)


def test_the_table_is_filtered_by_words_and_state():
    one = rows.row({"name": "acme", "partner": "guesty", "company": "Acme Inc", "state": "down"}, NOW)
    assert all(
        rows.fits(one, words, state) for words, state in [("", ""), ("GUESTY", "troubled"), ("acme inc", "down")]
    )
    assert not any(rows.fits(one, words, state) for words, state in [("stripe", ""), ("", "healthy")])


def test_a_pause_that_is_not_the_state_is_said_beside_it():
    paused = {"reason": "they move", "who": "ann", "since": NOW, "until": NOW + timedelta(hours=2)}
    assert rows.pause(paused, NOW) == "paused for another 2h by ann: they move"
    assert rows.pause({**paused, "until": None, "reason": ""}, NOW) == "paused until somebody resumes it by ann"


def test_a_delivery_that_wrote_a_record_is_a_link_whatever_its_id():
    assert source("acme", "webhook evt_1/../x")["link"] == "/ui/webhooks/acme/evt_1%2F..%2Fx"
    assert source("acme", "run 17") == {"text": "run 17", "link": ""}


def test_a_version_that_came_too_late_is_told_in_the_words_of_the_command():
    told = {
        "at": NOW,
        "cause": "webhook evt_1",
        "by": "webhook evt_1 (thing.updated), received 2026-11-01 12:00:00Z",
        "why": "it is version 3, and version 7 was stored",
        "source_updated_at": "2026-11-01T10:00:00Z",
        "held": {"source_updated_at": "2026-11-01T10:00:00Z"},
    }
    found = refusal(told, "acme")
    assert (found["why"], found["written"]["text"]) == (told["why"], told["by"])
    assert found["written"]["link"] == "/ui/webhooks/acme/evt_1"
