"""`syncd status`: worst first, every trouble with its command; JSON as the daemon gave it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.cli import status as verb
from syncd.cli.output import MARKS

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def overview(**changes: Any) -> dict[str, Any]:
    healthy = {
        "name": "guesty",
        "partner": "guesty",
        "state": "healthy",
        "enabled": True,
        "latency_ms": 840.0,
        "explanation": None,
        "paused": None,
        "limits": {
            "tiers": [
                {"name": "600/min", "used": 450, "budget": 600},
                {"name": "10/s", "used": 1, "budget": 10},
                {"name": "odd", "used": 1, "budget": 0},
            ]
        },
        "resources": [
            {
                "name": "listings",
                "state": "healthy",
                "explanation": None,
                "last_success_at": "2026-11-21T11:58:00Z",
                "records": 1200,
                "held_deletions": 0,
                "running": False,
                "next_run_at": "2026-11-21T12:13:00Z",
                "last_run": {
                    "mode": "incremental",
                    "outcome": "done",
                    "added": 3,
                    "updated": 0,
                    "deleted": 1,
                    "ended_at": "2026-11-21T11:58:00Z",
                },
            },
        ],
    }
    down = {
        "name": "booking",
        "partner": "booking",
        "state": "auth_required",
        "enabled": True,
        "latency_ms": None,
        "explanation": {
            "code": "auth-failed",
            "reason": "401 invalid_grant",
            "since": "2026-11-21T11:56:00Z",
            "cause": "the secret was rotated",
            "action": "syncd credential test booking",
            "runbook": "syncd runbook auth-failed",
        },
        "paused": None,
        "resources": [],
        "limits": None,
    }
    paused = {
        "name": "airbnb",
        "partner": "airbnb",
        "state": "paused",
        "enabled": True,
        "latency_ms": None,
        "explanation": None,
        "limits": None,
        "paused": {
            "reason": "migration",
            "who": "ann@ops",
            "since": "2026-11-21T11:00:00Z",
            "until": "2026-11-21T13:30:00Z",
        },
        "resources": [
            {"name": "rooms", "state": "degraded", "held_deletions": 40, "records": 90, "explanation": None},
        ],
    }
    return {
        "schema": "syncd.status/1",
        "version": "0.1.0",
        "now": NOW.isoformat(),
        "ready": [],
        "stuck": [],
        "integrations": [healthy, down, paused],
        "queues": [{"name": "resources", "waiting": 234, "capacity": 1000, "oldest_seconds": 154.0}],
        "workers": {"alive": 8, "total": 8},
        "dead_letters": {
            "total": 12,
            "causes": 2,
            "top": [
                {
                    "cause": "3fa9c1d2",
                    "where": "airbnb/rooms",
                    "message": "answered 403\n(no scope)",
                    "count": 11,
                    "action": "syncd dlq show 3fa9c1d2",
                }
            ],
            "replays": 1,
        },
        "rejects": {"total": 1},
        "reload": {"ok": False, "at": None},
        **changes,
    }


def page(**changes: Any) -> str:
    return "\n".join(verb.render(overview(**changes), NOW))


def test_the_headline_counts_states_workers_and_the_oldest_work():
    head = page().splitlines()[0]
    assert head.startswith("3 integrations: 1 healthy, 1 paused, 1 auth required")
    assert "workers 8/8" in head
    assert "oldest work 2m 34s" in head


def test_the_worst_comes_first_with_cause_and_command():
    lines = page().splitlines()
    first = next(index for index, line in enumerate(lines) if "booking" in line)
    assert lines[first].startswith("✗ booking")
    assert "AUTH REQUIRED" in lines[first]
    assert "4m  401 invalid_grant" in lines[first]
    assert "likely: the secret was rotated" in lines[first + 1]
    assert "do: syncd credential test booking    runbook: syncd runbook auth-failed" in lines[first + 2]
    assert page().index("booking") < page().index("airbnb") < page().index("guesty")


def test_a_healthy_line_has_last_run_limits_and_latency():
    assert "last run 2m ago  450/600 · 75 % of 600/min  840 ms a call" in page()
    assert "listings" not in page()


def test_a_healthy_line_tells_how_the_calls_of_the_last_hour_went():
    found = overview()
    hour = {"calls": 1200, "success": 0.9917, "p50_ms": 300.0, "p95_ms": 804.0, "p99_ms": 1210.0,
            "errors": {"401": 0, "429": 4, "5xx": 6}}  # fmt: skip
    next(one for one in found["integrations"] if one["name"] == "guesty")["hour"] = hour

    def told() -> str:
        return "\n".join(verb.render(found, NOW))

    assert "75 % of 600/min  p95 0.8s p99 1.2s  99.2 % (429: 4, 5xx: 6 in 1h)" in told()
    hour |= {"success": 0.99999, "p95_ms": 41.0, "errors": {"5xx": 1}}
    assert "p95 41ms p99 1.2s  99.9 % (5xx: 1 in 1h)" in told()
    hour |= {"success": 1.0, "p95_ms": None, "p99_ms": None, "errors": {"5xx": 0}}
    assert "600/min  100.0 %\n" in told()
    hour["success"] = None  # nothing was called
    assert "600/min  840 ms a call" in told()


def test_a_remark_about_what_goes_well_is_a_note_and_no_alarm():
    found = overview()
    found["integrations"][0]["explanation"] = {
        "code": "limit-learned",
        "reason": "stated 600/min, observed about 500/min",
        "since": "2026-11-21T11:56:00Z",
        "cause": "it answered 429 to fewer calls than it states",
        "action": "limits: {tiers: [475/min]} in partners/guesty.yaml",
    }
    text = "\n".join(verb.render(found, NOW))
    assert "last run 2m ago  450/600 · 75 % of 600/min  840 ms a call" in text
    assert "  note: stated 600/min, observed about 500/min, 4m ago" in text
    assert "likely: it answered" not in text


def test_verbose_shows_the_resources_of_the_healthy_too():
    text = "\n".join(verb.render(overview(), NOW, verbose=True))
    assert "listings: 1,200 records, last incremental done +3 -1 2m ago, next in 13m" in text


def test_a_pause_says_who_why_and_for_how_long():
    assert 'paused for another 1h 30m by ann@ops "migration"' in page()


def test_what_is_said_of_the_integration_is_not_said_again_of_its_resources():
    found = overview()
    why = {"code": "paused", "reason": "paused by ann until noon", "action": "syncd resume airbnb"}
    found["integrations"][2]["explanation"] = why
    found["integrations"][2]["resources"][0] |= {"explanation": why, "held_deletions": 0}
    text = "\n".join(verb.render(found, NOW))
    assert text.count("paused by ann until noon") == 1
    assert "for another" not in text


def test_held_deletions_name_the_command_that_goes_on():
    assert "40 deletions held by the guard; look, then: syncd reconcile airbnb/rooms --confirm" in page()


def test_the_foot_has_queues_and_dead_letters():
    text = page()
    assert "queues  resources 234 (23 %)" in text
    assert "12 dead letters in 2 causes, 1 rejected record → syncd dlq list" in text
    assert "  11 × airbnb/rooms: answered 403 (no scope); do: syncd dlq show 3fa9c1d2" in text
    assert "1 replay of dead letters under way" in text


def condition(**changes: Any) -> dict[str, Any]:
    return {
        "subject": "daemon",
        "integration": "",
        "partner": "",
        "company": "",
        "resource": "",
        "state": "degraded",
        "severity": "ticket",
        "code": "reload-failed",
        "reason": "the last reload was not applied whole: guesty runs on with the settings of before",
        "since": "2026-11-21T11:48:00Z",
        "cause": "partners/guesty.yaml:7:3: unknown key 'clint_id'",
        "action": "syncd check",
        "runbook": "syncd runbook reload-failed",
        **changes,
    }


def test_what_is_wrong_with_the_daemon_stands_among_the_integrations_by_how_bad_it_is():
    lines = page(conditions=[condition()]).splitlines()
    [at] = [number for number, line in enumerate(lines) if "syncd    DEGRADED" in line]
    assert lines[at : at + 3] == [
        "! syncd    DEGRADED       12m  the last reload was not applied whole: guesty runs on with the settings of before",
        "           likely: partners/guesty.yaml:7:3: unknown key 'clint_id'",
        "           do: syncd check    runbook: syncd runbook reload-failed",
    ]
    heads = [line[11:25].strip().lower().replace(" ", "_") for line in lines if line[:1] and line[0] in MARKS.values()]
    assert heads == sorted(heads, key=verb.ORDER.index) and "degraded" in heads
    assert at > next(number for number, line in enumerate(lines) if "booking" in line), "who is down comes first"
    down = page(conditions=[condition(state="down", severity="page")]).splitlines()
    assert "syncd" in next(line for line in down if line.startswith("✗")), "of those that are down, the daemon's own"


def test_what_else_is_wrong_with_an_integration_stands_below_what_its_state_is_given_for():
    also = condition(
        subject="integration", integration="booking", code="signatures-refused",
        reason="webhooks come and their signature is not of our secret", action="syncd webhook repair booking",
    )  # fmt: skip
    said = condition(subject="integration", integration="booking", code="auth-failed", reason="401 invalid_grant")
    noted = condition(
        subject="integration", integration="booking", code="limit-learned", severity="note", reason="500/min"
    )
    text = page(conditions=[said, also, noted])
    line = "also: webhooks come and their signature is not of our secret, 12m; do: syncd webhook repair booking"
    assert line in text
    assert text.count("401 invalid_grant") == 1 and "500/min" not in text


def test_a_missing_database_is_explained_once():
    down = condition(
        code="database-down", state="down", severity="page", reason="the database cannot be used", action="syncd check --env",
        cause="the database at /run/pg cannot be reached",
    )  # fmt: skip
    text = page(conditions=[down], unread="the database at /run/pg cannot be reached", ready=["it cannot be reached"])
    assert text.count("/run/pg") == 1 and text.count("syncd check --env") == 1
    assert "what follows is what the process knows by itself" in text and "not ready" in text


def test_a_missing_readiness_is_said():
    assert "not ready: draining" in page(ready=["draining"])


def test_an_unknown_state_of_a_newer_daemon_is_shown_first_and_does_not_break_the_page():
    found = overview()
    found["integrations"][0]["state"] = "sleeping"
    text = "\n".join(verb.render(found, NOW))
    assert "sleeping" in text
    assert text.index("guesty") < text.index("booking")


def test_an_empty_answer_still_renders():
    assert "no integrations" in "\n".join(verb.render({}, NOW))


def test_json_is_the_daemons_answer_alone_on_stdout(run, start, directory: Path):
    stage = start()
    stage.status.seen = overview()
    done = run("status", "--config", directory, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == overview()
    assert done.stderr == ""


def test_exit_code_tells_whether_anything_is_in_trouble(run, start, directory: Path):
    stage = start()
    stage.status.seen = overview()
    assert run("status", "--config", directory).exit_code == 0
    assert run("status", "--config", directory, "--exit-code").exit_code == 1
    assert run("status", "airbnb", "--config", directory, "--exit-code").exit_code == 0
    stage.status.seen = overview(integrations=[], stuck=["event loop"])
    assert run("status", "--config", directory, "--exit-code").exit_code == 1


def test_a_name_narrows_and_a_wrong_one_gets_a_suggestion(run, start, directory: Path):
    start().status.seen = overview()
    done = run("status", "guesty", "--config", directory)
    assert "listings" in done.stdout
    assert "booking" not in done.stdout
    done = run("status", "gusty", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'guesty'?" in done.stderr


def test_watch_draws_again_until_interrupted(run, start, directory: Path, hurry):
    start().status.seen = overview()
    hurry(interrupt_after=3)
    done = run("status", "--watch", "--config", directory)
    assert done.exit_code == 0
    assert done.stdout.count("3 integrations") == 3


def test_a_resource_whose_runs_outlast_their_interval_names_the_plan_even_when_all_is_well():
    found = overview()
    found["integrations"][0]["resources"][0]["hint"] = "a run took 4m, longer than every: 1m"
    text = "\n".join(verb.render(found, NOW))
    assert "listings: 1,200 records" in text
    assert "a run took 4m, longer than every: 1m; see syncd plan guesty" in text


def test_a_resource_that_gets_no_news_says_since_when_its_copy_is_stale():
    found = overview()
    found["integrations"][0]["resources"][0]["stale_since"] = "2026-11-21T11:48:00Z"
    text = "\n".join(verb.render(found, NOW, verbose=True))
    assert "listings: 1,200 records, stale for 12m" in text
    assert "stale" not in "\n".join(verb.render(overview(), NOW, verbose=True))
