"""`syncd backfill` and `syncd drift` as a person meets them: moments, plans, lines, refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from syncd.cli import backfill, drift
from syncd.cli.moments import Moment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAN: dict[str, Any] = {
    "integration": "acme", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T12:30:00Z", "calls": 324,
    "at_least": False, "seconds": 250.0, "binding": "120/min", "shares": {"120/min": 0.6, "5000/h": 0.001},
    "resources": [
        {"name": "things", "bounds": "since", "calls": {"value": 24.0}, "children": {"notes": 300.0}},
        {"name": "found", "bounds": "none", "calls": {"value": None}, "children": {}},
    ],
}  # fmt: skip
ROW: dict[str, Any] = {
    "integration": "acme", "resource": "things", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z",
    "state": "running", "calls": 1, "expected_calls": 301, "seen": 1200, "added": 3, "updated": 0, "deleted": 0,
    "rejected": 2, "tasks": 1, "waited_seconds": 12.0, "not_before": None, "reason": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_moments_are_dates_and_times(text: str, moment: datetime):
    assert Moment().convert(text, None, None) == moment


def test_moments_are_also_how_long_ago():
    found = Moment().convert("30d", None, None)
    assert 29.9 < (datetime.now(UTC) - found).total_seconds() / 86400 < 30.1
    for text in ("yesterday", "30", "", "99999999d", "2026-13-01"):
        with pytest.raises(click.BadParameter, match="neither a date"):
            Moment().convert(text, None, None)


def test_the_plan_says_what_it_reads_and_what_it_costs():
    assert backfill.render(PLAN) == [
        "backfill of acme from 2026-01-01 to 2026-02-01 12:30",
        "  things: 24 calls, to now: the partner takes no upper bound; notes below: 300 more",
        "  found: calls not known yet, all of it: the partner cannot be asked for a range",
        "about 324 calls, 4m 10s in the lowest lane beside the schedule (120/min binds)",
        "share of the budget meanwhile: 120/min 60%",
    ]


def test_a_line_says_how_far_it_is_and_why_it_waits():
    assert backfill.line_of(ROW, NOW) == (
        "acme/things  2026-01-01 to 2026-02-01  running: 1 call of about 301, 1,200 read, 3 new, 0 changed, 2 rejected, "
        "1 listing below, waited 12s for limits"
    )
    waits = {**ROW, "not_before": "2026-11-22T12:05:00Z", "reason": "the partner is away"}
    assert "waiting 5m" in backfill.line_of(waits, NOW)
    assert backfill.line_of(waits, NOW).endswith("\n  the partner is away")
    assert backfill.line_of({**ROW, "state": "failed", "reason": "a 422"}, NOW).endswith(
        "the same command goes on where it stopped"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("backfill", "acme", "--since", "2026-02-01", "--until", "2026-01-01"),
        ("backfill", "acme/", "--since", "2026-02-01"),
        ("backfill", "acme", "--since", "soon"),
        ("drift", "acme", "--sample", "0"),
        ("drift",),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anybody_is_asked(run: Any, tmp_path: Path, words: tuple[str, ...]):
    found = run(*words, "--config", tmp_path)
    assert found.exit_code == 2, found.output


def test_nobody_there_is_exit_69(run: Any, tmp_path: Path):
    (tmp_path / "syncd.yaml").write_text("server: {admin: 127.0.0.1:1}\n")
    for words in (("drift", "acme"), ("backfill", "acme"), ("backfill", "acme", "--since", "1d", "--yes")):
        assert run(*words, "--config", tmp_path).exit_code == 69


def test_drift_is_told_record_by_record():
    one = {
        "name": "things", "drift": 25, "stage": "done", "checked": 1200, "missing_here": 0, "missing_there": 1,
        "differing": 24,
        "pending": 3, "settled": 2, "unsound": 1, "calls": 15, "notes": ["a note"], "sampled": 40,
        "records": [
            {"id": "a", "kind": "differs", "note": "", "fields": [{"field": "name", "here": "x", "there": "y"}]},
            *({"id": f"b{n}", "kind": "missing_there", "note": "", "fields": []} for n in range(24)),
        ],
    }  # fmt: skip
    lines = drift.render({"integration": "acme", "seed": 7, "resources": [one]})
    assert lines[:4] == [
        "acme/things  25 records differ: 1,200 compared, 1 missing there, 24 differing, 3 newer there, "
        "brought by the next run, 2 under way at the first look, 1 unreadable, 15 calls",
        "  a note",
        "  a  differs",
        "    name: here x, there y",
    ]
    assert lines[-3:] == [
        "  … 5 more: --json has all of them",
        "  do: syncd reconcile acme/things",
        "  the same sample once more: --sample 40 --seed 7",
    ]


def test_an_end_without_a_beginning_is_not_passed_over(run: Any, directory: Path):
    done = run("backfill", "acme", "--until", "2026-01-01", "--config", directory)
    assert (done.exit_code, "--until needs --since" in done.stderr) == (2, True)


def test_ids_and_a_range_together_are_refused_in_these_words(run: Any, directory: Path):
    for more in (("--since", "2h"), ("--state", "done")):
        done = run("webhook", "replay", "acme", "1", *more, "--config", directory)
        assert (done.exit_code, "IDs or a range, not both" in done.stderr) == (2, True)
