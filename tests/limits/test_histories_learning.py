"""A partner that tightens its limit without notice, over ten virtual hours: it costs a handful of 429s, ever."""

import asyncio
import math
import random

import pytest

from tests.limits.history.tightening import HOURS, live, tightening


async def lived(seed):
    plan = tightening(seed)
    partner = await live(plan, seed)
    counts = partner.counts
    assert 1 <= counts["refused"] <= plan.concurrency + 8, f"seed {seed}: {counts} in {plan}"
    assert partner.busiest <= plan.stated, f"seed {seed}: {partner.busiest} of {plan.stated} at once"
    if not plan.rests and plan.restarts == 0:  # what is left is used all the same
        windows = (HOURS * 3600 - plan.at_seconds - 1800) / plan.window
        kept = max(1, math.floor(0.95 * (plan.real - 1)))  # whole calls below where it broke
        assert counts["accepted once learned"] >= 0.85 * kept * windows, f"seed {seed}: {counts} in {plan}"


@pytest.mark.parametrize(
    "seed", [*range(3), None, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 9))]
)
def test_a_limit_tightened_without_notice_costs_a_handful_of_429s_in_ten_hours(seed):
    asyncio.run(lived(random.SystemRandom().randrange(10**6, 10**9) if seed is None else seed))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_three_hundred_tightened_limits():
    for seed in range(1000, 1300):
        asyncio.run(lived(seed))
