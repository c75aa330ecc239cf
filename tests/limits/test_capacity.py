"""The summed-up rules take as long as the real gate does on a clock that stands still; and say what binds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits import DEFAULT_LANES, Gate, TierSpec
from syncd.limits.capacity import PARTNER, SEATS, Capacity, Duration, Stream, duration
from syncd.model import Lane
from syncd.testing.clock import FakeClock

TIERS: list[list[Any]] = [
    ["10/s"],
    ["60/min"],
    ["10/s", "100/min"],
    ["100/min", "1000/h"],
    ["5/s", "20/10s", "80/min"],
    ["10/s", "50/10s", "300/120s"],
    [{"rate": "10/s", "kind": "bucket", "burst": 30}],
    [{"rate": "10/s", "kind": "bucket", "burst": 30}, "100/min"],
    [{"rate": "60/min", "kind": "fixed"}],
]


def capacities(tiers: list[Any], share: float, lanes: Any) -> list[Capacity]:
    return [Capacity.of(TierSpec.parse(tier), share=share, lanes=lanes) for tier in tiers]


def spend(
    tiers: list[Any],
    streams: list[Stream],
    *,
    latency: float,
    share: float = 1.0,
    seats: int | None = None,
    lanes: Any = None,
) -> float:
    """How long the gate takes to let all calls go, from the first send to the last answer."""

    async def main() -> float:
        clock = FakeClock()
        gate = Gate("s", tiers, clock=clock, share=share, concurrency=seats, lanes=lanes or {})
        began = ended = clock.monotonic()

        async def walk(stream: Stream, left: list[int]) -> None:
            nonlocal ended
            while left[0] > 0:
                left[0] -= 1
                async with gate.admit(budgets=tuple(stream.names), weight=stream.weight) as slot:
                    await clock.sleep(latency)
                    slot.success()
                ended = max(ended, clock.monotonic())

        walks = []
        for stream in streams:
            left = [int(stream.calls)]
            walks += [walk(stream, left) for _ in range(stream.flight)]
        await clock.run(asyncio.gather(*walks))
        return ended - began

    return asyncio.run(main())


@settings(deadline=None, max_examples=120)
@given(
    tiers=st.sampled_from(TIERS),
    calls=st.integers(1, 400),
    flight=st.sampled_from([1, 4, 8]),
    latency=st.sampled_from([0.05, 0.3, 0.9]),
    share=st.sampled_from([1.0, 0.7]),
    seats=st.sampled_from([None, 2, 8]),
    lanes=st.sampled_from([None, DEFAULT_LANES]),
)
def test_as_long_as_the_gate_takes(tiers, calls, flight, latency, share, seats, lanes):
    stream = Stream(calls, frozenset({"read"}), flight=flight)
    real = spend(tiers, [stream], latency=latency, share=share, seats=seats, lanes=lanes)
    told = duration([stream], capacities(tiers, share, lanes), latency_seconds=latency, seats=seats)
    # What other lanes lend comes evenly, so that a call at the turn of a window may go most of a window early.
    early = 0.65 * max(TierSpec.parse(tier).window_seconds for tier in tiers) if lanes else 0.0
    assert told.seconds == pytest.approx(real, rel=0.04, abs=latency + 0.11 + early)


@settings(deadline=None, max_examples=40)
@given(
    reads=st.integers(1, 300),
    writes=st.integers(1, 100),
    route=st.integers(1, 100),
    latency=st.sampled_from([0.05, 0.3]),
)
def test_several_streams_with_budgets_of_their_own(reads, writes, route, latency):
    tiers = [
        {"rate": "20/s", "budget": "read"},
        {"rate": "5/s", "budget": "write"},
        {"rate": "30/10s", "budget": "/x"},
        "500/min",
    ]
    streams = [
        Stream(reads, frozenset({"read", "/r"}), flight=4),
        Stream(writes, frozenset({"write"}), flight=2),
        Stream(route, frozenset({"read", "/x"}), flight=1),
    ]
    real = spend(tiers, streams, latency=latency)
    told = duration(streams, capacities(tiers, 1.0, None), latency_seconds=latency)
    # Streams that share one limit and not another shift each other's windows; up to a turn of them is not computed.
    assert told.seconds == pytest.approx(real, rel=0.15, abs=7.0)


@pytest.mark.parametrize(
    ("tiers", "calls", "flight", "seats", "binding"),
    [
        ([], 100, 1, None, PARTNER),
        ([], 100, 8, 4, SEATS),
        (["10/s", "1000/h"], 200, 8, None, "10/s"),
        (["10/s", "1000/h"], 5000, 8, None, "1000/h"),
        ([{"rate": "10000/30d", "budget": "read"}, "100/s"], 20_000, 8, None, "read 10000/30d"),
    ],
)
def test_what_binds_is_named(tiers, calls, flight, seats, binding):
    stream = Stream(calls, frozenset({"read"}), flight=flight)
    assert duration([stream], capacities(tiers, 1.0, None), latency_seconds=0.2, seats=seats).binding == binding


def test_a_tier_yields_window_over_window_and_latency_of_what_it_allows():
    whole = Capacity.of(TierSpec.parse("300/120s"), share=1.0)
    assert whole.per_second(0.3) == pytest.approx(300 / 120.3, rel=1e-3)
    part = Capacity.of(TierSpec.parse("100/s"), share=0.7)  # the share is paced by sends: latency costs nothing
    assert part.per_second(0.3) == pytest.approx(70, rel=2e-3)
    assert part.per_second(1.0) == pytest.approx(50, rel=2e-3)


def test_a_month_long_budget_takes_months():
    budget = Capacity.of(TierSpec.parse("10000/30d"), share=1.0)
    told = duration([Stream(25_000, frozenset())], [budget], latency_seconds=0.1)
    assert told.seconds / 86_400 == pytest.approx(60, rel=0.01)


def test_others_are_counted_and_a_fair_share_is_left_all_the_same():
    minute = Capacity.of(TierSpec.parse("60/min"), share=1.0)
    stream = Stream(600, frozenset(), flight=8)
    alone = duration([stream], [minute], latency_seconds=0.1).seconds
    beside = duration([stream], [minute], latency_seconds=0.1, taken={minute.name: 0.5}).seconds
    crowded = duration([stream], [minute], latency_seconds=0.1, taken={minute.name: 50.0}, members=3).seconds
    assert beside == pytest.approx(2 * alone, rel=0.12)
    assert crowded == pytest.approx(3 * alone, rel=0.12)


def test_nothing_to_do_takes_no_time():
    assert duration([Stream(0, frozenset())], [], latency_seconds=1.0) == Duration(0.0, PARTNER)


def test_points_are_counted_by_weight():
    points = Capacity.of(TierSpec.parse({"rate": "100/10s", "weighted": True}), share=1.0)
    light = duration([Stream(100, frozenset(), weight=1.0, flight=8)], [points], latency_seconds=0.0).seconds
    heavy = duration([Stream(100, frozenset(), weight=10.0, flight=8)], [points], latency_seconds=0.0).seconds
    assert light < 1.0
    assert heavy == pytest.approx(90, rel=0.01)


def test_a_lowered_tier_is_marked_and_never_raised():
    minute = Capacity.of(TierSpec.parse("60/min"), share=1.0, lanes={Lane.HIGH: 0.1})
    assert minute.lowered(1000, 1000) is minute
    lower = minute.lowered(20, 60)
    assert lower.learned
    assert (lower.budget, lower.ceiling) == (20, minute.ceiling)
    assert lower.written == "60/min"
