"""Dead letters on their way back, by the real daemon: a canary first, and each once, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook

from syncd.testing.control import Control
from tests.whole.conftest import hooked, only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET

LETTERS = 2_000
WITNESS = """
CREATE TABLE public.returned (letter_id bigint, task_id bigint);
CREATE FUNCTION public.witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.returned VALUES (NEW.letter_id, NEW.id); RETURN NULL; END $$;
CREATE TRIGGER witness AFTER INSERT ON syncd.tasks FOR EACH ROW WHEN (NEW.letter_id IS NOT NULL)
    EXECUTE FUNCTION public.witness();
"""
"""Notes each letter whose work became a row again."""


async def counts(rows: Rows) -> dict[str, int]:
    found = await rows.connection.fetch("SELECT state, count(*) FROM syncd.dead_letters GROUP BY 1")
    return {each[0]: each[1] for each in found}


async def buried(daemon: Daemon, control: Control, rows: Rows, number: int) -> None:
    """So many reads of single records that the partner refused, as letters."""
    ids = (await control.truth_ids("things"))[:number]

    async def pulled() -> bool:
        return await rows.count("acme", "things") >= number

    await daemon.until(pulled, seconds=180)
    await control.misbehave("status", match="/v1/things/{id}", status=403)
    tasks = [
        {"kind": "fetch", "resource": "things", "external_id": each, "dedupe_key": f"fetch:things:{each}", "lane": 1}
        for each in ids
    ]
    await rows.connection.execute("SELECT syncd.put_tasks('acme', now(), $1::text::jsonb)", json.dumps(tasks))

    async def given_up() -> bool:
        return (await counts(rows)).get("open", 0) == number

    await daemon.until(given_up, seconds=120 + number / 20)


async def replayed(rows: Rows) -> int:
    return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters WHERE state = 'replayed'"))


@pytest.mark.timeout(600)
async def test_a_replay_killed_at_thirty_percent_finishes_on_the_second_command_and_each_letter_once(
    tmp_path: Path, database: str, rows: Rows, plain
):
    await replay_through_kills(tmp_path, database, rows, plain, LETTERS, 0.3)


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kills", [(0.3,), (0.001, 0.1, 0.3, 0.31, 0.6, 0.9, 0.99)], ids=["once", "often"])
async def test_a_replay_of_ten_thousand_finishes_however_often_it_is_killed(
    kills: tuple[float, ...], tmp_path: Path, database: str, rows: Rows, plain
):
    await replay_through_kills(tmp_path, database, rows, plain, 10_000, *kills)


async def replay_through_kills(
    tmp_path: Path, database: str, rows: Rows, plain: Any, number: int, *kills: float
) -> None:
    simulator, control = plain(things=number)
    file = partner(simulator.base_url, resources=only("things", every="12h"))
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:
        await buried(daemon, control, rows, number)
        await rows.connection.execute(WITNESS)

        # The cause is not mended: one call is made, and all letters are as they were.
        calls = len(await control.arrivals("/v1/things/{id}"))
        code, out, err = await daemon.cli("dlq", "replay", "--cause", "403", "--yes")
        assert code == 1, out + err
        assert f"{number:,} jobs, about {number:,} calls" in err
        assert "of plain's second" in err or "of plain's limit" in err, err
        assert "the canary failed for the same reason" in out, out
        assert f"{number - 1:,} left as they were. Nothing was lost." in out, out
        assert len(await control.arrivals("/v1/things/{id}")) == calls + 1
        assert await counts(rows) == {"open": number, "replayed": 1}
        again = await rows.connection.fetchrow("SELECT former_id, replays FROM syncd.dead_letters WHERE replays > 0")
        assert again["replays"] == 1

        # It is mended; daemon and command are killed in the middle.
        await control.behave()
        for share in kills:
            command = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "syncd", "dlq", "replay", "--cause", "403", "--yes"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**daemon.env, "SYNCD_CONFIG": str(daemon.config)},
            )
            began = time.monotonic()
            while await replayed(rows) <= share * number:
                assert time.monotonic() - began < 300, daemon.log()[-4000:]
                await asyncio.sleep(0.005)
            await daemon.kill()
            if command.returncode is None:
                command.kill()
            await command.wait()
            killed_at = await replayed(rows)
            print(f"killed when {killed_at} of {number} had been returned")
            assert killed_at < number, "the kill came too late to say anything"
            await daemon.start()
        code, out, err = await daemon.cli("dlq", "replay", "--cause", "403", "--yes", seconds=400)
        assert code == 0, out + err
        assert f"✓ {number:,} done" in out, out + err
        # However often it is said now: there is nothing more to do, and it is told what was done.
        code, out, err = await daemon.cli("dlq", "replay", "--cause", "403", "--yes")
        assert (code, "replayed already" in err, f"✓ {number:,} done" in out) == (0, True, True), out + err

        async def quiet() -> bool:
            waiting = await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks")
            return not waiting and not (await counts(rows)).get("open")

        await daemon.until(quiet, seconds=400)
        # The canary's letter of the first replay and its successor are one job, returned twice by two replays.
        assert await counts(rows) == {"replayed": number + 1}
        returned = await rows.connection.fetch("SELECT letter_id, count(*) FROM public.returned GROUP BY 1")
        assert len(returned) == number + 1
        assert {each[1] for each in returned} == {1}


async def open_letter(rows: Rows) -> Any:
    return await rows.connection.fetchrow("SELECT * FROM syncd.dead_letters WHERE state = 'open'")


async def test_a_pull_and_a_delivery_go_back_to_where_they_came_from(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=30)
    file = hooked(simulator.base_url, resources=only("things", every="12h", jitter="0s"))
    await control.misbehave("status", match="/v1/things", status=403)
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:
        # A pull that the partner refuses, twice: one letter, and it says so.
        letter = await daemon.until(lambda: open_letter(rows))
        assert (letter["origin"], letter["resource"]) == ("run", "things")
        assert json.loads(letter["response"])["status"] == 403
        await daemon.cli("sync", "acme/things")

        async def twice() -> bool:
            return (await open_letter(rows))["times"] == 2

        await daemon.until(twice)
        code, out, err = await daemon.cli("dlq", "replay", str(letter["id"]), "--yes")
        assert (code, "failed for the same reason" in out) == (1, True), out + err
        again = await open_letter(rows)
        assert (again["former_id"], again["replays"]) == (letter["id"], 1)
        await control.behave()
        code, out, err = await daemon.cli("dlq", "replay", str(again["id"]), "--yes")
        assert (code, "✓ 1 done" in out) == (0, True), out + err
        assert await rows.count("acme", "things") == 30

        # A delivery nobody can read: its letter names it, its body stays, and a replay works on it once more.
        thing = (await control.truth_ids("things"))[3]
        body = json.dumps({"type": "thing.updated", "at": "2026-01-01T00:00:00Z", "thing": {"id": "x" * 600}})
        now = datetime.now(UTC)
        headers = {
            "webhook-id": "msg_unreadable",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(WEBHOOK_SECRET).sign("msg_unreadable", now, body),
            "content-type": "application/json",
        }
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme"
            async with http.post(url, data=body, headers=headers) as answer:
                assert answer.status == 202
        letter = await daemon.until(lambda: open_letter(rows))
        assert (letter["origin"], json.loads(letter["request"])["event_id"]) == ("inbox", "msg_unreadable")
        code, out, err = await daemon.cli("dlq", "replay", str(letter["id"]), "--yes")
        assert (code, "failed for the same reason" in out) == (1, True), out + err
        again = await open_letter(rows)
        assert (again["former_id"], again["replays"], again["origin_id"]) == (letter["id"], 1, letter["origin_id"])
        # As if it could be read now.
        await control.update("things", thing, {"name": "told by the delivery"})
        await rows.connection.execute(
            "UPDATE syncd.inbox SET body = $1 WHERE event_id = 'msg_unreadable'",
            body.replace("x" * 600, thing).encode(),
        )
        code, out, err = await daemon.cli("dlq", "replay", str(again["id"]), "--yes")
        assert (code, "✓ 1 done" in out) == (0, True), out + err

        async def told() -> bool:
            return (await rows.live("acme", "things"))[thing]["name"] == "told by the delivery"

        await daemon.until(told)
        assert await open_letter(rows) is None


async def test_a_pull_that_goes_well_later_settles_its_letter_by_itself(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=30)
    await control.misbehave("status", match="/v1/things", status=403)
    file = partner(simulator.base_url, resources=only("things", every="2s", jitter="0s"))
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:
        await daemon.until(lambda: open_letter(rows))
        await control.behave()

        async def healed() -> bool:
            return await open_letter(rows) is None

        await daemon.until(healed)
        found = await rows.connection.fetchrow("SELECT state, settled_by FROM syncd.dead_letters")
        assert found["state"] == "replayed"
        assert found["settled_by"].startswith("run ")
