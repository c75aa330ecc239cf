"""What 429s and the partner's own figures teach, and how it is forgotten."""

import asyncio
import math
from itertools import pairwise

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits import Gate
from syncd.limits.adaptive import BELOW, MEMORY_SECONDS, Learned, rate_text, yaml_line
from syncd.limits.readings import Reading
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.partner import Partner, work, worst_window


@pytest.fixture
def clock():
    return FakeClock()


def gate_of(clock, *tiers, **known):
    known.setdefault("share", 1)
    known.setdefault("lanes", {})
    return Gate("s", tiers, clock=clock, **known)


class Tightened:
    """A partner that counts arrivals in a sliding window, and refuses what is above its limit."""

    def __init__(self, clock, limit, window, *, retry_after):
        self.clock = clock
        self.limit = limit
        self.window = window
        self.retry_after = retry_after
        self.accepted = []
        self.refused = 0

    async def call(self, gate, latency, **asked):
        async with gate.admit(**asked) as slot:
            await self.clock.sleep(latency / 2)
            now = self.clock.monotonic()
            self.accepted = [at for at in self.accepted if at > now - self.window]
            good = len(self.accepted) < self.limit
            if good:
                self.accepted.append(now)
            else:
                self.refused += 1
            await self.clock.sleep(latency / 2)
            slot.answered()
            if good:
                slot.success()
            else:
                wait = self.accepted[0] + self.window - self.clock.monotonic() if self.retry_after else None
                gate.limited(wait, "429", call=slot)
            return good


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4, 16])
async def test_a_partner_that_tightens_its_limit_without_notice_costs_a_handful_of_429s_ever(
    clock, retry_after, concurrency
):
    gate = gate_of(clock, "1000/min", concurrency=concurrency, share=0.7)
    partner = Tightened(clock, 1000, 60, retry_after=retry_after)

    async def one(end):
        made = 0
        while clock.monotonic() < end:
            made += await partner.call(gate, 0.08)
        return made

    async def everybody(seconds):
        end = clock.monotonic() + seconds
        return sum(await asyncio.gather(*(one(end) for _ in range(concurrency))))

    await clock.run(everybody(120))
    assert partner.refused == 0
    partner.limit = 100
    await clock.run(everybody(600))
    first = partner.refused
    assert 1 <= first <= concurrency + 5  # what was under way met the first one; after that a few
    learned = gate.view()["tiers"][0]["learned"]
    assert 80 <= learned["limit"] <= 100
    made = await clock.run(everybody(3600))
    assert partner.refused == first
    assert made >= 0.9 * 60 * 100 * BELOW


async def test_what_was_learned_is_said_once_with_the_line_that_fixes_it(clock):
    told = []
    gate = gate_of(clock, {"rate": "600/min", "stated": 600}, notify=lambda event, **facts: told.append((event, facts)))
    partner = Tightened(clock, 500, 60, retry_after=True)
    for _ in range(500):
        assert await clock.run(partner.call(gate, 0.02))
    calls = [asyncio.create_task(partner.call(gate, 0.02)) for _ in range(5)]
    await clock.run(asyncio.gather(*calls))
    events = [event for event, _ in told]
    assert events == ["limit_learned", "scope_paused"]
    facts = told[0][1]
    assert (facts["stated"], facts["observed"], facts["yaml"]) == (600, 300, "limits: {tiers: [475/min]}")


@given(
    configured=st.integers(1, 5000),
    steps=st.lists(st.tuples(st.sampled_from(("broke", "grow")), st.floats(0, 1), st.floats(0, 90000)), max_size=40),
)
def test_a_learned_limit_is_never_below_one_nor_above_what_is_configured_and_always_recovers(configured, steps):
    learned, now = Learned(), 1000.0
    for what, share, seconds in steps:
        now += seconds
        if what == "broke":
            before = learned.limit or configured
            assert 1 <= learned.broke(now, configured, math.floor(share * configured), 60.0) <= max(1, before)
        else:
            before = learned.limit
            learned.grow(now, configured, 60.0)
            assert learned.limit is None or learned.limit >= before
        assert learned.limit is None or 1 <= learned.limit <= configured
    for _ in range(3):
        now += 40 * 86400
        learned.grow(now, configured, 60.0)
    assert learned.limit is None


def test_a_429_on_the_first_call_after_a_rest_does_not_teach_that_nothing_is_allowed():
    learned = Learned()
    assert learned.broke(0.0, 100, 0, 60.0) == 50
    learned.grow(60.0 * 11, 100, 60.0)
    assert learned.limit is None


def test_a_limit_tightened_to_next_to_nothing_is_learned_by_the_third_429():
    learned = Learned()
    assert learned.broke(0.0, 1000, 20, 60.0) == 500
    assert learned.broke(100.0, 1000, 20, 60.0) == 45, "one 429 is never believed further than to a tenth"
    assert learned.broke(200.0, 1000, 20, 60.0) == 18
    learned.grow(MEMORY_SECONDS, 1000, 60.0)
    assert learned.limit == 20 * BELOW


