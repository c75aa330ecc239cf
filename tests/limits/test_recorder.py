"""Slots over a restart: a clean stop forgets nothing, a kill never lets the partner count more than the limit."""

import asyncio
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import StoreError
from syncd.limits import Gate, OverBudgetError
from syncd.limits.recorder import allowance
from syncd.testing.clock import FakeClock
from tests.limits.partner import Partner, work, worst_window


class Keeper:
    """Keeps what was committed; a save takes time, and one that is cut off is lost or not, as in life."""

    def __init__(self, clock: FakeClock, seconds: float = 0.004) -> None:
        self.clock = clock
        self.seconds = seconds
        self.state = None
        self.saves = 0
        self.broken = False

    async def save(self, scope, state):
        await self.clock.sleep(self.seconds)
        if self.broken:
            raise StoreError("the database is away")
        self.state = dict(state)
        self.saves += 1

    async def load(self, scope):
        return self.state


def gate_of(clock, keeper, *tiers, **known):
    known.setdefault("share", 1)
    known.setdefault("lanes", {})
    return Gate("s", tiers, clock=clock, keeper=keeper, **known)


@pytest.fixture
def clock():
    return FakeClock()


async def spend(gate, calls):
    for _ in range(calls):
        async with gate.admit():
            await gate.clock.sleep(0.01)


async def free_now(gate, most):
    """How many calls go without a wait."""
    asked = gate.clock.monotonic()
    count = 0
    for _ in range(most):
        try:
            async with gate.admit(deadline_at=asked + 0.2):
                count += 1
        except OverBudgetError:
            break
    return count


async def test_a_clean_stop_and_start_goes_on_where_it_was(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "5/s", "100/60s")
    await gate.open()
    await clock.run(spend(gate, 70))
    await gate.persist(clean=True)
    await clock.advance(2)
    again = gate_of(clock, keeper, "100/60s")
    await again.open()
    assert await clock.run(free_now(again, 100)) == 30


async def test_a_killed_process_counts_what_it_cannot_know_as_spent(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "100/60s")
    await gate.open()
    await clock.run(spend(gate, 15))
    tier = keeper.state["tiers"][gate.book.tiers[0].spec.key]
    assert sum(weight for _, weight in tier["held"]) + tier["flying"] + tier["allowed"] >= 15
    assert tier["allowed"] <= allowance(gate.book.tiers[0]) <= 10
    again = gate_of(clock, keeper, "100/60s")
    await again.open()
    assert 70 <= await clock.run(free_now(again, 100)) <= 85


async def test_a_process_killed_before_it_calls_costs_nothing_however_often(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "100/60s")
    await gate.open()
    await clock.run(spend(gate, 50))
    for _ in range(30):
        gate = gate_of(clock, keeper, "100/60s")
        await gate.open()
    assert 50 <= gate.view()["tiers"][0]["held"] <= 60


async def test_a_long_window_is_stored_in_few_numbers_and_none_is_freed_early(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "5000/h", concurrency=1)
    await gate.open()
    partner = Partner(clock, 1, most=0.2)
    await clock.run(asyncio.wait_for(work(gate, partner, clock.monotonic() + 400), None))
    await gate.persist(clean=True)
    stored = keeper.state["tiers"][gate.book.tiers[0].spec.key]["held"]
    assert len(stored) <= 130
    assert sum(weight for _, weight in stored) == len(partner.arrivals)
    again = gate_of(clock, keeper, "5000/h")
    await again.open()
    first = partner.arrivals[0][0]
    await clock.advance(first + 3600 - clock.monotonic())
    assert again.view()["tiers"][0]["held"] == len(partner.arrivals)
    await clock.advance(400)
    assert again.view()["tiers"][0]["held"] <= 0.1 * len(partner.arrivals)


