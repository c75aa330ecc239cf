"""A partner that comes back is not met with all that waited: what arrives there, second by second, on the virtual clock."""

import asyncio

import pytest

from syncd.errors import BreakerOpenError, StoreError
from syncd.limits import BreakerPolicy, BreakerState, Gate
from syncd.limits.breakers import Hold
from syncd.testing.clock import FakeClock

RATE = 20
WORKERS = 60


class Sick:
    """A partner that answers 503 until it is well; counts what arrives."""

    def __init__(self, clock):
        self.clock = clock
        self.well = False
        self.arrivals = []

    async def call(self, gate, slot):
        self.arrivals.append(self.clock.monotonic())
        await self.clock.sleep(0.05)
        if self.well:
            slot.success()
        else:
            slot.failure("GET /things: answered 503")

    def between(self, begin, end):
        return sum(1 for at in self.arrivals if begin <= at < end)


async def work(gate, partner, dice):
    """Calls as often as it is let; refused by the breaker it comes back as told, spread as rows are."""
    while True:
        try:
            async with gate.admit() as slot:
                await partner.call(gate, slot)
        except BreakerOpenError as refused:
            wait = (refused.retry_at - gate.clock.now()).total_seconds()
            await gate.clock.sleep(wait * (1 + dice.random()) + 0.05)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def crowd(clock):
    """A gate, its partner, and a crowd that never has enough."""
    policy = BreakerPolicy(failures=5, cooldown_seconds=30)
    gate = Gate("s", [f"{RATE}/s"], clock=clock, share=1, lanes={}, breaker=policy)
    partner = Sick(clock)
    tasks = [asyncio.create_task(work(gate, partner, clock)) for _ in range(WORKERS)]
    yield gate, partner
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_outage_of_hours_costs_a_call_a_cooldown_and_the_return_ramps_up_from_a_tenth(clock, crowd):
    gate, partner = crowd
    begun = clock.monotonic()
    await clock.advance(4 * 3600)
    assert gate.breaker_state() is not BreakerState.CLOSED
    told = partner.between(begun + 60, begun + 4 * 3600)
    assert 40 <= told <= 52, "30 s, 1, 2, 4 minutes, then every five"
    partner.well = True
    while gate.breaker_state() is not BreakerState.CLOSED:
        await clock.advance(0.05)
    back = clock.monotonic()
    await clock.advance(90)
    first = [partner.between(back + second, back + second + 1) for second in range(90)]
    assert max(first[:3]) <= 0.15 * RATE + 1, first
    assert sum(first[:10]) <= 0.2 * RATE * 10, first
    assert all(count <= (0.1 + 0.9 * (second + 1) / 60) * RATE + 1 for second, count in enumerate(first[:60])), first
    assert sum(first[65:85]) >= 0.95 * RATE * 20, first


async def test_a_hold_that_ends_by_itself_ramps_up_too(clock):
    gate = Gate("s", [f"{RATE}/s"], clock=clock, share=1, lanes={})
    partner = Sick(clock)
    partner.well = True
    gate.hold("over night", who="ann", until=clock.now().replace(minute=10))
    tasks = [asyncio.create_task(work(gate, partner, clock)) for _ in range(WORKERS)]
    await clock.advance(599)
    assert partner.arrivals == []
    while not partner.arrivals:
        await clock.advance(0.1)
    back = partner.arrivals[0]
    await clock.advance(70)
    assert partner.between(back, back + 2) <= 0.15 * RATE * 2 + 1
    assert partner.between(back + 62, back + 68) >= 0.9 * RATE * 6
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_reset_lets_few_go_at_first(clock):
    gate = Gate("s", [f"{RATE}/s"], clock=clock, share=1, lanes={}, breaker=BreakerPolicy(failures=1))
    partner = Sick(clock)
    async with gate.admit() as slot:
        slot.failure("GET /things: answered 503")
    partner.well = True
    assert gate.reset() == [""]
    back = clock.monotonic()
    tasks = [asyncio.create_task(work(gate, partner, clock)) for _ in range(WORKERS)]
    await clock.advance(75)
    assert 1 <= partner.between(back, back + 3) <= 0.15 * RATE * 3 + 1
    assert partner.between(back + 62, back + 72) >= 0.9 * RATE * 10
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_probe_passes_the_gate_like_any_call(clock):
    """A seat, a slot and its lane: a probe for which there is no room waits, and nobody else goes meanwhile."""
    policy = BreakerPolicy(failures=1, cooldown_seconds=5)
    gate = Gate("s", ["2/60s"], clock=clock, share=1, lanes={}, concurrency=1, breaker=policy)
    for group in ("", "other"):
        async with gate.admit(group=group) as slot:
            slot.failure() if group == "" else slot.success()
    await clock.advance(10)
    sent = []

    async def probe():
        async with gate.admit() as slot:
            sent.append((clock.monotonic(), slot.probe))
            slot.success()

    task = asyncio.create_task(probe())
    await clock.settle()
    assert sent == []
    with pytest.raises(BreakerOpenError, match="one probe finds out"):
        async with gate.admit():
            pass
    await clock.run(task)
    assert sent[0][1]
    assert gate.breaker_state() is BreakerState.CLOSED


