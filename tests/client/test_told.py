"""What answers tell of the limit reaches the tier it speaks of, in every dialect."""

from __future__ import annotations

import httpx
import pytest

from syncd.limits import Gate
from syncd.limits.dialects import LimitDialect
from syncd.model import Request
from syncd.testing.clock import FakeClock
from tests.client.parts import Partner, session_of


def tiers(gate: Gate) -> dict[str, float]:
    """Ceiling by the tier's name."""
    return {tier["name"]: tier["limit"] for tier in gate.view()["tiers"]}


async def told(headers: dict[str, str], body: object = None, dialect: object = None) -> dict[str, float]:
    """The ceilings of 30/s, 600/min and 9000/h after one answer with these headers."""
    clock = FakeClock()
    gate = Gate("acme", ["30/s", "600/min", "9000/h"], clock=clock, share=1.0)
    answer = httpx.Response(200, json=body if body is not None else {}, headers=headers)
    session = session_of(Partner(answer), clock, gate=gate, told=LimitDialect.parse(dialect))  # type: ignore[arg-type]
    await clock.run(session.call(Request("/things")))
    return {name.partition("/")[2]: limit for name, limit in tiers(gate).items()}


UNTOLD = {"1s": 30, "60s": 600, "3600s": 9000}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Limit-Minute": "100", "X-RateLimit-Remaining-Minute": "99"},
        {"RateLimit-Limit": "100;w=60", "RateLimit-Remaining": "99", "RateLimit-Reset": "60"},
        {
            "RateLimit-Limit": "100",
            "RateLimit-Remaining": "99",
            "RateLimit-Reset": "60",
            "RateLimit-Policy": "100;w=60",
        },
        {"RateLimit": "limit=100, remaining=99, reset=60", "RateLimit-Policy": "100;w=60"},
        {"RateLimit": '"m";r=99;t=60', "RateLimit-Policy": '"m";q=100;w=60, "h";q=90000;w=3600'},
        {"X-RateLimit-Limit": "100/min"},
        {"X-RateLimit-Limit": "100", "X-RateLimit-Window": "60"},
    ],
)
async def test_a_smaller_limit_lowers_the_tier_of_its_window_and_no_other(headers: dict[str, str]) -> None:
    assert await told(headers) == {**UNTOLD, "60s": 100}


async def test_a_larger_limit_raises_nothing() -> None:
    assert await told({"X-RateLimit-Limit-Minute": "6000", "X-RateLimit-Remaining-Minute": "5999"}) == UNTOLD


async def test_a_description_says_the_window_that_names_do_not_tell() -> None:
    headers = {"X-Rate-Limit-Limit": "100", "X-Rate-Limit-Remaining": "99", "X-Rate-Limit-Reset": "37"}
    assert await told(headers) == UNTOLD  # of three tiers it may be any
    assert await told(headers, dialect={"prefix": "x-rate-limit", "window": "60s"}) == {**UNTOLD, "60s": 100}


async def test_figures_in_the_body_are_read_where_a_description_names_the_place() -> None:
    body = {"quota": {"cap": 100, "left": 99}}
    dialect = {"limit": "quota.cap", "remaining": "quota.left", "window": "60s"}
    assert await told({}, body) == UNTOLD
    assert await told({}, body, dialect) == {**UNTOLD, "60s": 100}


async def test_a_partner_that_tells_nothing_is_not_listened_to() -> None:
    assert await told({"X-RateLimit-Limit-Minute": "1"}, dialect="none") == UNTOLD
