"""`syncd dlq show|replay|discard|purge`: what is said before anything is done, what is asked, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syncd.cli.app import App
from syncd.cli.dlq_replay import outcome, priced, progress
from syncd.cli.exits import Exit
from syncd.cli.link import Unreachable
from syncd.cli.output import Failure

ROW: dict[str, Any] = {
    "replay": 7, "integration": "booking", "resource": "rooms", "cause": "3fa9c1d2", "message": "answered 403", "who": "ann",
    "state": "done", "total": 11, "sent": 11, "done": 11, "in_flight": 0, "failed": 0, "waiting": 0, "overtaken": 0,
    "unable": 0, "canary": 4182, "held_until": None, "held_by": None, "reason": None, "why_waiting": None,
    "put_off": 0, "put_off_for": None,
    "begun_at": "2026-11-01T12:00:00Z", "ended_at": "2026-11-01T12:01:00Z",
}  # fmt: skip
SCOPE: dict[str, Any] = {
    "scope": "booking", "partner": "booking", "integrations": ["booking"], "letters": 11, "reads": 14, "writes": 0,
    "calls": 14, "share": 0.02, "window": "minute", "window_seconds": 60.0, "limit": 700, "seconds": 0.0,
}  # fmt: skip
PRICE: dict[str, Any] = {
    "schema": "syncd.dlq-price/1", "letters": 11, "under_way": 0, "calls": 14, "upto": 4192, "scopes": [SCOPE],
    "causes": [{"cause": "3fa9c1d2", "integration": "booking", "resource": "rooms", "from": "task", "count": 11,
                "message": "answered 403", "under_way": 0, "replayed_before": 0}],
    "unknown": [], "replays": [],
}  # fmt: skip
EMPTY = {**PRICE, "letters": 0, "calls": 0, "upto": None, "scopes": [], "causes": []}


class Line:
    """A daemon that answers from a list, and remembers what it was asked."""

    def __init__(self, price: dict[str, Any], *looks: Any) -> None:
        self.price, self.looks = price, list(looks)
        self.posted: list[tuple[str, dict[str, Any]]] = []

    def post(self, path: str, said: dict[str, Any], *, seconds: float = 30.0) -> dict[str, Any]:
        self.posted.append((path, said))
        if path == "dlq/price":
            return self.price
        if path == "dlq/cancel":
            return {"schema": "syncd.dlq-cancel/1", "cancelled": [{"integration": "booking", "replay": 7, "left": 9}]}
        return {"schema": "syncd.dlq-replays/1", "replays": [{**ROW, "ended_at": None, "state": "canary"}]}

    def get(self, path: str, query: list[tuple[str, Any]]) -> dict[str, Any]:
        assert path == "dlq/replays"
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, BaseException):
            raise look
        return {"schema": "syncd.dlq-replays/1", "replays": [look]}


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Line]:
    def begin(price: dict[str, Any] = PRICE, *looks: Any) -> Line:
        found = Line(price, *(looks or (ROW,)))
        monkeypatch.setattr(App, "link", lambda self: found)
        return found

    return begin


@contextmanager
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A person sits there."""
    monkeypatch.setattr("syncd.cli.dlq_chosen.is_asked", lambda: True)
    yield


def test_a_replay_says_jobs_calls_and_share_and_asks(run, line, monkeypatch: pytest.MonkeyPatch, hurry):
    hurry()
    asked = line()
    with somebody(monkeypatch):
        done = run("dlq", "replay", "--cause", "booking 403", stdin="n\n")
        assert done.exit_code == Exit.USAGE
        assert "booking: 11 jobs, about 14 calls, 2 % of booking's minute" in done.stderr
        assert "Replay? [y/N]" in done.stderr
        assert [path for path, _ in asked.posted] == ["dlq/price"]
        done = run("dlq", "replay", "--cause", "booking 403", stdin="y\n")
    assert done.exit_code == Exit.OK
    assert done.stdout == "booking/rooms: ✓ 11 done\n"
    assert asked.posted[-1] == ("dlq/replay", {"cause": "booking 403", "upto": 4192})


def test_where_nobody_can_be_asked_nothing_is_done(run, line):
    asked = line()
    done = run("dlq", "replay", "--cause", "x")
    assert done.exit_code == Exit.USAGE
    assert "say --yes" in done.stderr
    assert [path for path, _ in asked.posted] == ["dlq/price"]


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_nothing_named_is_never_taken_to_mean_all(run, line, verb: str):
    asked = line()
    done = run("dlq", verb, "--yes")
    assert done.exit_code == Exit.USAGE
    assert "say which" in done.stderr
    assert asked.posted == []


