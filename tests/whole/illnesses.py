"""Ten troubles and more: how each befalls a daemon in life, what its next command has to tell, and what heals it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import yaml

from tests.whole.plain import WEBHOOK_SECRET
from tests.whole.planting import OTHER_SECRET, World, fill
from tests.whole.watching import Trouble

Step = Callable[[World], Awaitable[None]]
COMMAND = re.compile(r"(syncd [a-z][^;,]*|df -h)$")


@dataclass(frozen=True)
class Illness:
    """One trouble. `heal` is done after its next command was run; `tells` is what that command printed at the least."""

    daemon: str
    integration: str
    codes: tuple[str, ...]
    plant: Step
    tells: str
    heal: Callable[[World, str, str], Awaitable[None]]
    """It is handed the action, and what its command printed."""

    def trouble(self) -> Trouble:
        return Trouble(self.daemon, self.integration, self.codes)


def misbehaving(name: str, codes: tuple[str, ...], kind: str, tells: str, **how: object) -> Illness:
    """The partner itself is not well, until it is."""

    async def plant(world: World) -> None:
        await world.control(name).misbehave(kind, **how)

    async def heal(world: World, action: str, printed: str) -> None:
        await world.control(name).behave()
        # It would be tried by itself, within half a minute at first: who has mended it has it tried now, by the same command.
        if "breaker" in action:
            assert (await world.daemons["main"].cli("breaker", name, "reset"))[0] == 0
        if "auth-failed" in codes:
            assert (await world.daemons["main"].cli("credential", "test", name))[0] == 0

    return Illness("main", name, codes, plant, tells, heal)


def closed(name: str) -> Illness:
    """Nobody listens where the partner was."""

    async def plant(world: World) -> None:
        await world.served[name].aclose()

    async def heal(world: World, action: str, printed: str) -> None:
        await world.simulator(name, port=world.served[name].port)
        assert (await world.daemons["main"].cli("breaker", name, "reset"))[0] == 0

    return Illness("main", name, ("breaker-open", "partner-down"), plant, "calls go again", heal)


async def tighten(world: World) -> None:
    await world.control("tight").tighten(0.3, silent=True)


async def write_the_limit(world: World, action: str, printed: str) -> None:
    """The line that the status names, in the file that it names."""
    line, _, path = action.partition(" in ")
    file = world.daemons["main"].config / path
    found = yaml.safe_load(file.read_text()) | yaml.safe_load(line)
    file.write_text(yaml.safe_dump(found))
    await reload(world)


async def retype(world: World) -> None:
    first, *_ = await world.control("retyped").truth_ids("things")
    await world.control("retyped").update("things", first, {"pad": 7})


async def nothing(world: World, action: str, printed: str) -> None:
    """Its command has healed it."""


async def sign_otherwise(world: World) -> None:
    await world.subscribe(world.daemons["main"], "signed", OTHER_SECRET)


async def take_the_secret(world: World, action: str, printed: str) -> None:
    """As the action has it: the partner's new one goes into the file, then a reload."""
    file = world.daemons["main"].config / "partners" / "signed.yaml"
    file.write_text(file.read_text().replace(WEBHOOK_SECRET, OTHER_SECRET))
    await reload(world)


async def mistake(world: World) -> None:
    file = world.daemons["main"].config / "partners" / "reloaded.yaml"
    file.write_text(file.read_text() + "\nbase_ulr: http://127.0.0.1\n")
    world.daemons["main"].hup()


async def mend_the_file(world: World, action: str, printed: str) -> None:
    file = world.daemons["main"].config / "partners" / "reloaded.yaml"
    file.write_text(file.read_text().replace("\nbase_ulr: http://127.0.0.1\n", ""))
    await reload(world)


async def reload(world: World) -> None:
    """Others may not have been mended yet: what is refused of them is not what is looked at."""
    await world.daemons["main"].cli("reload", "--wait")


async def lock(world: World) -> None:
    """As somebody who builds an index in another window: the table can be read, and not written."""
    session = await asyncpg.connect(world.daemons["held"].database_url, server_settings={"application_name": "psql"})
    world.sessions.append(session)
    await session.execute("BEGIN; LOCK TABLE syncd.tasks IN SHARE MODE")


async def end_the_session(world: World, action: str, printed: str) -> None:
    """With the very statement that the command has printed."""
    statement = re.search(r"psql -c '(SELECT pg_terminate_backend\(\d+\))'", printed)
    assert statement is not None, printed
    connection = await asyncpg.connect(world.daemons["held"].database_url)
    assert await connection.fetchval(statement[1])
    await connection.close()


async def slow_down(world: World) -> None:
    assert world.cutter is not None
    world.cutter.delay_seconds = 0.3


async def speed_up(world: World, action: str, printed: str) -> None:
    assert world.cutter is not None
    world.cutter.delay_seconds = 0.0


def full(daemon: str) -> Illness:
    async def plant(world: World) -> None:
        await asyncio.to_thread(fill, world.disks[daemon])

    async def heal(world: World, action: str, printed: str) -> None:
        (world.disks[daemon] / "ballast").unlink()

    return Illness(daemon, "", ("disk-full",), plant, "100%", heal)


AWAY = ("breaker-open", "partner-down")
ILLNESSES = {
    "token revoked": misbehaving("revoked", ("auth-failed",), "status", "401", status=401),
    "token revoked, quiet partner": misbehaving("quiet_revoked", ("auth-failed",), "status", "401", status=401),
    "signature's secret changed": Illness(
        "main", "signed", ("signatures-refused",), sign_otherwise, "", take_the_secret
    ),
    "partner down: nobody listens": closed("down"),
    "partner down, quiet partner": closed("quiet_down"),
    "partner down: 503": misbehaving("failing", AWAY, "status", "calls go again", status=503, body="maintenance"),
    "partner slow": misbehaving("slow", ("partner-slow",), "latency", "authenticated in 3", min=3.3, max=3.6),
    "partner slow, quiet partner": misbehaving(
        "quiet_slow", ("partner-slow",), "latency", "authenticated in 3", min=3.3, max=3.6
    ),
    "limit tightened": Illness("main", "tight", ("limit-learned", "limit-slowed"), tighten, "", write_the_limit),
    "schema changed: a list renamed": misbehaving(
        "renamed", ("schema-changed",), "status", "expected a list at `items`", status=200, body='{"things": []}'
    ),
    "schema changed: a field retyped": Illness(
        "main", "retyped", ("schema-changed",), retype, "1 change accepted", nothing
    ),
    "bad reload": Illness("main", "", ("reload-failed",), mistake, "unknown key 'base_ulr'", mend_the_file),
    "queue stuck": Illness("held", "", ("queue-stuck",), lock, "holds tasks", end_the_session),
    "database slow": Illness("far", "", ("database-slow",), slow_down, "answers in", speed_up),
    "disk of the database full": full("full"),
    "disk of the state directory full": full("far"),
}
