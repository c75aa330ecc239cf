"""The whole daemon among forged, malformed, oversized and slow requests: no 5xx, no table touched, every valid one stored
once, and honest partners do not feel it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from syncd.kit import signatures
from tests.server.hooks import KEY, RULES
from tests.server.hostile import Attempt, Grammar
from tests.whole.conftest import PLAIN, only
from tests.whole.daemon import Daemon, Rows

PATH = "/webhooks/acme/one"
RULES_HERE = {**RULES, "id": "id", "routes": {"thing.updated": "things"}}
QUIET = ("inbox", "tasks", "records", "changes", "rejects", "dead_letters", "outbox", "audit_log")
"""Tables in which nothing happens unless a delivery was let in."""


def acme() -> dict[str, Any]:
    """A partner that signs as Stripe does and is never called: all its resources are off."""
    return {
        "driver": "rest",
        "base_url": "http://127.0.0.1:9",
        "rest": {**PLAIN, "auth": {"kind": "none"}, "webhooks": RULES_HERE},
        "resources": only(),
        "integrations": {"one": {"webhook": {"secrets": [KEY], "per_second": 100_000}}},
    }


def grammar(seed: int) -> Grammar:
    return Grammar(seed, PATH, KEY, time.time)


class Sender:
    """Sends attempts, so many at a time, each on a connection of its own; notes what came back."""

    def __init__(self, port: int, at_once: int = 40) -> None:
        self.port = port
        self.places = asyncio.Semaphore(at_once)
        self.wrong: list[tuple[str, int | None, bytes]] = []
        self.seen: Counter[str] = Counter()
        self.hung: list[asyncio.Task[float]] = []

    async def all(self, attempts: Iterable[Attempt]) -> None:
        async with asyncio.TaskGroup() as group:
            for attempt in attempts:
                await self.places.acquire()
                group.create_task(self._one(attempt))

    async def _one(self, attempt: Attempt) -> None:
        try:
            status, told = await self._exchange(attempt)
        finally:
            self.places.release()
        self.seen[f"{attempt.kind} {status}"] += 1
        server_fault = status is not None and status >= 500
        unexpected = attempt.valid and status not in attempt.answers
        let_in = attempt.answers and not attempt.valid and status is not None and status not in attempt.answers
        if server_fault or unexpected or let_in:
            self.wrong.append((attempt.kind, status, told))

    async def _exchange(self, attempt: Attempt) -> tuple[int | None, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in attempt.pieces:
                writer.write(piece)
                await writer.drain()
            if attempt.hangs:
                self.hung.append(asyncio.create_task(_until_closed(reader, writer)))
                return None, b""
            while True:
                # Half a head waits for its other half, as an honest one may: nobody has to answer that at once.
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5 if not attempt.valid else 30)
                status = int(head.split(b" ", 2)[1])
                if status != 100:
                    return status, head
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return None, b""
        finally:
            if not attempt.hangs:
                writer.close()


async def _until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
    """Seconds until the other side has closed it."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    return time.monotonic() - began


async def touched(rows: Rows) -> dict[str, tuple[int, int]]:
    """For each quiet table how many rows it has and the newest version of any of them."""
    return {
        table: tuple(await rows.connection.fetchrow(f"SELECT count(*), max(xmin::text::bigint) FROM syncd.{table}"))
        for table in QUIET
    }  # fmt: skip


