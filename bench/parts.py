"""The processes a measurement needs round the contender: the static partner and a PostgreSQL with durable settings."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import asyncpg

ROOT = Path(__file__).resolve().parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"


@contextmanager
def static_partner(records: int, paging: str) -> Iterator[str]:
    """Serve that many records; the base URL."""
    command = [sys.executable, "-m", "bench.static_server", "--records", str(records), "--paging", paging]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def asked(url: str, *, reset: bool = False) -> dict[str, float]:
    """What the static partner saw since the last reset: requests, first, last (Unix seconds)."""
    with urlopen(f"{url}/_reset" if reset else f"{url}/_stats") as answer:
        found: dict[str, float] = json.load(answer)
        return found


def execute(database: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(database)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(work())


def contender(command: list[str]) -> dict[str, Any]:
    """Run one measured process; its last line of output is its result."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
