"""Replays one history and tells it: `python -m tests.limits.history SEED`."""

from __future__ import annotations

import asyncio
import sys

from tests.limits.history.plan import draw
from tests.limits.history.world import World


def main() -> int:
    world = World(draw(int(sys.argv[1])))
    try:
        asyncio.run(world.live())
    finally:
        for worker in world.plan.workers:
            print(" ", worker)
        print("\n".join(world.story))
        print(len(world.ledger.calls), "calls", dict(world.seen), "judged", world.witness.judged)
    wrongs = world.ledger.broken() + world.witness.wrongs
    print("\n".join(wrongs[:20]) or "all is well")
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
