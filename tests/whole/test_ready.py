"""/ready says what would become of a webhook sent now: as much as a delivery sent now shows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson

from syncd.kit import signatures
from tests.server.hooks import KEY
from tests.whole.daemon import Daemon
from tests.whole.postgres import Postgres
from tests.whole.test_hostile import PATH, acme

WAITING = (
    "SELECT count(*) FROM pg_locks WHERE NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Door:
    """The public site, seen from outside."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._sent = 0

    async def deliver(self) -> int:
        self._sent += 1
        body = orjson.dumps({"id": f"evt_{self._sent}", "type": "thing.updated"})
        headers = {"Stripe-Signature": signatures.sign_stamped(body, str(int(time.time())), KEY)}
        url = f"http://127.0.0.1:{self._daemon.port}{PATH}"
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
            return answer.status

    async def ready(self) -> int:
        return (await self._daemon.get("/ready"))[0]

    async def up(self) -> float:
        text = (await self._daemon.get("/metrics"))[1].decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith("syncd_intake_up ")))

    async def both(self, delivered: int, ready: int, seconds: float = 20.0) -> None:
        """Until a delivery and /ready are answered so, and then once more."""
        deadline = time.monotonic() + seconds
        while (seen := (await self.deliver(), await self.ready())) != (delivered, ready):
            assert time.monotonic() < deadline, seen
            await asyncio.sleep(0.2)
        assert (await self.deliver(), await self.ready()) == (delivered, ready)


async def test_ready_is_what_a_delivery_would_be_answered(tmp_path: Path, database: str):
    name = urlsplit(database).path[1:]
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    async with Daemon(tmp_path, database, {"acme": acme()}) as daemon:
        door = Door(daemon)
        assert await door.up() == 1, "before the first delivery"
        await door.both(202, 200)
        hand = await asyncpg.connect(database)

        await hand.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        )  # a standby, after a failover
        await hand.execute(others, name)
        await door.both(503, 503)
        assert await door.up() == 0
        told = orjson.loads((await daemon.get("/ready"))[1])["reasons"]
        assert told == ["the database cannot store a delivery now: syncd status says why"]
        await hand.execute("SET default_transaction_read_only = off")
        await hand.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await hand.execute(others, name)
        await door.both(202, 200)

        async with hand.transaction():
            await hand.execute("LOCK TABLE syncd.inbox IN ACCESS EXCLUSIVE MODE")
            await door.both(503, 503)
        await door.both(202, 200)

        async with hand.transaction():  # the store's own connections are all busy: no delivery needs them
            await hand.execute("LOCK TABLE syncd.dead_letters IN ACCESS EXCLUSIVE MODE")
            busy = [asyncio.create_task(daemon.get("/api/v1/dlq", admin=True)) for _ in range(14)]
            while await hand.fetchval(WAITING) < 10:
                await asyncio.sleep(0.05)
            assert (await door.deliver(), await door.ready()) == (202, 200)
        await asyncio.gather(*busy, return_exceptions=True)
        await hand.close()


async def test_nobody_outside_reads_what_the_database_says_of_itself(tmp_path: Path, database: str):
    at = urlsplit(database)
    nobody = database.replace(f"{at.username}@", "nobody_here@", 1)
    assert nobody != database
    daemon = Daemon(tmp_path, nobody, {"acme": acme()})
    await daemon.start(wait=False)
    deadline = time.monotonic() + 30
    while "nobody_here" not in daemon.log():
        assert time.monotonic() < deadline, daemon.log()
        await asyncio.sleep(0.1)
    status, body = await daemon.get("/ready")
    assert status == 503
    assert b"nobody_here" not in body
    assert b"cannot store" in body
    await daemon.stop()


async def test_without_its_database_the_status_says_so_and_the_log_says_it_once(tmp_path: Path, postgres: Postgres):
    socket = postgres.socket
    partners = {f"acme{n}": {**acme(), "integrations": {f"one{n}": {"webhook": {"secrets": [KEY]}}}} for n in range(3)}
    async with Daemon(tmp_path, postgres.url, partners) as daemon:
        await postgres.stop()
        deadline = time.monotonic() + 30
        while (await daemon.get("/ready"))[0] != 503 or "feeders_wait" not in daemon.log():
            assert time.monotonic() < deadline, daemon.log()
            await asyncio.sleep(0.2)
        for _ in range(3):
            code, out, err = await daemon.cli("status")
            assert code == 0, (out, err)
            assert "not ready" in out and "no database" in out and socket in out and "one2" in out, out
        assert (await daemon.cli("status", "--exit-code"))[0] == 1
        assert daemon.log().count('"event":"feeders_wait"') == 1
        await postgres.start()
        deadline = time.monotonic() + 30
        while "feeders_resumed" not in daemon.log() or (await daemon.get("/ready"))[0] != 200:
            assert time.monotonic() < deadline, daemon.log()
            await asyncio.sleep(0.2)
        code, out, _ = await daemon.cli("status")
        assert code == 0 and "not ready" not in out and "no database" not in out, out
