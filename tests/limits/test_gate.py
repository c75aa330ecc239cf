"""The gate: order, fairness, reserved lanes, pauses, deadlines, breaker, cancellation, reload."""

import asyncio
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd import metrics
from syncd.errors import BreakerOpenError, PayloadError, RateLimitError
from syncd.limits import BreakerPolicy, BreakerState, Gate, OverBudgetError
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.partner import Partner, work, worst_bucket, worst_fixed, worst_window


def gate_of(clock, *tiers, **known):
    known.setdefault("share", 1)
    known.setdefault("lanes", {})
    return Gate(known.pop("scope", "s"), tiers, clock=clock, **known)


async def call(gate, log, name, *, seconds=0.1, **asked):
    async with gate.admit(**asked):
        log.append(name)
        await gate.clock.sleep(seconds)


@pytest.fixture
def clock():
    return FakeClock()


# -- order


async def test_the_highest_lane_goes_first_and_the_waiting_low_one_holds_nothing(clock):
    gate = gate_of(clock, "1/s", concurrency=1)
    log = []
    tasks = [asyncio.create_task(call(gate, log, "first"))]
    await clock.settle()
    for name, lane in (("low", Lane.LOW), ("normal", Lane.NORMAL), ("high", Lane.HIGH)):
        tasks.append(asyncio.create_task(call(gate, log, name, lane=lane)))
        await clock.settle()
    view = gate.view()
    assert view["seats"]["used"] == 1
    assert view["waiting"] == {"high": 1, "normal": 1, "low": 1}
    assert view["tiers"][0]["held"] == 1
    await clock.run(asyncio.gather(*tasks))
    assert log == ["first", "high", "normal", "low"]


async def test_members_of_a_lane_share_evenly_however_many_calls_each_has_waiting(clock):
    gate = gate_of(clock, "10/s")
    partner = Partner(clock, 1)
    end = clock.monotonic() + 60
    workers = [("greedy", 40), ("modest", 4), ("small", 4)]
    await clock.run(
        asyncio.gather(*(work(gate, partner, end, member=name) for name, count in workers for _ in range(count)))
    )
    counts = partner.by_member
    assert min(counts.values()) >= 0.9 * max(counts.values())


async def test_members_share_by_their_weights(clock):
    gate = gate_of(clock, "10/s", members={"big": 3.0})
    partner = Partner(clock, 1, most=0.05)
    end = clock.monotonic() + 60
    await clock.run(asyncio.gather(*(work(gate, partner, end, member=m) for m in ("big", "small") for _ in range(20))))
    assert partner.by_member["big"] / partner.by_member["small"] == pytest.approx(3, rel=0.1)


async def test_no_lane_starves_under_a_flood_in_a_higher_one(clock):
    gate = gate_of(clock, "5/s")
    partner = Partner(clock, 1, most=0.1)
    end = clock.monotonic() + 120
    lanes = {Lane.HIGH: 20, Lane.NORMAL: 3, Lane.LOW: 3}
    await clock.run(
        asyncio.gather(
            *(work(gate, partner, end, lane=ln, member=ln.name) for ln, count in lanes.items() for _ in range(count))
        )
    )
    assert partner.by_member["NORMAL"] >= 8
    assert partner.by_member["LOW"] >= 8
    assert partner.by_member["HIGH"] >= 0.9 * sum(partner.by_member.values())


async def test_a_budget_that_is_used_up_does_not_hold_back_the_other(clock):
    gate = gate_of(clock, {"rate": "1/60s", "budget": "write"}, {"rate": "10/s", "budget": "read"})
    log = []
    writes = [asyncio.create_task(call(gate, log, "write", budgets=("write",), lane=Lane.HIGH)) for _ in range(3)]
    await clock.settle()
    reads = [call(gate, log, "read", budgets=("read",), lane=Lane.LOW) for _ in range(10)]
    begun = clock.monotonic()
    await clock.run(asyncio.gather(*reads))
    assert clock.monotonic() - begun < 1.5
    for task in writes:
        task.cancel()
    await asyncio.gather(*writes, return_exceptions=True)


