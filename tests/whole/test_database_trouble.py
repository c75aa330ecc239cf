"""PostgreSQL restarted, killed, frozen and cut off under five hundred deliveries a second: what was acknowledged is stored,
what was not is told so in time, and nothing hangs.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import orjson
import pytest

from syncd.kit import signatures
from tests.server.hooks import KEY
from tests.whole.daemon import Daemon
from tests.whole.postgres import Cutter, Postgres
from tests.whole.test_hostile import PATH, acme

PER_SECOND = 500
SENDERS = 48
WITHIN_SECONDS = 5.0
"""Every answer, whatever happens."""


class Partner:
    """Sends so many events a second, and again what was not acknowledged."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}{PATH}"
        self.acknowledged: dict[str, float] = {}
        """Event id -> when its 2xx came."""
        self.refused = 0
        self.slowest = 0.0
        self.odd: list[str] = []
        """Whatever is neither 2xx nor 503 with a time to come back."""
        self._made = 0
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._make())]
        timeout, connector = aiohttp.ClientTimeout(30), aiohttp.TCPConnector(limit=SENDERS)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            senders = [asyncio.create_task(self._send(http)) for _ in range(SENDERS)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(1.0)  # what was refused last is sent again
                for task in senders:
                    task.cancel()
                await asyncio.gather(*tasks, *senders, return_exceptions=True)

    async def _make(self) -> None:
        began = time.monotonic()
        while True:
            while self._made < (time.monotonic() - began) * PER_SECOND:
                self._made += 1
                self._queue.put_nowait(f"evt_{self._made}")
            await asyncio.sleep(0.01)

    async def _send(self, http: aiohttp.ClientSession) -> None:
        while True:
            name = await self._queue.get()
            body = orjson.dumps({"id": name, "type": "thing.updated", "text": "x" * 900})
            headers = {"Stripe-Signature": signatures.sign_stamped(body, str(int(time.time())), KEY)}
            began = time.monotonic()
            status, waits = 0, ""
            try:
                async with http.post(self.url, data=body, headers=headers) as answer:
                    status, waits = answer.status, answer.headers.get("Retry-After", "")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.odd.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status in {200, 202}:
                self.acknowledged[name] = time.monotonic()
                continue
            if status == 503 and waits.isdigit():
                self.refused += 1
            elif status:
                self.odd.append(str(status))
            asyncio.get_running_loop().call_later(0.5, self._queue.put_nowait, name)

    def first_after(self, moment: float) -> float:
        """Seconds from then to the next acknowledgement; infinite where none came."""
        later = [at for at in self.acknowledged.values() if at >= moment]
        return min(later, default=float("inf")) - moment


async def answers(url: str) -> float:
    """When the database answers again, asked by somebody else."""
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=0.5)
            await connection.execute("SELECT 1", timeout=0.5)
            found = time.monotonic()
            connection.terminate()
        except (OSError, asyncpg.PostgresError, TimeoutError, asyncpg.InterfaceError):
            await asyncio.sleep(0.02)
        else:
            return found


async def stored(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT event_id FROM syncd.inbox")
    await connection.close()
    return {row[0] for row in rows}


Trouble = Callable[[Postgres, float], Awaitable[None]]


async def restarted_fast(server: Postgres, _: float) -> None:
    await server.stop(signal.SIGINT)
    await server.start()


async def restarted_immediately(server: Postgres, _: float) -> None:
    await server.stop(signal.SIGQUIT)
    await server.start()


async def away(server: Postgres, seconds: float) -> None:
    await server.stop(signal.SIGINT)
    await asyncio.sleep(seconds)
    await server.start()


async def frozen(server: Postgres, seconds: float) -> None:
    server.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        server.thaw()


async def backends_killed(server: Postgres, _: float) -> None:
    connection = await asyncpg.connect(server.url)
    for _ in range(5):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'syncd%'"
        )
        await asyncio.sleep(0.2)
    await connection.close()


TROUBLES: dict[str, Trouble] = {
    "restarted fast": restarted_fast,
    "restarted immediately": restarted_immediately,
    "backends killed": backends_killed,
    "frozen": frozen,
    "away": away,
}


