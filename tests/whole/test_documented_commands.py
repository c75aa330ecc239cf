"""Every command that documents, runbooks and the program itself tell somebody to run is run, and its answer judged."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests import documented
from tests.documented import ROOT
from tests.whole import orders, warm
from tests.whole.daemon import Daemon, Rows
from tests.whole.world import SIMULATED, World, founded, world

AT_ONCE = 3
LONGEST_SECONDS = 120
"""Of one command: it hangs after that. A busy machine takes half a minute for what usually takes one second."""


def plan(*, alone: bool) -> dict[str, list[str]]:
    """What is run, in its order, to how it is said and where."""
    found: dict[str, list[str]] = {}
    for said, places in documented.everywhere().items():
        for words in orders.runs(said):
            if bool(orders.ALONE.match(words)) is alone:
                found.setdefault(words, []).append(f"{said} ({', '.join(places[:3])})")
    return dict(sorted(found.items(), key=lambda one: (orders.step(one[0]), one[0])))


async def answered(daemon: Daemon, words: str, stdin: bytes = b"") -> str:
    """What is wrong with its answer, and the answer; empty where nothing is."""
    words, _, pipe = words.partition(" | ")
    if orders.LASTS.match(words):
        code, output = await lasting(daemon, words)
    else:
        try:
            code, out, err = await daemon.cli(*shlex.split(words), stdin=stdin, seconds=LONGEST_SECONDS)
        except TimeoutError:
            return f"$ syncd {words}\nhas not ended after {LONGEST_SECONDS} s"
        output = out + err
    wrong = orders.judged(words, code, output) or (piped(pipe, out) if pipe else "")
    return wrong and f"$ syncd {words}\n{wrong}:\n{output[-1500:]}"


def piped(pipe: str, out: str) -> str:
    """What is wrong with what a document puts behind the command; empty where nothing is, or the tool is not here."""
    if shutil.which(pipe.split()[0]) is None:
        return ""
    done = subprocess.run(["bash", "-c", pipe], input=out, capture_output=True, text=True, timeout=20, check=False)
    return f"| {pipe} ends with {done.returncode}: {done.stderr}" if done.returncode else ""


async def lasting(daemon: Daemon, words: str) -> tuple[int, str]:
    """What goes on until Ctrl-C, which comes once it has said something."""
    if words.startswith("sim"):
        words += " --port 0"
    env = {**daemon.env, "SYNCD_CONFIG": str(daemon.config), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as out, Path("/dev/null").open() as nothing:
        files = {"stdin": nothing.fileno(), "stdout": out.fileno(), "stderr": out.fileno()}
        process = warm.fork("syncd", *shlex.split(words), env=env, **files)
        for _ in range(1200):
            if process.returncode is not None or out.seek(0, 2) > 40:
                break
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code = await asyncio.wait_for(process.wait(), 60)
        out.seek(0)
        return 0 if code == 130 else code, out.read().decode()


@pytest.mark.timeout(300)
async def test_what_needs_no_daemon_answers_as_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    at = dict.fromkeys([*SIMULATED, "boatyard"], "http://127.0.0.1:9/v1")
    daemon = founded(tmp_path, "postgresql://127.0.0.1:9/none", at)
    wrong = []
    for words in plan(alone=True):
        if words.startswith("new driver acme --from"):
            (tmp_path / "acme").rename(tmp_path / "the-one-before")
        wrong.append(await answered(daemon, words.replace("KEYFILE", "none")))
    if any(wrong):
        pytest.fail("\n\n".join(filter(None, wrong)), pytrace=False)


@pytest.mark.timeout(900)
async def test_what_a_daemon_is_asked_is_answered_as_it_is_said(
    tmp_path: Path, database: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong: list[str] = []
    async with world(tmp_path, database, rows) as place:
        steps: dict[int, list[str]] = {}
        for words in plan(alone=False):
            steps.setdefault(orders.step(words), []).append(words)
        for step, many in sorted(steps.items()):
            wrong += await asked(place, many, AT_ONCE if step == orders.QUESTIONS else 1)
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)


async def asked(place: World, many: list[str], at_once: int) -> list[str]:
    seats = asyncio.Semaphore(at_once)

    async def one(words: str) -> str:
        async with seats:
            filled = await place.filled(words)
            return await answered(place.daemon, filled, await place.prepared(filled))

    return [found for found in await asyncio.gather(*map(one, many)) if found]


def test_what_has_a_test_of_its_own_is_said_somewhere_and_begins_there() -> None:
    said = [command.removeprefix("syncd ") for command in documented.everywhere()]
    for pattern, (file, begins) in orders.ELSEWHERE.items():
        assert any(orders.elsewhere(words) == pattern for words in said), pattern
        assert begins in (ROOT / file).read_text("utf-8"), (file, begins)


def test_what_stands_for_a_command_is_said_somewhere() -> None:
    said = {command.removeprefix("syncd ").partition(" | ")[0] for command in documented.everywhere()}
    every = {words for command in documented.everywhere() for words in orders.runs(command)}
    assert sorted(set(orders.FILLS) - said) == []
    assert [part for part in orders.SEVERAL if not any(part in words for words in said)] == []
    verbs = {words.split(" ")[0] for words in every} | {" ".join(words.split(" ")[:2]) for words in every}
    assert sorted(set(orders.SAYS) - verbs) == []
    assert [words for words in every if re.search(r"\{\w+\}", words)] == [], "nobody says what stands there"
