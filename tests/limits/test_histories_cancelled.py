"""Far more than ten thousand calls cancelled at random points: no slot, seat, place in line or probe is lost or doubled."""

import asyncio
import random

import pytest

from tests.limits.history.storm import Storm

STORMS, TIMES = 6, 500
"""3,000 moments with the suite; at each one, some or all of at least fifty calls are cancelled, and the books checked."""
MORE = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(STORMS - 1, 20)]
CANCELLED = ("not begun", "asking", "let go", "inside", "answered", "probe")


@pytest.mark.parametrize("seed", [*range(STORMS - 1), *MORE, None])
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
    assert sum(storm.seen[point] for point in CANCELLED) > 10_000 / STORMS
    for point in ("asking", "let go", "inside", "answered", "probe", "BreakerOpenError", "OverBudgetError"):
        assert storm.seen[point], point
