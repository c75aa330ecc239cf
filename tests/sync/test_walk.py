"""The fetching stage of a run, on a listing that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from syncd.errors import TransientError
from syncd.kit import Request, Response
from syncd.model import Headers
from syncd.sync.cancelling import SelfCancelledError
from syncd.sync.inflight import Inflight
from syncd.sync.line import Line
from syncd.sync.listing import Step
from syncd.sync.walk import PAGES_AHEAD, Fetched, walk


def step(number: int) -> Step:
    return Step(Request(f"/{number}"), str(number) if number else None)


class Pages:
    """A listing of so many pages, each named by the one before."""

    def __init__(self, count: int) -> None:
        self.count = count

    def ahead(self, at: Step, response: Response) -> list[Step]:
        return []

    async def after(self, at: Step, response: Response | None) -> Step | None:
        following = int(at.cursor or 0) + 1
        return step(following) if following < self.count else None


class Partner:
    """Answers at once, unless told what to do instead at a page."""

    def __init__(self, instead: dict[int, Callable[[], None]] | None = None) -> None:
        self.asked: list[int] = []
        self.instead = instead or {}

    async def fetch(self, at: Step) -> Fetched:
        number = int(at.cursor or 0)
        self.asked.append(number)
        await asyncio.sleep(0)
        if number in self.instead:
            self.instead[number]()
        return Fetched(at, Response(200, Headers(), b"x" * 10), 1, 0.0)


def cursors(answers: list[Fetched]) -> list[tuple[str | None, str | None]]:
    return [(each.step.cursor, each.following.cursor if each.following else None) for each in answers]


def lost() -> None:
    raise TransientError("lost")


async def test_each_answer_comes_with_the_step_that_follows_it():
    line: Line[Fetched] = Line(10, 1000)
    await walk(Pages(3), step(0), Partner().fetch, line, Inflight().hold())  # type: ignore[arg-type]
    assert cursors(await line.take()) == [(None, "1"), ("1", "2"), ("2", None)]
    assert await line.take() == []


async def test_the_walk_runs_ahead_only_as_far_as_the_line_has_room():
    partner, line = Partner(), Line[Fetched](PAGES_AHEAD, 1000)
    walking = asyncio.create_task(walk(Pages(50), step(0), partner.fetch, line, Inflight().hold()))  # type: ignore[arg-type]
    for _ in range(100):
        await asyncio.sleep(0)
    # So many wait in the line, one answer waits before it, and the next one is under way.
    assert len(partner.asked) == PAGES_AHEAD + 2
    found = 0
    while answers := await line.take():
        found += len(answers)
    await walking
    assert found == 50 == len(partner.asked)


async def test_a_lost_call_ends_the_walk_behind_the_answers_before_it():
    line: Line[Fetched] = Line(10, 1000)
    await walk(Pages(5), step(0), Partner({2: lost}).fetch, line, Inflight().hold())  # type: ignore[arg-type]
    assert len(await line.take()) == 2
    with pytest.raises(TransientError):
        await line.take()


async def test_a_walk_that_a_driver_cuts_off_as_if_it_was_cancelled_has_not_come_to_its_end():
    def cancels() -> None:
        raise asyncio.CancelledError

    line: Line[Fetched] = Line(10, 1000)
    await walk(Pages(5), step(0), Partner({2: cancels}).fetch, line, Inflight().hold())  # type: ignore[arg-type]
    assert len(await line.take()) == 2
    with pytest.raises(SelfCancelledError):
        await line.take()


async def test_a_cancelled_walk_leaves_what_has_arrived_and_no_error():
    partner, line = Partner(), Line[Fetched](2, 1000)
    walking = asyncio.create_task(walk(Pages(50), step(0), partner.fetch, line, Inflight().hold()))  # type: ignore[arg-type]
    for _ in range(30):
        await asyncio.sleep(0)
    walking.cancel()
    await asyncio.gather(walking, return_exceptions=True)
    assert cursors(await line.take()) == [(None, "1"), ("1", "2")]
    assert await line.take() == []
