"""`syncd demo` as a newcomer runs it: it converges, counts, and leaves nothing behind, whether it ends or is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole.daemon import SOURCE


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path for temporary files (sockets live there), which another user may enter too."""
    with tempfile.TemporaryDirectory(prefix="syncd-t-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def demo(place: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "syncd",
        "demo",
        "--plain",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(place), "COLUMNS": "200"},
        start_new_session=True,
    )


def processes_of(place: Path) -> list[str]:
    """Command lines of living processes that have to do with this place."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(place) in words or where.startswith(str(place)):
                found.append(words)
    return found


async def nothing_is_left(place: Path) -> None:
    for _ in range(100):
        if not processes_of(place) and not list(place.iterdir()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"left behind: {processes_of(place)} {list(place.iterdir())}")


@pytest.mark.timeout(300)
async def test_the_demo_ends_with_three_integrations_converged_within_every_limit(place: Path):
    process = await demo(place)
    out, _ = await asyncio.wait_for(process.communicate(), 280)
    said = out.decode()
    assert process.returncode == 0, said
    assert "converged: 3 integrations" in said
    assert "NOT converged" not in said
    assert "429s: 0 · limit violations: 0" in said
    await nothing_is_left(place)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_a_demo_that_is_ended_in_the_middle_leaves_nothing_behind(place: Path, number: signal.Signals):
    process = await demo(place)
    assert process.stdout is not None
    async for line in process.stdout:
        if b"syncd running" in line:
            break
    os.kill(process.pid, number)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode != 0
    await nothing_is_left(place)
