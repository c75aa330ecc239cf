"""An older release and a newer schema: it goes on while the schema is brought up beneath it, and starts on it afterwards.

The older code is the project's own, of the commit before the newest migration's from-number was passed; it runs as a process.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest

from syncd.clock import SystemClock
from syncd.kit import signatures
from syncd.store.database import Database
from syncd.store.migrate import Migration, Migrations, shipped
from tests.whole.conftest import LABELS, hooked, only
from tests.whole.daemon import Daemon
from tests.whole.plain import WEBHOOK_SECRET

ROOT = Path(__file__).parents[2]
SCHEMA = "src/syncd/store/schema"
NEWER = len(shipped()) + 1
LOOKED_AT = (1, 16, 48)
"""Commits before the newest migration, until one is whole: not each is, and half of one would never have been released."""
FORGOTTEN = re.compile(r"Traceback|UndefinedColumn|UndefinedTable|does not exist|NotNullViolation")


def git(*words: str) -> bytes:
    """What git says; skips the test where there is no git, no checkout or too short a history."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("git is not installed: the release before cannot be had")
    if done.returncode != 0:
        pytest.skip(f"the release before cannot be had: {done.stderr.decode().strip().splitlines()[0]}")
    return done.stdout


def release_before(folder: Path) -> tuple[Path, int]:
    """The code that the newest migration promises to work with, unpacked, and the newest schema it knows."""
    newest = shipped()[-1]
    if newest.works_with is None:
        pytest.skip(f"{newest.version:04}_{newest.name} promises nothing to older releases: {newest.previous_release}")
    known = newest.works_with
    first = git("log", "--diff-filter=A", "--reverse", "--format=%H", "--", f"{SCHEMA}/{known + 1:04}_*.sql").split()
    if not first:
        pytest.skip(f"migration {known + 1:04} is not in the history: the release before cannot be told")
    for back in LOOKED_AT:
        source = folder / str(back)
        source.mkdir()
        packed = git("archive", f"{first[0].decode()}~{back}", "src")
        subprocess.run(["tar", "-x", "-C", source], input=packed, check=True, timeout=60)
        if len(list((source / SCHEMA).glob("*.sql"))) != known:
            break
        if runs(source / "src"):
            return source / "src", known
    pytest.skip(f"no code that knows schema {known:04} and runs is in the history")


def runs(source: Path) -> bool:
    words = [sys.executable, "-c", "import syncd.cli.root, syncd.daemon"]
    env = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(words, env=env, capture_output=True, check=False, timeout=60).returncode == 0


async def migrated(url: str, files: list[Migration] | None = None) -> None:
    database = await Database.open(url, clock=SystemClock(), pool_size=1)
    await Migrations(database, files).apply()
    await database.aclose()


def body_of(base_url: str) -> dict[str, Any]:
    found = copy.deepcopy(hooked(base_url, resources=only("things", every="1h")))
    found["rest"]["resources"]["things"] |= {"pushes": LABELS}
    return found


async def works(daemon: Daemon, url: str, control: Any, name: str) -> None:
    """It pulls, takes a delivery and works on it, pushes, and tells of itself; the name tells one round from another."""
    await control.create("things", {"name": f"pulled {name}"})
    assert (await daemon.cli("sync", "acme/things"))[0] == 0, daemon.log()[-2000:]
    known = (await control.truth_ids("things"))[0]
    await control.update("things", known, {"name": f"told {name}"})
    body = orjson.dumps({"type": "thing.updated", "at": "2026-01-01T00:00:00Z", "thing": {"id": known}})
    stamp = str(int(time.time()))
    signature = signatures.sign_standard(body, f"msg_{name}", stamp, WEBHOOK_SECRET)
    headers = {"webhook-id": f"msg_{name}", "webhook-timestamp": stamp, "webhook-signature": signature}
    async with httpx.AsyncClient() as http:
        address = f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme"
        assert (await http.post(address, content=body, headers=headers)).status_code == 202
    connection = await asyncpg.connect(url)
    wanted = "SELECT syncd.push('acme', 'things', 'label', $1::jsonb, external_id => $2)"
    push = await connection.fetchval(wanted, orjson.dumps({"label": name}).decode(), known)

    async def done() -> bool:
        names = await connection.fetch("SELECT data->>'name' AS name FROM syncd.records WHERE resource = 'things'")
        pushed = await connection.fetchval("SELECT state FROM syncd.outbox WHERE id = $1", push)
        return {f"pulled {name}", f"told {name}"} <= {row["name"] for row in names} and pushed == "done"

    try:
        await daemon.until(done, seconds=30)
    finally:
        await connection.close()
    assert (await daemon.integration("acme"))["state"] == "healthy"


async def test_the_release_before_goes_on_while_the_schema_is_brought_up_beneath_it(
    tmp_path: Path, empty_database: str, plain: Any
):
    source, known = release_before(tmp_path)
    simulator, control = plain(things=5)
    older = {"PYTHONPATH": str(source), "SYNCD_TEST_COLD": "1"}
    daemon = Daemon(tmp_path, empty_database, {"plain": body_of(simulator.base_url)}, env=older, cold=True)
    await daemon.start()
    connection = await asyncpg.connect(empty_database)
    assert await connection.fetchval("SELECT max(version) FROM syncd.schema_migrations") == known
    await connection.close()
    await works(daemon, empty_database, control, "before")

    await migrated(empty_database)
    await works(daemon, empty_database, control, "after")
    assert await daemon.stop() == 0

    if "works_with" in (source / "syncd/store/migrate.py").read_text():
        await daemon.start()
        await works(daemon, empty_database, control, "again")
        assert (await daemon.cli("dlq", "list"))[0] == 0  # a command that opens the database itself
        assert await daemon.stop() == 0
    else:  # of the time before releases read the number: it must not touch what it does not know, and say so
        await daemon.start(wait=False)
        assert daemon.process is not None
        assert await daemon.process.wait() == 78
        assert f"this release knows {known:04} at most" in daemon.log()
    assert not FORGOTTEN.search(daemon.log()), daemon.log()[-4000:]


async def test_a_release_starts_on_a_newer_schema_that_says_it_works_with_it(tmp_path: Path, database: str, plain: Any):
    head = f"-- previous release: runs, from {NEWER - 1:04}\n"
    later = Migration(NEWER, "later", head + "ALTER TABLE syncd.records ADD COLUMN later text NOT NULL DEFAULT '';")
    await migrated(database, [*shipped(), later])
    simulator, control = plain(things=5)
    async with Daemon(tmp_path, database, {"plain": body_of(simulator.base_url)}) as daemon:
        await works(daemon, database, control, "newer")
        code, out, _ = await daemon.cli("migrate", "--check")
        assert (code, out) == (0, f"schema {NEWER:04} is newer than this release, and works with it\n")
        assert not FORGOTTEN.search(daemon.log())


async def test_a_release_refuses_a_newer_schema_that_stops_it(tmp_path: Path, database: str):
    later = Migration(NEWER, "later", "-- previous release: stop: a column it writes is gone\nSELECT 1;")
    await migrated(database, [*shipped(), later])
    daemon = Daemon(tmp_path, database, {"plain": body_of("http://127.0.0.1:9")})
    await daemon.start(wait=False)
    assert daemon.process is not None
    assert await daemon.process.wait() == 78  # systemd does not try it again
    assert f"schema {NEWER:04}, this release knows {NEWER - 1:04} at most" in daemon.log()
    code, _, err = await daemon.cli("migrate", "--check")
    assert code == 78
    assert "run the newer release" in err
