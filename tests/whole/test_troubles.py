"""Troubles planted in running daemons, all at once and at the pace of an ordinary installation: each is named by every
surface within a minute, in the same words and with the same command, which helps; once it heals, all say so within a minute.
Nothing is said that was not planted.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.alerts.promtool import PROMTOOL, ask
from tests.whole.illnesses import COMMAND, ILLNESSES, Illness
from tests.whole.planting import World
from tests.whole.postgres import Postgres
from tests.whole.prom import prometheus
from tests.whole.watching import Trouble, Watch

WITHIN_SECONDS = 60.0
QUIET_SECONDS = 16.0
"""Before anything is planted: a start is no news."""
CONSEQUENCES = {"rate-limited", "limit-slowed", "limit-learned", "ramping"}


@pytest.mark.timeout(400)
async def test_each_planted_trouble_is_named_by_every_surface_within_a_minute_and_clears_within_one(
    tmp_path: Path, postgres: Postgres
):
    """On a server of its own: a transaction held open holds back the feed of every database beside it, and a full disk their
    checkpoints."""
    async with AsyncExitStack() as stack:
        world, watch = World(tmp_path, postgres.url, stack), Watch()
        await started(world, watch, postgres.socket)
        ports = [daemon.port for daemon in world.daemons.values()]
        watch.prometheus = await stack.enter_async_context(prometheus(tmp_path / "prometheus", ports))
        await stack.enter_async_context(watch.watching())
        await asyncio.sleep(QUIET_SECONDS)
        assert loud(watch) == {}, "a start, and partners at work"

        illnesses = {name: one for name, one in ILLNESSES.items() if one.daemon in world.daemons}
        troubles = {name: one.trouble() for name, one in illnesses.items()}
        watch.troubles = list(troubles.values())
        for name, illness in illnesses.items():
            troubles[name].plant()
            await illness.plant(world)
        await watch.until("named", troubles.values(), WITHIN_SECONDS)
        if PROMTOOL is not None:
            linted = ask("check", "metrics", stdin=(await world.daemons["main"].get("/metrics"))[1])
            assert linted.returncode == 0, (linted.stdout + linted.stderr).decode()
        texts = {name: " ".join((await one.cli("status"))[1].split()) for name, one in world.daemons.items()}

        at_once = asyncio.Semaphore(4)

        async def see_to(name: str, illness: Illness) -> None:
            """As the person who was called: read the line, run its command, mend it."""
            trouble = troubles[name]
            reason, action = trouble.told.get("reason", ""), trouble.told.get("action", "")
            if trouble.told and trouble.told["severity"] != "note":
                assert any(" ".join(said.split()) in texts[illness.daemon] for said, _ in trouble.said["status"]), name
            async with at_once:
                printed = await run(world, illness.daemon, action)
                assert illness.tells in printed, (name, reason, action, printed)
                trouble.heal()
                await illness.heal(world, action, printed)

        await asyncio.gather(*(see_to(name, illness) for name, illness in illnesses.items()))
        await watch.until("cleared", troubles.values(), WITHIN_SECONDS)
        print(f"\n{watch.table(troubles)}")
        judge(watch, troubles)


@pytest.mark.soak
@pytest.mark.timeout(4500)
async def test_an_hour_in_which_nothing_is_amiss_calls_nobody(tmp_path: Path, postgres: Postgres):
    """Polled, quiet, tightly limited and webhook-fed partners that change: neither a condition nor an alert above a note, nor
    a message. `SYNCD_TEST_QUIET` makes the hour shorter, in seconds."""
    async with AsyncExitStack() as stack:
        world, watch = World(tmp_path, postgres.url, stack), Watch()
        await world.main(watch)
        await world.held(watch)
        for name in ("signed", "stuck"):
            await world.control(name).stream(0.7, resources=("things",), creations=0.0, deletions=0.0)
        ports = [daemon.port for daemon in world.daemons.values()]
        watch.prometheus = await stack.enter_async_context(prometheus(tmp_path / "prometheus", ports))
        await stack.enter_async_context(watch.watching())
        until = time.monotonic() + float(os.environ.get("SYNCD_TEST_QUIET", "3600"))
        calls: set[tuple[str, str, str]] = set()
        while time.monotonic() < until:
            await asyncio.sleep(5)
            firing = [one["labels"] for one in watch.firing if one["labels"].get("severity") != "note"]
            calls |= {(one["alertname"], one.get("integration", ""), one.get("code", "")) for one in firing}
        assert loud(watch) == {}
        assert {one for one in calls if one[0] != "SyncdWatchdog"} == set()
        told = [one for heard in watch.messages.values() for _, message in heard for one in message["began"]]
        assert [one["code"] for one in told if one["severity"] != "note"] == []


async def started(world: World, watch: Watch, socket: str) -> None:
    """All daemons at once, and partners that change."""
    await world.main(watch)
    await world.held(watch)
    try:
        await world.far(watch, socket)
        await world.full(watch)
    except PermissionError as error:
        warnings.warn(f"no disk of our own, so none is filled and no database slowed: {error}", stacklevel=1)
    for name in ("signed", "stuck"):
        await world.control(name).stream(0.7, resources=("things",), creations=0.0, deletions=0.0)
    if "grown" in world.served:
        await world.control("grown").stream(20, resources=("things",), creations=0.0, deletions=0.0)


async def run(world: World, daemon: str, action: str) -> str:
    """What the command at the action's end prints; nothing where it has none."""
    command = COMMAND.search(action)
    if command is None:
        return ""
    if command[1] == "df -h":
        process = await asyncio.create_subprocess_exec("df", "-h", stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0].decode()
    code, out, err = await world.daemons[daemon].cli(*command[1].split()[1:])
    assert code not in (2, 69), f"{command[1]}: {err}"
    return out + err


def loud(watch: Watch) -> Mapping[tuple[str, str, str], str]:
    """Whatever was met that calls for somebody."""
    return {key: one["reason"] for key, one in watch.seen.items() if one["severity"] != "note"}


def judge(watch: Watch, troubles: Mapping[str, Trouble]) -> None:
    late = {
        f"{name}: {what} by {surface}": getattr(trouble, what).get(surface)
        for name, trouble in troubles.items()
        for what in ("named", "cleared")
        for surface in watch.surfaces
        if getattr(trouble, what).get(surface, math.inf) > WITHIN_SECONDS
    }
    assert late == {}
    for name, trouble in troubles.items():
        told = trouble.said["status"]
        surfaces = set(watch.surfaces) - ({"page"} if trouble.told["severity"] == "note" else set())
        apart = [surface for surface in surfaces if not trouble.said.get(surface, set()) & told]
        assert apart == [], f"{name}: other words than the status at {apart}: {trouble.said}"
    planted = {(one.daemon, one.integration, code) for one in troubles.values() for code in one.codes}
    other = {key: why for key, why in loud(watch).items() if key not in planted and key[2] not in CONSEQUENCES}
    assert other == {}, "what nobody has planted"