def test_letters_and_times_are_handed_on(run, line, hurry):
    hurry()
    asked = line()
    run(
        "dlq",
        "replay",
        "4182",
        "4183",
        "--since",
        "2026-01-31",
        "--until",
        "2026-02-01T12:00Z",
        "--integration",
        "b",
        "--yes",
    )
    assert asked.posted[0] == (
        "dlq/price",
        {
            "integration": "b",
            "ids": [4182, 4183],
            "since": "2026-01-31T00:00:00+00:00",
            "until": "2026-02-01T12:00:00+00:00",
        },
    )
    assert run("dlq", "replay", "--since", "2026-02-01", "--until", "2026-01-01", "--yes").exit_code == Exit.USAGE


def test_a_dry_run_says_what_it_would_cost_and_begins_nothing(run, line):
    asked = line()
    done = run("dlq", "replay", "--cause", "x", "--dry-run")
    assert done.exit_code == Exit.OK
    assert "11 jobs, about 14 calls" in done.stdout
    assert (
        json.loads(run("dlq", "replay", "--cause", "x", "--dry-run", "--json").stdout)["schema"] == "syncd.dlq-price/1"
    )
    assert {path for path, _ in asked.posted} == {"dlq/price"}


def test_the_canary_and_the_others_are_followed_to_their_end(run, line, hurry):
    hurry()
    canary = {**ROW, "state": "canary", "ended_at": None, "waiting": 10}
    line(PRICE, canary, canary, {**canary, "state": "following", "done": 3, "in_flight": 8}, ROW)
    done = run("dlq", "replay", "--cause", "x", "--yes")
    assert done.stderr.count("canary 4182 is ahead, 10 behind it") == 1
    assert "booking/rooms: 3 of 11 done, 8 under way" in done.stderr
    assert done.exit_code == Exit.OK


def test_a_canary_that_failed_leaves_the_others_and_says_so(run, line, hurry):
    hurry()
    line(
        PRICE,
        {
            **ROW,
            "state": "stopped",
            "sent": 1,
            "done": 0,
            "failed": 1,
            "reason": "the canary failed for the same reason: 403",
        },
    )
    done = run("dlq", "replay", "--cause", "x", "--yes")
    assert done.exit_code == Exit.FAILURES
    assert done.stdout == (
        "booking/rooms: canary 4182 ✗ the canary failed for the same reason: 403: stopped, "
        "10 left as they were. Nothing was lost.\n"
    )


@pytest.mark.parametrize("before", [[], [{**ROW, "ended_at": None, "state": "following"}]])
def test_a_daemon_that_restarts_is_waited_for(run, line, hurry, before):
    hurry()
    away = Unreachable("no daemon answers", exit=Exit.UNREACHABLE)
    later = Failure("failed", "the database has not been reached yet", exit=Exit.TRY_LATER)
    line(PRICE, *before, later, away, later, ROW)
    done = run("dlq", "replay", "--cause", "x", "--yes")
    assert (done.exit_code, done.stdout) == (Exit.OK, "booking/rooms: ✓ 11 done\n")
    assert done.stderr.count("the daemon is away") == 1


def test_a_daemon_that_stays_away_ends_the_command(run, line, hurry):
    hurry()
    line(PRICE, Unreachable("no daemon answers", exit=Exit.UNREACHABLE))
    assert run("dlq", "replay", "--cause", "x", "--yes").exit_code == Exit.UNREACHABLE


def test_ctrl_c_leaves_the_replay_to_the_daemon(run, line, hurry):
    hurry(interrupt_after=2)
    line(PRICE, {**ROW, "ended_at": None, "state": "following"})
    done = run("dlq", "replay", "--cause", "x", "--yes")
    assert done.exit_code == Exit.INTERRUPTED
    assert "the daemon goes on with it" in done.stderr


