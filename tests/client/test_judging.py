"""What goes round the driver's look at an answer: from the complete answer on, once an answer, and out of the way else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import httpx
import pytest

from syncd.errors import GoneError, OwnershipError, PartnerError, RejectedError, StoreError
from syncd.model import Request, Response
from syncd.testing.clock import FakeClock
from tests.client.parts import Partner, failure, ok, session_of

GET = Request("/things")


class Watched:
    """Remembers what happened in which order."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.told: list[str] = []
        self._refuses = refuses

    @asynccontextmanager
    async def judging(self) -> AsyncIterator[None]:
        self.told.append("in")
        if self._refuses is not None:
            raise self._refuses
        try:
            yield
        finally:
            self.told.append("out")

    def classify(self) -> Callable[[Response, datetime], PartnerError | None]:
        def classify(response: Response, now: datetime) -> PartnerError | None:
            self.told.append(str(response.status_code))
            if response.status_code == 500:
                raise RuntimeError("a defect of the driver")
            return RejectedError("no") if response.status_code == 422 else None

        return classify


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_the_driver_judges_inside_it(clock: FakeClock) -> None:
    watched = Watched()
    session = session_of(Partner(ok()), clock, classify=watched.classify())
    await clock.run(session.call(GET, judging=watched.judging))
    assert watched.told == ["in", "200", "out"]
    await clock.run(session.call(GET))
    assert watched.told[3:] == ["200"]


async def test_it_is_left_however_the_judgement_ends(clock: FakeClock) -> None:
    for answer in (httpx.Response(422), httpx.Response(500)):
        watched = Watched()
        session = session_of(Partner(answer), clock, classify=watched.classify())
        await clock.run(failure(session.call(GET, judging=watched.judging)))
        assert watched.told[0] == "in"
        assert watched.told[-1] == "out"


async def test_where_no_answer_came_nothing_is_entered(clock: FakeClock) -> None:
    watched = Watched()
    session = session_of(Partner(httpx.ConnectError("refused")), clock, classify=watched.classify())
    await clock.run(failure(session.call(GET, judging=watched.judging)))
    assert watched.told == []


@pytest.mark.parametrize("error", [OwnershipError("task 7 is no longer ours"), StoreError("the database is away")])
async def test_what_keeps_it_from_being_entered_ends_the_call_as_it_is(clock: FakeClock, error: StoreError) -> None:
    watched = Watched(error)
    session = session_of(Partner(ok()), clock, classify=watched.classify())
    raised = await clock.run(failure(session.call(GET, judging=watched.judging)))
    assert (type(raised), str(raised)) == (type(error), str(error))
    assert watched.told == ["in"], "the driver has not seen the answer"
    assert session.gate.view()["in_flight"] == 0


async def test_a_404_says_when_its_request_left(clock: FakeClock) -> None:
    session = session_of(Partner(httpx.Response(404)), clock)
    await clock.advance(5)
    raised = await clock.run(failure(session.call(GET)))
    assert isinstance(raised, GoneError)
    assert raised.requested_at == clock.now()
