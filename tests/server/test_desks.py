"""What the routes of the admin API share: every fault is told as what it is."""

from __future__ import annotations

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from syncd.errors import ConfigError, OwnershipError, RejectedError, StoreError
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