def test_the_same_command_finds_a_replay_under_way_and_one_that_is_over(run, line, hurry):
    hurry()
    running = {**ROW, "ended_at": None, "state": "following"}
    asked = line({**PRICE, "under_way": 11, "replays": [running]}, running, ROW)
    assert run("dlq", "replay", "--cause", "x").exit_code == Exit.OK, "what was agreed to is not asked again"
    asked_again = line({**EMPTY, "replays": [ROW]}, ROW)
    done = run("dlq", "replay", "--cause", "x")
    assert (done.exit_code, done.stdout) == (Exit.OK, "booking/rooms: ✓ 11 done\n")
    assert {path for path, _ in (*asked.posted, *asked_again.posted)} == {"dlq/price"}
    line(EMPTY)
    assert "nothing to replay" in run("dlq", "replay", "--cause", "x").stdout
    assert json.loads(run("dlq", "replay", "--cause", "x", "--json").stdout)["replays"] == []


def test_cancelling_asks_and_says_what_is_left(run, line, monkeypatch: pytest.MonkeyPatch):
    asked = line({**PRICE, "under_way": 9})
    assert run("dlq", "replay", "--cause", "x", "--cancel").exit_code == Exit.USAGE
    assert "9 letters of these belong" in run("dlq", "replay", "--cause", "x", "--cancel", "--dry-run").stdout
    assert "dlq/cancel" not in {path for path, _ in asked.posted}
    done = run("dlq", "replay", "--cause", "x", "--cancel", "--yes")
    assert done.stdout == "booking: replay 7 cancelled, 9 letters left as they were\n"


@pytest.mark.parametrize(
    ("share", "seconds", "text"),
    [
        (0.02, 0.0, ", 2 % of booking's minute"),
        (0.004, 0.0, ", under 1 % of booking's minute"),
        (1.0, 0.0, ", 100 % of booking's minute"),
        (13.4, 744.0, ", 12m 24s at least of booking's limit"),
        (None, None, "calls"),
    ],
)
def test_the_share_is_told_as_part_of_a_window_or_as_time(share: float | None, seconds: float | None, text: str):
    [first, *_] = priced({**PRICE, "scopes": [{**SCOPE, "share": share, "seconds": seconds}]})
    assert first.endswith(text)


def test_a_price_names_what_is_worth_knowing_first():
    causes = [{**PRICE["causes"][0], "cause": f"{n:08}", "replayed_before": n % 2} for n in range(7)]
    lines = priced({**PRICE, "causes": causes, "under_way": 2, "unknown": ["gone"]})
    assert lines[1] == "7 causes; of each one job goes ahead:"
    assert lines[-4:] == [
        "  and 2 more causes",
        "3 of them were replayed before and failed again",
        "2 of them are being replayed already",
        "gone is no longer configured: nobody would do its work",
    ]


def test_what_a_replay_came_to_is_said_with_what_was_dropped_and_what_could_not_be_done():
    assert outcome({**ROW, "sent": 0, "done": 0, "total": 1})[1:] == [
        "  1 letter was settled meanwhile, in another way"
    ]
    told = outcome({**ROW, "sent": 8, "done": 6, "failed": 2, "overtaken": 2, "unable": 1})
    assert told == [
        "booking/rooms: 6 done, ✗ 2 failed again: syncd dlq list",
        "  2 pushes dropped: a newer one of the same record was done",
        "  1 letter stayed open: what it takes to do the work is no longer there",
    ]
    assert outcome({**ROW, "state": "cancelled", "sent": 4, "reason": "cancelled by ann"}) == [
        "booking/rooms: cancelled by ann after 4, 7 left as they were"
    ]
    waits = progress(
        {**ROW, "state": "canary", "waiting": 10, "why_waiting": "booking is paused: syncd resume booking"}
    )
    assert waits.endswith("10 behind it; waits: booking is paused: syncd resume booking")
    alone = progress({**ROW, "state": "canary", "canary": None, "waiting": 1})
    assert alone.endswith("the canary waits, 0 behind it")
    stepped = {
        **ROW,
        "state": "following",
        "in_flight": 2,
        "done": 5,
        "put_off": 3,
        "put_off_for": "a newer push goes first",
    }
    assert progress(stepped).endswith("5 of 11 done, 2 under way, 3 stepped over for now: a newer push goes first")
    assert progress({**stepped, "why_waiting": "a newer push goes first"}).endswith(
        "way; waits: a newer push goes first"
    )


# -- with the database alone -------------------------------------------------------------------------------------------