def test_recovery_stops_below_where_it_broke_until_that_is_forgotten():
    learned = Learned()
    learned.broke(0.0, 600, 500, 60.0)
    learned.grow(MEMORY_SECONDS - 1, 600, 60.0)
    assert learned.limit == 500 * BELOW
    learned.grow(MEMORY_SECONDS + 1, 600, 60.0)
    assert 500 * BELOW < learned.limit < 600
    again = Learned()
    again.absorb(learned.export(), MEMORY_SECONDS + 1, 60.0)
    assert (again.limit, again.events) == (learned.limit, 1)


@pytest.mark.parametrize(
    ("spec", "limit", "line"),
    [
        (TierSpec(600, 60), 522.5, "limits: {tiers: [522/min]}"),
        (TierSpec(300, 120), 95, "limits: {tiers: [95/120s]}"),
        (TierSpec(10, 1, budget="write"), 0.3, "limits: {tiers: [{rate: 1/s, budget: write}]}"),
        (TierSpec(9, 2, kind="bucket"), 7, "limits: {tiers: [{rate: 7/2s, kind: bucket}]}"),
        (TierSpec(9, 60, budget="/x/{parent.id}"), 7, 'limits: {tiers: [{rate: 7/min, budget: "/x/{parent.id}"}]}'),
        (TierSpec(10000, 30 * 86400, budget="read"), 8000, "limits: {tiers: [{rate: 8000/30d, budget: read}]}"),
    ],
)
def test_the_line_that_fixes_a_limit_can_be_pasted(spec, limit, line):
    assert yaml_line(spec, limit) == line
    [written] = yaml.safe_load(line)["limits"]["tiers"]
    assert TierSpec.parse(written).budget == spec.budget


@given(
    limit=st.integers(1, 10**6),
    window=st.sampled_from([0.5, 1, 2, 10, 60, 90, 120, 600, 3600, 7200, 86400, 30 * 86400]),
)
def test_a_rate_written_is_the_rate_read(limit, window):
    spec = TierSpec.parse(rate_text(limit, window))
    assert (spec.limit, spec.window_seconds) == (limit, window)


# -- the partner's own figures


async def call(gate, *readings, seconds=0.0, **asked):
    async with gate.admit(**asked) as slot:
        await gate.clock.sleep(seconds)
        slot.told(readings)
        slot.success()
    return gate.clock.monotonic()


async def test_a_smaller_limit_told_is_kept_to_and_a_greater_one_never_raises(clock):
    gate = gate_of(clock, "100/min")
    await clock.run(call(gate, Reading(limit=40, remaining=39, window_seconds=60, reset_seconds=60)))
    assert gate.view()["tiers"][0]["limit"] == 40
    await clock.run(call(gate, Reading(limit=1000, remaining=900, window_seconds=60, reset_seconds=60)))
    assert (gate.view()["tiers"][0]["limit"], gate.view()["tiers"][0]["learned"]) == (100, None)


async def test_a_limit_told_is_news_when_it_is_smaller_than_ever_told_and_only_then(clock):
    events = []
    gate = gate_of(clock, "100/10s", notify=lambda event, **facts: events.append((event, facts)))
    for limit in (100, 60, 60, 100, 60, 50):
        await clock.run(call(gate, Reading(limit, limit - 1, 10.0, 10.0)))
        await clock.run(clock.sleep(10.1))
    told = [(event, facts["stated"], facts["observed"], facts["yaml"]) for event, facts in events]
    assert told == [
        ("limit_learned", 100, 60, "limits: {tiers: [60/10s]}"),
        ("limit_learned", 100, 50, "limits: {tiers: [50/10s]}"),
    ]


async def test_what_others_spent_is_not_spent_again(clock):
    gate = gate_of(clock, "100/min")
    await clock.run(call(gate, Reading(limit=100, remaining=3, window_seconds=60, reset_seconds=30)))
    begun = clock.monotonic()
    at = [await clock.run(call(gate, lane=Lane.HIGH)) - begun for _ in range(4)]
    assert at[:3] == [0, 0, 0]
    assert at[3] == pytest.approx(30, abs=0.01)


async def test_when_little_is_left_calls_are_spread_until_the_reset_and_it_is_said_once(clock):
    told = []
    gate = gate_of(clock, "100/min", notify=lambda event, **facts: told.append(event))
    begun = clock.monotonic()
    await clock.run(call(gate, Reading(limit=100, remaining=10, window_seconds=60, reset_seconds=40)))
    at = [await clock.run(call(gate)) - begun for _ in range(5)]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert all(gap == pytest.approx(4, abs=0.01) for gap in gaps)
    await clock.run(call(gate, Reading(limit=100, remaining=5, window_seconds=60, reset_seconds=20)))
    assert told == ["limit_near"]
    await clock.run(call(gate, Reading(limit=100, remaining=80, window_seconds=60, reset_seconds=60)))
    assert told == ["limit_near", "limit_relaxed"]