@pytest.mark.parametrize("how", ["cancelled in line", "cancelled in flight", "deadline", "held", "429"])
async def test_a_probe_without_a_verdict_leaves_it_half_open_and_the_next_call_is_the_probe(clock, how):
    policy = BreakerPolicy(failures=1, cooldown_seconds=5)
    gate = Gate("s", ["2/60s"], clock=clock, share=1, lanes={}, breaker=policy)
    for _ in range(2 if how not in ("cancelled in flight", "429") else 1):
        async with gate.admit(group="" if gate.breaker_state() is BreakerState.CLOSED else "other") as slot:
            slot.failure() if slot.group == "" else slot.success()
    await clock.advance(6)

    async def probe():
        async with gate.admit(deadline_at=clock.monotonic() + 70 if how == "deadline" else None) as slot:
            assert slot.probe
            if how == "429":
                gate.limited(3.0, "too many", call=slot)
                return
            await clock.sleep(10)

    task = asyncio.create_task(probe())
    await clock.settle()
    if how == "deadline":
        gate.pause(100.0, "told to wait")
    elif how == "held":
        gate.set_holds({None: Hold("audit", "ann", clock.now())})
        gate.set_holds({})
    elif how != "429":
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert gate.breaker_state() is BreakerState.HALF_OPEN
    assert gate.breakers.takes("") == 1
    await clock.advance(200)

    async def again():
        async with gate.admit() as slot:
            return slot.probe

    assert await clock.run(again())


class Forgetful:
    """A keeper whose database is away now and then."""

    def __init__(self):
        self.state = None
        self.away = False

    async def save(self, scope, state):
        if self.away:
            raise StoreError("away")
        self.state = state

    async def load(self, scope):
        return self.state


async def test_a_turned_breaker_is_to_be_stored_until_it_is(clock):
    keeper = Forgetful()
    gate = Gate("s", ["100/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=60), keeper=keeper)
    await gate.open()
    assert not gate.unsaved
    async with gate.admit() as slot:
        slot.failure("GET /things: answered 503")
    assert gate.unsaved
    keeper.away = True
    with pytest.raises(StoreError):
        await gate.persist()
    assert gate.unsaved
    keeper.away = False
    await gate.persist()
    assert not gate.unsaved
    later = Gate("s", ["100/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=60), keeper=keeper)
    await clock.advance(20)
    await later.open()
    assert later.breaker_state() is BreakerState.OPEN
    assert later.breakers.of("").retry_in(clock.monotonic()) == pytest.approx(40)
    assert later.away_seconds == pytest.approx(20)


async def test_a_reload_keeps_an_open_breaker_and_a_hold(clock):
    gate = Gate("s", ["100/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=60))
    async with gate.admit(group="reports") as slot:
        slot.failure("GET /reports: answered 503")
    gate.hold("audit", group="orders", who="ann")
    gate.reconfigure(["50/s"], breaker=BreakerPolicy(failures=9, cooldown_seconds=90))
    assert gate.breaker_state("reports") is BreakerState.OPEN
    assert gate.breakers.of("reports").retry_in(clock.monotonic()) == 60, "a longer cooldown is for the next time"
    assert gate.view()["breakers"]["orders"]["held"]["who"] == "ann"
