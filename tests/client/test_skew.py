"""How far a partner's clock is from ours, by the Date of its answers."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest

from syncd.model import Request
from syncd.testing.clock import FakeClock
from tests.client.parts import Partner, ok, session_of


@pytest.mark.parametrize("seconds", [-420, 0, 90])
async def test_the_latest_answer_with_a_date_tells_how_far_its_clock_is_ahead(clock: FakeClock, seconds: int) -> None:
    date = format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)
    session = session_of(Partner(httpx.Response(200, json={}, headers={"date": date})), clock)
    assert session.skew_seconds is None
    await session.call(Request("/things"))
    assert session.skew_seconds == pytest.approx(seconds, abs=1.0)


async def test_without_a_date_nothing_is_told(clock: FakeClock) -> None:
    session = session_of(Partner(ok({})), clock)
    await session.call(Request("/things"))
    assert session.skew_seconds is None


async def test_a_date_that_is_none_hurts_nothing(clock: FakeClock) -> None:
    session = session_of(Partner(httpx.Response(200, json={}, headers={"date": "yesterday"})), clock)
    assert (await session.call(Request("/things"))).status_code == 200
    assert session.skew_seconds is None