async def test_a_heavy_call_is_not_overtaken_for_ever_by_light_ones(clock):
    gate = gate_of(clock, {"rate": "100/10s", "weighted": True})
    partner = Partner(clock, 3, most=0.1)
    end = clock.monotonic() + 120
    light = [asyncio.create_task(work(gate, partner, end, weight=5, member="light")) for _ in range(10)]
    await clock.advance(5)
    begun = clock.monotonic()
    heavy = asyncio.create_task(call(gate, [], "heavy", weight=90, member="heavy"))
    while not heavy.done():
        await clock.advance(0.5)
    assert clock.monotonic() - begun <= 21
    for task in light:
        task.cancel()
    await asyncio.gather(*light, return_exceptions=True)


async def test_a_heavy_urgent_call_is_not_overtaken_by_light_ones_of_a_lower_lane(clock):
    gate = gate_of(clock, {"rate": "100/10s", "weighted": True})
    partner = Partner(clock, 3, most=0.1)
    end = clock.monotonic() + 120
    light = [asyncio.create_task(work(gate, partner, end, weight=5, lane=Lane.LOW, member=f"m{n}")) for n in range(10)]
    await clock.advance(5)
    begun = clock.monotonic()
    heavy = asyncio.create_task(call(gate, [], "heavy", weight=90, lane=Lane.HIGH))
    while not heavy.done():
        await clock.advance(0.5)
    assert clock.monotonic() - begun <= 11.5  # one window, its own latency, half a second of looking
    for task in light:
        task.cancel()
    await asyncio.gather(*light, return_exceptions=True)


# -- reserved lanes


async def test_a_reserved_share_is_lent_while_unused_and_served_first_when_its_lane_returns(clock):
    gate = gate_of(clock, "300/120s", lanes={Lane.HIGH: 0.2})
    partner = Partner(clock, 1, most=0.05)
    end = clock.monotonic() + 900
    tasks = [asyncio.create_task(work(gate, partner, end, member="normal")) for _ in range(8)]
    waits = []
    for _ in range(8):
        await clock.advance(97)  # at another moment of the window each time
        asked = clock.monotonic()
        task = asyncio.create_task(call(gate, [], "high", lane=Lane.HIGH))
        while not task.done():
            await clock.advance(0.05)
        waits.append(clock.monotonic() - asked)
    await clock.run(asyncio.gather(*tasks))
    assert len(partner.arrivals) >= 0.95 * 900 * 2.5  # lent: nothing lies idle
    assert max(waits) <= 2.5  # lent evenly: 60 reserved slots in 120 s come back one each 2 s


async def test_reserved_shares_hold_against_a_flood_from_above(clock):
    gate = gate_of(clock, "100/10s", lanes={"high": 0.1, "normal": 0.3, "low": 0.1})
    partner = Partner(clock, 1, most=0.05)
    end = clock.monotonic() + 200
    await clock.run(
        asyncio.gather(*(work(gate, partner, end, lane=ln, member=ln.name) for ln in Lane for _ in range(30)))
    )
    total = sum(partner.by_member.values())
    assert total >= 0.95 * 2000
    assert partner.by_member["NORMAL"] >= 0.28 * total
    assert partner.by_member["LOW"] >= 0.09 * total