async def test_our_own_spending_is_no_reason_to_slow_down(clock):
    gate = gate_of(clock, "60/min")
    begun = clock.monotonic()
    for n in range(60):
        await clock.run(call(gate, Reading(limit=60, remaining=59 - n, window_seconds=60, reset_seconds=60)))
    assert clock.monotonic() == begun
    assert gate.view()["tiers"][0]["foreign"] == 0


@pytest.mark.parametrize(
    ("reading", "limit"),
    [
        (Reading(limit=10, remaining=9, reset_seconds=1), 600),  # of another window, which has no name
        (Reading(limit=300, remaining=299, reset_seconds=50), 300),
        (Reading(limit=300, remaining=299, window_seconds=1), 600),
        (Reading(limit=300, remaining=299, window_seconds=60), 300),
        (Reading(limit=300, remaining=299, window_seconds=60, budget="write"), 600),
    ],
)
async def test_a_reading_lowers_the_tier_it_speaks_of_and_no_other(clock, reading, limit):
    gate = gate_of(clock, "600/min")
    await clock.run(call(gate, reading))
    assert gate.view()["tiers"][0]["limit"] == limit


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(5, 60),
    others=st.floats(0, 0.9),
    share=st.sampled_from((0.7, 1.0)),
    reset=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_with_others_spending_from_a_fixed_window_the_partner_refuses_hardly_anything(
    limit, others, share, reset, seed
):
    """The partner counts all; others spend first in each window, and its answers say what is left."""
    clock = FakeClock()
    partner = Partner(clock, seed, most=0.05)

    async def scene():
        gate = gate_of(clock, f"{limit}/10s", share=share)
        taken, refused, window = 0, 0, None

        async def one(end):
            nonlocal taken, refused, window
            while clock.monotonic() < end:
                async with gate.admit() as slot:
                    now = clock.monotonic()
                    if window != now // 10:
                        window, taken = now // 10, math.floor(others * limit)
                    if taken < limit:
                        taken += 1
                    else:
                        refused += 1
                    left = limit - taken
                    await partner.call(latency=0.05)
                    slot.told([Reading(limit, left, 10 - now % 10 if reset else None, 10.0)])
                    slot.success()

        end = clock.monotonic() + 120
        await clock.run(asyncio.gather(*(one(end) for _ in range(3))))
        return refused

    refused = asyncio.run(scene())
    assert refused <= 12 * 3  # the calls under way when the last one is taken, once a window
    assert worst_window(partner.arrivals, 10) <= limit


async def test_a_429_that_others_spending_explains_teaches_no_lower_limit(clock):
    gate = gate_of(clock, "100/min")
    await clock.run(call(gate, Reading(limit=100, remaining=20, window_seconds=60, reset_seconds=60)))
    async with gate.admit(lane=Lane.HIGH) as slot:
        gate.limited(30.0, "429", call=slot)
    assert gate.view()["tiers"][0]["learned"] is None
    assert gate.paused_until is not None


async def test_429s_of_calls_that_were_under_way_are_one_event_and_one_pause(clock):
    gate = gate_of(clock, "600/min", concurrency=8)

    async def one(seconds):
        async with gate.admit() as slot:
            await clock.sleep(seconds)
            gate.limited(None, "429", call=slot)

    began = clock.monotonic()
    await clock.run(asyncio.gather(*(one(0.1 + 1.2 * n) for n in range(8))))
    assert gate.book.tiers[0].learned.events == 1
    assert gate.paused_until is None, "the second that the first one began is long over"
    assert clock.monotonic() - began == pytest.approx(8.5)


async def test_two_429s_round_a_pause_leave_more_than_a_trickle(clock):
    gate = gate_of(clock, "600/min", share=0.7)
    partner = Partner(clock, 1)
    await clock.run(asyncio.gather(*(work(gate, partner, clock.monotonic() + 90) for _ in range(8))))

    async def refused():
        async with gate.admit() as slot:
            gate.limited(60.0, "429", call=slot)

    for _ in range(2):
        await clock.run(refused())
        await clock.advance(61)
        for _ in range(2):
            await clock.run(call(gate))
    assert gate.view()["tiers"][0]["budget"] >= 15


async def test_a_reset_further_away_than_a_window_is_not_believed(clock):
    gate = gate_of(clock, "100/min")
    await clock.run(call(gate, Reading(limit=100, remaining=0, reset_seconds=30 * 86400.0)))
    asked = clock.monotonic()
    await clock.run(call(gate))
    assert clock.monotonic() - asked <= 61


