"""Histories of one scope from seeds, judged at the partner's side: see tests/limits/history.

A failure names its seeds; `python -m tests.limits.history SEED` lives one again and tells it.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.limits.history.plan import draw
from tests.limits.history.world import World

PARTS, EACH = 18, 100
"""1,800 seeds that stay, and 200 fresh ones: together about a minute."""


async def lived(seeds: Iterable[int]) -> tuple[dict[int, list[str]], Counter[str]]:
    """By seed what went wrong; and what there was."""
    wrong: dict[int, list[str]] = {}
    seen: Counter[str] = Counter()
    for seed in seeds:
        world = World(draw(seed))
        await world.live()
        seen += world.seen
        seen["calls"] += len(world.ledger.calls)
        seen["judged"] += world.witness.judged
        if trouble := world.ledger.broken() + world.witness.wrongs:
            wrong[seed] = trouble[:3]
    return wrong, seen


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_the_partner_never_counts_too_much_and_nobody_waits_who_might_go(part):
    wrong, seen = asyncio.run(lived(range(part * EACH, (part + 1) * EACH)))
    assert not wrong
    assert seen["calls"] > 30 * EACH
    assert seen["judged"] > 300 * EACH
    for happening in ("reload", "kill", "stop", "return", "cancel", "jump", "pause", "hold", "lost", "limited", "body"):
        assert seen[happening], happening


def test_what_once_went_wrong_goes_well():
    wrong, _ = asyncio.run(lived((978341161, 978350783, 52001452, 52001733)))
    assert not wrong


@pytest.mark.parametrize("part", range(2))
def test_seeds_never_seen_before_go_well_too(part):
    first = random.SystemRandom().randrange(10**6, 10**9)
    wrong, _ = asyncio.run(lived(range(first, first + EACH)))
    assert not wrong, f"seeds from {first}"


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_fifty_thousand_histories():
    first = int(os.environ.get("SYNCD_FIRST_SEED", "0")) or random.SystemRandom().randrange(10**6, 10**9)
    print(f"seeds from {first} (SYNCD_FIRST_SEED)")
    for start in range(first, first + 50_000, 1000):
        wrong, _ = asyncio.run(lived(range(start, start + 1000)))
        assert not wrong
