"""Clocks as adversaries, for real: the daemon's wall clock years off and jumping, the partner's hours off.

The daemon's process gets a wall clock of its own by a small preloaded library (shifted.c); its monotonic clock, the
database and the partner keep theirs. Skipped where no C compiler is found.
"""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.whole.daemon import Daemon
from tests.whole.metered import described, journal

HOUR, YEAR = 3600, 365 * 86400
Shift = Callable[[int], None]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler: the wall clock of a process cannot be shifted here")
    made = tmp_path_factory.mktemp("clock") / "shifted.so"
    source = Path(__file__).with_name("shifted.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture
def clock(tmp_path: Path, library: Path) -> tuple[dict[str, str], Shift]:
    """Environment for a process with its own wall clock, and how to set it: seconds ahead of ours."""
    place = tmp_path / "shift"

    def shift(seconds: int) -> None:
        with place.open("r+b" if place.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    shift(0)
    return {"LD_PRELOAD": str(library), "SHIFT_FILE": str(place)}, shift


def test_the_shifted_clock_shifts(clock):
    environment, shift = clock
    shift(10 * YEAR)
    asked = "import datetime, time; print(datetime.datetime.now().year, time.time())"
    told = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    plain = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert int(told.stdout.split()[0]) >= int(plain.stdout.split()[0]) + 9
    assert float(told.stdout.split()[1]) - float(plain.stdout.split()[1]) == pytest.approx(10 * YEAR, abs=30)


@pytest.mark.timeout(180)
async def test_jumps_of_hours_and_years_neither_break_the_limit_nor_stop_the_calls(
    tmp_path: Path, database: str, metering, clock
):
    limit, window = 40, 8.0
    environment, shift = clock
    simulator, control = metering(tiers=[f"{limit}/{window:g}s", "10/1s"], latency=(0.05, 0.3))
    body = {
        "driver": "rest",
        "base_url": simulator.base_url,
        "rest": described(8),
        "limits": {"tiers": [f"{limit}/{window:g}s", "10/1s"], "accept_risk": True},
        "integrations": {"acme": {"credentials": {"api_key": "key-1"}}},
    }
    shift(-3 * YEAR)
    daemon = Daemon(tmp_path, database, {"metered": body}, env=environment)
    await daemon.start()
    for seconds in (-3 * YEAR + 5 * HOUR, -3 * YEAR - 2 * HOUR, 2 * YEAR):
        await asyncio.sleep(6.0)
        shift(seconds)
    await asyncio.sleep(6.0)
    await daemon.kill()
    shift(-HOUR)  # between two processes too
    await daemon.start()
    ready_at, _ = await journal(control)
    await asyncio.sleep(3 * window)
    shift(YEAR)
    assert await daemon.stop() == 0
    now, lines = await journal(control)
    stats = await control.stats()
    late = [line for line in lines if line.at >= ready_at + window]
    gaps = [after.at - before.at for before, after in pairwise(lines)]
    print(f"{len(lines)} calls, longest silence {max(gaps):.1f} s, {stats['tiers']}")
    assert stats["violations"] == 0
    assert max(gaps) <= 2 * window + 3.0
    assert len(late) >= 0.8 * limit * (now - ready_at - window) / window * window / (window + 0.3)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("ours", "theirs"), [pytest.param(0, -5 * HOUR, marks=pytest.mark.soak), (2 * YEAR, 9 * HOUR)])
async def test_a_date_to_come_back_is_read_by_the_partners_own_clock(
    tmp_path: Path, database: str, metering, clock, ours: int, theirs: int
):
    environment, shift = clock
    shift(ours)
    wait = 6
    simulator, control = metering(tiers=["1000/s"], latency=(0.02, 0.1))
    await control.misbehave("skew", by=theirs)
    body = {
        "driver": "rest",
        "base_url": simulator.base_url,
        "rest": described(4),
        "limits": {"tiers": ["5/s"], "accept_risk": True},
        "integrations": {"acme": {"credentials": {"api_key": "key-1"}}},
    }
    daemon = Daemon(tmp_path, database, {"metered": body}, env=environment)
    await daemon.start()
    await asyncio.sleep(3.0)
    await control.misbehave("status", status=429, retry_date=wait, count=1)

    async def back() -> bool:
        _, lines = await journal(control)
        told = [line.at for line in lines if line.status == 429]
        return bool(told) and any(line.at > told[0] + 3.0 for line in lines)

    await daemon.until(back, seconds=60)
    assert await daemon.stop() == 0
    _, lines = await journal(control)
    (told,) = [line for line in lines if line.status == 429]
    # What was under way when the answer came has left already.
    next_at = min(line.at for line in lines if line.at > told.at + (told.seconds or 0.0) + 0.3)
    print(f"told to wait {wait} s at {told.at:.2f}, next call after {next_at - told.at:.2f} s")
    assert wait - 1.1 <= next_at - told.at - (told.seconds or 0.0) <= wait + 6.0