@settings(max_examples=30, deadline=None)
@given(
    reserve=st.tuples(*[st.sampled_from((0.0, 0.1, 0.3)) for _ in Lane]),
    budget=st.sampled_from((3, 20, 60)),
    window=st.sampled_from((1, 10, 60)),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_reserved_one_busy_lane_alone_uses_at_least_85_percent(reserve, budget, window, seed):
    clock = FakeClock()
    partner = Partner(clock, seed, most=0.05)

    async def scene():
        gate = gate_of(clock, f"{budget}/{window}s", lanes=dict(zip(Lane, reserve, strict=True)))
        end = clock.monotonic() + 10 * window
        lane = Lane(seed % 3)
        workers = min(60, 3 + budget)
        made = sum(await clock.run(asyncio.gather(*(work(gate, partner, end, lane=lane) for _ in range(workers)))))
        assert made >= 0.85 * budget * 10

    asyncio.run(scene())


# -- waiting costs nothing


async def test_waiting_needs_one_timer_and_as_many_looks_as_there_is_news(clock):
    gate = gate_of(clock, "10/s", "100/60s", concurrency=50)
    looks = 0
    dispatch = gate.book.dispatch

    def counted(now):
        nonlocal looks
        looks += 1
        return dispatch(now)

    gate.book.dispatch = counted
    done = asyncio.gather(*(call(gate, [], "x", member=f"m{i % 7}") for i in range(400)))
    await clock.settle()
    assert clock.sleepers <= 10 + 1  # ten calls in flight sleep for their answer, one waiter looks out for 390
    await clock.run(done)
    assert looks <= 400 * 5


async def test_the_gate_wakes_when_the_slot_is_free_and_not_later(clock):
    gate = gate_of(clock, "1/10s")
    moments = []
    for _ in range(3):
        async with gate.admit():
            moments.append(clock.monotonic())
        waiter = asyncio.create_task(gate.admit().__aenter__())
        await clock.settle()
        await clock.advance(9.99)
        assert not waiter.done()
        await clock.advance(0.02)
        assert waiter.done()
        gate.leave(waiter.result(), heard=True)
        await clock.advance(10.01)


# -- cancelled


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    concurrency=st.sampled_from((None, 2, 5)),
    third=st.sampled_from(("20/10s", {"kind": "bucket", "burst": 6}, {"kind": "fixed"})),
)
def test_a_storm_of_cancellations_leaks_neither_seat_nor_slot_nor_breaks_the_limit(seed, concurrency, third):
    clock = FakeClock()
    dice = random.Random(seed)
    partner = Partner(clock, seed, most=1.0, nature="edges")

    async def one(gate):
        await clock.sleep(dice.uniform(0, 5))
        async with gate.admit(lane=Lane(dice.randrange(3)), member=str(dice.randrange(3))) as slot:
            await partner.call()
            if dice.random() < 0.5:
                slot.success()

    async def scene():
        rate = third if isinstance(third, str) else {"rate": "12/4s", **third}
        gate = gate_of(clock, "5/s", rate, concurrency=concurrency, lanes={"high": 0.2}, lost_seconds=1.0)
        tasks = [asyncio.create_task(one(gate)) for _ in range(120)]

        async def storm():
            while not all(task.done() for task in tasks):
                await clock.sleep(dice.uniform(0, 0.3))
                for task in dice.sample(tasks, dice.randrange(12)):
                    task.cancel()

        await clock.run(storm())
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.book.seats_used == 0
        assert not gate.book.flying
        assert gate.book.waiting == [0, 0, 0]
        assert not gate.room._waiting
        assert gate.room._lookout is None
        await clock.advance(15)
        for tier in gate.book.tiers:
            assert tier.used(clock.monotonic()) == 0
            assert tier.held_now(clock.monotonic()) == 0
        assert worst_window(partner.arrivals, 1) <= 5
        if isinstance(third, str):
            assert worst_window(partner.arrivals, 10) <= 20
        elif third["kind"] == "bucket":
            assert worst_bucket(partner.arrivals, 3) <= 6 + 1e-6
        else:
            ahead = clock.now().timestamp() - clock.monotonic()
            assert worst_fixed([(at + ahead, weight) for at, weight in partner.arrivals], 4, 0.0) <= 12
        log = []
        await clock.run(asyncio.gather(*(call(gate, log, "x") for _ in range(5))))
        assert len(log) == 5

    asyncio.run(scene())