async def storm(daemon: Daemon, rows: Rows, seed: int, count: int) -> None:
    before = await touched(rows)
    sender = Sender(daemon.port)
    await sender.all(one for one in grammar(seed + 1).attempts(count // 4) if not one.valid and not one.perhaps)
    assert sender.wrong == []
    assert await touched(rows) == before

    attempts = list(grammar(seed).attempts(count))
    await sender.all(attempts)
    slowest = max(await asyncio.gather(*sender.hung), default=0.0)
    assert sender.wrong == [], sender.seen
    assert slowest < 30.0
    bodies = await rows.connection.fetch("SELECT body FROM syncd.inbox")
    stored = Counter(orjson.loads(row["body"])["id"] for row in bodies)
    valid = {one.event_id for one in attempts if one.valid}
    perhaps = {one.perhaps for one in attempts if one.perhaps}
    assert len(valid) > count // 3
    assert valid <= stored.keys()
    assert stored.keys() - valid <= perhaps
    assert set(stored.values()) == {1}
    _, metrics = await daemon.get("/metrics")
    assert "intake_failed" not in daemon.log()
    assert "Traceback" not in daemon.log()
    assert b'error_type="signature"' in metrics


async def test_a_storm_of_hostile_requests_stores_what_is_valid_and_nothing_else(
    tmp_path: Path, database: str, rows: Rows
):
    quick = {"server": {"header_timeout": "2s", "body_timeout": "3s"}}
    daemon = Daemon(tmp_path, database, {"acme": acme()})
    daemon.write_main(
        {"server": {**quick["server"], "listen": f"127.0.0.1:{daemon.port}", "admin": f"127.0.0.1:{daemon.admin_port}"}}
    )
    async with daemon:
        await storm(daemon, rows, int(os.environ.get("SYNCD_SEED", "4")), 1_200)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [41, int(time.time())])
async def test_twenty_thousand_hostile_requests(tmp_path: Path, database: str, rows: Rows, seed: int):
    async with Daemon(tmp_path, database, {"acme": acme()}) as daemon:
        await storm(daemon, rows, seed, 20_000)


class Honest:
    """A partner that goes about its business: over a connection it keeps, and now and then over a fresh one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}{PATH}"
        self.seconds: list[float] = []
        self.failed: list[str] = []
        self.sent = 0

    async def run(self, until: asyncio.Event) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as kept:
            while not until.is_set():
                self.sent += 1
                if self.sent % 4:
                    await self._send(kept)
                else:
                    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as fresh:
                        await self._send(fresh)
                await asyncio.sleep(0.03)

    async def _send(self, http: aiohttp.ClientSession) -> None:
        body = orjson.dumps({"id": f"honest_{self.sent}", "type": "thing.updated"})
        headers = {"Stripe-Signature": signatures.sign_stamped(body, str(int(time.time())), KEY)}
        began = time.monotonic()
        try:
            async with http.post(self.url, data=body, headers=headers) as answer:
                if answer.status != 202:
                    self.failed.append(f"{answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed.append(repr(error))
        self.seconds.append(time.monotonic() - began)


SLOW = (
    b"",
    b"POST /webh",
    b"POST /webhooks/acme/one HTTP/1.1\r\nHost: x\r\nX-A: ",
    b"POST /webhooks/acme/one HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
    b"POST /webhooks/acme/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
)


async def besieged(port: int, slow: int) -> tuple[Honest, list[float]]:
    """So many connections that send a byte every two seconds, beside an honest partner; seconds until each was ended.

    They come over three seconds: whoever fills a site within one has it to himself until the second is over.
    """
    honest, over = Honest(port), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(honest.run(over))
        ended = [group.create_task(_drip(port, SLOW[n % len(SLOW)], 3.0 * n / slow)) for n in range(slow)]
        await asyncio.wait(ended)
        over.set()
    return honest, [one.result() for one in ended]


async def _drip(port: int, start: bytes, later: float) -> float:
    await asyncio.sleep(later)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    closed = asyncio.create_task(_until_closed(reader, writer))
    writer.write(start)
    while not closed.done():
        await asyncio.wait({closed}, timeout=2.0)
        if not closed.done() and not writer.is_closing():
            writer.write(b"a")
    return time.monotonic() - began


def unharmed(honest: Honest) -> None:
    assert honest.failed == []
    assert (
        sorted(honest.seconds)[len(honest.seconds) * 9 // 10] < 2.0
    )  # slow ones hold a place for ten seconds and more


async def test_slow_connections_are_shown_out_and_honest_ones_do_not_feel_it(tmp_path: Path, database: str):
    daemon = Daemon(tmp_path, database, {"acme": acme()})
    daemon.write_main(
        {
            "server": {
                "listen": f"127.0.0.1:{daemon.port}",
                "admin": f"127.0.0.1:{daemon.admin_port}",
                "header_timeout": "3s",
                "body_timeout": "4s",
                "max_connections": 60,
            }
        }
    )
    async with daemon:
        honest, seconds = await besieged(daemon.port, 100)
        assert max(seconds) < 30.0
        unharmed(honest)


@pytest.mark.soak
async def test_a_thousand_slow_connections_are_gone_within_thirty_seconds(tmp_path: Path, database: str):
    async with Daemon(tmp_path, database, {"acme": acme()}) as daemon:
        honest, seconds = await besieged(daemon.port, 1_000)
        assert max(seconds) < 30.0
        unharmed(honest)
