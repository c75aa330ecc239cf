"""Dead letters on their way back, by the real daemon: a canary first, and each once, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

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

    await daemon.until(pulled)
    await control.misbehave("status", match="/v1/things/{id}", status=403)
    tasks = [
        {"kind": "fetch", "resource": "things", "external_id": each, "dedupe_key": f"fetch:things:{each}", "lane": 1}
        for each in ids
    ]
    await rows.connection.execute("SELECT syncd.put_tasks('acme', now(), $1::text::jsonb)", json.dumps(tasks))

    async def given_up() -> bool:
        return (await counts(rows)).get("open", 0) == number

    await daemon.until(given_up, seconds=120)


async def replayed(rows: Rows) -> int:
    return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters WHERE state = 'replayed'"))


@pytest.mark.timeout(300)
async def test_a_replay_killed_at_thirty_percent_finishes_on_the_second_command_and_each_letter_once(
    tmp_path: Path, database: str, rows: Rows, plain
):
    await replay_through_kills(tmp_path, database, rows, plain, LETTERS)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_replay_of_ten_thousand_killed_at_thirty_percent_finishes_on_the_second_command(
    tmp_path: Path, database: str, rows: Rows, plain
):
    await replay_through_kills(tmp_path, database, rows, plain, 10_000)


async def replay_through_kills(tmp_path: Path, database: str, rows: Rows, plain: Any, number: int) -> None:
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
        command = asyncio.create_task(daemon.cli("dlq", "replay", "--cause", "403", "--yes", "--no-wait"))
        began = time.monotonic()
        while await replayed(rows) < 0.3 * number:
            assert time.monotonic() - began < 120, daemon.log()[-4000:]
            await asyncio.sleep(0.005)
        await daemon.kill()
        await asyncio.gather(command, return_exceptions=True)
        killed_at = await replayed(rows)
        print(f"killed when {killed_at} of {number} had been returned")
        assert killed_at < number, "the kill came too late to say anything"
        await daemon.start()
        code, out, err = await daemon.cli("dlq", "replay", "--cause", "403", "--yes", seconds=200)
        assert code == 0, out + err
        assert f"✓ {number:,} done" in out, out + err
        # However often it is said now: there is nothing more to do, and it is told what was done.
        code, out, err = await daemon.cli("dlq", "replay", "--cause", "403", "--yes")
        assert (code, "replayed already" in err, f"✓ {number:,} done" in out) == (0, True, True), out + err

        async def quiet() -> bool:
            waiting = await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks")
            return not waiting and not (await counts(rows)).get("open")

        await daemon.until(quiet, seconds=200)
        # The canary's letter of the first replay and its successor are one job, returned twice by two replays.
        assert await counts(rows) == {"replayed": number + 1}
        returned = await rows.connection.fetch("SELECT letter_id, count(*) FROM public.returned GROUP BY 1")
        assert len(returned) == number + 1
        assert {each[1] for each in returned} == {1}
