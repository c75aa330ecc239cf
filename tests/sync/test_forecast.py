"""Forecasts against the same schedules played on the real gate, on a clock that stands still."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits import Gate, TierSpec
from syncd.limits.capacity import Capacity
from syncd.sync.advice import ENOUGH, Change, advise
from syncd.sync.forecast import forecast
from syncd.sync.loads import Figure, Known, Load, ScopeLoad
from syncd.sync.plan import Strategy
from syncd.testing.clock import FakeClock

LATENCY = 0.2
DAY = 86_400.0
HOUR = 3600.0


def load(
    resource: str = "things",
    *,
    every: float,
    full: float | None = None,
    run: float | None = None,
    full_every: float = DAY,
    integration: str = "acme",
    strategy: Strategy = Strategy.INCREMENTAL,
    **more: Any,
) -> Load:
    """A load without jitter; figures that are given are measured."""
    more.setdefault("overlap_seconds", 120.0)
    return Load(
        "plain",
        integration,
        resource,
        strategy,
        every,
        every,
        full_every,
        full=Figure(full, Known.MEASURED) if full is not None else Figure(),
        run=Figure(run, Known.MEASURED) if run is not None else Figure(),
        written=f"every: {every:g}s",
        **more,
    )


def scope(*loads: Load, tiers: list[Any], share: float = 1.0, seats: int | None = None) -> ScopeLoad:
    capacities = tuple(Capacity.of(TierSpec.parse(tier), share=share) for tier in tiers)
    return ScopeLoad("s", capacities, loads, seats, latency=Figure(LATENCY, Known.MEASURED))


def written(made: ScopeLoad, changes: Iterable[Change]) -> ScopeLoad:
    """The same schedules with these settings written into the file; without jitter."""
    loads = list(made.loads)
    for change in changes:
        for number, one in enumerate(loads):
            if (one.integration in change.integrations) and one.resource == change.resource:
                if change.key == "full_every":
                    loads[number] = replace(one, full_every_seconds=change.seconds)
                else:
                    loads[number] = replace(one.every(change.seconds), period_seconds=change.seconds)
    return replace(made, loads=tuple(loads))


@dataclass
class Played:
    """What happened: calls by tier name, and of each resource how long its runs took."""

    calls: Counter[str] = field(default_factory=Counter)
    took: dict[tuple[str, str], list[float]] = field(default_factory=dict)


def play(made: ScopeLoad, tiers: list[Any], seconds: float) -> Played:
    """The schedules as the runner keeps them, one call of a run after the other, against the real gate."""
    played = Played()

    async def main() -> None:
        clock = FakeClock()
        gate = Gate("s", tiers, clock=clock, share=1.0, concurrency=made.seats, lanes={})
        ends = clock.monotonic() + seconds

        async def keep(one: Load) -> None:
            passed = -math.inf
            while (began := clock.monotonic()) < ends:
                whole = one.always_full or began - passed >= one.full_every_seconds - 1e-6
                for _ in range(round(one.full_calls if whole else one.run_calls)):
                    async with gate.admit(member=one.integration, budgets=tuple(one.names)) as slot:
                        if clock.monotonic() < ends:
                            played.calls.update(t.name for t in made.tiers if t.counted(one.names))
                        await clock.sleep(made.latency_seconds)
                        slot.success()
                passed = began if whole else passed
                usual = one.always_full or not whole
                if usual and clock.monotonic() < ends:
                    played.took.setdefault((one.integration, one.resource), []).append(clock.monotonic() - began)
                await clock.sleep(max(0.0, began + one.period_seconds - clock.monotonic()))

        await clock.run(asyncio.gather(*(keep(one) for one in made.loads)))

    asyncio.run(main())
    return played


SCOPES: dict[str, tuple[list[Any], list[Load]]] = {
    "one tier, one resource": (["60/min"], [load(every=60, full=240, run=20, full_every=HOUR)]),
    "two tiers, two integrations": (
        ["5/s", "1500/h"],
        [
            load(every=120, full=300, run=12, full_every=2 * HOUR),
            load("boats", every=300, full=45, strategy=Strategy.FULL, integration="other"),
        ],
    ),
    "budgets of their own": (
        [{"rate": "40/min", "budget": "read"}, {"rate": "10/min", "budget": "/slow"}, "100/min"],
        [
            load(every=60, full=100, run=15, full_every=HOUR, names=frozenset({"read"})),
            load("slow", every=300, full=30, strategy=Strategy.FULL, names=frozenset({"read", "/slow"})),
        ],
    ),
    "a feed and a bucket": (
        [{"rate": "30/min", "kind": "bucket", "burst": 10}],
        [load(every=30, run=3, strategy=Strategy.FEED), load("boats", every=600, full=60, strategy=Strategy.FULL)],
    ),
    "a day's budget": (["10/s", "2000/d"], [load(every=900, full=150, run=8, full_every=6 * HOUR)]),
}


@pytest.mark.parametrize("name", SCOPES)
def test_what_schedules_spend_of_each_tier_is_what_they_spend_at_the_gate(name):
    tiers, loads = SCOPES[name]
    made = scope(*loads, tiers=tiers)
    found = forecast(made)
    assert found.fits is True
    seconds = 24 * HOUR if name == "a day's budget" else 6 * HOUR
    played = play(made, tiers, seconds)
    for one in found.tiers:
        assert one.spent_per_second * seconds == pytest.approx(played.calls[one.tier.name], rel=0.05), one.tier.written
    for one in found.resources:
        usual = one.full_beside if one.load.always_full else one.run_beside
        took = played.took[one.load.integration, one.load.resource]
        assert not one.late
        assert max(took) <= one.load.shortest_seconds
        # At best a run has the windows for itself, at worst others have just filled them.
        alone = one.full if one.load.always_full else made.lasts([one.load.stream(one.load.run_calls)])
        assert 0.95 * alone.seconds - LATENCY <= min(took) <= usual.seconds + 60


CROWDED: dict[str, tuple[list[Any], list[Load]]] = {
    "one schedule too tight": (["60/min"], [load(every=10, full=240, run=20, full_every=2 * HOUR)]),
    "every run a pass": (["10/s", "600/h"], [load(every=60, full=50, strategy=Strategy.FULL)]),
    "passes too often": (["30/min"], [load(every=300, full=1000, run=1, full_every=1800)]),
    "three accounts at once": (
        ["60/min"],
        [load(every=30, full=100, run=15, full_every=6 * HOUR, integration=name) for name in ("a", "b", "c")],
    ),
    "a route of its own": (
        [{"rate": "6/min", "budget": "/slow"}, "300/min"],
        [
            load("slow", every=60, full=20, strategy=Strategy.FULL, names=frozenset({"read", "/slow"})),
            load(every=60, full=100, run=30, full_every=2 * HOUR),
        ],
    ),
    "no limit, but slow pages": (["100/s"], [load(every=10, full=400, run=100, full_every=6 * HOUR)]),
}


@pytest.mark.parametrize("name", CROWDED)
def test_schedules_that_do_not_fit_are_late_at_the_gate_and_in_time_as_advised(name):
    tiers, loads = CROWDED[name]
    made = scope(*loads, tiers=tiers)
    assert forecast(made).fits is False
    seconds = HOUR if name == "no limit, but slow pages" else 6 * HOUR
    late = play(made, tiers, seconds)
    worst = {key: sum(took) / len(took) for key, took in late.took.items()}
    by_key = {(one.integration, one.resource): one for one in made.loads}
    beyond = [one.tier for one in forecast(made).tiers if not one.fits]
    assert any(mean > by_key[key].shortest_seconds for key, mean in worst.items()) or beyond
    for tier in beyond:  # the gate gives all there is, and it is not enough
        assert late.calls[tier.name] == pytest.approx(tier.per_second(LATENCY) * seconds, rel=0.06)

    advice = advise(forecast(made))
    assert advice.helps
    mended = written(made, advice.changes)
    assert forecast(mended).fits is True
    calm = play(mended, tiers, seconds)
    for one in mended.loads:
        took = calm.took[one.integration, one.resource]
        assert sum(took) / len(took) <= one.shortest_seconds
        # What a complete pass held up is caught up with; no debt grows.
        assert took[-1] <= max(one.shortest_seconds, max(took[: len(took) // 2 + 1]))


@pytest.mark.parametrize("name", CROWDED)
def test_advice_is_the_smallest_that_does(name):
    tiers, loads = CROWDED[name]
    made = scope(*loads, tiers=tiers)
    advice = advise(forecast(made))
    for left_out in advice.changes:
        kept = [change for change in advice.changes if change is not left_out]
        found = forecast(written(made, kept))
        assert found.fits is False or any(one.share > ENOUGH for one in found.tiers)


@pytest.mark.parametrize("name", [name for name in CROWDED if name != "no limit, but slow pages"])
def test_the_limit_it_asks_for_would_do(name):
    tiers, loads = CROWDED[name]
    advice = advise(forecast(scope(*loads, tiers=tiers)))
    assert advice.raises
    wider = []
    for tier in tiers:
        spec = TierSpec.parse(tier)
        needed = [one.needed for one in advice.raises if one.tier == spec.name]
        wider.append(replace(spec, limit=needed[0]) if needed else spec)
    assert forecast(scope(*loads, tiers=wider)).fits is True


def test_no_schedule_fits_where_even_one_call_a_month_is_too_much():
    made = scope(*(load(f"r{n}", every=3600, strategy=Strategy.FULL) for n in range(9)), tiers=["1/30d"])
    advice = advise(forecast(made))
    assert not advice.helps
    assert advice.changes == ()
    assert [one.yaml for one in advice.raises] == ["limits: {tiers: [6822/30d]}"]  # 9 * 720 calls, and a reserve


def test_what_is_unknown_never_fits_for_certain_and_may_be_refused_for_certain():
    assert forecast(scope(load(every=60), tiers=["100/min"])).fits is None
    assert forecast(scope(load(every=60, full=10), tiers=["100/min"])).fits is None
    assert forecast(scope(load(every=60, full=10, run=1), tiers=["100/min"])).fits is True
    assert forecast(scope(load(every=10), tiers=["100/h"])).fits is False


def test_a_feed_needs_no_pass_and_a_child_no_run_between():
    feed = load(every=60, run=1, strategy=Strategy.FEED)
    child = load("notes", every=DAY, full=230, strategy=Strategy.CHILDREN, parent="things", caused_per_second=0.01)
    found = forecast(scope(feed, child, tiers=["100/min"]))
    assert found.fits is True
    [integration] = found.integrations
    assert integration.calls == Figure(230, Known.MEASURED)
    assert child.per_second == pytest.approx(230 / DAY + 0.01)


def test_the_rest_of_the_scope_makes_a_backfill_longer_by_what_it_takes():
    mine = load(every=DAY, full=3000, strategy=Strategy.FULL)
    others = load("boats", every=60, full=30, strategy=Strategy.FULL, integration="other")
    [first, _] = forecast(scope(mine, others, tiers=["60/min"])).integrations
    assert first.backfill.binding == "60/min"
    assert first.backfill.seconds == pytest.approx(3000 / (60 / 60.2), rel=0.03)
    assert first.backfill_beside.seconds == pytest.approx(2 * first.backfill.seconds, rel=0.03)


def test_tokens_are_counted_where_the_endpoint_has_a_limit():
    made = replace(scope(tiers=[{"rate": "5/24h", "budget": "token"}, "10/s"]), tokens_per_second=6 / DAY)
    found = forecast(made)
    assert found.fits is False
    assert [one.fits for one in found.tiers] == [False, True]
    assert [one.yaml for one in advise(forecast(made)).raises] == ["limits: {tiers: [{rate: 7/d, budget: token}]}"]


@settings(max_examples=60, deadline=None)
@given(
    every=st.integers(5, 7200),
    full=st.integers(1, 5000),
    run=st.integers(1, 50),
    limit=st.integers(1, 600),
    window=st.sampled_from(["min", "h", "d"]),
)
def test_advice_always_fits_or_says_that_nothing_does(every, full, run, limit, window):
    made = scope(load(every=every, full=full, run=run), tiers=[f"{limit}/{window}", "10/s"])
    found, advice = forecast(made), advise(forecast(made))
    if found.fits is not False:
        assert advice.changes == ()
        assert advice.raises == ()
        return
    assert not advice.helps or forecast(written(made, advice.changes)).fits is True


@settings(max_examples=100, deadline=None)
@given(
    figures=st.lists(
        st.tuples(st.integers(5, 7200), st.integers(1, 3000), st.integers(1, 60), st.integers(600, 90_000)),
        min_size=1,
        max_size=4,
    ),
    tiers=st.sampled_from([["10/s"], ["60/min", "2/s"], ["1000/h"], ["5000/d", "10/s"]]),
)
def test_the_quick_look_for_late_runs_finds_those_that_the_whole_forecast_does(figures, tiers):
    loads = [
        load(f"r{number}", every=every, full=full, run=run, full_every=full_every)
        for number, (every, full, run, full_every) in enumerate(figures)
    ]
    made = scope(*loads, tiers=tiers)
    quick = {(one.resource, key) for one, key, _ in made.overruns()}
    whole = {(one.load.resource, "every") for one in forecast(made).resources if one.late}
    whole |= {(one.load.resource, "full_every") for one in forecast(made).resources if one.full_late}
    assert quick == whole


def test_a_budget_of_a_month_is_reckoned_with_in_months():
    polled = load(every=300, full=60, run=1, full_every=DAY)  # 8,640 runs and 30 passes of 60 calls in 30 days
    found = forecast(scope(polled, tiers=["100/s", {"rate": "10000/30d", "budget": "read"}]))
    [_, month] = found.tiers
    assert month.spent_per_second * 30 * DAY == pytest.approx(8640 - 30 + 1800)
    assert month.share == pytest.approx(1.041, abs=0.001)
    advice = advise(found)
    assert [(change.setting, change.was) for change in advice.changes] == [("every: 10m", "every: 300s")]
    assert [one.yaml for one in advice.raises] == ["limits: {tiers: [{rate: 10959/30d, budget: read}]}"]


def test_points_are_asked_for_by_weight_and_calls_by_number():
    heavy = load(every=60, run=2, full=2, weight=50.0)
    found = forecast(scope(heavy, tiers=["100/min", {"rate": "1000/10s", "weighted": True}]))
    [calls, points] = found.tiers
    assert calls.spent_per_second * 60 == pytest.approx(2)
    assert points.spent_per_second * 60 == pytest.approx(100)
