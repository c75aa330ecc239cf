"""Cancellations at random points: no slot, seat, place in line or probe is lost or doubled.

Two thousand with the suite, half of them by fresh seeds; ten thousand with `make soak`.
"""

import asyncio
import random

import pytest

from tests.limits.history.storm import Storm

TIMES = 500
STORMS = [0, 1, None, None, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 18))]
"""Seeds; None is a fresh one."""


@pytest.mark.parametrize("seed", STORMS)
def test_a_scope_cancelled_again_and_again_keeps_its_books(seed):
    seed = random.SystemRandom().randrange(10**6, 10**9) if seed is None else seed
    storm = Storm(seed)

    async def scene():
        await storm.rage(TIMES)
        await storm.settle_down()

    try:
        asyncio.run(scene())
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    for point in ("asking", "let go", "inside", "answered", "probe", "BreakerOpenError", "OverBudgetError"):
        assert storm.seen[point], point
