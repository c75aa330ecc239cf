"""CPU microseconds a call costs on each way to send it: `python bench/transport.py` (decision 0001).

A process of its own answers every request with the same page of about 93 KB. Counted is the CPU time of this process
only, the best of several rounds, because another process on the machine disturbs it least. Rows:

    httpx                 httpx.AsyncClient, its own transport, client.get
    httpx-aiohttp         the same client on the published aiohttp transport
    httpx-aiohttp direct  that transport's handle_async_request, without the client's layers
    wire                  syncd's transport (client/wire.py), handle_async_request
    httpx on wire         an ordinary httpx client on it: what a bare loop on the same transport pays
    aiohttp               no httpx at all
    session               Session.call on the wire: gate with three tiers, auth, deadline, judging, metrics, log call
    gate                  of these, entering and leaving the gate, measured alone
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import httpx_aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from syncd import log
from syncd.client import PartnerTransport, Session
from syncd.client.auth import Header
from syncd.client.wire import AiohttpTransport
from syncd.clock import SystemClock
from syncd.limits import Gate
from syncd.model import Request
from syncd.secrets import Secret

ITEM = {"title": "x" * 100, "address": {"full": "y" * 80}, "pad": "z" * 690}
PAGE = json.dumps({"results": [{"_id": f"{number:024x}", **ITEM} for number in range(100)]}).encode()
HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "bench", "X-Key": "k" * 32}
PATH = "/v1/listings?limit=100&cursor=abcdef"

Call = Callable[[], Awaitable[int]]


class _Page(asyncio.Protocol):
    """The cheapest server that speaks enough HTTP."""

    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
        f"X-Request-Id: abc\r\nContent-Length: {len(PAGE)}\r\n\r\n"
    ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        while b"\r\n\r\n" in self._held:
            _, _, self._held = self._held.partition(b"\r\n\r\n")
            self._transport.write(self.head + PAGE)  # type: ignore[attr-defined]


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Page, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@asynccontextmanager
async def client_of(transport: httpx.AsyncBaseTransport | None, url: str) -> AsyncIterator[Call]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(transport=transport, limits=limits, trust_env=False) as client:

        async def call() -> int:
            return len((await client.get(url, headers=HEADERS)).content)

        yield call


@asynccontextmanager
async def direct(transport: httpx.AsyncBaseTransport, url: str) -> AsyncIterator[Call]:
    timeout = httpx.Timeout(10).as_dict()

    async def call() -> int:
        request = httpx.Request("GET", url, headers=HEADERS, extensions={"timeout": timeout})
        response = await transport.handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        body = b"".join([chunk async for chunk in stream])
        await stream.aclose()
        return len(body)

    async with transport:
        yield call


@asynccontextmanager
async def plain_aiohttp(url: str) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def call() -> int:
            async with session.get(url, headers=HEADERS) as response:
                return len(await response.read())

        yield call


@asynccontextmanager
async def session(origin: str) -> AsyncIterator[Call]:
    clock = SystemClock()
    transport = PartnerTransport("bench", clock=clock)
    gate = three_tiers(clock)
    key = Secret("k" * 32)
    auth = Header(lambda name: key, header="X-Key")
    ours = Session(transport, integration="bench/one", base_url=f"{origin}/v1", gate=gate, auth=auth)

    async def call() -> int:
        request = Request("/listings", route="/listings", params={"limit": 100, "cursor": "abcdef"})
        return len((await ours.call(request)).content)

    try:
        yield call
    finally:
        await transport.aclose()


@asynccontextmanager
async def gate_alone() -> AsyncIterator[Call]:
    gate = three_tiers(SystemClock())

    async def call() -> int:
        async with gate.admit(member="bench/one", deadline_at=None) as slot:
            slot.answered()
            slot.success()
        return len(PAGE)

    yield call


def three_tiers(clock: SystemClock) -> Gate:
    return Gate("bench", ["100000/s", "1000000/10s", "10000000/120s"], clock=clock, concurrency=100)


async def cost(call: Call, concurrent: int, calls: int) -> float:
    """CPU microseconds a call."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            assert await call() == len(PAGE)

    await asyncio.gather(*[call() for _ in range(concurrent)])
    began = time.process_time()
    await asyncio.gather(*[worker() for _ in range(concurrent)])
    return (time.process_time() - began) / calls * 1e6


async def measure(origin: str, calls: int, rounds: int) -> None:
    url = origin + PATH
    ways = {
        "httpx": lambda: client_of(None, url),
        "httpx-aiohttp": lambda: client_of(httpx_aiohttp.AiohttpTransport(trust_env=False), url),
        "httpx-aiohttp direct": lambda: direct(httpx_aiohttp.AiohttpTransport(trust_env=False), url),
        "wire": lambda: direct(AiohttpTransport(), url),
        "httpx on wire": lambda: client_of(AiohttpTransport(), url),
        "aiohttp": lambda: plain_aiohttp(url),
        "session": lambda: session(origin),
        "gate": lambda: gate_alone(),
    }
    levels = (1, 16, 64)
    print(f"{'CPU us a call':24s}" + "".join(f"{f'{level} at once':>14s}" for level in levels))
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):  # rounds outside, so that a busy minute of the machine hits every row alike
        for name, way in ways.items():
            async with way() as call:
                for level in levels:
                    spent = await cost(call, level, calls)
                    best[name, level] = min(spent, best.get((name, level), spent))
    for name in ways:
        print(f"{name:24s}" + "".join(f"{best[name, level]:14.0f}" for level in levels), flush=True)
    over = [best["session", level] - best["wire", level] for level in levels]
    print(f"{'session over wire':24s}" + "".join(f"{value:14.0f}" for value in over))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    log.configure("info", "json")
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        origin = f"http://127.0.0.1:{int(server.stdout.readline())}"
        work = measure(origin, options.calls, options.rounds)
        if options.uvloop:
            import uvloop

            uvloop.run(work)
        else:
            asyncio.run(work)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
