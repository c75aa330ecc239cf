"""The queues at the foot of the status."""

from __future__ import annotations

from typing import Any

from syncd.cli.queues import render

WORKERS = {"alive": 8, "total": 8}


def queue(name: str, waiting: int, state: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "table",
        "waiting": waiting,
        "capacity": 1000,
        "oldest_seconds": 154.0,
        "state": state,
        **more,
    }


def test_one_line_has_the_figures_and_when_it_is_empty():
    [line] = render(
        [
            queue("inbox", 0, "empty", capacity=None),
            queue("tasks low", 890, "flows", capacity=2000, drains_in_seconds=360.0),
            {"name": "guesty", "kind": "pool", "waiting": 0, "state": "empty"},
        ],
        WORKERS,
    )
    assert line == "queues  inbox 0   tasks low 890 (44 %, drains in 6m)"
    assert render([], WORKERS) == []


def test_full_says_that_the_workers_live_and_when_it_is_over():
    full = queue("tasks normal", 950, "full", drains_in_seconds=900.0, rate_per_second=1.05, bound_by="60/min")
    told = render([full], WORKERS)[1]
    assert told.endswith(
        "tasks normal is full: 950 items, the oldest for 2m 34s; workers 8/8 live, drains in 15m (bound by 60/min)"
    )
    del full["bound_by"]
    assert render([full], WORKERS)[1].endswith("live, drains in 15m at 1.05/s")


def test_without_workers_it_says_so_and_what_to_do():
    told = render([queue("tasks normal", 950, "no_workers")], {"alive": 0, "total": 8})[1]
    assert "too few that work on it (workers 0/8); do: systemctl restart syncd" in told


def test_of_work_for_an_integration_nobody_configured_that_is_said_and_nothing_above_is_pointed_to():
    strange = queue("outbox", 1, "held", integrations={"nope": 1})
    [_, told] = render([strange], WORKERS, {"acme"})
    assert told.endswith("no integration nope is configured")
    [_, told] = render([queue("outbox", 2, "held", integrations={"acme": 1, "nope": 1})], WORKERS, {"acme"})
    assert "no integration nope is configured; its other integrations are paused" in told
    assert "see above" in render([queue("outbox", 1, "held", integrations={"acme": 1})], WORKERS, {"acme"})[1]


def test_held_is_no_alarm():
    assert "is held" in render([queue("tasks high", 3, "held")], WORKERS)[1]