@pytest.mark.parametrize(
    ("left", "wait_seconds", "blamed"),
    [
        ({60.0: 30.0}, 1.0, 1.0),  # the same answer says that the minute has more
        ({1.0: 9.0}, 1.0, 60.0),
        ({}, 40.0, 60.0),  # a second's limit is never waited for so long
        ({1.0: 9.0, 60.0: 30.0}, 1.0, 1.0),  # it says that nothing is used up, and means the one or the other
        ({1.0: 9.0, 60.0: 30.0}, 40.0, 60.0),
        ({}, 1.0, 60.0),  # the fullest
    ],
)
async def test_a_429_is_put_down_to_the_limit_it_can_mean(clock, left, wait_seconds, blamed):
    gate = gate_of(clock, "15/s", "120/min")
    for _ in range(10):
        await clock.run(asyncio.gather(*(call(gate) for _ in range(10))))
        await clock.advance(1.1)
    async with gate.admit() as slot:
        limits = {1.0: 15, 60.0: 120}
        slot.told([Reading(limits[window], remaining, None, window) for window, remaining in left.items()])
        gate.limited(wait_seconds, "429", call=slot)
    learned = [tier["window_seconds"] for tier in gate.view()["tiers"] if tier["learned"]]
    assert learned == [blamed]


async def test_a_file_that_says_what_was_learned_ends_the_lesson(clock):
    gate = gate_of(clock, "100/min", share=1.0)
    for _ in range(80):
        await clock.run(call(gate))
    async with gate.admit() as slot:
        gate.limited(1.0, "429", call=slot)
    [tier] = gate.view()["tiers"]
    assert tier["learned"]["yaml"] == "limits: {tiers: [76/min]}"
    gate.reconfigure(["90/min"], share=1.0, lanes={})
    assert gate.view()["tiers"][0]["learned"] is not None, "that is more than was borne"
    state = gate.snapshot()
    gate.reconfigure(["76/min"], share=1.0, lanes={})
    assert (gate.view()["tiers"][0]["learned"], gate.view()["tiers"][0]["budget"]) == (None, 76)
    again = gate_of(clock, "76/min", share=1.0)
    await clock.run(again.restore(state))
    assert again.view()["tiers"][0]["learned"] is None, "also where it was written while nobody ran"


# -- seats, ramps


async def test_too_many_at_once_takes_seats_and_leaves_the_rate(clock):
    gate = gate_of(clock, "1000/min", concurrency=8)
    async with gate.admit() as slot:
        slot.answered()
    gate.limited(1.0, "too many at once", call=slot, about="seats")
    view = gate.view()
    assert (view["seats"]["limit"], view["seats"]["learned"], view["tiers"][0]["learned"]) == (4, 4, None)
    partner = Partner(clock, 1)
    await clock.run(asyncio.gather(*(work(gate, partner, clock.monotonic() + 1200) for _ in range(8))))
    assert gate.view()["seats"] == {"used": 0, "doubted": 0, "limit": 8, "configured": 8, "learned": None}


async def test_a_ramp_begins_with_a_tenth_and_ends_with_all(clock):
    gate = gate_of(clock, "100/10s")
    gate.ramp(60, 0.1)
    partner = Partner(clock, 2, most=0.02)
    begun = clock.monotonic()
    await clock.run(asyncio.gather(*(work(gate, partner, begun + 90) for _ in range(4))))
    counts = [sum(begun + a <= at < begun + a + 10 for at, _ in partner.arrivals) for a in range(0, 90, 10)]
    assert counts[0] <= 26
    assert counts == sorted(counts[:6]) + counts[6:]
    assert all(count >= 95 for count in counts[7:])
    assert gate.view()["ramp"] is None


# -- restarts


async def test_what_was_learned_and_the_pause_survive_a_kill_and_any_jump_of_the_wall_clock():
    clock = FakeClock(boot="one boot")
    saved = []

    class Keeper:
        async def save(self, scope, state):
            saved.append(state)

        async def load(self, scope):
            return saved[-1] if saved else None

    gate = gate_of(clock, "100/min", keeper=Keeper())
    await gate.open()
    for _ in range(50):
        async with gate.admit() as slot:
            slot.success()
    gate.limited(500.0, "429", call=slot)
    await gate.persist()
    learned = gate.view()["tiers"][0]["learned"]["limit"]
    for years in (30, -30):
        clock.set_now(clock.now().replace(year=clock.now().year + years))
        again = gate_of(clock, "100/min", keeper=Keeper())
        await again.open()
        assert again.view()["tiers"][0]["learned"]["limit"] == learned
        assert (again.paused_until - clock.now()).total_seconds() == pytest.approx(500, abs=1)
        assert again.view()["tiers"][0]["used"] >= 50
        await clock.advance(1)
