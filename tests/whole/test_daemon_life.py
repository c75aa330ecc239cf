"""The daemon's life: what the probes say, how it ends, what a sick partner or an absent database does to it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson
import pytest

from tests.whole.daemon import Daemon, Rows
from tests.whole.growing import Growing, growing_partner

KEY = "growing-key-0123456789"
QUICK: dict[str, Any] = {
    "limits": {"tiers": ["1000/s"], "share": 1.0, "breaker": {"failures": 3, "cooldown": "2s"}},
    "deadline": "1s",
}
"""So that trouble shows within seconds."""


@pytest.fixture
async def growing() -> AsyncIterator[Any]:
    """Start growing partners; they stop with the test."""
    made: list[Growing] = []

    async def start() -> tuple[Growing, str]:
        made.append(Growing(KEY))
        return made[-1], await made[-1].start()

    yield start
    for partner in made:
        await partner.stop()


@asynccontextmanager
async def one(growing: Any, tmp_path: Path, database: str, **main: Any) -> AsyncIterator[tuple[Daemon, Growing]]:
    """A daemon with one partner, `plain`, and its integration `acme`; killed at the end if it still runs."""
    partner, url = await growing()
    daemon = Daemon(tmp_path, database, {"plain": growing_partner(url, "acme", KEY, **QUICK)}, main=main, cold=True)
    await daemon.start()
    try:
        yield daemon, partner
    finally:
        partner.be("ok")
        if daemon.process is not None and daemon.process.returncode is None:
            await daemon.kill()


async def arrives(daemon: Daemon, rows: Rows, partner: Growing, integration: str = "acme") -> None:
    new = partner.add()

    async def arrived() -> bool:
        return new in await rows.live(integration, "items")

    await daemon.until(arrived, seconds=40)


async def health(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    status, body = await daemon.get("/health")
    return status, orjson.loads(body)


async def ready(daemon: Daemon) -> tuple[int, str]:
    status, body = await daemon.get("/ready")
    return status, body.decode()


async def ended(daemon: Daemon, seconds: float) -> int:
    assert daemon.process is not None
    return await asyncio.wait_for(daemon.process.wait(), seconds)


async def test_health_has_the_seeds_shape_and_stays_200_while_a_partner_is_down_and_heals(
    growing: Any, tmp_path: Path, database: str, rows: Rows
):
    async with one(growing, tmp_path, database) as (daemon, partner):
        await arrives(daemon, rows, partner)
        status, said = await health(daemon)
        assert status == 200
        assert set(said) == {"status", "services", "timestamp"}
        assert said["status"] == "healthy"
        assert set(said["services"]["acme"]) == {"status", "latencyMs"}
        assert said["services"]["acme"]["status"] == "healthy"
        assert isinstance(said["services"]["acme"]["latencyMs"], int)
        assert datetime.fromisoformat(said["timestamp"]).tzinfo is not None

        partner.be("500")

        async def down() -> bool:
            return (await health(daemon))[1]["services"]["acme"]["status"] == "down"

        await daemon.until(down)
        status, said = await health(daemon)
        assert status == 200, "a partner's outage is no reason to restart us"
        assert said["status"] == "degraded"
        service = said["services"]["acme"]
        assert service["reason"]
        assert service["next_action"]
        assert service["runbook"].startswith("syncd runbook ")
        assert (await ready(daemon))[0] == 200, "webhooks are stored all the same"

        async def opened() -> bool:
            return await daemon.metric('syncd_breaker_state{group="all",scope="plain/acme"}') == 2.0

        await daemon.until(opened)
        calls = partner.calls.total()
        await asyncio.sleep(1.0)
        assert partner.calls.total() - calls <= 2, "an open breaker lets one probe through now and then"

        partner.be("ok")
        await arrives(daemon, rows, partner)

        async def healthy() -> bool:
            return (await health(daemon))[1]["status"] == "healthy"

        await daemon.until(healthy)
        assert await daemon.metric('syncd_breaker_state{group="all",scope="plain/acme"}') == 0.0
        assert await daemon.stop() == 0
        said_once = [line for line in daemon.log().splitlines() if '"breaker_opened"' in line]
        assert len(said_once) == 1, "said once when it breaks"
        assert len([line for line in daemon.log().splitlines() if '"breaker_closed"' in line]) == 1


async def test_ready_says_no_while_draining_and_a_second_signal_ends_it_at_once_with_130(
    growing: Any, tmp_path: Path, database: str, rows: Rows
):
    async with one(growing, tmp_path, database) as (daemon, partner):
        daemon.write_partner("plain", growing_partner(f"http://127.0.0.1:{partner.port}/v1", "acme", KEY))
        await daemon.post("reload")  # with the usual deadline of 30 s, so that what hangs is held for long
        await arrives(daemon, rows, partner)
        calls = partner.calls["/v1/items"]
        partner.be("hang")

        async def held() -> bool:
            return partner.calls["/v1/items"] > calls

        await daemon.until(held)
        os.kill(daemon.pid, signal.SIGTERM)

        async def draining() -> bool:
            status, said = await ready(daemon)
            return status == 503 and "draining" in said

        await daemon.until(draining)
        assert (await health(daemon))[0] == 200
        os.kill(daemon.pid, signal.SIGTERM)
        assert await ended(daemon, 5) == 130
    daemon.process = None
    await daemon.start()
    await arrives(daemon, rows, partner)
    assert await daemon.stop() == 0


async def test_a_drain_that_takes_too_long_is_cut_at_its_limit_and_ends_with_0(
    growing: Any, tmp_path: Path, database: str, rows: Rows
):
    async with one(growing, tmp_path, database, drain="1s") as (daemon, partner):
        await arrives(daemon, rows, partner)
        daemon.write_partner("plain", growing_partner(f"http://127.0.0.1:{partner.port}/v1", "acme", KEY))
        await daemon.post("reload")
        calls = partner.calls["/v1/items"]
        partner.be("hang")

        async def held() -> bool:
            return partner.calls["/v1/items"] > calls

        await daemon.until(held)
        os.kill(daemon.pid, signal.SIGTERM)
        assert await ended(daemon, 20) == 0
        assert '"in_time":false' in daemon.log()


async def test_sigterm_during_a_reload_that_hangs_is_heard(growing: Any, tmp_path: Path, database: str, rows: Rows):
    async with one(growing, tmp_path, database, drain="2s") as (daemon, partner):
        await arrives(daemon, rows, partner)
        changed = growing_partner(f"http://127.0.0.1:{partner.port}/v1", "acme", KEY + "-changed")
        daemon.write_partner("plain", changed)
        calls = partner.calls["/v1/me"]
        partner.be("hang")
        daemon.hup()

        async def testing_the_new_key() -> bool:
            return partner.calls["/v1/me"] > calls

        await daemon.until(testing_the_new_key)
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGTERM)

        async def draining() -> bool:
            return daemon.process is None or daemon.process.returncode is not None or "drain_started" in daemon.log()

        while not await draining():
            await asyncio.sleep(0.05)
            assert time.monotonic() - began < 15, "the reload keeps the signal waiting"
        assert await ended(daemon, 25) == 0


async def test_the_database_goes_away_and_comes_back_and_everything_goes_on_by_itself(
    growing: Any, tmp_path: Path, database: str, rows: Rows, postgres_url: str
):
    name = urlsplit(database).path.removeprefix("/")
    async with one(growing, tmp_path, database) as (daemon, partner):
        await arrives(daemon, rows, partner)
        await rows.aclose()
        admin = await asyncpg.connect(postgres_url)
        try:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

            async def unready() -> bool:
                return (await ready(daemon))[0] == 503

            await daemon.until(unready)
            status, said = await health(daemon)
            assert status == 200, said
            await asyncio.sleep(3)
            assert (await health(daemon))[0] == 200
            code, out, err = await daemon.cli("status", "--exit-code")
            assert code == 1, out + err
            assert "not ready" in out and "no database" in out and "acme" in out, out
        finally:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await admin.close()
        rows.connection = await asyncpg.connect(database)

        async def again() -> bool:
            return (await ready(daemon))[0] == 200

        await daemon.until(again, seconds=30)
        await arrives(daemon, rows, partner)

        async def healthy() -> bool:
            return (await health(daemon))[1]["status"] == "healthy"

        await daemon.until(healthy, seconds=30)
        assert await daemon.stop() == 0


async def test_a_start_without_the_database_waits_for_it_says_so_and_can_be_stopped(
    growing: Any, tmp_path: Path, database: str, rows: Rows, postgres_url: str
):
    name = urlsplit(database).path.removeprefix("/")
    partner, url = await growing()
    daemon = Daemon(tmp_path, database, {"plain": growing_partner(url, "acme", KEY)})
    await rows.aclose()
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

        async def waiting() -> bool:
            try:
                status, said = await ready(daemon)
            except aiohttp.ClientError:
                return False
            return status == 503 and "database" in said

        await daemon.start(wait=False)
        await daemon.until(waiting)
        assert (await health(daemon))[0] == 200
        assert await daemon.stop() == 0
        await daemon.start(wait=False)
        await daemon.until(waiting)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
    rows.connection = await asyncpg.connect(database)
    await daemon.until_ready(40)
    await arrives(daemon, rows, partner)
    assert daemon.log().count("database_waited_for") == 2, "said once a start"
    assert await daemon.stop() == 0


async def test_a_pause_survives_a_restart_and_resume_ends_it(growing: Any, tmp_path: Path, database: str, rows: Rows):
    async with one(growing, tmp_path, database) as (daemon, partner):
        await arrives(daemon, rows, partner)
        code, out, err = await daemon.cli("pause", "acme", "--for", "1h", "--reason", "their migration")
        assert code == 0, out + err

        async def paused() -> bool:
            return (await daemon.integration("acme"))["state"] == "paused"

        await daemon.until(paused)
        assert await daemon.stop() == 0
        calls = partner.calls.total()
        await daemon.start()
        await daemon.until(paused)
        await asyncio.sleep(2)
        assert partner.calls.total() == calls, "not even one call after the start"
        _, out, _ = await daemon.cli("status")
        assert "their migration" in out
        assert "syncd resume acme" in out
        said = (await health(daemon))[1]
        assert said["status"] == "healthy", "a pause somebody asked for is no trouble"
        assert said["services"]["acme"]["status"] == "paused"
        code, out, err = await daemon.cli("resume", "acme")
        assert code == 0, out + err
        await arrives(daemon, rows, partner)
        asked = "SELECT action FROM syncd.audit_log WHERE action IN ('paused', 'resumed', 'pause_ended') ORDER BY id"
        actions = await rows.connection.fetch(asked)
        assert [row["action"] for row in actions] == ["paused", "resumed"]
        assert await daemon.stop() == 0


SICK = {
    # how it is sick: the states it may be in, what status says, what to do
    "hang": ({"down"}, "", "nothing to do"),
    "500": ({"down"}, "", "nothing to do"),
    "html": ({"down"}, "", "nothing to do"),
    "gone": ({"down"}, "", "nothing to do"),
    "401": ({"auth_required"}, "401", "syncd credential"),
    "403": ({"degraded", "down", "auth_required"}, "403", "syncd"),
    "429": ({"waiting"}, "answered 429", "nothing to do"),
    "malformed": ({"degraded", "down"}, "", "syncd"),
}


@pytest.mark.timeout(180)
async def test_eight_sick_integrations_never_touch_the_ninth_and_each_says_what_is_wrong_and_heals(
    growing: Any, tmp_path: Path, database: str, rows: Rows
):
    partners: dict[str, Growing] = {}
    files: dict[str, Any] = {}
    for name in SICK:
        partners[name], url = await growing()
        files[f"p{name}"] = growing_partner(url, f"i{name}", KEY, **QUICK)
    well, url = await growing()
    files["pwell"] = growing_partner(url, "well", KEY, workers=4, **QUICK)
    # One of the same partner file hangs as well: it shares the coroutines of the one that works.
    neighbour, other_url = await growing()
    files["pwell"]["integrations"]["neighbour"] = {"credentials": {"api_key": KEY}, "base_url": other_url}
    daemon = Daemon(tmp_path, database, files)
    async with daemon:
        for name, partner in partners.items():
            await arrives(daemon, rows, partner, f"i{name}")
        for name, partner in partners.items():
            if name == "gone":
                await partner.stop()
            elif name == "malformed":
                partner.body = {"items": "none today"}
                partner.be("200")
            else:
                partner.headers = {"Retry-After": "3600"} if name == "429" else {}
                partner.be(name)
        neighbour.be("hang")

        async def each_is_sick() -> bool:
            found = {one["name"]: one["state"] for one in (await daemon.status())["integrations"]}
            return all(found[f"i{name}"] in states for name, (states, _, _) in SICK.items())

        try:
            await daemon.until(each_is_sick, seconds=40)
        except AssertionError:
            raise AssertionError(
                {
                    one["name"]: (one["state"], one["explanation"])
                    for one in (await daemon.status())["integrations"]
                    if one["state"] not in SICK.get(one["name"][1:], ({one["state"]},))[0]
                }
            ) from None
        for _ in range(3):
            await arrives(daemon, rows, well, "well")
        assert (await daemon.integration("well"))["state"] == "healthy"
        status, said = await health(daemon)
        assert status == 200
        assert said["services"]["well"]["status"] == "healthy"
        assert "stuck" not in said

        _, out, _ = await daemon.cli("status")
        sections = sections_of(out)
        for name, (states, words, action) in SICK.items():
            section = sections[f"i{name}"]
            assert any(state.replace("_", " ") in section.lower() for state in states), section
            assert words in section, section
            assert "do: " in section, section
            assert action in section, section
            service = said["services"][f"i{name}"]
            assert service["reason"], name
            assert service["next_action"], name
        assert "do: " not in sections["well"]
        assert (await daemon.cli("status", "--exit-code"))[0] == 1
        code, out, err = await daemon.cli("sync", "i401", seconds=20)
        assert code == 1, "whoever asks for a sync is told at once that the credential is refused"
        assert "401" in out + err

        # Everybody is well again. What only a person can mend is proved by the person's command.
        await partners["gone"].start()
        for partner in (*partners.values(), neighbour):
            partner.be("ok")
        code, out, err = await daemon.cli("credential", "test", "i401")
        assert code == 0, out + err
        for name in ("hang", "500", "html", "gone", "malformed"):
            await arrives(daemon, rows, partners[name], f"i{name}")
        for name in ("401", "403"):
            code, out, err = await daemon.cli("sync", f"i{name}")
            assert code == 0, out + err
            await arrives(daemon, rows, partners[name], f"i{name}")
        await arrives(daemon, rows, neighbour, "neighbour")


def sections_of(text: str) -> dict[str, str]:
    """The status page by integration: its first line and the indented ones below."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] not in ("", " ") and len(line.split()) > 1:
            name = line.split()[1]
            found[name] = ""
        found[name] = found.get(name, "") + line + "\n"
    return found


async def test_a_database_of_another_release_ends_the_start_with_a_reason_instead_of_waiting(
    growing: Any, tmp_path: Path, database: str, rows: Rows
):
    await rows.connection.execute("UPDATE syncd.schema_migrations SET checksum = decode('00', 'hex') WHERE version = 1")
    _, url = await growing()
    daemon = Daemon(tmp_path, database, {"plain": growing_partner(url, "acme", KEY, **QUICK)})
    await daemon.start(wait=False)
    assert await ended(daemon, 60) == 78
    assert "install a released version of syncd" in daemon.log()