async def test_a_call_let_go_and_cancelled_before_it_could_send_gives_its_slot_to_the_next(clock):
    gate = gate_of(clock, "1/1000s", concurrency=1)
    log = []
    async with gate.admit():
        pass
    first = asyncio.create_task(call(gate, log, "first"))
    second = asyncio.create_task(call(gate, log, "second"))
    await clock.settle()
    due = clock.next_due
    clock._monotonic = due  # the moment the slot frees: the lookout is let go ...
    gate.room.dispatch()
    first.cancel()  # ... and cancelled before it runs
    await clock.settle()
    assert log == ["second"]
    await clock.run(second)


async def test_the_lookout_hands_on_when_it_is_cancelled(clock):
    gate = gate_of(clock, "1/s")
    async with gate.admit():
        pass
    log = []
    tasks = [asyncio.create_task(call(gate, log, i)) for i in range(3)]
    await clock.settle()
    tasks[0].cancel()
    await clock.run(asyncio.gather(*tasks[1:]))
    assert log == [1, 2]


# -- deadlines


async def test_a_wait_that_surely_passes_the_deadline_is_refused_at_once_with_the_moment_to_return(clock):
    gate = gate_of(clock, "2/120s")
    for _ in range(2):
        async with gate.admit():
            await clock.sleep(0)
    asked = clock.monotonic()
    with pytest.raises(OverBudgetError) as refused:
        async with gate.admit(deadline_at=asked + 30):
            pass
    assert isinstance(refused.value, RateLimitError)
    assert clock.monotonic() == asked
    assert (refused.value.retry_at - clock.now()).total_seconds() == pytest.approx(120, abs=0.1)
    assert gate.book.waiting == [0, 0, 0]


async def test_what_its_own_member_has_in_line_counts_for_the_deadline(clock):
    gate = gate_of(clock, "1/10s")
    async with gate.admit():
        await clock.sleep(0)
    line = [asyncio.create_task(call(gate, [], i, member="m")) for i in range(5)]
    await clock.settle()
    with pytest.raises(OverBudgetError) as refused:
        async with gate.admit(member="m", deadline_at=clock.monotonic() + 45):
            pass
    assert (refused.value.retry_at - clock.now()).total_seconds() >= 50
    for task in line:
        task.cancel()
    await asyncio.gather(*line, return_exceptions=True)


async def test_a_deadline_that_passes_in_line_ends_the_wait_then(clock):
    gate = gate_of(clock, concurrency=1)
    busy = asyncio.create_task(call(gate, [], "busy", seconds=100))
    await clock.settle()
    begun = clock.monotonic()
    with pytest.raises(OverBudgetError):
        await clock.run(call(gate, [], "late", deadline_at=begun + 5))
    assert clock.monotonic() - begun == pytest.approx(5)
    await clock.run(busy)


async def test_a_call_too_heavy_for_its_tier_is_hopeless(clock):
    gate = gate_of(clock, {"rate": "100/10s", "weighted": True}, share=0.5)
    with pytest.raises(OverBudgetError) as refused:
        async with gate.admit(weight=101):
            pass
    assert refused.value.hopeless
    async with gate.admit(weight=100):  # above the share, within the limit: it goes alone
        pass


# -- pauses


async def test_a_pause_stops_the_whole_scope_until_told(clock):
    gate = gate_of(clock, "10/s")
    gate.pause(clock.now() + timedelta(seconds=7), "429")
    begun = clock.monotonic()
    with pytest.raises(OverBudgetError, match="paused"):
        async with gate.admit(deadline_at=begun + 5):
            pass
    await clock.run(call(gate, [], "x", seconds=0))
    assert clock.monotonic() - begun == pytest.approx(7, abs=0.01)
    assert gate.room.waited["paused"] == pytest.approx(7, abs=0.01)


async def test_a_pause_refuses_those_in_line_whose_deadline_falls_into_it(clock):
    gate = gate_of(clock, "1/s")
    async with gate.admit():
        pass
    waiting = asyncio.create_task(call(gate, [], "x", deadline_at=clock.monotonic() + 20))
    await clock.settle()
    gate.pause(60, "429")
    await clock.settle()
    with pytest.raises(OverBudgetError):
        waiting.result()


