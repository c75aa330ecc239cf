"""`syncd breaker`: what it shows, what it asks for, what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest


def scope(*groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "scope": "plain/acme", "partner": "plain", "integrations": ["acme", "shop"], "owned": True, "held": None,
        "groups": list(groups), **more,
    }  # fmt: skip


def group(name: str = "", **more: Any) -> dict[str, Any]:
    return {
        "group": name, "state": "closed", "failures": 0, "failed_probes": 0, "since": None, "next_probe_at": None,
        "held": None, "errors": [], "explanation": None, **more,
    }  # fmt: skip


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def test_an_open_breaker_is_shown_with_failures_next_probe_errors_and_what_to_do(run, start, directory: Path):
    stage = start()
    stage.status.breakers = [
        scope(
            group(
                state="open",
                failures=7,
                failed_probes=2,
                since=ago(minutes=4),
                next_probe_at=ago(seconds=-90),
                errors=[{"at": ago(minutes=4), "error": "GET /a: answered 503"}],
                explanation={"action": "nothing to do; now: syncd breaker acme reset"},
            ),
            group("reports"),
        )
    ]
    done = run("breaker", "--config", directory)
    assert done.exit_code == 0
    assert "plain/acme (acme, shop)" in done.stdout
    assert "open, for 4m, 7 failures in a row, 2 probes failed, next probe in 1m 2" in done.stdout
    assert "4m ago: GET /a: answered 503" in done.stdout
    assert "do: nothing to do; now: syncd breaker acme reset" in done.stdout
    assert "reports" in done.stdout
    assert stage.status.asked == [("breakers", None)]


def test_a_hold_is_shown_with_who_why_and_how_long(run, start, directory: Path):
    stage = start()
    held = {"who": "ann", "why": "they move house", "since": ago(minutes=2), "until": ago(minutes=-61)}
    stage.status.breakers = [
        scope(group(state="open", held=held), group("token", state="open", held={**held, "until": None}))
    ]
    done = run("breaker", "acme", "--config", directory)
    assert "HELD by ann 2m ago, for another 1h" in done.stdout
    assert "HELD by ann 2m ago, until released: they move house" in done.stdout


def test_another_instances_breakers_are_not_told_as_ours(run, start, directory: Path):
    stage = start()
    stage.status.breakers = [scope(group(), owned=False)]
    assert "another instance calls for it" in run("breaker", "--config", directory).stdout


def test_json_is_the_answer_as_it_is(run, start, directory: Path):
    stage = start()
    stage.status.breakers = [scope(group())]
    found = json.loads(run("breaker", "acme", "--json", "--config", directory).stdout)
    assert found == {"schema": "syncd.breakers/1", "scopes": [scope(group())]}


def test_hold_asks_with_reason_and_end_and_says_who_shares_it(run, start, directory: Path):
    stage = start()
    done = run(
        "breaker", "acme", "hold", "--reason", "they asked", "--for", "2h", "--group", "token", "--config", directory
    )
    assert done.exit_code == 0
    assert done.stdout.startswith("plain/acme (token) held until 20")
    [(what, integration, named, _, reason, until)] = stage.status.asked
    assert (what, integration, named, reason) == ("hold", "acme", "token", "they asked")
    assert timedelta(minutes=119) < until - datetime.now(UTC) <= timedelta(hours=2)
    stage.status.held = True
    done = run("breaker", "acme", "hold", "--reason", "again", "--config", directory)
    assert "until `syncd breaker acme release` (it was held already; this replaces it)" in done.stdout
    assert stage.status.asked[-1][-1] is None


def test_a_hold_needs_a_reason(run, start, directory: Path):
    stage = start()
    for words in ([], ["--reason", "  "]):
        done = run("breaker", "acme", "hold", *words, "--config", directory)
        assert done.exit_code == 2
        assert 'syncd breaker acme hold --reason "..."' in done.stderr
    assert stage.status.asked == []


@pytest.mark.parametrize(
    "words",
    [
        ["release", "--reason", "x"],
        ["reset", "--for", "2h"],
        ["close"],
        ["--reason", "x"],
        ["--for", "5m"],
        ["show", "--for", "5m"],
        ["hold", "--reason", "x", "--for", "0s"],
        ["hold", "--reason", "x", "--for", "999999w"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(run, start, directory: Path, words: list[str]):
    stage = start()
    assert run("breaker", "acme", *words, "--config", directory).exit_code == 2
    assert stage.status.asked == []


def test_release_and_reset_say_what_they_did(run, start, directory: Path):
    stage = start()
    assert run("breaker", "acme", "release", "--config", directory).stdout == "plain/acme was not held\n"
    stage.status.held = True
    assert run("breaker", "acme", "release", "--config", directory).stdout == "plain/acme released\n"
    assert run("breaker", "acme", "reset", "--config", directory).stdout == "plain/acme was not open\n"
    stage.status.closed = ["", "reports"]
    done = run("breaker", "acme", "reset", "--config", directory)
    assert done.stdout == "plain/acme closed: calls go again, few at first (reports)\n"
    stage.status.closed = None
    assert "by the instance that calls for it" in run("breaker", "acme", "reset", "--config", directory).stdout
    stage.status.closed = ["reports"]
    done = run("breaker", "acme", "reset", "--json", "--config", directory)
    assert json.loads(done.stdout)["closed"] == ["reports"]


def test_options_of_a_hold_without_a_name_are_a_usage_error_too(run, start, directory: Path):
    stage = start()
    done = run("breaker", "--reason", "x", "--config", directory)
    assert done.exit_code == 2
    assert 'syncd breaker INTEGRATION hold --reason "..."' in done.stderr
    assert stage.status.asked == []


@pytest.mark.parametrize("words", [["hold"], ["hold", "--reason", "x"], ["hold", "acme"], ["release"], ["show"]])
def test_an_action_without_an_integration_before_it_is_told_so(run, start, directory: Path, words: list[str]):
    stage = start()
    done = run("breaker", *words, "--config", directory)
    assert done.exit_code == 2
    assert "name an integration first" in done.stderr
    assert stage.status.asked == []


@pytest.mark.parametrize("named", [[], ["acme"], ["acme", "--json"]])
def test_what_is_shown_is_of_the_group_alone_and_of_a_group_there_is(run, start, directory: Path, named: list[str]):
    stage = start()
    stage.status.breakers = [
        scope(group(), group("token", state="open", failures=3)),
        scope(group(), scope="plain/other", integrations=["other"]),
    ]
    done = run("breaker", *named, "--group", "token", "--config", directory)
    assert done.exit_code == 0
    assert "token" in done.stdout
    assert "plain/other" not in done.stdout
    assert "all" not in done.stdout
    done = run("breaker", *named, "--group", "tokn", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'token'?" in done.stderr
    done = run("breaker", *named, "--group", "nosuch", "--config", directory)
    assert done.exit_code == 2
    assert "known here: token" in done.stderr
    assert done.stdout == ""


def test_an_unknown_group_is_suggested(run, start, directory: Path):
    start()
    done = run("breaker", "acme", "reset", "--group", "tokn", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'token'?" in done.stderr
