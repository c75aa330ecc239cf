"""Days that are known when a call leaves are filled in there, by the clock of whoever sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncd.client.dates import dated
from syncd.model import Request
from syncd.testing.clock import FakeClock
from tests.client.parts import Partner, ok, session_of

NOW = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)


def test_path_parameters_and_body_have_days_filled_in() -> None:
    request = Request(
        "/c/{today}/{today+1d}",
        "POST",
        params={"from": "{today-30d}", "ids": ["{today}", "x"], "n": 5},
        json={"until": {"day": "{today+365d}"}, "all": True},
        dated=True,
    )
    found = dated(request, NOW)
    assert found.path == "/c/2026-02-28/2026-03-01"
    assert found.params == {"from": "2026-01-29", "ids": ["2026-02-28", "x"], "n": 5}
    assert found.json == {"until": {"day": "2027-02-28"}, "all": True}
    assert not found.dated
    assert dated(Request("/x", params=(("a", "{today}"),), dated=True), NOW).params == (("a", "2026-02-28"),)


@pytest.mark.parametrize("text", ["{todays}", "{today+1}", "{today 1d}", "today"])
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert dated(Request("/x", params={"a": text}, dated=True), NOW).params == {"a": text}


def test_a_day_is_one_of_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert dated(Request("/{today}", dated=True), east).path == "/2026-02-28"


async def test_a_session_fills_them_in_when_the_call_is_sent(clock: FakeClock) -> None:
    partner = Partner(ok(), ok())
    session = session_of(partner, clock)
    await session.call(Request("/c/{today}", params={"to": "{today+1d}"}, dated=True))
    await clock.advance(86400)
    await session.call(Request("/c/{today}", params={"to": "{today+1d}"}, dated=True))
    first, second = (request.url.raw_path.decode() for request in partner.requests)
    assert (first, second) == ("/v2/c/2026-01-01?to=2026-01-02", "/v2/c/2026-01-02?to=2026-01-03")
