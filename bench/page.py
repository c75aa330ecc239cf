"""What the first page costs the daemon: the data of the overview, and the templates, with a hundred integrations.

A real engine of a hundred integrations at four partners that nobody calls, and their rows in a real PostgreSQL; then the
processor time of one board, taken apart. `python -m bench.page [--integrations 100] [--repeats 30]`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from syncd.clock import SystemClock
from syncd.daemon import Daemon, Options, _collect_seldom
from syncd.figures.rings import Rings
from syncd.store import embedded
from syncd.store.database import Database
from syncd.store.migrate import Migrations
from tests.whole.daemon import free_port

REST: dict[str, Any] = {
    "auth": {"kind": "api_key", "header": "X-Api-Key"},
    "test": "/me",
    "limits": {"tiers": ["10/s", "600/min"]},
    "resources": {
        name: {"path": f"/{name}", "records": "items", "id": "id", "fields": {"name": "name"}}
        for name in ("listings", "reservations", "guests")
    },
}


def write(folder: Path, url: str, integrations: int, partners: int = 4) -> Path:
    """The configuration: every integration counted alone, none of them ever due."""
    config = folder / "config"
    (config / "partners").mkdir(parents=True)
    main = {
        "database": {"url": url},
        "server": {"listen": f"127.0.0.1:{free_port()}", "admin": f"127.0.0.1:{free_port()}"},
        "state_directory": str(folder),
    }
    (config / "syncd.yaml").write_text(yaml.safe_dump(main))
    for partner in range(partners):
        names = [f"account{number:03}" for number in range(integrations) if number % partners == partner]
        body = {
            "driver": "rest",
            "base_url": "http://127.0.0.1:9/v1",  # nobody listens there
            "rest": REST,
            "integrations": {name: {"credentials": {"api_key": {"env": "SYNCD_BENCH_KEY"}}} for name in names},
        }
        (config / "partners" / f"partner{partner}.yaml").write_text(yaml.safe_dump(body))
    return config


async def measure(config: Path, url: str, repeats: int) -> None:
    clock = SystemClock()
    database = await Database.open(url, clock=clock, pool_size=1)
    await Migrations(database).apply()
    await database.aclose()
    with (config.parent / "daemon.log").open("w") as log:
        daemon = Daemon(
            Options(config=config, log_stream=log), environ={**os.environ, "SYNCD_BENCH_KEY": "a key nobody knows"}
        )
        _collect_seldom()  # as `syncd run` does
        running = asyncio.create_task(daemon.run())
        while await daemon.engine.ready():
            if running.done():
                raise SystemExit(f"the daemon ended: {running.exception() or running.result()}")
            await asyncio.sleep(0.1)
        await asyncio.sleep(20)  # the first calls fail, breakers open: every row has something to say
        try:
            await tell(daemon, repeats)
        finally:
            daemon.stopping.set()
            await running


def an_hour(rings: Rings, names: list[str]) -> None:
    """As if the daemon had been at work for an hour: the little lines have all their points."""
    now = time.time()
    for point in range(rings.points):
        calls = {f"i {name}": {"calls": float((point * 7 + place) % 11)} for place, name in enumerate(names)}
        rings.add(now - rings.step_seconds * (rings.points - point), calls)


async def tell(daemon: Daemon, repeats: int) -> None:
    from syncd.server.ui.front import Front
    from syncd.server.ui.paper import Paper

    engine, paper = daemon.engine, Paper()
    sources = daemon._surfaces.page(None, daemon.stopping)._sources
    front = Front(sources, paper, daemon.clock)
    an_hour(engine.figures._rings["1h"], list(engine.names()))
    began = time.perf_counter()
    await paper.ready()
    print(f"templates loaded and compiled in a thread, once: {1000 * (time.perf_counter() - began):.0f} ms")
    found: dict[str, list[float]] = {"overview": [], "figures": [], "templates": [], "whole page": []}
    for _ in range(repeats):
        marks = [time.process_time()]
        overview = await engine.overview()
        marks.append(time.process_time())
        figures = front.figures()
        marks.append(time.process_time())
        board = front.render(overview, figures, {"causes": []}, [], {"changes": []})
        marks.append(time.process_time())
        for name, (first, last) in zip(found, pairwise(marks), strict=False):
            found[name].append(1000 * (last - first))
        found["whole page"].append(1000 * (marks[-1] - marks[0]))
    size = sum(len(text) for text in board.parts.values())
    print(f"{len(board.rows)} integrations, {size / 1000:.0f} kB of parts, {repeats} times; processor time in ms:")
    for name, values in found.items():
        values.sort()
        print(f"  {name:<11} best {values[0]:6.1f}   median {statistics.median(values):6.1f}   worst {values[-1]:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--integrations", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        server = embedded.start(Path(folder), settings=embedded.DISPOSABLE)
        try:
            config = write(Path(folder), server.url, given.integrations)
            asyncio.run(measure(config, server.url, given.repeats))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
