"""`syncd doctor` and `syncd verify` against a real daemon, an Attio and a MaintainX: what is seen, made, ended, left over."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from tests.whole import warm
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

KEY, TOKEN = "simulated-maintainx-key", "simulated-attio-token"
FEW: dict[str, Any] = {
    "work_orders": 5, "work_order_comments": 1, "assets": 3, "parts": 2, "purchase_orders": 1, "work_requests": 1,
    "locations": 1, "users": 2, "teams": 1, "team_members": 1, "vendors": 1, "categories": 1, "meters": 1,
}  # fmt: skip
SEEN = (
    "attio-1.2", "attio-1.4", "attio-1.5", "attio-1.7", "attio-2.1", "attio-2.4", "attio-3.5", "attio-5.1", "attio-6.7",
    "attio-7.1", "attio-8.2", "attio-9.2", "attio-9.3", "maintainx-1.6", "maintainx-3.3", "maintainx-3.5", "maintainx-4.2",
    "maintainx-4.4", "maintainx-5.1", "maintainx-8.2", "host-1.2", "host-2.1", "host-2.2", "host-3.1", "host-3.2", "host-3.3",
    "host-4.1",
)  # fmt: skip
"""Lines that only a real installation can make pass."""


def kept(folder: Path, name: str, value: str) -> dict[str, str]:
    path = folder / name
    path.write_text(value)
    path.chmod(0o600)
    return {"file": str(path)}


async def verdicts(daemon: Daemon, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code, out, err = await daemon.cli("doctor", "--offline", "--json", *words)
    assert out, err
    told = orjson.loads(out)
    assert told["schema"] == "syncd.doctor/1"
    return code, {line["id"]: line for line in told["lines"]}


async def verified(daemon: Daemon, name: str, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, err = await daemon.cli("verify", name, "--json", *words)
    assert out, err
    return code, orjson.loads(out)


async def killed_while_reading(daemon: Daemon, control: Control, rows: Rows) -> str:
    """A check that is killed after it made its record and before it ended it; the record's id."""
    await control.misbehave("latency", match="GET /v1/workorders/{", min=4.0, max=4.0, count=1)
    env = {**daemon.env, "SYNCD_CONFIG": str(daemon.config)}
    with tempfile.TemporaryFile() as out, Path(os.devnull).open() as nothing:
        files = {"stdin": nothing.fileno(), "stdout": out.fileno(), "stderr": out.fileno()}
        process = warm.fork("syncd", "verify", "plant", "--yes", env=env, **files)

        async def made() -> str | None:
            found: str | None = await rows.connection.fetchval(
                "SELECT external_id FROM syncd.outbox WHERE operation = 'create' AND state = 'done' ORDER BY id DESC LIMIT 1"
            )
            return found

        before = await made()

        async def another() -> str | None:
            found = await made()
            return found if found != before else None

        record: str = await daemon.until(another, seconds=20)
        process.kill()
        await process.wait()
    await control.behave()
    return record


