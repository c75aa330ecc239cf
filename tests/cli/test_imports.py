"""What commands cost before they do anything: counted by what they import, since time says more of the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        "aiohttp", "anyio", "asyncio", "asyncpg", "cryptography", "httpx", "jinja2", "multiprocessing", "opentelemetry",
        "orjson", "prometheus_client", "pydantic", "rich", "ssl", "structlog", "tenacity", "uvloop", "yaml",
    }
)  # fmt: skip
"""Each costs from ten milliseconds to a hundred."""
SAYS = """
import atexit, sys
atexit.register(lambda: print(" ".join(name for name in sys.modules if "." not in name), file=sys.stderr))
sys.argv = ["syncd", *sys.argv[1:]]
from syncd.cli.root import cli
cli()
"""


def imported(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SAYS, *words], capture_output=True, text=True, check=False, env={"SYNCD_CONFIG": "/none"}
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("statsu",), ("status", "--help"), ("top", "--help")])
def test_what_only_answers_a_question_about_the_command_line_imports_nothing_heavy(words: tuple[str, ...]):
    assert sorted(imported(*words) & HEAVY) == []


def test_a_status_imports_no_more_than_reading_an_address_and_asking_there_takes():
    assert imported("status") & HEAVY <= {"ssl", "yaml"}
