"""Figures over time: bounded, by ten seconds and by five minutes, and the sums of an hour that passes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pytest

from syncd.client import Recent
from syncd.figures import SAMPLE_SECONDS, WINDOWS, Figures
from syncd.testing.clock import FakeClock

MEGABYTE = 1024 * 1024


class Bench:
    """Instruments that show what the test sets."""

    def __init__(self, *names: str) -> None:
        self.recent = {name: Recent() for name in names}
        self.told: dict[str, dict[str, float | None]] = {}
        self.waiting = 0
        self.lag = 0.0
        self.received = 0.0

    def calls(self) -> Mapping[str, Recent]:
        return self.recent

    def standing(self, now: datetime) -> Mapping[str, Mapping[str, float | None]]:
        return self.told or {name: {"limit_share": 0.5, "lag_seconds": 60.0} for name in self.recent}

    def queues(self) -> Iterable[Mapping[str, Any]]:
        return [{"name": "inbox", "kind": "table", "waiting": self.waiting, "oldest_seconds": 2.0}]

    def process(self) -> Mapping[str, float | None]:
        return {"rss_bytes": 1e8, "loop_lag_ms": self.lag, "deliveries": self.received}


async def passing(clock: FakeClock, figures: Figures, seconds: float) -> None:
    for _ in range(round(seconds / SAMPLE_SECONDS)):
        await clock.advance(SAMPLE_SECONDS)
        figures.sample()


async def test_a_point_every_ten_seconds_and_what_is_not_known_is_none():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    for seconds in (0.1, 0.1, 0.1, 2.0):
        bench.recent["acme"].note("200", seconds)
    bench.recent["acme"].note("503", 0.2)
    bench.received = 5
    await passing(clock, figures, 10)
    bench.received, bench.waiting, bench.lag = 25, 7, 12.0
    await passing(clock, figures, 10)
    view = figures.view("1h")
    assert view["schema"] == "syncd.figures/1"
    assert view["step_seconds"] == 10
    assert view["times"] == [round(clock.now().timestamp()) - 10, round(clock.now().timestamp())]
    acme = view["integrations"]["acme"]
    assert acme["calls"] == [0.5, 0.0]
    assert acme["errors"] == [0.2, None]
    assert acme["p99_ms"][0] == pytest.approx(2000, rel=0.2)
    assert acme["p95_ms"][1] is None
    assert acme["limit_share"] == [0.5, 0.5]
    assert acme["hour"]["calls"] == 5
    assert acme["hour"]["success"] == 0.8
    assert acme["hour"]["errors"]["5xx"] == view["errors"]["5xx"] == 1
    assert view["queues"]["inbox"]["waiting"] == [0, 7]
    assert view["process"]["deliveries"] == [0.0, 2.0]
    assert view["process"]["loop_lag_ms"] == [0.0, 12.0]


async def test_an_hour_later_a_call_counts_no_more():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    bench.recent["acme"].note("401", 0.1)
    await passing(clock, figures, 58 * 60)
    bench.recent["acme"].note("200", 0.1)
    await passing(clock, figures, 10)
    assert figures.hour("acme")["calls"] == 2  # type: ignore[index]
    await clock.advance(3 * 60)  # and nobody measures meanwhile
    hour = figures.hour("acme")
    assert hour is not None
    assert (hour["calls"], hour["success"], hour["errors"]["401"]) == (1, 1.0, 0)
    await clock.advance(7 * 3600)
    assert figures.hour("acme")["calls"] == 0  # type: ignore[index]
    assert figures.hour("acme")["success"] is None  # type: ignore[index]
    assert sum(figures.errors().values()) == 0


async def test_the_day_shows_the_mean_of_rates_and_the_worst_of_levels():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    bench.waiting = 100
    bench.told = {"acme": {"limit_share": 0.9, "lag_seconds": None}}
    await passing(clock, figures, 10)
    bench.waiting, bench.told = 1, {"acme": {"limit_share": 0.1, "lag_seconds": None}}
    for _ in range(300):
        bench.recent["acme"].note("200", 0.1)
    bench.recent["acme"].note("timeout", 30.0)
    await passing(clock, figures, 290)
    view = figures.view("24h", "acme")
    assert len(view["times"]) == 1
    acme = view["integrations"]["acme"]
    assert acme["calls"] == [pytest.approx(301 / 300, abs=0.001)]
    assert acme["limit_share"] == [pytest.approx(0.9)]
    assert acme["lag_seconds"] == [None]
    assert acme["errors"] == [pytest.approx(1 / 301, abs=0.001)]
    assert view["queues"]["inbox"]["waiting"] == [100]
    assert "p95_ms" in acme
    assert set(figures.view("24h", "acme", series=["calls"])["integrations"]["acme"]) == {"calls", "hour"}


async def test_what_a_replaced_session_had_counted_is_not_lost():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    await passing(clock, figures, 10)
    bench.recent["acme"].note("200", 0.1)
    bench.recent["acme"] = Recent()
    bench.recent["acme"].note("500", 0.1)
    await passing(clock, figures, 10)
    assert figures.hour("acme")["calls"] == 2  # type: ignore[index]
    await passing(clock, figures, 10)
    assert figures.hour("acme")["calls"] == 2  # type: ignore[index]


async def test_an_integration_that_left_is_forgotten_and_one_that_came_has_no_past():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    await passing(clock, figures, 20)
    bench.recent = {"shop": Recent()}
    await passing(clock, figures, 10)
    view = figures.view("1h")
    assert list(view["integrations"]) == ["shop"]
    assert view["integrations"]["shop"]["calls"] == [None, None, 0.0]
    assert figures.hour("acme") is None


def test_another_window_is_none():
    with pytest.raises(KeyError):
        Figures(Bench(), FakeClock()).view("1y")


async def test_a_hundred_integrations_cost_less_than_four_megabytes_however_long_it_runs():
    names = [f"integration-{number}" for number in range(100)]
    clock, bench = FakeClock(), Bench(*names)
    tracemalloc.start()
    try:
        figures = Figures(bench, clock)
        await passing(clock, figures, 310)
        first, _ = tracemalloc.get_traced_memory()
        for name in names:
            bench.recent[name].note("500", 0.3)
        await passing(clock, figures, 900)
        later, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert later < 4 * MEGABYTE
    assert later - first < 0.2 * MEGABYTE


async def test_no_more_points_than_the_window_holds():
    clock, bench = FakeClock(), Bench("acme")
    figures = Figures(bench, clock)
    await passing(clock, figures, 3700)
    view = figures.view("1h")
    assert len(view["times"]) == len(view["integrations"]["acme"]["calls"]) == WINDOWS["1h"][1]
    assert view["times"] == sorted(view["times"])
    assert view["times"][-1] - view["times"][0] == 3590