@pytest.fixture
def letters(database: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three open letters of two causes, one settled."""
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)

    async def work() -> list[int]:
        connection = await asyncpg.connect(database)
        try:
            return [
                await connection.fetchval(
                    "INSERT INTO syncd.dead_letters (integration, origin, resource, external_id, error_class, message, "
                    "fingerprint, request, response, traceback, payload, attempts, history, buried_at, state, former_id, "
                    "replays) VALUES ('shop', 'task', 'customers', $1, 'RejectedError', $2, $2, "
                    '\'{"path": "/c/1", "method": "GET", "headers": {"Authorization": "hush"}}\', '
                    '\'{"status": 422, "body": "no email"}\', \'Traceback: line 1\', \'{"kind": "fetch"}\', 2, '
                    '\'[{"attempt": 1, "at": "2026-11-01T11:00:00Z", "error": "answered 503"}]\', '
                    "now() - interval '40 days', $3, $4, $5) RETURNING id",
                    *row,
                )
                for row in (
                    ("c0", "answered 422", "replayed", None, 0),
                    ("c1", "answered 422", "open", 1, 1),
                    ("c2", "answered 422", "open", None, 0),
                    ("c3", "answered 403", "open", None, 0),
                )
            ]
        finally:
            await connection.close()

    return asyncio.run(work())


def test_one_letter_is_shown_whole_and_masked(run, directory: Path, letters: list[int]):
    shown = run("dlq", "show", letters[1], "--config", directory)
    assert shown.exit_code == 0
    for text in (
        f"letter {letters[1]}  shop/customers  open",
        "method   GET",
        "status  422",
        "no email",
        "#1  2026-11-01 11:00:00Z  answered 503",
        "Traceback: line 1",
        f"as letter {letters[0]}: answered 422",
        '{"Authorization": "****"}',
    ):
        assert text in shown.stdout, shown.stdout
    assert "hush" not in shown.stdout
    assert f"syncd dlq replay {letters[1]}" in shown.stderr
    found = json.loads(run("dlq", "show", letters[1], "--json", "--config", directory).stdout)
    assert (found["schema"], found["letter"], found["former"][0]["letter"]) == (
        "syncd.dlq-letter/1",
        letters[1],
        letters[0],
    )


def test_words_show_a_cause(run, directory: Path, letters: list[int]):
    assert "2 dead letters" in run("dlq", "show", "shop 422", "--config", directory).stdout
    wrong = run("dlq", "show", "answered", "--config", directory)
    assert wrong.exit_code == Exit.USAGE
    assert "2 fit" in wrong.stderr


def test_discarding_says_how_many_asks_and_notes_who(
    run, directory: Path, letters: list[int], database: str, monkeypatch: pytest.MonkeyPatch
):
    def discard(*words: str, **more: Any) -> Any:
        return run("dlq", "discard", "--config", directory, *words, **more)

    assert discard("--cause", "422", "--dry-run").stdout == "2 dead letters would be discarded\n"
    assert discard("--cause", "422").exit_code == Exit.USAGE
    with somebody(monkeypatch):
        asked = discard("--cause", "422", stdin="n\n")
    assert "Discard 2 dead letters? Their work is not done." in asked.stderr
    assert discard("--cause", "422", "--yes", "--reason", "closed").stdout == "2 dead letters discarded\n"
    assert json.loads(discard(str(letters[1]), "--yes", "--json").stdout)["discarded"] == 0
    assert discard("--cause", "nonsense", "--yes").exit_code == Exit.USAGE

    async def look() -> Any:
        connection = await asyncpg.connect(database)
        try:
            return await connection.fetchrow("SELECT actor, action, after FROM syncd.audit_log")
        finally:
            await connection.close()

    noted = asyncio.run(look())
    assert noted["action"] == "dead_letters_discarded"
    assert json.loads(noted["after"])["reason"] == "closed"


def test_purging_wants_an_age_or_yes(run, directory: Path, letters: list[int]):
    def purge(*words: str) -> Any:
        return run("dlq", "purge", "--config", directory, *words)

    assert purge().exit_code == Exit.USAGE
    assert purge("--settled").exit_code == Exit.USAGE
    assert purge("--older-than", "60d").stdout == "0 dead letters removed\n"
    assert purge("--older-than", "30d", "--dry-run").stdout == "4 dead letters would be removed (3 open, 1 replayed)\n"
    assert purge("--older-than", "30d", "--settled").stdout == "1 dead letter removed (1 replayed)\n"
    assert purge("--older-than", "30d", "--integration", "other").stdout == "0 dead letters removed\n"
    assert json.loads(purge("--yes", "--json").stdout)["removed"] == 3
