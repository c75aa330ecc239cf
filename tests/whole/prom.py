"""The distribution's Prometheus on loopback, with the shipped rules as they are."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from syncd.alerts import ALERTS
from syncd.alerts.rules import rules_file
from tests.whole.daemon import free_port

PROMETHEUS = shutil.which("prometheus")
EVERY = "15s"
"""What docs/alerts.md has, and what Prometheus' own sample has: the rules bring a pace of their own."""


@asynccontextmanager
async def prometheus(folder: Path, targets: Sequence[int]) -> AsyncIterator[str | None]:
    """Scrapes these ports as docs/alerts.md has it. Yields its address; None without it."""
    if PROMETHEUS is None:
        yield None
        return
    folder.mkdir()
    (folder / "rules.yml").write_text(rules_file(ALERTS))
    scrape = {"job_name": "syncd", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}]}
    paces = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
    (folder / "p.yml").write_text(
        yaml.safe_dump({"global": paces, "rule_files": ["rules.yml"], "scrape_configs": [scrape]})
    )
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS, f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)
