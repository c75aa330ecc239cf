"""What the routes of the admin API share: every fault is told as what it is."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    ConfigError,
    OwnershipError,
    RateLimitError,
    RejectedError,
    StoreError,
    TransientError,
)
from syncd.server.desks import guarded
from syncd.store.database import DataRefusedError


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (DataRefusedError("the database refuses a value: NUL"), 400, "usage"),
        (OwnershipError("another instance has it"), 409, "conflict"),
        (StoreError("the database is away"), 503, "database"),
        (ConfigError("no such file"), 422, "configuration"),
        (RejectedError("no"), 409, "refused"),
        (AuthError("401"), 409, "credential"),
        (TransientError("nothing came within 5 s"), 503, "later"),
        (RateLimitError("too many"), 503, "later"),
        (BreakerOpenError("it is known to be down", retry_at=datetime(2026, 11, 1, tzinfo=UTC)), 503, "later"),
    ],
)
async def test_a_fault_is_told_as_what_it_is(fault: Exception, status: int, code: str):
    async def handler(_: web.Request) -> web.StreamResponse:
        raise fault

    answer = await guarded(handler)(make_mocked_request("GET", "/x"))
    assert isinstance(answer, web.Response)
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body)["error"]["code"] == code


async def test_a_fault_of_ours_is_an_answer_that_says_so_and_not_a_bare_page():
    async def broken(request: web.Request) -> web.Response:
        raise ZeroDivisionError("the body of a delivery")

    answer = await guarded(broken)(make_mocked_request("GET", "/api/v1/x"))
    assert isinstance(answer, web.Response)
    assert answer.status == 500
    assert isinstance(answer.body, bytes)
    told = orjson.loads(answer.body)["error"]
    assert "ZeroDivisionError" in str(told) and "the body of a delivery" not in str(told)
