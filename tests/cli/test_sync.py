"""`syncd sync`: the wish, the display, waiting as its own state, detaching, and a daemon that goes away meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import sync as verb
from syncd.cli.exits import Exit
from syncd.cli.output import Failure
from syncd.explain import Explanation
from syncd.server.ports import Progress, RunState

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def row(wish: int = 1, **changes: Any) -> Progress:
    return Progress(**{"wish_id": wish, "integration": "shop", "resource": "customers", **changes})


def test_it_waits_until_every_run_has_ended(run, start, directory: Path, hurry):
    stage = start()
    slept = hurry()
    looks = iter(
        [
            [],
            [row(state=RunState.RUNNING, run_id=4)],
            [
                row(state=RunState.DONE, run_id=4, page=12, added=1200, unchanged=3, calls=12, waited_seconds=41.0),
                row(2),
            ],
            [
                row(state=RunState.DONE, run_id=4, page=12, added=1200, unchanged=3, calls=12, waited_seconds=41.0),
                row(2, resource="products", state=RunState.DONE, rejected=1),
            ],
        ]
    )

    async def progress(wishes):
        return next(looks)

    stage.status.progress = progress
    stage.status.known = {"shop": ["customers", "products"]}
    done = run("sync", "shop", "--config", directory)
    assert done.exit_code == 0
    assert stage.status.asked[0][:4] == ("sync", "shop", None, None)
    assert (
        "shop/customers  done: page 12, 1,200 new, 0 changed, 3 unchanged, 12 calls, waited 41s for limits"
        in done.stdout
    )
    assert "shop/products  done: page 0, 0 new, 0 changed, 0 unchanged, 1 rejected, 0 calls\n" in done.stdout
    assert "  rejected records: syncd dlq list\n" in done.stdout
    assert len(slept) == 3


def test_without_a_terminal_there_is_a_line_every_ten_seconds(run, start, directory: Path, hurry):
    stage = start()
    slept = hurry()
    stage.status.known = {"shop": ["customers"]}

    async def progress(wishes):
        state = RunState.RUNNING if sum(slept) < 35 else RunState.DONE
        return [row(state=state, page=int(sum(slept)))]

    stage.status.progress = progress
    done = run("sync", "shop/customers", "--config", directory)
    lines = [line for line in done.stderr.splitlines() if "running" in line]
    assert 3 <= len(lines) <= 4
    assert done.exit_code == 0


def test_waiting_for_a_limit_is_a_state_of_its_own():
    waiting = {"state": "waiting", "waiting_reason": "600/min", "resumes_at": "2026-11-21T12:00:41Z", "page": 3}
    assert verb.line_of(waiting, NOW).startswith("waiting 41s (600/min): page 3")
    assert verb.state_of({"state": "waiting"}, NOW) == "waiting (limit)"
    assert verb.state_of({"state": "running", "eta_seconds": 250.0}, NOW) == "running, about 4m 10s left"


def test_a_failed_run_is_explained_and_exits_1(run, start, directory: Path, hurry):
    stage = start()
    hurry()
    why = Explanation("partner-down", "the partner does not answer", action="nothing to do")

    async def progress(wishes):
        return [row(state=RunState.FAILED, explanation=why)]

    stage.status.progress = progress
    stage.status.known = {"shop": ["customers"]}
    done = run("sync", "shop/customers", "--config", directory)
    assert done.exit_code == 1
    assert "the partner does not answer\n  do: nothing to do" in done.stdout


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["done", "done"], Exit.OK),
        (["done", "failed"], 1),
        (["cut", "done"], 75),
        (["cut", "failed"], 1),
        (["unknown"], 75),
    ],
)
def test_the_exit_code_is_that_of_the_worst_run(states: list[str], code: int):
    assert verb.verdict([{"state": state} for state in states]) == code


def test_ctrl_c_detaches_and_says_so(run, start, directory: Path, hurry):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    hurry(interrupt_after=2)
    done = run("sync", "shop/customers", "--config", directory)
    assert done.exit_code == 130
    assert "detached: the daemon goes on" in done.stderr


def test_no_wait_returns_once_the_wish_is_stored(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    done = run("sync", "shop/customers", "--no-wait", "--json", "--config", directory)
    assert json.loads(done.stdout) == {"schema": "syncd.wishes/1", "wishes": [1]}


def test_one_record_needs_its_resource(run, directory: Path):
    assert run("sync", "shop", "--id", "cus_1", "--config", directory).exit_code == 2
    assert run("sync", "--config", directory).exit_code == 2
    assert run("sync", "shop/", "--config", directory).exit_code == 2


def test_one_record_is_asked_for_by_its_id(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    assert run("sync", "shop/customers", "--id", "cus_1", "--no-wait", "--config", directory).exit_code == 0
    assert stage.status.asked[0][:4] == ("sync", "shop", "customers", "cus_1")


def test_json_is_one_document_with_all_runs(run, start, directory: Path, hurry):
    stage = start()
    hurry()
    stage.status.known = {"shop": ["customers"]}

    async def progress(wishes):
        return [row(state=RunState.DONE, added=2)]

    stage.status.progress = progress
    done = run("sync", "shop/customers", "--json", "--config", directory)
    found = json.loads(done.stdout)
    assert found["schema"] == "syncd.sync/1"
    assert found["runs"][0]["added"] == 2


def test_a_mistyped_resource_gets_a_suggestion(run, start, directory: Path):
    start().status.known = {"shop": ["customers"]}
    done = run("sync", "shop/custmers", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'customers'?" in done.stderr


def test_a_wish_a_restarted_daemon_no_longer_knows_has_ended():
    board = verb.Board([1, 2], {"integration": "shop", "resource": "?"})
    assert (
        board.told([{"wish_id": 1, "state": "running", "integration": "shop", "resource": "x"}])[0]["state"]
        == "running"
    )
    for _ in range(verb.MISSES):
        rows = board.told([{"wish_id": 2, "state": "done"}])
    assert [each["state"] for each in rows] == ["unknown", "done"]
    assert rows[0]["integration"] == "shop"
    assert "no longer knows how it ended" in verb.summary(rows[0])


def test_a_single_record_is_not_followed_and_says_where_to_look(run, start, directory: Path, hurry):
    start().status.known = {"shop": ["customers"]}
    hurry()
    done = run("sync", "shop/customers", "--id", "cus_1", "--config", directory)
    assert done.exit_code == 0
    assert "shop/customers cus_1  taken; what came of it: syncd records show shop/customers cus_1" in done.stdout


def test_a_single_record_is_waited_for_while_its_row_waits_and_no_longer(run, start, directory: Path, hurry):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    slept = hurry()
    waiting = row(external_id="cus_1", state=RunState.WAITING, waiting_reason="limit 600/min")
    looks = [[row(external_id="cus_1")], [waiting], [waiting], []]
    unread = iter(looks)

    async def progress(wishes):
        return next(unread)  # a look after the row was gone would fail

    stage.status.progress = progress
    done = run("sync", "shop/customers", "--id", "cus_1", "--config", directory)
    assert done.exit_code == 0
    assert "shop/customers cus_1  taken; what came of it: syncd records show shop/customers cus_1" in done.stdout
    assert len(slept) == len(looks) - 1


def test_what_ends_soon_is_seen_soon_and_what_lasts_is_looked_at_seldom(run, start, directory: Path, hurry):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    slept = hurry()

    async def progress(wishes):
        return [row(state=RunState.RUNNING if len(slept) < 20 else RunState.DONE)]

    stage.status.progress = progress
    assert run("sync", "shop/customers", "--config", directory).exit_code == 0
    assert slept[0] == verb.FIRST_LOOK_SECONDS < verb.LOOK_SECONDS
    assert slept == sorted(slept)
    assert set(slept[10:]) == {verb.LOOK_SECONDS}


def test_no_record_asked_for_means_a_run_left_out_once_has_not_ended(run, start, directory: Path, hurry):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    hurry()
    looks = iter([[row(state=RunState.RUNNING)], [], [row(state=RunState.DONE, added=3)]])

    async def progress(wishes):
        return next(looks)

    stage.status.progress = progress
    done = run("sync", "shop/customers", "--config", directory)
    assert "done: page 0, 3 new" in done.stdout


@pytest.mark.parametrize("code", [69, 75])
def test_a_daemon_that_stays_away_ends_the_display_as_it_answers(run, start, directory: Path, hurry, monkeypatch, code):
    from syncd.cli.link import Link

    stage = start()
    stage.status.known = {"shop": ["customers"]}
    slept = hurry()

    def gone(self, path, query=None):
        raise Failure("no daemon answers, or it has no database yet", exit=Exit(code))

    monkeypatch.setattr(Link, "get", gone)
    done = run("sync", "shop/customers", "--config", directory)
    assert done.exit_code == code
    assert done.stderr.count("the daemon is away; the wish is stored") == 1
    assert 29 < sum(slept) < 32


def test_the_live_screen_draws_every_state():
    screen = verb.LiveScreen()
    try:
        for state in RunState:
            screen.show([{"integration": "shop", "resource": "customers", "state": state.value, "total": 10}], NOW)
        screen.show([], NOW)
        screen.remark("the daemon is away")
    finally:
        screen.close()


BARRED = Explanation(
    "breaker-open",
    "next try at 12:04:00 UTC: the partner does not answer",
    action="nothing to do, it is tried again by itself; now: syncd breaker shop reset",
)


def waiting(seconds: float | None) -> Progress:
    until = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    return row(state=RunState.WAITING, waiting_reason="the breaker is open", resumes_at=until, explanation=BARRED)


@pytest.mark.parametrize(("seconds", "looks"), [(240.0, 0), (None, 0), (3.0, 10)])
def test_what_an_open_breaker_bars_ends_by_itself_and_says_when_to_try_again(
    run, start, directory: Path, hurry, seconds: float | None, looks: int
):
    stage = start()
    slept = hurry()

    async def progress(wishes):
        return [waiting(seconds)]

    stage.status.progress = progress
    stage.status.known = {"shop": ["customers"]}
    done = run("sync", "shop/customers", "--config", directory)
    assert done.exit_code == Exit.TRY_LATER
    assert len(slept) >= looks
    assert sum(slept) < 15
    assert "  next try at 12:04:00 UTC: the partner does not answer\n  do: nothing to do, it is tried" in done.stdout
    assert "it is kept, and goes by itself then" in done.stdout


def test_one_that_waits_for_a_limit_is_not_given_up(run, start, directory: Path, hurry):
    stage = start()
    slept = hurry()

    async def progress(wishes):
        limited = row(
            state=RunState.WAITING, waiting_reason="600/min", resumes_at=datetime.now(UTC) + timedelta(hours=1)
        )
        return [limited if sum(slept) < 100 else row(state=RunState.DONE)]

    stage.status.progress = progress
    stage.status.known = {"shop": ["customers"]}
    assert run("sync", "shop/customers", "--config", directory).exit_code == 0


@pytest.mark.parametrize(
    ("code", "asked", "exit_code"), [("starting", 3, 0), ("starting", 999, 75), ("disabled", 999, 75)]
)
def test_an_integration_that_is_about_to_start_is_waited_for(
    run, start, directory: Path, hurry, code: str, asked: int, exit_code: int
):
    stage = start()
    hurry()
    stage.status.known = {"shop": []}
    standing = {"code": code, "reason": f"it is {code}", "action": "enabled: true, then syncd reload --wait"}
    stage.status.seen["integrations"] = [{"name": "shop", "explanation": standing}]
    view, looks = stage.status.overview, []

    async def overview():
        looks.append(1)
        if len(looks) >= asked:
            stage.status.known = {"shop": ["customers"]}
        return await view()

    async def progress(wishes):
        return [row(state=RunState.DONE)]

    stage.status.overview, stage.status.progress = overview, progress
    done = run("sync", "shop/customers", "--config", directory)
    assert done.exit_code == exit_code, done.output
    assert done.stderr.count("about to start shop: waiting") == (1 if code == "starting" else 0)
    if exit_code:
        assert f"why: it is {code}\n  do:  enabled: true" in done.stderr
