"""`syncd demo` as a newcomer runs it: it converges, tells its story, counts, and leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import os
import re
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


async def demo(place: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "syncd",
        "demo",
        "--plain",
        *words,
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


def told(said: str, partner: str) -> list[tuple[str, str]]:
    """What the story's lines said of a partner, in order: state and words; and of the script, partner `»`."""
    found = re.findall(r"^ +[\d.]+ s +(attio|guesty|stripe|») +(.*)$", said, re.MULTILINE)
    lines = [words for name, words in found if name == partner]
    if partner == "»":
        return [("", words) for words in lines]
    return [(words.split()[0], words.split(maxsplit=1)[1]) for words in lines]


def assert_in_order(lines: list[tuple[str, str]], *wanted: tuple[str, str]) -> None:
    """Each of `wanted` (state, part of the words) is said after the one before it; others may stand between."""
    left = iter(lines)
    for state, words in wanted:
        assert any(line[0] == state and words in line[1] for line in left), (state, words, lines)


@pytest.mark.timeout(300)
async def test_the_demo_imports_tells_its_story_and_ends_converged_within_every_limit(place: Path):
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = await demo(place)
    out, _ = await asyncio.wait_for(process.communicate(), 280)
    said = out.decode()
    assert process.returncode == 0, said
    assert loop.time() - began < 270, "acts go on by themselves; no machine is so slow that all of them give up waiting"

    script = [words for _, words in told(said, "»")]
    begun = ["syncd", "a", "a", "guesty:", "airbnb:", "bookingcom:", "cloudbeds:"]
    turned = ["records", "guesty", "attio", "stripe", "stripe", "the"]
    assert [words.split()[0] for words in script] == begun + turned, said
    # What the daemon says, not what the script says: told to wait, then the limit it learned with the line that fixes it.
    assert_in_order(
        told(said, "guesty"),
        ("waiting", "answered 429 (Retry-After): too many calls"),
        ("healthy", "stated 10/s, observed about"),
    )
    assert re.search(r"guesty +healthy +stated 10/s, observed about \d/s → limits: \{tiers: \[\d/s\]\}", said), said
    assert_in_order(
        told(said, "attio"), ("healthy", "records"), ("waiting", "429 (Retry-After as a date)"), ("healthy", "")
    )
    assert_in_order(
        told(said, "stripe"),
        ("healthy", "records"),
        ("DOWN", "next try at"),
        ("healthy", "ramping up after an outage"),
    )
    waited = re.search(r"([\d.]+) s +attio +waiting.*?([\d.]+) s +attio +healthy", said, re.DOTALL)
    assert waited, said
    assert 2 < float(waited[2]) - float(waited[1]) < 60, (
        "seven minutes of skew were not waited out, nor taken for the past"
    )

    assert "converged: 8 integrations" in said
    assert "NOT converged" not in said
    rows = re.findall(r"^ *✓ (\w+)(?: +[\d,]+){3} +(\S+) +(\S+)", said, re.MULTILINE)
    assert len(rows) == 8, said
    assert all(webhooks.isdigit() and pushed.isdigit() for _, webhooks, pushed in rows), "each told us, each was told"
    assert "limit violations: 0" in said
    refused = int(re.search(r"429s: (\d+)", said)[1])
    assert 2 <= refused <= 10, said
    assert "attio answered 429 once: told so with a date" in said
    assert "nothing here explains it" not in said
    await nothing_is_left(place)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_without_its_story_the_demo_meets_no_429_at_all(place: Path):
    process = await demo(place, "--quick")
    out, _ = await asyncio.wait_for(process.communicate(), 280)
    said = out.decode()
    assert process.returncode == 0, said
    assert "converged: 8 integrations" in said
    assert "429s: 0 · limit violations: 0" in said
    assert "»" not in said
    await nothing_is_left(place)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "at"),
    [
        pytest.param(signal.SIGINT, "syncd running", marks=pytest.mark.soak),
        (signal.SIGTERM, "syncd running"),
        (signal.SIGKILL, "syncd running"),
        pytest.param(signal.SIGTERM, "»", marks=pytest.mark.soak),
    ],
    ids=["SIGINT", "SIGTERM", "SIGKILL", "SIGTERM in the story"],
)
async def test_a_demo_that_is_ended_in_the_middle_leaves_nothing_behind(place: Path, number: signal.Signals, at: str):
    process = await demo(place)
    assert process.stdout is not None
    async for line in process.stdout:
        if at in line.decode():
            break
    os.kill(process.pid, number)
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode != 0
    await nothing_is_left(place)
