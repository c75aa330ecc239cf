"""`python -m bench.divide`: how the time of an import divides among the rooms of syncd and the libraries below.

The daemon runs under the interpreter's own profiler, which slows every Python call and no C call: read shares, not seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import pstats
import re
import tempfile
from collections import Counter
from pathlib import Path

from bench.daemon import PAGES, ended, partner
from bench.parts import static_partner
from syncd.store import embedded
from tests.whole.daemon import SOURCE, Daemon

WAITING = "waiting"
STARTING = "starting"
START = """
import atexit, cProfile, sys
profile = cProfile.Profile()
atexit.register(lambda: (profile.disable(), profile.dump_stats({out!r})))
profile.enable()
"""


def room(where: str, function: str) -> str:
    """Whose time it is: `syncd/store`, a library's name, or the interpreter's; "" for what only its caller can tell."""
    if where == "~":
        named = ("orjson", "uvloop", "sha256")
        return next((name for name in named if name in function), WAITING if "'poll'" in function else "")
    if found := re.search(r"/src/(syncd/\w+)", where):
        return found[1]
    if found := re.search(r"/site-packages/(\w+)", where):
        return found[1]
    return STARTING if "importlib" in where else "asyncio" if "/asyncio/" in where else "standard library"


def divide(stats: pstats.Stats) -> Counter[str]:
    """Own time by room; a built-in's goes to those who called it."""
    rooms: Counter[str] = Counter()
    for (where, _, function), (_, _, own, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if owner := room(where, function):
            rooms[owner] += own
            continue
        for (caller, _, calling), (_, _, share, _) in callers.items():
            rooms[room(caller, calling) or "built-ins"] += share
    return rooms


async def profiled(url: str, database: str, paging: str, scratch: Path) -> pstats.Stats:
    import asyncpg

    out = scratch / "profile.out"
    (scratch / "sitecustomize.py").write_text(START.format(out=str(out)))
    path = {"PYTHONPATH": f"{scratch}:{SOURCE}"}
    main = {"log": {"level": "warning"}}
    daemon = Daemon(scratch, database, {"bench": partner(url, paging)}, main=main, env=path, cold=True)
    async with daemon:
        connection = await asyncpg.connect(database)
        await ended(daemon, connection, 0, 900)
        await connection.close()
    return pstats.Stats(str(out))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.divide", description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--paging", choices=sorted(PAGES), default="cursor")
    parser.add_argument("--functions", type=int, default=25, help="how many of the dearest functions to list")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="syncd-divide-") as scratch,
        embedded.start(Path(scratch)) as server,
        static_partner(options.records, options.paging) as url,
    ):
        stats = asyncio.run(profiled(url, server.url, options.paging, Path(scratch)))
    rooms = divide(stats)
    aside = [f"{rooms.pop(name, 0.0):.1f} s {name}" for name in (WAITING, STARTING)]
    total = sum(rooms.values())
    print(f"{options.records:,} records: {total:.1f} s of work, {' and '.join(aside)} not counted")
    for name, seconds in rooms.most_common(20):
        print(f"  {seconds / total:6.1%}  {name}")
    stats.sort_stats("tottime").print_stats(options.functions)


if __name__ == "__main__":
    main()
