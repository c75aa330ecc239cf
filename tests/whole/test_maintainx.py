"""The maintainx driver against a simulated organization: everything imported, told of, pushed, and its key rotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.drivers import load
from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

KEY, NEXT = "simulated-maintainx-key", "simulated-maintainx-key-2"
FEW: dict[str, Any] = {
    "work_orders": 30, "work_order_comments": 4, "assets": 12, "parts": 6, "purchase_orders": 3, "work_requests": 4,
    "locations": 3, "users": 5, "teams": 2, "team_members": 3, "vendors": 2, "categories": 2, "meters": 2,
}  # fmt: skip
SELDOM = {"every": "12h", "jitter": "0s"}
RESOURCES = tuple(load("maintainx").spec.resources)
SOON = 40.0


async def missing(control: Control, rows: Rows) -> list[str]:
    """What one side has and the other has not."""
    wrong = []
    for resource in RESOURCES:
        there, here = set(await control.truth_ids(resource)), set(await rows.live("plant", resource))
        wrong += [f"{resource}/{external_id}" for external_id in there ^ here]
    return wrong


async def status(rows: Rows, order: str) -> str:
    found = await rows.connection.fetchval(
        "SELECT data->>'status' FROM syncd.records WHERE resource = 'work_orders' AND external_id = $1", order
    )
    return str(found)


@pytest.mark.timeout(180)
async def test_maintainx_is_imported_told_of_and_pushed_within_its_limits(tmp_path: Path, database: str, rows: Rows):
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    with spawn("maintainx", keys=[NEXT], tiers=["1000/60s"], organization_required=True, **FEW) as simulator:
        control = Control(simulator.url)
        integration = {
            "credentials": {"api_key": {"file": str(key)}},
            "webhook": {"rules": {"signed_url": "reject"}},
            "options": {"organization_id": 4412},
            "accept_risk": True,
        }
        body = {
            "driver": "maintainx",
            "base_url": simulator.base_url,
            "limits": {"tiers": ["1000/60s"], "accept_risk": True},
            "resources": dict.fromkeys(RESOURCES, SELDOM),
            "integrations": {"plant": integration},
        }
        daemon = Daemon(tmp_path, database, {"maintainx": body})
        address = {"listen": f"127.0.0.1:{daemon.port}", "admin": f"127.0.0.1:{daemon.admin_port}",
                   "public_url": f"http://127.0.0.1:{daemon.port}"}  # fmt: skip
        daemon.write_main({"server": address})
        async with daemon:

            async def imported() -> bool:
                return not await missing(control, rows)

            await daemon.until(imported, seconds=SOON, every=0.5)
            code, out, err = await daemon.cli("webhook", "register", "plant")
            assert code == 0 and out.count("made a subscription of") == 22, (out, err)
            hooks = await control.do("hooks")
            at = f"http://127.0.0.1:{daemon.port}/webhooks/maintainx/plant"
            assert all(hook["url"] == f"{at}/{hook['events'][0]}" for hook in hooks)

            # A cancelled work order: the event calls it DONE, and only a read tells.
            order, other, third = list(await control.truth_ids("work_orders"))[:3]
            await control.update("work_orders", order, {"status": "CANCELED"})
            [comment] = await control.create(
                "work_order_comments", {"workOrderId": int(order), "content": "Look again"}
            )
            await control.delete("work_orders", other)

            async def told() -> bool:
                gone = other not in await rows.live("plant", "work_orders")
                known = comment in await rows.live("plant", "work_order_comments")
                return await status(rows, order) == "CANCELED" and gone and known

            await daemon.until(told, seconds=SOON, every=0.2)

            # A push that closes one, in our word for it; a second one finds it so and is not sent.
            await control.update("work_orders", third, {"status": "ON_HOLD"})

            async def held() -> bool:
                return await status(rows, third) == "ON_HOLD"

            await daemon.until(held, seconds=SOON, every=0.2)
            # Our copy is behind, and nothing may be refused for that: neither at the desk nor when it is sent.
            await rows.connection.execute(
                'UPDATE syncd.records SET data = data || \'{"status": "SKIPPED"}\' WHERE external_id = $1', third
            )
            for number in (1, 2):
                code, out, err = await daemon.cli(
                    "push", "send", "plant/work_orders", "--kind", "status", "--id", third, "--data", '{"status": "CLOSED"}',
                    "--key", f"close-{number}", "--wait",
                )  # fmt: skip
                assert code == 0, (out, err)
            there = (await control.truth("work_orders"))[third]
            assert (there["status"], there["progress"]["doneCount"]) == ("DONE", 1)
            assert (await control.stats())["status_writes"] == 1

            # The others: one whose answer is lost is found by its key, and what is gone already needs no second deletion.
            await control.misbehave("drop_after", match="POST /v1/workorders", count=1)
            await control.misbehave("drop_after", match="DELETE", count=1)
            for kind, resource, data, external_id in (
                ("create", "work_orders", {"title": "Made by a push", "priority": "LOW"}, None),
                ("comment", "work_orders", {"content": "Said by a push"}, order),
                ("delete", "work_orders", {}, third),
                ("status", "assets", {"status": "OFFLINE"}, "500001"),
            ):
                await rows.connection.fetchval(
                    "SELECT syncd.push('plant', $1, $2, $3::jsonb, external_id => $4)",
                    resource,
                    kind,
                    orjson.dumps(data).decode(),
                    external_id,
                )

            async def pushed() -> bool:
                return not await rows.connection.fetchval("SELECT count(*) FROM syncd.outbox WHERE state <> 'done'")

            await daemon.until(pushed, seconds=SOON, every=0.2)
            await daemon.until(imported, seconds=SOON, every=0.5)
            made = [raw for raw in (await control.truth("work_orders")).values() if raw["title"] == "Made by a push"]
            assert len(made) == 1 and await status(rows, str(made[0]["id"])) == "OPEN"
            assert third not in await control.truth("work_orders")
            assert (await control.stats())["routes"]["DELETE /v1/workorders/{id}"]["404"] == 1
            said = [raw["content"] for raw in (await control.truth("work_order_comments")).values()]
            assert said.count("Said by a push") == 1
            # Whichever of the two came first lost its answer.
            looked_up = (
                "SELECT count(*) FROM syncd.outbox WHERE operation IN ('create', 'comment') AND answer ? 'looked_up'"
            )
            assert await rows.connection.fetchval(looked_up) == 1

            # One subscription is lost there: it is made anew, and the key is rotated without a restart.
            gone = (await control.do("archive"))["id"]
            code, out, _ = await daemon.cli("webhook", "list", "plant", "--json")
            assert code == 1 and len(orjson.loads(out)["steps"]) == 1
            code, out, err = await daemon.cli("webhook", "repair", "plant")
            assert code == 0 and out.count("made a subscription of") == 1, (out, err)
            assert gone not in {hook["id"] for hook in await control.do("hooks")}
            key.write_text(NEXT)
            code, out, err = await daemon.cli("reload", "--wait")
            assert code == 0, (out, err)
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
        stats = await control.stats()
        assert (stats["violations"], stats["refused_429"], stats["webhooks"]["failed"]) == (0, 0, 0)
