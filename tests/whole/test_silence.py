"""Webhooks that stop coming: noticed, pulled once, said with the command that helps, healed by the next delivery."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.whole.conftest import hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET


async def test_silence_is_pulled_over_once_and_ends_with_the_next_delivery(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=20)
    body = hooked(simulator.base_url, resources=only("things", every="1h"))
    body["integrations"]["acme"]["webhook"]["silence"] = "8s"
    daemon = Daemon(tmp_path, database, {"plain": body})
    await daemon.start()
    hook = f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme"
    await control.webhooks(hook, WEBHOOK_SECRET)
    ids = sorted(await control.truth_ids("things"))

    async def imported() -> bool:
        return await rows.count("acme", "things") == 20

    await daemon.until(imported)
    await control.update("things", ids[0], {"name": "told"})

    async def told() -> bool:
        return (await rows.live("acme", "things"))[ids[0]]["name"] == "told"

    await daemon.until(told)

    await control.ask("DELETE", "webhooks")
    await control.update("things", ids[1], {"name": "untold"})

    async def pulled() -> bool:
        return (await rows.live("acme", "things"))[ids[1]]["name"] == "untold"

    await daemon.until(pulled)

    async def degraded() -> bool:
        return (await daemon.integration("acme"))["state"] == "degraded"

    await daemon.until(degraded)
    told_of = (await daemon.integration("acme"))["explanation"]
    assert told_of["code"] == "webhooks-silent"
    assert told_of["action"].endswith("syncd webhook list acme"), "this partner has no list of webhooks to repair"
    wished = "SELECT count(*) FROM syncd.runs WHERE trigger = 'wish'"
    runs = await rows.connection.fetchval(wished)
    assert runs == 1

    assert await daemon.stop() == 0
    await daemon.start()
    assert (await daemon.integration("acme"))["state"] in ("degraded", "healthy", "waiting")
    await daemon.until(degraded)
    await asyncio.sleep(1.0)
    assert await rows.connection.fetchval(wished) == 1, "a restart in the midst of it pulls no second time"

    await control.webhooks(hook, WEBHOOK_SECRET)
    await control.update("things", ids[2], {"name": "told again"})

    async def healed() -> bool:
        found = await daemon.integration("acme")
        return found["state"] == "healthy" and found["explanation"] is None

    await daemon.until(healed)
    assert "webhooks_heard_again" in daemon.log()
    assert await daemon.stop() == 0
