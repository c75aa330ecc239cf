"""Webhooks a driver chose: polled as ever until syncd has registered and events come, seldom then, polled in a silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

OFF: dict[str, Any] = {"enabled": False}


@pytest.mark.timeout(150)
async def test_nobody_is_read_less_often_before_registered_webhooks_have_told_of_it(
    tmp_path: Path, database: str, rows: Rows
):
    with spawn("guesty", listings=5, guests=0, reservations=0) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "guesty",
            "base_url": simulator.base_url,
            "options": {"listings": "plain"},
            "integrations": {
                "stay": {
                    "credentials": {"client_id": "simulated-client", "client_secret": "simulated-secret"},
                    "webhook": {"silence": "10s"},
                    "accept_risk": True,
                }
            },
            "resources": {"listings": {"every": "2s", "jitter": "0s"}, "reservations": OFF, "guests": OFF},
        }
        daemon = Daemon(tmp_path, database, {"guesty": body})
        address = {"listen": f"127.0.0.1:{daemon.port}", "admin": f"127.0.0.1:{daemon.admin_port}",
                   "public_url": f"http://127.0.0.1:{daemon.port}"}  # fmt: skip
        daemon.write_main({"server": address})

        async def listings() -> dict[str, Any]:
            found: list[dict[str, Any]] = (await daemon.integration("stay"))["resources"]
            return found[0]

        async def runs() -> int:
            return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.runs WHERE outcome = 'done'"))

        async def polls_thrice_more() -> None:
            before = await runs()

            async def more() -> bool:
                return await runs() >= before + 3

            await daemon.until(more)

        async def changed() -> None:
            known = (await control.truth_ids("listings"))[0]
            await control.update("listings", known, {"title": f"title {await runs()}"})

        async with daemon:
            await polls_thrice_more()
            shown = await listings()
            assert (shown["strategy"], shown["fed"], shown["remarks"]) == ("webhooks", False, [])

            code, _, err = await daemon.cli("webhook", "register", "stay")
            assert code == 0, err
            await polls_thrice_more()  # until one has come

            telling = asyncio.create_task(_every_second(changed))
            try:

                async def fed() -> bool:
                    return bool((await listings())["fed"])

                await daemon.until(fed)
                await asyncio.sleep(2.5)  # a poll that was due already goes
                before = await runs()
                await asyncio.sleep(5)
                assert await runs() == before, "a backup a day is enough while they come"
            finally:
                telling.cancel()

            async def silent() -> bool:
                return not (await listings())["fed"]

            await daemon.until(silent)
            await polls_thrice_more()


async def _every_second(work: Any) -> None:
    while True:
        await work()
        await asyncio.sleep(1)