@pytest.mark.timeout(150)
async def test_the_checklists_and_the_check_after_a_deployment(tmp_path: Path, database: str, rows: Rows):
    with spawn("maintainx", tiers=["1000/60s"], **FEW) as orders, spawn("attio", people=5, companies=3) as workspace:
        control = Control(orders.url)
        partners: dict[str, Any] = {
            "maintainx": {
                "driver": "maintainx",
                "base_url": orders.base_url,
                "limits": {"tiers": ["1000/60s"], "accept_risk": True},
                "integrations": {"plant": {"credentials": {"api_key": kept(tmp_path, "plant", KEY)}}},
            },
            "attio": {
                "driver": "attio",
                "base_url": workspace.base_url,
                "options": {"oauth_url": workspace.url},
                "integrations": {
                    "crm": {
                        "credentials": {"token": kept(tmp_path, "crm", TOKEN)},
                        "webhook": {"secrets": [kept(tmp_path, "hook", "a-secret-of-a-webhook-for-tests")]},
                    }
                },
            },
        }
        async with Daemon(tmp_path, database, partners) as daemon:

            async def read() -> bool:
                done = {
                    resource["name"]
                    for name in ("plant", "crm")
                    for resource in (await daemon.integration(name))["resources"]
                    if resource["last_success_at"]
                }
                return {"work_orders", "users", "meters", "people", "companies"} <= done

            await daemon.until(read, seconds=40)

            # The checklists: all that can only be seen here is seen, and what was not done yet is said.
            code, found = await verdicts(daemon)
            assert code == 1
            assert {line: found[line]["detail"] for line in SEEN if found[line]["verdict"] != "pass"} == {}
            assert found["maintainx-7.1"]["verdict"] == "fail"
            assert found["maintainx-7.1"]["do"] == "syncd verify plant"
            assert "200 " not in found["attio-1.7"]["detail"] or TOKEN not in str(found)

            # Whose eyes: the daemon has the database's address and this command not, or another one.
            address = daemon.env.pop("SYNCD_TEST_DB")
            for given in ({}, {"SYNCD_TEST_DB": "postgresql://127.0.0.1:9/another"}):
                daemon.env.update(given)
                code, out, _ = await daemon.cli("check", "--env", "--json")
                looked = {one["what"]: one for one in orjson.loads(out)["findings"]}
                assert code == 0, out
                assert "by the running daemon" in looked["secrets"]["detail"]
                assert "the daemon says: ready" in looked["database"]["detail"]
            _, found = await verdicts(daemon)
            assert [found[line]["verdict"] for line in ("host-1.2", "host-3.1", "host-4.1")] == [
                "pass",
                "later",
                "pass",
            ]
            assert "EnvironmentFile" in found["host-3.1"]["do"]
            daemon.env["SYNCD_TEST_DB"] = address
            (tmp_path / "plant").chmod(0o644)
            code, out, _ = await daemon.cli("check", "--env")
            assert code == 78 and "✗ plant.api_key: secret file" in out
            (tmp_path / "plant").chmod(0o600)

            # What would be made is shown, and not made; without a person or --yes it is refused.
            code, out, _ = await daemon.cli("verify", "plant", "--dry-run")
            assert code == 0 and "POST /workorders" in out and "Post-deploy verification test" in out
            code, _, err = await daemon.cli("verify", "plant")
            assert code == 2 and "--yes" in err
            assert not await rows.connection.fetchval("SELECT count(*) FROM syncd.outbox")

            # Made, read back, in the copy, ended, and written down.
            code, told = await verified(daemon, "plant", "--yes")
            assert code == 0, told
            names = ["health", "partner", "left over", "create", "read back", "copy", "close", "metrics"]
            assert [step["name"] for step in told["steps"]] == names
            there = (await control.truth("work_orders"))[told["record"]]
            assert (there["status"], there["priority"]) == ("DONE", "LOW")
            assert told["mark"] in there["title"]
            copied = await rows.connection.fetchval(
                "SELECT data->>'status' FROM syncd.records WHERE resource = 'work_orders' AND external_id = $1",
                told["record"],
            )
            assert copied == "DONE"
            _, found = await verdicts(daemon, "plant")
            assert found["maintainx-7.1"]["verdict"] == "pass"

            # Without the record it is not what the checklist asks for.
            assert (await verified(daemon, "plant", "--read-only"))[0] == 0
            _, found = await verdicts(daemon, "plant")
            assert found["maintainx-7.1"]["verdict"] == "warn" and "--read-only" in found["maintainx-7.1"]["detail"]

            # A partner that refuses it: nothing is left, and the checklist remembers.
            await control.misbehave("status", match="POST /v1/workorders", status=422, count=1)
            code, told = await verified(daemon, "plant", "--yes")
            await control.behave()
            assert code == 1
            assert [step["name"] for step in told["steps"] if not step["ok"]] == ["create"]
            _, found = await verdicts(daemon, "plant")
            assert found["maintainx-7.1"]["verdict"] == "fail"

            # Killed in between: the next check ends what it had made, and then its own.
            left = await killed_while_reading(daemon, control, rows)
            assert (await control.truth("work_orders"))[left]["status"] == "OPEN"
            code, told = await verified(daemon, "plant", "--yes")
            assert code == 0, told
            steps = {step["name"]: step["detail"] for step in told["steps"]}
            assert left in steps["left over"]
            truth = await control.truth("work_orders")
            marked = {name: one["status"] for name, one in truth.items() if "verification test" in one["title"]}
            assert len(marked) == 3 and set(marked.values()) == {"DONE"}

            # A partner that takes no test record is read.
            code, told = await verified(daemon, "crm")
            assert (code, told["mode"]) == (0, "read-only"), told
            assert [step["name"] for step in told["steps"]] == ["health", "partner", "data", "metrics"]

            # Refused and paused are told apart from failed.
            await control.misbehave("status", match="GET /v1/users", status=401, count=5)
            code, told = await verified(daemon, "plant", "--yes")
            await control.behave()
            assert code == 77 and [step["name"] for step in told["steps"]] == ["health", "partner"]
            assert (await daemon.cli("pause", "crm", "--reason", "a test"))[0] == 0

            async def paused() -> bool:
                return bool((await daemon.integration("crm"))["state"] == "paused")

            await daemon.until(paused, seconds=20)
            assert (await verified(daemon, "crm"))[0] == 75
            assert not (await control.stats())["violations"]
        assert (await daemon.cli("verify", "plant", "--yes"))[0] == 69
        code, found = await verdicts(daemon, "plant")
        assert found["maintainx-4.4"]["verdict"] == "later"