async def test_a_shorter_pause_does_not_end_a_longer_one_and_resume_does(clock):
    gate = gate_of(clock, "10/s")
    gate.pause(100, "long")
    gate.pause(1, "short")
    assert (gate.paused_until - clock.now()).total_seconds() == pytest.approx(100)
    waiting = asyncio.create_task(call(gate, [], "x", seconds=0))
    await clock.settle()
    gate.resume()
    await clock.settle()
    assert waiting.done()
    assert gate.paused_until is None


async def test_pauses_of_unknown_length_grow_until_a_call_succeeds(clock):
    gate = gate_of(clock, "10/s")
    lengths = []
    for _ in range(4):
        gate.pause(None, "429")
        lengths.append((gate.paused_until - clock.now()).total_seconds())
        gate.resume()
    async with gate.admit() as slot:
        slot.success()
    gate.pause(None, "429")
    assert lengths == pytest.approx([1, 2, 4, 8])
    assert (gate.paused_until - clock.now()).total_seconds() == pytest.approx(1)


# -- the breaker at the gate


async def fail(gate, **asked):
    async with gate.admit(**asked) as slot:
        slot.failure()


async def test_the_breaker_opens_sends_nothing_and_one_probe_closes_it(clock):
    heard = []
    gate = gate_of(
        clock,
        "100/s",
        breaker=BreakerPolicy(failures=3, cooldown_seconds=30),
        notify=lambda event, **facts: heard.append(event),
    )
    for _ in range(3):
        await fail(gate)
    with pytest.raises(BreakerOpenError) as refused:
        await fail(gate)
    assert (refused.value.retry_at - clock.now()).total_seconds() == pytest.approx(30)
    assert gate.view()["tiers"][0]["held"] == 3
    await clock.advance(30)
    async with gate.admit() as probe:
        assert probe.probe
        with pytest.raises(BreakerOpenError):
            await fail(gate)
        probe.success()
    assert gate.breaker_state() is BreakerState.CLOSED
    assert heard == ["breaker_opened", "breaker_closed"]


async def test_a_cancelled_probe_leaves_the_breaker_half_open(clock):
    gate = gate_of(clock, "100/s", breaker=BreakerPolicy(failures=1, cooldown_seconds=5))
    await fail(gate)
    await clock.advance(5)
    task = asyncio.create_task(call(gate, [], "probe", seconds=10))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert gate.breaker_state() is BreakerState.HALF_OPEN
    async with gate.admit() as slot:
        assert slot.probe


async def test_a_probe_cancelled_in_line_gives_the_probe_back(clock):
    gate = gate_of(clock, "1/60s", breaker=BreakerPolicy(failures=1, cooldown_seconds=5))
    await fail(gate)
    await clock.advance(5)
    task = asyncio.create_task(call(gate, [], "probe"))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(60)
    async with gate.admit() as slot:
        assert slot.probe


async def test_groups_break_apart(clock):
    gate = gate_of(clock, "10/s", breaker=BreakerPolicy(failures=1, cooldown_seconds=30))
    await fail(gate, group="reports")
    with pytest.raises(BreakerOpenError, match="reports"):
        await fail(gate, group="reports")
    async with gate.admit(group="orders") as slot:
        slot.success()
    assert gate.breaker_state("orders") is BreakerState.CLOSED


async def test_who_waits_for_a_group_is_told_at_once_when_its_breaker_opens(clock):
    gate = gate_of(clock, "1/60s", breaker=BreakerPolicy(failures=1, cooldown_seconds=30))
    async with gate.admit(group="orders") as slot:
        waiting = asyncio.create_task(call(gate, [], "w", group="orders"))
        other = asyncio.create_task(call(gate, [], "o", group="reports"))
        await clock.settle()
        slot.failure()
        await clock.settle()
        with pytest.raises(BreakerOpenError):
            waiting.result()
        assert not other.done()
    gate.hold("maintenance", group="reports")
    await clock.settle()
    with pytest.raises(BreakerOpenError, match="maintenance"):
        other.result()


