"""The token bucket through everything a window goes through: use, cancellation, true costs, restart, reload."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits import Gate
from syncd.limits.bucket import Bucket
from syncd.limits.tiers import TierSpec
from syncd.testing.clock import FakeClock
from tests.limits.partner import Partner, work, worst_bucket


def bucket(limit, window, burst=None, share=1.0):
    spec = TierSpec(limit, window, kind="bucket", burst=burst)
    return Bucket(spec, share=share, reserved={})


class Keeper:
    state = None

    async def save(self, scope, state):
        self.state = state

    async def load(self, scope):
        return self.state


@pytest.fixture
def clock():
    return FakeClock()


async def test_nearly_all_of_a_bucket_is_used(clock):
    gate = Gate("s", [{"rate": "10/s", "kind": "bucket", "burst": 20}], clock=clock, share=1)
    partner = Partner(clock, 1)
    end = clock.monotonic() + 120
    made = sum(await clock.run(asyncio.gather(*(work(gate, partner, end) for _ in range(16)))))
    assert made >= 0.95 * 10 * 120
    assert worst_bucket(partner.arrivals, 10) <= 20


def test_a_call_that_was_never_sent_leaves_no_trace():
    tier = bucket(5, 1.0)
    holds = [tier.take(0.0, 1, 1.0, ()) for _ in range(5)]
    assert not tier.admits(0.0, 1, 1.0, ())
    tier.undo(holds[0], 1.0)
    assert tier.admits(0.0, 1, 1.0, ())
    assert (tier.used(0.0), tier.held_now(0.0)) == (4.0, 4.0)


def test_the_true_cost_drains_like_any_other():
    tier = bucket(10, 1.0)
    hold = tier.take(0.0, 1, 1.0, ())
    tier.correct(hold, 1.0, 9.0)
    tier.answer(hold, 9.0, 0.0)
    assert tier.held_now(0.0) == pytest.approx(9)
    assert not tier.admits(0.0, 1, 3.0, ())
    opens = tier.opens(0.0, 1, 3.0, ())
    assert opens == pytest.approx(0.2, abs=0.001)
    assert tier.admits(opens + 1e-6, 1, 3.0, ())
    assert tier.held_now(0.5) == pytest.approx(4, abs=0.01)


def test_a_request_that_was_lost_is_in_flight_until_it_surely_arrived():
    tier = bucket(10, 1.0, burst=2)
    lost, heard = (tier.take(0.0, 1, 1.0, ()) for _ in range(2))
    tier.answer(lost, 1.0, 0.0, 1.0)
    tier.answer(heard, 1.0, 0.0)
    assert tier.opens(0.0, 1, 1.0, ()) == pytest.approx(0.1, abs=0.001)
    assert tier.held_now(0.9) == 1.0
    assert tier.held_now(1.0) == 1.0
    assert tier.held_now(1.05) == pytest.approx(0.5, abs=0.01)


def test_a_bucket_full_of_calls_in_flight_waits_for_an_answer_and_not_for_time():
    tier = bucket(10, 1.0, burst=2)
    holds = [tier.take(0.0, 1, 1.0, ()) for _ in range(2)]
    assert tier.opens(0.0, 1, 1.0, ()) == float("inf")
    assert not tier.admits(1000.0, 1, 1.0, ())
    tier.answer(holds[0], 1.0, 1000.0)
    assert tier.opens(1000.0, 1, 1.0, ()) == pytest.approx(1000.1, abs=0.001)


async def test_who_waits_behind_lost_requests_is_woken_when_they_have_surely_arrived(clock):
    gate = Gate("s", [{"rate": "10/s", "kind": "bucket", "burst": 1}], clock=clock, share=1, lost_seconds=3)
    with pytest.raises(TimeoutError):
        await clock.run(_cut_off(gate))
    begun = clock.monotonic()
    await clock.run(_call(gate))
    assert clock.monotonic() - begun == pytest.approx(3.1, abs=0.01)


async def _cut_off(gate):
    async with gate.admit(), gate.clock.timeout(1):
        await gate.clock.sleep(60)


async def _call(gate):
    async with gate.admit():
        pass


@settings(max_examples=30, deadline=None)
@given(
    lives=st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 5), st.booleans()), min_size=1, max_size=4),
    burst=st.sampled_from((5, 40)),
    seed=st.integers(0, 2**32),
)
def test_no_restart_lets_a_bucket_overflow(lives, burst, seed):
    clock = FakeClock()
    partner = Partner(clock, seed, nature="edges")
    keeper = Keeper()

    async def scene():
        for seconds, down, kindly in lives:
            rate = {"rate": "40/10s", "kind": "bucket", "burst": burst}
            gate = Gate("s", [rate], clock=clock, share=1, keeper=keeper)
            await gate.open()
            tasks = [asyncio.create_task(work(gate, partner, float("inf"))) for _ in range(8)]
            await clock.advance(seconds)
            state = keeper.state
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            keeper.state = state
            if kindly:
                await gate.persist(clean=True)
            dead = clock.monotonic()
            partner.arrivals = [(min(at, dead), weight) for at, weight in partner.arrivals]
            await clock.advance(down)

    asyncio.run(scene())
    assert worst_bucket(partner.arrivals, 4) <= burst + 1e-6


async def test_a_bucket_that_a_reload_adds_knows_what_is_in_flight_and_what_the_window_remembers(clock):
    gate = Gate("s", ["10/10s"], clock=clock, share=1, lanes={})
    for _ in range(6):
        async with gate.admit():
            pass
    async with gate.admit():
        gate.reconfigure(["10/10s", {"rate": "10/10s", "kind": "bucket"}], share=1, lanes={})
        view = gate.view()["tiers"][1]
        assert view["kind"] == "bucket"
        assert view["held"] == pytest.approx(7, abs=0.01)
        gate.reconfigure([{"rate": "10/10s", "kind": "bucket"}], share=1, lanes={})
    assert gate.view()["tiers"][0]["held"] == pytest.approx(7, abs=0.01)
    gate.recorder.recall({"tiers": gate.snapshot()["tiers"]}, clean=True)
    gate.recorder.recall({"tiers": gate.snapshot()["tiers"]}, clean=True)
    assert gate.view()["tiers"][0]["held"] >= 7


async def test_a_reload_that_raises_the_rate_does_not_drain_the_past_by_it(clock):
    slow, quick = ({"rate": rate, "kind": "bucket", "burst": 4} for rate in ("1/10s", "100/10s"))
    gate = Gate("s", [slow], clock=clock, share=1, lanes={})
    for _ in range(4):
        async with gate.admit():
            pass
    await clock.advance(5)
    gate.reconfigure([quick], share=1, lanes={})
    assert gate.view()["tiers"][0]["held"] == pytest.approx(3.5, abs=0.01)


async def test_a_429_teaches_a_bucket_by_what_was_accepted_in_a_window_not_by_its_level(clock):
    gate = Gate("s", [{"rate": "100/min", "kind": "bucket", "burst": 5}], clock=clock, share=0.5, lanes={})

    async def refused_after(seconds):
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            async with gate.admit() as slot:
                slot.success()
        async with gate.admit() as slot:
            gate.limited(1.0, "429", call=slot)

    for _ in range(3):
        await clock.run(refused_after(70))
    [tier] = gate.view()["tiers"]
    assert tier["learned"]["events"] == 3
    assert tier["learned"]["limit"] == 50 / 2**3, "each time half; its level never was above five"


@pytest.mark.parametrize("kinds", [("sliding", "bucket"), ("bucket", "sliding")])
@pytest.mark.parametrize("way", ["reload", "restart"])
async def test_what_was_spent_is_known_whatever_the_limit_is_called_from_now_on(clock, kinds, way):
    before, after = ([{"rate": "100/10s", "kind": kind}] for kind in kinds)
    keeper = Keeper()
    gate = Gate("s", before, clock=clock, share=1, lanes={}, keeper=keeper)
    await clock.run(gate.open())

    async def spend():
        for _ in range(100):
            async with gate.admit() as slot:
                slot.success()

    await clock.run(spend())
    await clock.advance(0.5)
    if way == "restart":
        await clock.run(gate.persist(clean=True))
        gate = Gate("s", after, clock=clock, share=1, lanes={}, keeper=keeper)
        await clock.run(gate.open())
    else:
        gate.reconfigure(after, share=1, lanes={})
    began, went = clock.monotonic(), 0

    async def one():
        nonlocal went
        async with gate.admit() as slot:
            slot.success()
            went += clock.monotonic() - began < 0.01

    await clock.run(asyncio.gather(*(one() for _ in range(20))))
    assert went <= 6
