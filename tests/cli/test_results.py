"""What a verb of webhook, push and dlq was asked for stands on stdout, as text and as one JSON document; remarks do not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syncd.cli.app import App
from syncd.cli.exits import Exit

FOUND: dict[str, Any] = {
    "schema": "syncd.webhook-register/1", "integration": "shop", "command": "register", "url": "https://x/webhooks/a/shop",
    "subscriptions": [], "steps": [{"would": "make a subscription of 3 events"}], "done": [], "left": [], "dry_run": True,
}  # fmt: skip
BROKEN: dict[str, Any] = {
    "id": "s1",
    "state": "broken",
    "events": [],
    "secret": "none",
    "url": "u",
    "troubles": ["off"],
}
LEFT = {**FOUND, "steps": [], "left": [{"what": "s1 is switched off"}], "subscriptions": [BROKEN], "dry_run": False}
REHEARSED: dict[str, Any] = {
    "schema": "syncd.push-rehearsal/1", "record": "t1", "stored": False, "when_the_answer_is_lost": "it is sent again",
    "request": {"method": "PUT", "path": "/things/t1", "params": {}, "headers": {}, "body": {"n": 1}},
}  # fmt: skip


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch):
    """A daemon that answers every question with the same."""

    def begin(found: Mapping[str, Any]) -> None:
        class Line:
            def post(self, *_: Any, **__: Any) -> Any:
                return found

            get = post

        monkeypatch.setattr(App, "link", lambda self: Line())

    return begin


@pytest.mark.parametrize("verb", ["register", "repair"])
def test_what_would_be_done_about_subscriptions_is_the_result_of_a_dry_run(run, answers, verb: str):
    answers(FOUND)
    done = run("webhook", verb, "shop", "--dry-run")
    assert (done.exit_code, done.stdout) == (Exit.OK, "would make a subscription of 3 events\n")
    assert done.stderr == "to do that: syncd webhook register shop\n"
    done = run("webhook", verb, "shop", "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout), done.stderr) == (Exit.OK, FOUND, "")


def test_a_dry_run_that_finds_nothing_to_do_says_so(run, answers):
    answers({**FOUND, "steps": [], "subscriptions": [{**BROKEN, "state": "sound"}]})
    done = run("webhook", "register", "shop", "--dry-run")
    assert done.stdout == "nothing to do: 1 subscription of shop sound\n"


def test_what_is_to_be_repaired_and_what_was_left_are_results_too(run, answers):
    answers(FOUND)
    done = run("webhook", "list", "shop")
    assert done.exit_code == Exit.FAILURES
    assert "would make a subscription of 3 events" in done.stdout
    answers(LEFT)
    done = run("webhook", "register", "shop")
    assert (done.exit_code, done.stdout) == (Exit.FAILURES, "left as it is: s1 is switched off\n")
    assert done.stderr == "to mend that: syncd webhook repair shop\n"


def test_a_push_that_is_only_rehearsed_says_on_stdout_what_happens_if_its_answer_is_lost(run, answers):
    answers(REHEARSED)
    done = run("push", "send", "acme/things", "--kind", "state", "--dry-run")
    assert done.exit_code == Exit.OK, done.stderr
    assert "if its answer is lost: it is sent again" in done.stdout
    assert "the record is not stored here" in done.stdout
    assert done.stderr == "nothing was written or sent\n"


def test_ending_a_replay_can_be_rehearsed_as_json(run, answers):
    price = {"schema": "syncd.dlq-price/1", "under_way": 2}
    answers(price)
    done = run("dlq", "replay", "--cause", "x", "--cancel", "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (Exit.OK, price)


@pytest.fixture
def one_letter_and_one_push(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)

    async def work() -> None:
        connection = await asyncpg.connect(database)
        await connection.execute(
            "INSERT INTO syncd.dead_letters (integration, origin, error_class, message, fingerprint, buried_at) "
            "VALUES ('shop', 'task', 'RejectedError', 'no', 'no', now())"
        )
        await connection.execute("SELECT syncd.push('shop', 'customers', 'state', '{}', 'c1')")
        await connection.close()

    asyncio.run(work())


@pytest.mark.usefixtures("one_letter_and_one_push")
def test_how_many_would_be_discarded_and_how_many_pushes_are_open_is_the_result(run, directory: Path):
    done = run("dlq", "discard", "--integration", "shop", "--dry-run", "--json", "--config", directory)
    assert done.exit_code == Exit.OK, done.stderr
    told = json.loads(done.stdout)
    assert (told["letters"], told["discarded"], told["dry_run"]) == (1, 0, True)
    done = run("push", "list", "shop", "--config", directory)
    assert "shop: 1 waiting, the oldest" in done.stdout
    assert done.stderr == ""
