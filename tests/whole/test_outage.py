"""A partner that goes down for long and comes back: what it costs, what is said, what a person can do about it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

OPEN = 'syncd_breaker_state{group="all",scope="plain/acme"}'


def limits(rate: str = "2000/s", **breaker: Any) -> dict[str, Any]:
    """Quick to break and to look again, so that an outage of seconds has the probes of one of hours."""
    settings = {"failures": 3, "cooldown": "500ms", "longest_cooldown": "1s", **breaker}
    return {"tiers": [rate], "share": 1.0, "breaker": settings}


async def opened(daemon: Daemon) -> bool:
    return await daemon.metric(OPEN) > 0


async def closed(daemon: Daemon) -> bool:
    return await daemon.metric(OPEN) == 0


def said(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in daemon.log().splitlines() if f'"{event}"' in line]


async def fetchval(rows: Rows, query: str) -> Any:
    return await rows.connection.fetchval(query)


async def test_an_outage_spends_no_attempts_grows_no_backlog_and_buries_nothing(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=200, notes=2)
    file = partner(simulator.base_url, resources=only("things", "notes", every="1s"), limits=limits("40/s"))
    daemon = Daemon(tmp_path, database, {"plain": file})
    async with daemon:

        async def some_children() -> bool:
            return await rows.count("acme", "notes") >= 20

        await daemon.until(some_children)
        await control.misbehave("status", status=503, body="down for maintenance")
        await daemon.until(lambda: opened(daemon))
        await asyncio.sleep(1.0)  # what was on its way has ended
        tasks = await fetchval(rows, "SELECT count(*) FROM syncd.tasks")
        attempts = await fetchval(rows, "SELECT coalesce(sum(attempts), 0) FROM syncd.tasks")
        runs = await fetchval(rows, "SELECT count(*) FROM syncd.runs")
        calls = (await control.stats())["calls"]
        lines = len(daemon.log().splitlines())
        assert tasks > 50, "there is a backlog to be patient with"
        await asyncio.sleep(12)
        probes = (await control.stats())["calls"] - calls
        assert 5 <= probes <= 20, "one call a cooldown, more probes than a piece of work has attempts"
        assert await fetchval(rows, "SELECT count(*) FROM syncd.tasks") == tasks
        assert await fetchval(rows, "SELECT coalesce(sum(attempts), 0) FROM syncd.tasks") <= attempts + 1, (
            "a probe's own"
        )
        assert await fetchval(rows, "SELECT max(attempts) FROM syncd.tasks") <= 2
        assert await fetchval(rows, "SELECT count(*) FROM syncd.runs") - runs <= probes
        assert len(daemon.log().splitlines()) - lines <= 2, "a partner that is down is no news with every probe"
        one = await daemon.integration("acme")
        assert (one["state"], one["explanation"]["code"]) == ("down", "breaker-open")
        assert "503" in one["explanation"]["cause"]
        assert one["explanation"]["action"].endswith("now: syncd breaker acme reset")
        things = next(each for each in one["resources"] if each["name"] == "things")
        assert things["records"] == 200, "the last good copy stays readable"
        assert datetime.fromisoformat(things["stale_since"]) > datetime.fromisoformat(things["last_success_at"])
        await control.behave()
        await daemon.until(lambda: closed(daemon))

        async def all_children() -> bool:
            return await rows.count("acme", "notes") == 100

        await daemon.until(all_children, seconds=120)

        async def healthy() -> bool:
            found = await daemon.integration("acme")
            return found["state"] == "healthy" and all(each["stale_since"] is None for each in found["resources"])

        await daemon.until(healthy)
    assert await fetchval(rows, "SELECT count(*) FROM syncd.dead_letters") == 0
    [broke], [healed] = said(daemon, "breaker_opened"), said(daemon, "breaker_closed")
    assert "503" in broke["reason"]
    assert healed["after_seconds"] > 10
    assert len(said(daemon, "run_failed")) <= 2, "the runs' own trouble is said once"


async def test_an_open_breaker_survives_reload_stop_and_kill(tmp_path: Path, database: str, plain):
    simulator, control = plain(things=50)
    file = partner(simulator.base_url, resources=only("things", every="1s"), limits=limits(cooldown="60s"))
    daemon = Daemon(tmp_path, database, {"plain": file})
    async with daemon:
        await daemon.until(lambda: done(daemon))
        await control.misbehave("status", status=500)
        await daemon.until(lambda: opened(daemon))
        [since] = [group["since"] for group in await groups(daemon) if group["state"] == "open"]
        calls = (await control.stats())["calls"]
        daemon.write_partner("plain", {**file, "resources": only("things", every="2s")})
        assert (await daemon.post("reload"))[1]["applied"] == ["plain"]
        assert await opened(daemon), "a reload changes nothing in it"
        await asyncio.sleep(2.5)  # a kill within moments of the opening would lose it
        await daemon.kill()
        await daemon.start()
        await daemon.until(lambda: known(daemon))
        [group] = await groups(daemon)
        assert group["state"] == "open"
        assert group["failures"] >= 3
        assert abs((datetime.fromisoformat(group["since"]) - datetime.fromisoformat(since)).total_seconds()) < 2
        assert "500" in group["errors"][-1]["error"]
        assert await daemon.stop() == 0
        await daemon.start()
        await daemon.until(lambda: known(daemon))
        await asyncio.sleep(2)
        assert await opened(daemon)
        assert (await control.stats())["calls"] == calls, "no start sends a burst at a sick partner"
        assert said(daemon, "breaker_opened")[1:] == []
        code, out, _ = await daemon.cli("breaker", "acme", "reset")
        assert (code, out.startswith("plain/acme closed")) == (0, True)
        await control.behave()
        await daemon.until(lambda: closed(daemon))


async def done(daemon: Daemon) -> bool:
    one = await daemon.integration("acme")
    return any(each["last_success_at"] for each in one["resources"])


async def known(daemon: Daemon) -> bool:
    """Is the scope ours again, and its state read back?"""
    _, body = await daemon.get("/api/v1/breakers", admin=True)
    return bool(json.loads(body)["scopes"][0]["owned"])


async def groups(daemon: Daemon) -> list[dict[str, Any]]:
    _, body = await daemon.get("/api/v1/breakers?integration=acme", admin=True)
    return list(json.loads(body)["scopes"][0]["groups"])


async def test_a_hold_by_hand_survives_a_restart_and_ends_by_itself_or_by_release(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=50)
    file = partner(simulator.base_url, resources=only("things", every="1s"), limits=limits())
    daemon = Daemon(tmp_path, database, {"plain": file})
    async with daemon:
        await daemon.until(lambda: done(daemon))
        assert (await daemon.cli("breaker", "acme", "hold"))[0] == 2, "a hold needs a reason"
        code, _, err = await daemon.cli("breaker", "acme", "hold", "--reason", "they move house")
        assert (code, err) == (0, "")
        await daemon.until(lambda: opened(daemon))
        await asyncio.sleep(1.0)
        calls = (await control.stats())["calls"]
        one = await daemon.integration("acme")
        assert (one["state"], one["explanation"]["code"]) == ("paused", "breaker-held")
        assert "they move house" in one["explanation"]["reason"]
        assert one["explanation"]["action"] == "syncd breaker acme release"
        wish = (await daemon.post("sync", {"integration": "acme"}))[1]["wishes"][0]
        _, body = await daemon.get(f"/api/v1/progress?wish={wish}", admin=True)
        [waiting] = json.loads(body)["runs"]
        assert waiting["state"] == "waiting"
        assert "they move house" in waiting["waiting_reason"]
        await daemon.kill()
        await daemon.start()
        await asyncio.sleep(2.5)
        assert (await control.stats())["calls"] == calls, "held from the first moment"
        assert await fetchval(rows, "SELECT max(attempts) FROM syncd.tasks") == 0, "the wish waits in its row"
        code, out, _ = await daemon.cli("breaker", "acme")
        assert "HELD by" in out
        assert "do: syncd breaker acme release" in out
        assert (await daemon.cli("breaker", "acme", "release"))[0] == 0
        await daemon.until(lambda: closed(daemon))

        async def called() -> bool:
            return (await control.stats())["calls"] > calls

        await daemon.until(called)
        began = time.monotonic()
        assert (await daemon.cli("breaker", "acme", "hold", "--reason", "a short one", "--for", "3s"))[0] == 0
        await daemon.until(lambda: opened(daemon))
        await daemon.until(lambda: closed(daemon))
        assert time.monotonic() - began >= 2.5

        async def noted() -> bool:
            return "breaker_hold_ended" in await actions(rows)

        await daemon.until(noted, seconds=30)
        assert (await actions(rows))[:3] == ["breaker_held", "breaker_released", "breaker_held"]
    assert await fetchval(rows, "SELECT count(*) FROM syncd.controls") == 0


async def actions(rows: Rows) -> list[str]:
    found = await rows.connection.fetch("SELECT action FROM syncd.audit_log WHERE action LIKE 'breaker%' ORDER BY id")
    return [row["action"] for row in found]
