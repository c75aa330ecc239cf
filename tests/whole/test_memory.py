"""A daemon whose partners answer with huge pages stays near its memory ceiling: it does less at once, and does it all."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.whole.conftest import partner as plain_partner
from tests.whole.daemon import Daemon, Rows

MIB = 1 << 20
INTEGRATIONS = 8
PAGES = 6
A_PAGE = 5
RECORD = 2 * MIB
ANSWERS_SECONDS = 0.2
HARD = 400
"""MiB a control group allows where that is tried."""


class Huge:
    """Pages of 10 MiB, all of them to be had at once."""

    def __init__(self) -> None:
        self.asked = 0
        self.under_way = 0
        self.most = 0
        self._pages = [
            orjson.dumps(
                {
                    "total": PAGES * A_PAGE,
                    "data": [{"id": f"{page}-{one}", "text": f"{page * A_PAGE + one:08d} ".ljust(60, ".") * (RECORD // 60)}
                             for one in range(A_PAGE)],
                }
            )
            for page in range(PAGES)
        ]  # fmt: skip

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(ANSWERS_SECONDS)
            page = int(request.query.get("offset", "0")) // A_PAGE
            return web.Response(body=self._pages[page], content_type="application/json")
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/records", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


def partner(url: str, integrations: int = INTEGRATIONS) -> dict[str, Any]:
    records = {
        "path": "/records", "records": "data", "id": "id", "page_size": A_PAGE, "total": "total",
        "pages": {"kind": "offset", "param": "offset", "size": "limit"}, "every": "12h",
    }  # fmt: skip
    return {
        "driver": "rest",
        "rest": {"name": "huge", "base_url": url, "auth": {"kind": "none"}, "resources": {"records": records}},
        "integrations": {
            f"huge_{number}": {"base_url": url, "resources": {"records": {"jitter": "0s"}}}
            for number in range(integrations)
        },
    }


def highest(pid: int) -> float:
    """MiB of resident memory at its highest, without any child."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def allowed(size: int) -> Iterator[Path | None]:
    """A control group that may have so many bytes more; what takes more in it is killed. None: no right to make one."""
    root = Path("/sys/fs/cgroup/memory")  # of version 1; a host with version 2 has its own manager of these
    group = root / f"syncd-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(size))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()


async def imported(
    folder: Path, database: str, rows: Rows, memory: Mapping[str, Any], group: Path | None = None
) -> tuple[float, Huge, str]:
    """The highest MiB of a daemon that imports all of it, what it asked, and its log; 0 MiB: it was killed."""
    await rows.connection.execute("DROP SCHEMA IF EXISTS syncd CASCADE")
    huge = Huge()
    async with huge.serving() as url:
        folder.mkdir(exist_ok=True)
        main = {"memory": memory, "log": {"format": "json"}}
        daemon = Daemon(folder, database, {"huge": partner(url)}, main=main, cold=True)
        await daemon.start(wait=False)
        if group is not None:
            (group / "cgroup.procs").write_text(str(daemon.pid))
        try:
            await daemon.until_ready()

            async def all_stored() -> bool:
                found = await rows.connection.fetchval("SELECT count(*) FROM syncd.records")
                return bool(found == INTEGRATIONS * PAGES * A_PAGE)

            await daemon.until(all_stored, seconds=300)
            return highest(daemon.pid), huge, daemon.log()
        except AssertionError:
            if group is None or daemon.process is None or daemon.process.returncode != -signal.SIGKILL:
                raise
            return 0.0, huge, daemon.log()
        finally:
            await daemon.stop()


@pytest.mark.soak
async def test_under_a_ceiling_it_stays_below_what_it_takes_without_and_ends_all_the_same(
    tmp_path: Path, database: str, rows: Rows
):
    free, huge, _ = await imported(tmp_path / "free", database, rows, {"ceiling": "off"})
    bound, narrowed, log = await imported(tmp_path / "bound", database, rows, {"ceiling": "160MiB"})
    print(
        f"highest without a ceiling {free:.0f} MiB, {huge.most} calls at once; with 160 MiB {bound:.0f} MiB, {narrowed.most}"
    )
    assert "memory_narrowed" in log
    assert bound < free * 0.8


@pytest.mark.soak
async def test_where_the_system_kills_what_takes_more_the_ceiling_is_what_lets_it_live(
    tmp_path: Path, database: str, rows: Rows
):
    with allowed(HARD * MIB) as group:
        if group is None:
            pytest.skip("no right to make a control group")
        free, _, _ = await imported(tmp_path / "free", database, rows, {"ceiling": "off"}, group)
        bound, _, log = await imported(tmp_path / "bound", database, rows, {"ceiling": "160MiB"}, group)
        told, _, _ = await imported(tmp_path / "told", database, rows, {}, group)
    print(
        f"with a hard limit of {HARD} MiB: killed without a ceiling, {bound:.0f} MiB with 160 MiB, {told:.0f} MiB by default"
    )
    assert free == 0.0, "it was to be killed"
    assert 0 < bound < HARD and 0 < told < HARD and "memory_narrowed" in log


async def test_a_daemon_above_its_ceiling_says_so_goes_on_and_opens_again(
    plain: Any, tmp_path: Path, database: str, rows: Rows
):
    sim, _ = plain(things=400)
    main = {"memory": {"ceiling": "64MiB"}}
    async with Daemon(tmp_path, database, {"plain": plain_partner(sim.base_url)}, main=main) as daemon:

        async def all_stored() -> bool:
            return await rows.count("acme", "things") == 400

        await daemon.until(all_stored)

        async def said() -> list[dict[str, Any]]:
            return [one for one in (await daemon.status())["conditions"] if one["code"] == "memory-high"]

        (told,) = await daemon.until(said)
        assert told["subject"] == "daemon" and "64 MiB" in told["reason"] and "at a time" in told["reason"]
        assert await daemon.metric("syncd_memory_ceiling_bytes") == 64 * MIB
        assert await daemon.metric("syncd_memory_narrowing") == 4
        assert await daemon.metric("syncd_loop_wait_seconds_count") > 0

        code, out, err = await daemon.cli("memory", "--trace", "1s", "--top", "3")
        assert code == 0 and "GREW" in out and "slower" in err, out + err
        code, out, _ = await daemon.cli("memory")
        assert code == 0 and "one answer in hand at a time" in out and "memory.ceiling in syncd.yaml" in out, out
        status, refused = await daemon.post("memory/trace", {"action": "start", "seconds": 1e9})
        assert status == 400 and "from 1 to 600" in refused["error"]["message"]
        actors = await rows.connection.fetch(
            "SELECT action FROM syncd.audit_log WHERE action LIKE 'memory%' ORDER BY id"
        )
        assert [row["action"] for row in actors] == ["memory_trace_started", "memory_trace_stopped"]

        daemon.write_main({"memory": {"ceiling": "off"}})
        code, _, err = await daemon.cli("reload", "--wait")
        assert code == 0, err

        async def healed() -> bool:
            return not await said()

        await daemon.until(healed)
        assert await daemon.metric("syncd_memory_narrowing") == 0