async def test_short_windows_are_waited_out_after_a_kill_and_not_after_a_clean_stop(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "10/s")
    await gate.open()
    again = gate_of(clock, keeper, "10/s")
    await again.open()
    begun = clock.monotonic()
    await clock.run(spend(again, 1))
    assert clock.monotonic() - begun == pytest.approx(2.01, abs=0.01)  # what was sent last may be a second on its way
    await again.persist(clean=True)
    third = gate_of(clock, keeper, "10/s")
    await third.open()
    begun = clock.monotonic()
    await clock.run(spend(third, 1))
    assert clock.monotonic() - begun == pytest.approx(0.01)


@pytest.mark.parametrize("during", [False, True])
async def test_a_call_made_after_or_during_a_clean_goodbye_takes_the_goodbye_back_first(clock, during):
    keeper = Keeper(clock, 0.1)
    gate = gate_of(clock, keeper, "10/s")
    await clock.run(gate.open())
    await clock.advance(5)
    goodbye = asyncio.create_task(gate.persist(clean=True))
    await clock.advance(0.05 if during else 0.2)
    seen = []

    async def late():
        async with gate.admit():
            seen.append(keeper.state["clean"])

    await clock.run(late())
    await clock.run(goodbye)
    assert seen == [False]
    again = gate_of(clock, Keeper(clock, 0), "10/s")
    again.recorder.keeper.state = keeper.state
    await again.open()
    assert await clock.run(free_now(again, 10)) <= 9


async def test_rare_calls_are_recorded_before_they_leave(clock):
    keeper = Keeper(clock)
    gate = gate_of(clock, keeper, {"rate": "5/24h", "budget": "token"})
    await clock.run(gate.open())
    seen = []

    async def fetch():
        async with gate.admit(budgets=("token",)):
            state = keeper.state["tiers"][gate.book.tiers[0].spec.key]
            seen.append(state["flying"] + sum(weight for _, weight in state["held"]))

    for _ in range(5):
        await clock.run(fetch())
    assert seen == [1, 2, 3, 4, 5]


async def test_a_rare_call_that_cannot_be_recorded_does_not_leave_and_costs_nothing(clock):
    keeper = Keeper(clock)
    gate = gate_of(clock, keeper, {"rate": "5/24h", "budget": "token"}, "100/s", concurrency=1)
    await clock.run(gate.open())
    await clock.run(spend(gate, 1))  # where seats are counted the first call is recorded, whatever it is
    keeper.broken = True
    for _ in range(7):
        with pytest.raises(StoreError):
            await clock.run(_admit(gate, budgets=("token",)))
    assert gate.book.seats_used == 0
    assert gate.view()["tiers"][0]["held"] == 0
    await clock.run(spend(gate, 3))  # calls of other tiers need no record
    keeper.broken = False
    await clock.run(_admit(gate, budgets=("token",)))


async def _admit(gate, **asked):
    async with gate.admit(**asked):
        pass


async def test_many_calls_share_one_save(clock):
    keeper = Keeper(clock, 0.05)
    gate = gate_of(clock, keeper, "1000/60s", concurrency=200)
    await clock.run(gate.open())
    await clock.run(asyncio.gather(*(_admit(gate) for _ in range(200))))
    assert keeper.saves <= 5


async def test_state_is_stored_about_each_second_and_not_more_often(clock):
    keeper = Keeper(clock, 0.002)
    gate = gate_of(clock, keeper, "5000/h")
    await clock.run(gate.open())
    await clock.run(asyncio.wait_for(spend(gate, 1000), None))
    assert 9 <= keeper.saves <= 25  # 1000 calls of 10 ms


