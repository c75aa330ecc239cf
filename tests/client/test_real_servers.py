"""A whole session against real sockets: deadlines, dead connections, redirects, bombs, tokens."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from syncd.client import PartnerTransport, Session
from syncd.clock import SystemClock
from syncd.errors import PayloadError, RejectedError, TransientError
from syncd.limits import Gate
from syncd.limits.backoff import BackoffPolicy
from syncd.model import Request, Response
from tests.client.parts import Facts, Keeper, auth_of, failure
from tests.client.servers import answer, raw_server, saying

GET = Request("/x")
QUICK = BackoffPolicy(attempts=3, base_seconds=0.001, cap_seconds=0.002)


@asynccontextmanager
async def session_at(url: str, **more: Any) -> AsyncIterator[Session]:
    clock = SystemClock()
    transport = PartnerTransport("acme", clock=clock, most_body=more.pop("most_body", 1 << 20))
    gate = more.pop("gate", None) or Gate("acme", ["100000/s"], clock=clock)
    session = Session(transport, integration="acme/one", base_url=url, gate=gate, **{"backoff": QUICK, **more})
    try:
        yield session
    finally:
        await session.aclose()
        await transport.aclose()


@asynccontextmanager
async def application(**handlers: Any) -> AsyncIterator[str]:
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


async def test_a_body_that_drips_ends_at_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(drip) as server, session_at(server.url) as session:
        began = time.monotonic()
        error = await failure(session.call(Request("/x", deadline_seconds=0.3)))
        assert isinstance(error, TransientError)
        assert "deadline" in str(error)
        assert time.monotonic() - began < 10


async def test_a_kept_connection_that_died_is_retried_through_the_gate_for_reads_only() -> None:
    turns = 0

    async def every_other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        nonlocal turns
        turns += 1
        if turns % 2:
            writer.write(answer())
        else:
            writer.close()

    async with raw_server(every_other) as server, session_at(server.url) as session:
        assert (await session.call(GET)).status_code == 200
        assert (await session.call(GET)).status_code == 200
        assert len(server.heads) == session.spent.calls == 3
        error = await failure(session.call(Request("/x", "POST")))
        assert isinstance(error, TransientError) and error.unknown
        assert len(server.heads) == session.spent.calls == 4


@pytest.mark.parametrize("reset", [True, False])
async def test_truncated_answers_are_retried_and_then_told(reset: bool) -> None:
    script = saying(answer(b"[1,", length=500), close=not reset, reset=reset)
    async with raw_server(script) as server, session_at(server.url) as session:
        assert isinstance(await failure(session.call(GET)), TransientError)
        assert len(server.heads) == 3


async def test_a_bomb_costs_no_more_memory_than_its_cap() -> None:
    bomb = gzip.compress(b"\0" * (256 << 20))
    script = saying(answer(bomb, "200 OK", "Content-Encoding: gzip"))
    async with raw_server(script) as server, session_at(server.url, most_body=4 << 20) as session:
        tracemalloc.start()
        error = await failure(session.call(GET))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(error, PayloadError)
    assert len(server.heads) == 1
    assert peak < 16 << 20


async def test_redirects_between_servers_stop_at_the_border() -> None:
    async def home(request: web.Request) -> web.Response:
        raise web.HTTPFound("/there?x=1")

    async def there(request: web.Request) -> web.Response:
        return web.json_response(dict(request.query) | {"auth": request.headers.get("Authorization", "")})

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{other}/there?x=2")

    auth, _ = auth_of(Facts("bearer"), SystemClock(), token="token-of-home")  # type: ignore[arg-type]
    async with application(there=there) as other, application(home=home, there=there, away=away) as url:
        async with session_at(url, auth=auth) as session:
            response = await session.call(Request("/home"))
            assert response.json() == {"x": "1", "auth": "Bearer token-of-home"}
            assert isinstance(await failure(session.call(Request("/away"))), RejectedError)
        async with session_at(url, auth=auth, origins=[other]) as session:
            assert (await session.call(Request("/away"))).json() == {"x": "2", "auth": ""}


async def test_two_hundred_calls_on_real_sockets_meet_one_refresh() -> None:
    issued = 0
    keeper = Keeper()

    async def token(request: web.Request) -> web.Response:
        nonlocal issued
        issued += 1
        await asyncio.sleep(0.05)
        return web.json_response({"access_token": f"token-{issued}", "expires_in": 3600})

    async def things(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        stored = keeper.rows.get(("acme/one", "oauth2_client"))
        assert stored is not None, "a token came before it was committed"
        good = request.headers.get("Authorization") == f"Bearer token-{max(issued, 2)}"
        return web.json_response({}, status=200 if good else 401)

    auth, _ = auth_of(
        Facts("oauth2_client", token_path="/token"),
        SystemClock(),  # type: ignore[arg-type]
        keeper=keeper,
        client_id="a-client",
        client_secret="a-secret",
    )
    async with application(token=token, things=things) as url, session_at(url, auth=auth) as session:
        answers = await asyncio.gather(*[session.call(Request("/things")) for _ in range(200)])
    assert all(isinstance(one, Response) for one in answers)
    assert issued == 2
    assert keeper.puts == 2


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    started = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        started.set()
        await asyncio.sleep(30)
        return web.json_response({})

    gate = Gate("acme", ["100/s"], clock=SystemClock(), concurrency=1)
    async with application(hang=hang) as url, session_at(url, gate=gate) as session:
        call = asyncio.ensure_future(session.call(Request("/hang")))
        await started.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert call.cancelled()
        assert gate.view()["seats"]["used"] == 0
