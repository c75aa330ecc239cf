"""Long work of the daemon that a command waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.cli import backfill, push, renormalize
from syncd.cli.exits import Exit
from syncd.cli.following import until_ended
from syncd.cli.link import Unreachable
from syncd.cli.output import Failure
from syncd.testing.clock import FakeClock

GONE = Unreachable("no daemon answers", exit=Exit.UNREACHABLE)
COMING_BACK = Failure("failed", "the database has not been reached yet", exit=Exit.TRY_LATER)
REFUSED = Failure("failed", "the admin token is wrong", exit=Exit.REFUSED)
DONE = {"id": 7, "integration": "a", "resource": "b", "state": "done"}


def told(*answers: Any) -> Any:
    """A line on which the daemon answers so, the last from then on."""
    left = iter(answers[:-1])

    def get(path: str, query: Any) -> Any:
        found = next(left, answers[-1])
        if isinstance(found, Failure):
            raise found
        return found

    return SimpleNamespace(get=get)


async def ended(link: Any, *ids: int) -> Any:
    app: Any = SimpleNamespace(clock=FakeClock())
    return await app.clock.run(until_ended(app, link, "backfills", ids, str, look_seconds=1.0))


async def test_of_what_the_daemon_knows_nothing_any_more_nothing_is_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await ended(told({"backfills": []}), 7) == []
    assert capsys.readouterr().err == "the daemon no longer knows 1 of 1, nor what came of it: syncd status\n"
    assert await ended(told({"backfills": [DONE]}), 7, 8) == [DONE]
    assert "no longer knows 1 of 2" in capsys.readouterr().err


async def test_a_daemon_that_restarts_is_waited_for_until_it_has_its_database_again() -> None:
    assert await ended(told(GONE, COMING_BACK, COMING_BACK, {"backfills": [DONE]}), 7) == [DONE]


@pytest.mark.parametrize("failure", [GONE, COMING_BACK, REFUSED])
async def test_a_daemon_that_stays_away_or_refuses_ends_the_command_as_it_answers(failure: Failure) -> None:
    with pytest.raises(Failure) as raised:
        await ended(told(failure), 7)
    assert raised.value is failure


async def test_a_push_is_waited_for_in_the_same_way() -> None:
    app: Any = SimpleNamespace(clock=FakeClock())
    row = {"integration": "a", "id": 1, "state": "waiting", "reason": None}
    after = {"push": {**row, "state": "done"}}
    assert await app.clock.run(push._follow(app, told(COMING_BACK, GONE, after), row)) == after["push"]


@pytest.mark.parametrize("verb", [backfill, renormalize])
def test_what_the_daemon_lost_is_no_success(verb: Any) -> None:
    app: Any = SimpleNamespace(as_json=False, clock=FakeClock())
    assert verb._told(app, [], of=1) == Exit.TRY_LATER
    assert verb._told(app, []) == Exit.OK
