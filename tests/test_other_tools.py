"""Commands of other tools that somebody is told to run: a test runs each, or a table says why none does."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.store.installation import find_binaries
from syncd.testing.process import serve
from tests import other_tools
from tests.documented import ROOT
from tests.whole.daemon import free_port

TABLES = {name: tuple(getattr(other_tools, name)) for name in ("HERE", "BOOTED", "IN_CI", "ELSEWHERE", "NOT_RUN")}


def homes(command: str) -> list[str]:
    """The tables it stands in."""
    return [name for name, rows in TABLES.items() for pattern in rows if re.fullmatch(pattern, command)]


def test_every_command_of_another_tool_stands_in_one_table() -> None:
    said = other_tools.said()
    assert len(said) > 80
    assert {command: (homes(command), places) for command, places in said.items() if len(homes(command)) != 1} == {}


def test_every_row_of_the_tables_is_said_somewhere() -> None:
    said = other_tools.said()
    assert [
        row for rows in TABLES.values() for row in rows if not any(re.fullmatch(row, command) for command in said)
    ] == []


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Run\n\n```console\n$ frobnicate --all   # why\nits answer\n```\n", "frobnicate --all"),
        ("```sh\nfrobnicate \\\n    --all\n```\n", "frobnicate --all"),
        ("see `journalctl -u other -n 5` first", "journalctl -u other -n 5"),
        ("```console\n$ syncd status --json | python3 -m json.tool\n```\n", "| python3 -m json.tool"),
    ],
)
def test_a_document_that_gains_a_command_is_seen(text: str, command: str) -> None:
    assert list(other_tools.of_document(text)) == [command]
    assert homes(command) == []


def test_what_another_test_runs_begins_there() -> None:
    for file, begins in other_tools.ELSEWHERE.values():
        assert begins in (ROOT / file).read_text("utf-8"), (file, begins)
    assert "other_tools.IN_CI" in (ROOT / ".ci/documented.py").read_text("utf-8")
    assert ".ci/documented.py" in (ROOT / ".ci/run").read_text("utf-8")


def missing_here(script: str, path: str) -> Iterator[str]:
    """Tools it takes that are not installed."""
    for tool in re.findall(r"(?:^|[;|] ?)(jq|openssl|curl|git|getent|pre-commit)\b", script):
        if shutil.which(tool, path=path) is None:
            yield tool


@pytest.mark.timeout(90)
async def test_what_can_be_run_here_says_what_it_should(tmp_path: Path, database: str) -> None:
    from importlib import import_module

    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(find_binaries().directory), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "ROOT": str(ROOT),
        "SYNCD_DATABASE_URL": database,
        "TLS_PORT": str(free_port()),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }
    wrong, missing = [], set()
    async with await serve(import_module("syncd.drivers.stripe.simulator").create(customers=12)) as simulator:
        for pattern, (script, says) in other_tools.HERE.items():
            for number, command in enumerate(one for one in other_tools.said() if re.fullmatch(pattern, one)):
                if script and number:
                    break  # the same is run for all of them
                words = (script or command).replace("localhost:9100", simulator.url.removeprefix("http://"))
                if found := set(missing_here(words, env["PATH"])):
                    missing |= found
                    continue
                folder = (
                    tmp_path / str(len(list(tmp_path.iterdir()))) if script and "pg_" not in words else tmp_path / "all"
                )
                folder.mkdir(exist_ok=True, mode=0o700)
                process = await asyncio.create_subprocess_exec(
                    "bash", "-euo", "pipefail", "-c", words, cwd=folder, env=env, stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip
                out, _ = await asyncio.wait_for(process.communicate(), 30)
                text = out.decode(errors="replace")
                if process.returncode or not re.search(says, text, re.MULTILINE):
                    wrong.append(f"$ {words}\nexit {process.returncode}, not {says!r}:\n{text[-800:]}")
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
    if missing:
        pytest.skip(f"all but what takes {', '.join(sorted(missing))}, which is not installed")
