"""Ten thousand cancellations at random points: no slot, seat, place in line or probe is lost or doubled."""

import asyncio
import random

import pytest

from tests.limits.history.storm import Storm

STORMS, TIMES = 20, 500


@pytest.mark.parametrize("seed", [*range(STORMS - 1), None])
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