async def test_a_held_breaker_stays_open_until_released(clock):
    gate = gate_of(clock, "100/s")
    gate.hold("migration at the partner")
    await clock.advance(3600)
    with pytest.raises(BreakerOpenError, match="migration"):
        await fail(gate)
    gate.release()
    async with gate.admit() as slot:
        assert not slot.probe


async def test_an_error_after_an_answer_is_no_lost_request(clock):
    gate = gate_of(clock, "1/10s", lost_seconds=5)
    with pytest.raises(PayloadError):
        async with gate.admit():
            raise PayloadError("odd", status=200)
    begun = clock.monotonic()
    await clock.run(call(gate, [], "x", seconds=0))
    assert clock.monotonic() - begun == pytest.approx(10, abs=0.01)


# -- reload, metrics


async def test_slots_in_use_survive_a_reload_that_lowers_raises_and_adds_tiers(clock):
    gate = gate_of(clock, "10/10s")
    partner = Partner(clock, 4, most=0.5, nature="edges")
    end = clock.monotonic() + 60
    tasks = [asyncio.create_task(work(gate, partner, end)) for _ in range(12)]
    await clock.advance(11)
    gate.reconfigure(["10/10s", "12/30s"], share=1, lanes={})
    await clock.advance(15)
    gate.reconfigure(["6/10s", "12/30s", "3/2s"], share=1, lanes={}, concurrency=2)
    lowered = clock.monotonic()
    await clock.run(asyncio.gather(*tasks))
    assert worst_window(partner.arrivals, 10) <= 10
    assert worst_window(partner.since(lowered), 10) <= 6
    # two sends and answers before the tier was known and twelve after; never more than was known to be in the window
    assert worst_window(partner.since(lowered - 15), 30) <= 12
    assert worst_window(partner.since(lowered), 2) <= 3


async def test_a_reload_with_a_mistake_changes_nothing(clock):
    gate = gate_of(clock, "10/10s")
    with pytest.raises(ValueError, match="rate"):
        gate.reconfigure(["10/10s", "quick"])
    with pytest.raises(ValueError, match="lanes"):
        gate.reconfigure(["20/10s"], lanes={"high": 2})
    assert [tier.spec.limit for tier in gate.book.tiers] == [10]


async def test_the_metrics_tell_used_budget_and_stated_and_go_when_the_scope_goes(clock):
    gate = gate_of(clock, "100/10s", scope="told", share=0.7)
    async with gate.admit():
        pass
    text = metrics.exposition().decode()
    assert 'syncd_limit_used{scope="told",tier="100/10s"} 1.0' in text
    assert 'syncd_limit_budget{scope="told",tier="100/10s"} 70.0' in text
    assert 'syncd_limit_stated{scope="told",tier="100/10s"} 100.0' in text
    assert 'syncd_breaker_state{group="all",scope="told"} 0.0' in text
    gate.close()
    assert 'scope="told",tier' not in metrics.exposition().decode()


async def test_waited_seconds_are_told_by_slot_view_and_metric(clock):
    gate = gate_of(clock, "1/5s", scope="waits")
    async with gate.admit():
        pass

    async def second():
        async with gate.admit() as slot:
            return slot.waited_seconds, slot.waited_by

    seconds, reason = await clock.run(second())
    assert (seconds, reason) == (pytest.approx(5, abs=0.01), "1/5s")
    assert gate.view()["waited_seconds"] == {"1/5s": pytest.approx(5, abs=0.01)}
    assert gate.view()["busy_seconds"] == pytest.approx(5, abs=0.01)
    assert 'syncd_limit_wait_seconds_total{reason="1/5s",scope="waits"}' in metrics.exposition().decode()