async def test_a_scope_lost_and_got_back_reads_what_was_spent_meanwhile_and_counts_nothing_twice(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, {"rate": "10/24h", "budget": "token"}, "100/60s")
    await gate.open()
    for _ in range(2):
        await clock.run(_admit(gate, budgets=("token",)))
    other = gate_of(clock, keeper, {"rate": "10/24h", "budget": "token"}, "100/60s")
    await other.open()
    for _ in range(3):
        await clock.run(_admit(other, budgets=("token",)))
    for _ in range(3):  # the lease comes back; the database hiccups and it is read more than once
        await gate.open()
    assert gate.view()["tiers"][0]["held"] == 5
    assert 5 + 10 <= gate.view()["tiers"][1]["held"] <= 5 + 20


async def test_a_pause_survives_a_restart(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "10/s")
    await gate.open()
    gate.pause(600, "429 from the partner")
    await gate.persist(clean=True)
    await clock.advance(100)
    again = gate_of(clock, keeper, "10/s")
    await again.open()
    assert (again.paused_until - clock.now()).total_seconds() == pytest.approx(500, abs=0.1)
    assert again.view()["pause_reason"] == "429 from the partner"


async def test_a_wall_clock_set_back_between_two_starts_frees_nothing_early_and_holds_nothing_for_ever(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "100/60s")
    await gate.open()
    await clock.run(spend(gate, 100))
    await gate.persist(clean=True)
    clock.set_now(clock.now() - timedelta(days=1))
    again = gate_of(clock, keeper, "100/60s")
    await again.open()
    assert await clock.run(free_now(again, 1)) == 0
    await clock.advance(61)
    assert await clock.run(free_now(again, 100)) == 100


async def test_a_window_configured_between_two_starts_reads_what_another_remembered(clock):
    keeper = Keeper(clock, 0)
    gate = gate_of(clock, keeper, "100/60s")
    await gate.open()
    await clock.run(spend(gate, 50))
    await gate.persist(clean=True)
    again = gate_of(clock, keeper, "80/30s")
    await again.open()
    assert await clock.run(free_now(again, 80)) == 30


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.sampled_from(("10/1s", "6/5s", "50/10s", "40/30s", "100/60s", "25/20s")), min_size=1, max_size=3),
    share=st.sampled_from((1.0, 0.7)),
    downs=st.lists(st.tuples(st.floats(0.05, 15), st.floats(0, 3), st.booleans()), min_size=1, max_size=4),
    save_seconds=st.sampled_from((0.0, 0.005, 0.3)),
    seed=st.integers(0, 2**32),
)
def test_no_kill_and_no_restart_ever_lets_the_partner_count_more_than_the_limit(
    rates, share, downs, save_seconds, seed
):
    clock = FakeClock()
    keeper = Keeper(clock, save_seconds)
    partner = Partner(clock, seed, nature=random.Random(seed).choice(("early", "edges", "any")))
    specs = []

    async def life(seconds):
        gate = gate_of(clock, keeper, *rates, share=share)
        specs[:] = [tier.spec for tier in gate.book.tiers]
        opening = asyncio.create_task(gate.open())
        end = clock.monotonic() + seconds
        while not opening.done() and clock.monotonic() < end:
            await clock.advance(min(0.05, end - clock.monotonic()))
        workers = [asyncio.create_task(work(gate, partner, end + 1e9)) for _ in range(8)] if opening.done() else []
        await clock.advance(max(0.0, end - clock.monotonic()))
        return gate, [*workers, opening]

    async def scene():
        for seconds, down, kindly in [*downs, (20.0, 0.0, False)]:
            gate, tasks = await life(seconds)
            frozen = keeper.state
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if kindly and tasks[-1].done() and not tasks[-1].cancelled():
                await clock.run(gate.persist(clean=True))
            else:
                keeper.state = frozen  # what a killed process had not committed never was
            dead = clock.monotonic()
            # a killed process' last requests have arrived by the time its machine took them, not later
            partner.arrivals = [(min(at, dead), weight) for at, weight in partner.arrivals]
            await clock.advance(down)

    asyncio.run(scene())
    for spec in specs:
        assert worst_window(partner.arrivals, spec.window_seconds) <= spec.limit
