"""The promise: whatever the network delays, the partner never counts more than the limit, and nearly all of it is used."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits import Gate
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.partner import Partner, work, worst_bucket, worst_fixed, worst_window

RATES = st.builds(
    lambda limit, window: f"{limit}/{window}s", st.integers(1, 30), st.sampled_from((0.5, 1, 2, 5, 10, 30, 60))
)
NATURES = st.sampled_from(("early", "late", "edges", "any"))


async def crowd(gate: Gate, partner: Partner, seconds: float, workers: int, **asked) -> int:
    end = partner.clock.monotonic() + seconds
    made = await asyncio.gather(
        *(work(gate, partner, end, member=f"m{i % 3}", lane=Lane(i % 3), **asked) for i in range(workers))
    )
    return sum(made)


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(RATES, min_size=1, max_size=3),
    share=st.sampled_from((1.0, 0.7, 0.5)),
    nature=NATURES,
    most=st.sampled_from((0.02, 0.6, 3.0)),
    workers=st.integers(1, 24),
    lanes=st.sampled_from(({}, {"high": 0.2, "low": 0.3}, None)),
    seed=st.integers(0, 2**32),
)
def test_no_window_at_the_partner_ever_counts_more_than_the_limit(rates, share, nature, most, workers, lanes, seed):
    clock = FakeClock()
    partner = Partner(clock, seed, most=most, nature=nature)

    async def scene():
        gate = Gate(
            "s", rates, clock=clock, share=share, lanes=lanes, concurrency=random.Random(seed).choice((None, 7))
        )
        await clock.run(crowd(gate, partner, 45, workers))
        for tier in gate.book.tiers:
            limit, window = tier.spec.limit, tier.spec.window_seconds
            assert worst_window(partner.arrivals, window) <= limit
            for phase in (0.0, 0.31 * window, 0.77 * window):
                assert worst_fixed(partner.arrivals, window, phase) <= limit

    asyncio.run(scene())
    assert partner.arrivals


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(1, 20),
    burst=st.integers(1, 30),
    nature=NATURES,
    share=st.sampled_from((1.0, 0.7)),
    most=st.sampled_from((0.05, 0.6, 2.0)),
    seed=st.integers(0, 2**32),
)
def test_a_token_bucket_at_the_partner_never_overflows(limit, burst, nature, share, most, seed):
    clock = FakeClock()
    partner = Partner(clock, seed, most=most, nature=nature)

    async def scene():
        gate = Gate("s", [{"rate": f"{limit}/s", "kind": "bucket", "burst": burst}], clock=clock, share=share)
        await clock.run(crowd(gate, partner, 30, 10))

    asyncio.run(scene())
    assert worst_bucket(partner.arrivals, limit) <= burst + 1e-6
    assert partner.arrivals


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), nature=NATURES, most=st.sampled_from((0.05, 0.6, 3.0)))
def test_weighted_calls_of_any_size_stay_within_the_points_of_every_window(seed, nature, most):
    clock = FakeClock()
    partner = Partner(clock, seed, most=most, nature=nature)
    dice = random.Random(seed)

    async def one(gate):
        for _ in range(12):
            async with gate.admit(weight=dice.randint(1, 60), lane=Lane(dice.randrange(3))) as slot:
                await partner.call(slot.weight)

    async def scene():
        gate = Gate("s", [{"rate": "100/10s", "weighted": True}, "20/s"], clock=clock, share=dice.choice((1.0, 0.7)))
        await clock.run(asyncio.gather(*(one(gate) for _ in range(8))))

    asyncio.run(scene())
    assert len(partner.arrivals) == 96
    assert worst_window(partner.arrivals, 10) <= 100


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("nature", ["any", "late"])
def test_at_least_95_percent_of_three_tiers_is_used_under_jitter(share, nature):
    """The long tier binds and loses latency / window: 300 / 120.3 of 300 / 120. Measured 97 to 100 %."""
    clock = FakeClock()
    partner = Partner(clock, 7, nature=nature)

    async def scene():
        gate = Gate("s", ["10/1s", "50/10s", "300/120s"], clock=clock, share=share, concurrency=16)
        made = await clock.run(crowd(gate, partner, 1200, 16))
        assert made / 1200 >= 0.95 * share * 300 / 120
        assert gate.utilisation >= 0.95
        assert worst_window(partner.arrivals, 120) <= 300
        assert worst_window(partner.arrivals, 10) <= 50
        assert worst_window(partner.arrivals, 1) <= 10

    asyncio.run(scene())


def test_a_share_of_a_one_second_tier_is_used_whole_though_slots_are_held_over_the_latency():
    """Exact against the written 100, paced at 70: 100 slots held 1.3 s still give 76 a second."""
    clock = FakeClock()
    partner = Partner(clock, 8, nature="late")

    async def scene():
        gate = Gate("s", ["100/s"], clock=clock, share=0.7)
        made = await clock.run(crowd(gate, partner, 60, 90))
        assert made / 60 >= 0.97 * 70
        assert worst_window(partner.arrivals, 1) <= 100

    asyncio.run(scene())


def test_a_call_whose_answer_began_holds_its_slot_no_longer_while_the_body_loads():
    clock = FakeClock()

    async def scene():
        gate = Gate("s", ["1/s"], clock=clock, share=1, lanes={})
        begun = clock.monotonic()
        async with gate.admit() as slot:
            await clock.sleep(0.2)
            slot.answered()
            await clock.sleep(5)
        async with gate.admit():
            pass
        return clock.monotonic() - begun

    async def main():
        return await clock.run(scene())

    assert asyncio.run(main()) == pytest.approx(5.2, abs=0.01)


def test_a_request_cut_off_on_its_way_counts_from_the_last_moment_it_may_arrive():
    clock = FakeClock()

    async def scene():
        gate = Gate("s", ["1/10s"], clock=clock, share=1, lanes={}, lost_seconds=2)
        with pytest.raises(TimeoutError):
            async with gate.admit(), clock.timeout(3):
                await clock.sleep(60)
        cut = clock.monotonic()
        async with gate.admit():
            return clock.monotonic() - cut

    async def main():
        return await clock.run(scene())

    assert asyncio.run(main()) == pytest.approx(12, abs=0.01)


def test_the_true_cost_of_a_call_replaces_the_expected_one():
    clock = FakeClock()

    async def scene():
        gate = Gate("s", [{"rate": "100/10s", "weighted": True}], clock=clock, share=1, lanes={})
        async with gate.admit(weight=10) as slot:
            slot.cost(90)
        begun = clock.monotonic()
        async with gate.admit(weight=10):
            assert clock.monotonic() == begun
        async with gate.admit(weight=10):
            return clock.monotonic() - begun

    async def main():
        return await clock.run(scene())

    assert asyncio.run(main()) == pytest.approx(10, abs=0.01)


def test_a_call_that_needs_the_whole_limit_goes_alone_though_a_slot_is_kept_for_urgent_ones():
    clock = FakeClock()

    async def scene():
        gate = Gate("s", [{"rate": "5/60s", "weighted": True}], clock=clock, share=1, lanes={"high": 0.2})
        async with gate.admit(weight=5, lane=Lane.LOW):
            pass
        async with gate.admit(weight=5, lane=Lane.LOW):
            return clock.monotonic()

    async def main():
        begun = clock.monotonic()
        return await clock.run(scene()) - begun

    assert asyncio.run(main()) == pytest.approx(60, abs=0.05)