async def suffer(folder: Path, server: Postgres, troubles: list[Trouble], seconds: float, back_within: float) -> None:
    async with Daemon(folder, server.url, {"acme": acme()}) as daemon:
        partner = Partner(daemon.port)
        async with partner.at_work():
            await asyncio.sleep(1.0)
            for trouble in troubles:
                watching: asyncio.Task[float] | None = None
                await trouble(server, seconds)
                watching = asyncio.create_task(answers(server.url))
                back = await watching
                await daemon.until(lambda back=back: _soon(partner.first_after(back) < float("inf")), seconds=30)
                assert partner.first_after(back) <= back_within
                await asyncio.sleep(1.0)
        assert partner.odd == []
        assert partner.slowest < WITHIN_SECONDS
        assert partner.acknowledged.keys() <= await stored(server.url)
        assert len(partner.acknowledged) > PER_SECOND
        assert await daemon.stop() == 0
        assert "Traceback" not in daemon.log(), daemon.log()


async def _soon(found: bool) -> bool:
    return found


async def test_nothing_acknowledged_is_lost_whatever_becomes_of_the_database(tmp_path: Path, postgres: Postgres):
    await suffer(tmp_path, postgres, list(TROUBLES.values()), seconds=5.0, back_within=5.0)


@pytest.mark.soak
@pytest.mark.parametrize("name", TROUBLES)
async def test_half_a_minute_of_each_trouble(tmp_path: Path, postgres: Postgres, name: str):
    await suffer(tmp_path, postgres, [TROUBLES[name]] * (1 if name in {"frozen", "away"} else 5), 30.0, 2.0)


async def cut_off(folder: Path, server: Postgres, seconds: float) -> None:
    async with Cutter(server.socket) as proxy, Daemon(folder, proxy.url("syncd", "syncd"), {"acme": acme()}) as daemon:
        partner = Partner(daemon.port)
        async with partner.at_work():
            await asyncio.sleep(1.0)
            proxy.every = 7
            await asyncio.sleep(seconds)
            proxy.every = 0
            await asyncio.sleep(1.0)
        assert proxy.cuts > 3
        assert partner.refused > 0
        assert partner.odd == []
        assert partner.slowest < WITHIN_SECONDS
        assert partner.acknowledged.keys() <= await stored(server.url)
        assert await daemon.stop() == 0


async def test_a_commit_whose_answer_was_cut_off_is_a_doubt(tmp_path: Path, postgres: Postgres):
    await cut_off(tmp_path, postgres, 3.0)


@pytest.mark.soak
async def test_answers_cut_off_for_half_a_minute(tmp_path: Path, postgres: Postgres):
    await cut_off(tmp_path, postgres, 30.0)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "away"])
async def test_the_daemon_stops_in_time_though_the_database_does_not_answer(
    tmp_path: Path, postgres: Postgres, frozen: bool
):
    daemon = Daemon(tmp_path, postgres.url, {"acme": acme()}, main={"drain": "8s"})
    async with daemon:
        partner = Partner(daemon.port)
        async with partner.at_work():
            await asyncio.sleep(1.0)
            if frozen:
                postgres.freeze()
            else:
                await postgres.stop()
            await asyncio.sleep(0.3)
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
            try:
                assert await asyncio.wait_for(daemon.process.wait(), 25) == 0
                assert "Traceback" not in daemon.log(), daemon.log()
            finally:
                if frozen:
                    postgres.thaw()
                else:
                    await postgres.start()
        assert partner.acknowledged.keys() <= await stored(postgres.url)


async def test_a_daemon_that_started_without_its_database_takes_deliveries_as_soon_as_it_comes(
    tmp_path: Path, postgres: Postgres
):
    daemon = Daemon(tmp_path, postgres.url, {"acme": acme()})
    await postgres.stop()
    await daemon.start(wait=False)
    try:
        await daemon.until(lambda: _listens(daemon.port))
        partner = Partner(daemon.port)
        async with partner.at_work():
            await daemon.until(lambda: _soon(partner.refused > 10))
            await postgres.start()
            back = await answers(postgres.url)
            await daemon.until(lambda: _soon(bool(partner.acknowledged)), every=0.02)
            assert partner.first_after(back) < 10.0  # the schema is made first
        assert partner.odd == []
        assert partner.acknowledged.keys() <= await stored(postgres.url)
    finally:
        assert await daemon.stop() == 0


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
