"""What runs on record tell of the next ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.kit import Resource
from syncd.store import Run
from syncd.sync.loads import Figure, Known
from syncd.sync.measured import (
    LATEST,
    NOTHING,
    Measured,
    below_figure,
    children_figure,
    full_figure,
    lagging,
    mean,
    measure,
    paces,
    page_figure,
    records_figure,
    run_figure,
)
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def run(number: int, mode: str = "full", *, took: float = 10.0, outcome: str = "done", **more: Any) -> Run:
    """A run an hour, numbered from the oldest."""
    began = NOON + timedelta(hours=number)
    known: dict[str, Any] = {
        "integration": "acme", "id": number, "resource": "things", "scope": "s", "fence": 1, "mode": mode,
        "trigger": "schedule", "pass_id": number if mode == "full" else None, "started_at": began,
        "ended_at": began + timedelta(seconds=took), "outcome": outcome, "pages": 0, "added": 0, "updated": 0,
        "deleted": 0, "unchanged": 0, "stale": 0, "rejected": 0, "calls": 0, "waited_seconds": 0.0, "watermark": None,
        "explanation": None,
    }  # fmt: skip
    return Run(**{**known, **more})


def test_a_pass_is_the_last_one_that_ended_well():
    found = measure(
        [
            run(4, "incremental", calls=2),
            run(3, outcome="failed", calls=99, pass_id=3),
            run(2, calls=13, unchanged=1200, rejected=3),
            run(1, calls=12, added=1100),
        ],
        live=1205,
    )
    assert (found.pass_calls, found.pass_records) == (13, 1203)
    assert (found.run_calls, found.runs) == (2, 1)
    assert records_figure(found) == Figure(1205, Known.MEASURED)


def test_a_pass_that_was_cut_is_the_sum_of_its_runs():
    runs = [
        run(3, calls=5, unchanged=500, pass_id=1, took=4, waited_seconds=1.0),
        run(2, calls=4, unchanged=400, pass_id=1, outcome="cut", took=3),
        run(1, calls=1, unchanged=100, pass_id=1, outcome="failed", took=2),
    ]
    found = measure(runs)
    assert (found.pass_calls, found.pass_records) == (10, 1000)
    assert measure(runs[:2]).pass_calls is None  # its beginning is not on record: half of it would be a lie


def test_a_pass_far_older_than_the_latest_runs_counts_and_the_gap_between_them_does_not():
    latest = [run(number, "incremental", calls=1, updated=36) for number in range(1000, 1000 - LATEST, -1)]
    found = measure([*latest, run(1, calls=13, added=1000)], live=1000)
    assert (found.pass_calls, found.run_calls) == (13, 1)
    assert found.changed_per_second == pytest.approx(0.01)


def test_incremental_runs_are_averaged_and_bad_ones_left_out():
    found = measure(
        [
            run(5, "incremental", calls=3, updated=20),
            run(4, "incremental", calls=7, outcome="failed"),
            run(3, "incremental", calls=1),
            run(2, calls=13, pass_id=2, updated=10),
            run(1, calls=13, pass_id=1, added=1000),
        ]
    )
    assert found.run_calls == 2
    assert run_figure(found) == Figure(2, Known.MEASURED)
    assert found.changed_per_second == pytest.approx(30 / (4 * 3600))  # the first import is no change


def test_nothing_is_made_up_where_nothing_ran():
    assert records_figure(NOTHING) == Figure()
    assert full_figure(NOTHING, 100) == Figure()
    assert run_figure(NOTHING) == Figure()
    assert page_figure(NOTHING, 100) == Figure(100, Known.ASSUMED)
    assert page_figure(NOTHING, None) == Figure()
    assert mean([]) == Figure()


def test_a_listing_under_way_may_have_stated_how_many_there_are():
    found = measure([], live=300, stated=12_345)
    assert records_figure(found) == Figure(12_345, Known.STATED)
    assert full_figure(found, 100) == Figure(124, Known.ASSUMED)


@pytest.mark.parametrize(
    ("before", "calls", "now", "page", "next_calls"),
    [
        (250, 3, 250, 100, 3),
        (250, 3, 260, 100, 3),  # room on the last page
        (250, 3, 301, 100, 4),
        (250, 3, 90, 100, 1),
        (200, 3, 200, 100, 3),  # a last page that came empty
        (1000, 4, 1000, 100, 4),  # the partner's pages are larger than asked for
        (1000, 4, 2000, 100, 8),
        (1000, 40, 1000, None, 40),
        (1000, 40, 1050, None, 42),
        (0, 1, 0, 100, 1),
    ],
)
def test_the_next_pass_costs_what_the_last_did_and_what_was_added_since(before, calls, now, page, next_calls):
    found = Measured(live=now, pass_calls=calls, pass_records=before)
    assert full_figure(found, page) == Figure(next_calls, Known.MEASURED)


def test_children_cost_a_call_a_parent_and_more_where_they_fill_pages():
    parents = Figure(200, Known.MEASURED)
    assert children_figure(Measured(live=400), parents, 100) == Figure(200, Known.ASSUMED)
    assert children_figure(Measured(live=50_000), parents, 100) == Figure(600, Known.ASSUMED)
    assert children_figure(Measured(live=400), parents, None) == Figure(200, Known.ASSUMED)
    assert children_figure(Measured(live=400, pass_calls=231), parents, 100) == Figure(231, Known.MEASURED)
    assert children_figure(Measured(live=400, pass_calls=150), parents, 100) == Figure(200, Known.MEASURED)
    assert children_figure(NOTHING, Figure(), 100) == Figure()
    assert below_figure(Measured(live=400), parents) == Figure(400, Known.MEASURED)
    assert below_figure(Measured(live=7), Figure()) == Figure()


def test_what_a_person_assumes_goes_before_what_was_counted():
    found = Measured(live=250, pass_calls=3, pass_records=250, assumed=50_000)
    assert records_figure(found) == Figure(50_000, Known.ASSUMED)
    assert full_figure(found, 100).known is Known.ASSUMED


def test_the_pace_is_that_of_runs_that_did_not_wait():
    runs = {
        ("acme", "things"): [run(2, calls=10, took=3.0), run(1, calls=10, took=60.0, waited_seconds=57.0)],
        ("acme", "boats"): [run(1, calls=5, took=1.0, outcome="failed")],
    }
    assert paces(runs) == {"acme": (3.0, 10)}
    assert mean(paces(runs).values()) == Figure(0.3, Known.MEASURED)


def plan(strategy: Strategy = Strategy.INCREMENTAL, **schedule: Any) -> ResourcePlan:
    resource = Resource(name="things", path="/things")
    return ResourcePlan(resource, strategy, Schedule(**schedule), full_every_seconds=3600.0)


@pytest.mark.parametrize(
    ("strategy", "schedule", "last", "said"),
    [
        (Strategy.INCREMENTAL, {"every_seconds": 60.0}, run(0, "incremental", took=59), None),
        (
            Strategy.INCREMENTAL,
            {"every_seconds": 60.0},
            run(0, "incremental", took=240),
            "a run took 4m, longer than every: 1m",
        ),
        (Strategy.INCREMENTAL, {"every_seconds": 60.0}, run(0, took=240), None),  # a pass now and then may
        (
            Strategy.INCREMENTAL,
            {"every_seconds": 60.0},
            run(0, took=4000),
            "a run took 1h6m40s, longer than full_every: 1h",
        ),
        (Strategy.FULL, {"every_seconds": 60.0}, run(0, took=61.2), "a run took 1m2s, longer than every: 1m"),
        (Strategy.FULL, {"cron": "*/5 * * * *"}, run(0, took=301), 'a run took 5m1s, longer than cron: "*/5 * * * *"'),
        (Strategy.FULL, {"every_seconds": 60.0}, run(0, took=900, outcome="failed"), None),
    ],
)
def test_a_run_that_outlasts_its_interval_is_told_of(strategy, schedule, last, said):
    assert lagging(plan(strategy, **schedule), last, NOON + timedelta(days=1)) == said


def test_a_run_that_still_goes_on_is_late_as_soon_as_the_next_is_due():
    going = run(0, "incremental", outcome="running", ended_at=None)
    assert lagging(plan(every_seconds=60.0), going, NOON + timedelta(seconds=30)) is None
    assert lagging(plan(every_seconds=60.0), going, NOON + timedelta(seconds=90)) is not None
