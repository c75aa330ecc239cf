"""What the daemon does beside syncing goes on, whatever one partner's code or one round of it raises."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from syncd import metrics
from syncd.conditions.own import Own
from syncd.config import RetentionConfig
from syncd.errors import StoreError, TransientError
from syncd.explain import State
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.store.prune import RULES, Pruned
from syncd.sync.health import Health
from syncd.sync.narrowing import NARROWEST, Narrowing
from syncd.testing.clock import FakeClock
from syncd.upkeep import (
    CONTROLS_SECONDS,
    MEASURE_SECONDS,
    PROBE_LOOK_SECONDS,
    PROBE_SECONDS,
    PRUNE_HOUR,
    REMEMBER_SECONDS,
    SUBSCRIPTIONS_SECONDS,
    Upkeep,
)


class Session:
    def __init__(self) -> None:
        self.spent = SimpleNamespace(calls=0)
        self.shut = None
        self.called = 0

    async def call(self, request: object, **_: Any) -> Any:
        await asyncio.sleep(0)
        self.called += 1
        return SimpleNamespace(elapsed_seconds=0.25)


class Driver:
    spec = SimpleNamespace(test=None)

    def test(self, options: dict[str, Any]) -> str:
        return str(options["region"])


def account(name: str, **options: Any) -> Any:
    return SimpleNamespace(
        name=name, scope=name, options=options, driver=Driver(), session=Session(), health=Health(name),
        all_needs=[],
        gate=SimpleNamespace(view=dict, unsaved=False, book=SimpleNamespace(tiers=[])), ownership=SimpleNamespace(held=True),
        inflight=SimpleNamespace(narrowing=Narrowing(FakeClock())),
    )  # fmt: skip


def upkeep(clock: FakeClock, *accounts: Any, store: Any = None) -> Upkeep:
    runner = SimpleNamespace(accounts={one.name: one for one in accounts})
    supervisor: Any = SimpleNamespace(
        running={"plain": SimpleNamespace(runner=runner)}, open_views=lambda: None, wake=lambda: None
    )
    engine: Any = SimpleNamespace(own=Own(clock))
    config = SimpleNamespace(integrations={}, partners={})
    return Upkeep(store or SimpleNamespace(), supervisor, engine, SimpleNamespace(), clock, lambda: config)  # type: ignore[arg-type]


async def test_a_driver_that_cannot_even_say_how_to_test_it_costs_the_others_no_probe():
    clock = FakeClock()
    broken, sound = account("broken"), account("sound", region="eu")
    keeping = upkeep(clock, broken, sound)
    async with anyio.create_task_group() as parts:
        parts.start_soon(keeping.run)
        await clock.advance(PROBE_LOOK_SECONDS)
        for _ in range(3):
            await clock.advance(PROBE_SECONDS + PROBE_LOOK_SECONDS)
        assert sound.session.called >= 3, "and upkeep goes on"
        assert sound.health.latency_ms == 250
        assert broken.session.called == 0
        parts.cancel_scope.cancel()


async def test_a_probe_is_among_the_answers_in_hand_while_memory_is_scarce():
    """Where a partner has nothing cheaper to ask for, it is a whole page of a listing."""
    clock, one = FakeClock(), account("one", region="eu")
    narrowing = one.inflight.narrowing
    narrowing.narrow(NARROWEST)
    other = await narrowing.take(Lane.NORMAL)
    asking = asyncio.create_task(upkeep(clock, one)._ask(one))
    for _ in range(5):
        await asyncio.sleep(0)
    assert one.session.called == 0 and narrowing.waiting == 1
    narrowing.give(other)
    await asyncio.wait_for(asking, 10)
    assert one.session.called == 1 and narrowing.held == 0


async def test_the_service_manager_is_told_how_it_stands_also_while_the_database_is_away():
    clock, told = FakeClock(), []

    async def away() -> dict[str, int]:
        raise StoreError("connection refused")

    keeping = upkeep(clock, store=SimpleNamespace(dead_letters=SimpleNamespace(counts=away)))
    keeping._supervisor.running.clear()
    keeping._engine.summary = lambda: "syncd: the database cannot be used"  # type: ignore[method-assign]
    keeping._notifier.status = told.append  # type: ignore[method-assign]
    async with anyio.create_task_group() as parts:
        parts.start_soon(keeping.run)
        await clock.advance(MEASURE_SECONDS)
        assert told == ["syncd: the database cannot be used"]
        parts.cancel_scope.cancel()


async def test_a_round_that_crashes_ends_neither_itself_nor_the_other_rounds():
    clock, rounds = FakeClock(), 0

    async def persist() -> None:
        nonlocal rounds
        rounds += 1
        raise KeyError("a defect")

    one = account("acme", region="eu")
    one.gate = SimpleNamespace(view=dict, unsaved=True, persist=persist)
    async with anyio.create_task_group() as parts:
        parts.start_soon(upkeep(clock, one).run)
        for _ in range(4):
            await clock.advance(REMEMBER_SECONDS)
        assert rounds >= 3
        parts.cancel_scope.cancel()


class Broom:
    """A prune whose rules end as the test says."""

    def __init__(self, *rounds: dict[str, str]) -> None:
        self.rounds = list(rounds)
        self.asked: list[set[str]] = []

    async def run(self, retention: object, *, only: set[str]) -> Pruned:
        self.asked.append(set(only))
        unfinished = self.rounds.pop(0) if self.rounds else {}
        return Pruned({"inbox": 3, "changes": 0}, {}, unfinished)


async def test_what_the_prune_left_undone_is_said_once_shown_and_tried_again_before_the_next_night():
    every = {rule.name for rule in RULES}
    broom = Broom({"inbox": "too slow"}, {"inbox": "too slow"}, {})
    keeping = upkeep(clock := FakeClock(), store=SimpleNamespace(prune=broom))
    engine: Any = keeping._engine
    keeping._config = lambda: SimpleNamespace(retention=RetentionConfig())  # type: ignore[assignment, return-value]
    await keeping._prune()
    if clock.now().hour != PRUNE_HOUR:
        assert broom.asked == [], "it is not night"
        await clock.advance(((PRUNE_HOUR - clock.now().hour) % 24) * 3600)
    unfinished = metrics.PRUNE_UNFINISHED.labels("inbox")
    with capture_logs() as lines:
        await keeping._prune()
        assert broom.asked == [every]
        assert engine.own.unpruned == {"inbox": "too slow"}
        assert unfinished._value.get() == 1
        await clock.advance(5 * 3600)
        await keeping._prune()
        await keeping._prune()
        assert broom.asked == [every, {"inbox"}, {"inbox"}]
        assert (engine.own.unpruned, unfinished._value.get()) == ({}, 0)
        await keeping._prune()
        assert len(broom.asked) == 3, "all is done until the next night"
    told = [(line["event"], line["log_level"]) for line in lines if line["event"].startswith("prune_")]
    assert told == [("prune_unfinished", "warning"), ("prune_finished", "info")]
    await clock.advance(19 * 3600)
    await keeping._prune()
    assert broom.asked[3:] == [every]


async def test_orders_that_cannot_be_taken_over_are_tried_again(monkeypatch: pytest.MonkeyPatch):
    asked = 0

    async def active(*_: Any, **__: Any) -> Any:
        nonlocal asked
        asked += 1
        raise KeyError("a defect")

    monkeypatch.setattr("syncd.upkeep.CONTROLS_SECONDS", CONTROLS_SECONDS / 1000)
    keeping = upkeep(FakeClock(), store=SimpleNamespace(controls=SimpleNamespace(end=active)))
    async with anyio.create_task_group() as parts:
        parts.start_soon(keeping._controls)
        with anyio.fail_after(10):
            while asked < 3:
                await asyncio.sleep(0.001)
        parts.cancel_scope.cancel()


async def test_a_paused_partner_whose_credential_dies_of_disuse_is_asked_now_and_then_and_no_other():
    clock = FakeClock()
    kept, other = account("kept", region="eu"), account("other", region="eu")
    kept.driver.spec = SimpleNamespace(test=SimpleNamespace(every=60.0, keep_alive=86_400.0))
    for one in (kept, other):
        one.health = SimpleNamespace(
            judge=lambda *_: (State.PAUSED, None), probed=lambda *_: None, latency_ms=None, slow=None
        )
    keeping = upkeep(clock, kept, other)
    for hours in (0, 23, 2, 20, 5):
        await clock.advance(hours * 3600)
        await keeping._probe()
    assert (kept.session.called, other.session.called) == (2, 0)


async def test_a_quiet_partner_that_does_not_answer_is_asked_again_soon_and_one_whose_probes_are_dear_is_not():
    clock = FakeClock()
    cheap, dear = account("cheap", region="eu"), account("dear", region="eu")
    dear.driver.spec = SimpleNamespace(test=SimpleNamespace(every=900.0, keep_alive=None))
    asked: list[str] = []

    def away(name: str) -> Any:
        async def call(*_: Any, **__: Any) -> Any:
            asked.append(name)
            raise TransientError("503")

        return call

    for one in (cheap, dear):
        one.session.call = away(one.name)
        one.health = SimpleNamespace(
            judge=lambda *_: (State.HEALTHY, None), probed=lambda *_: None, latency_ms=None, slow=None
        )
    keeping = upkeep(clock, cheap, dear)
    for _ in range(12):
        await keeping._probe()
        await clock.advance(PROBE_LOOK_SECONDS)
    assert asked.count("cheap") >= 5, "five in a row open a breaker, within a minute"
    for _ in range(180):
        await keeping._probe()
        await clock.advance(PROBE_LOOK_SECONDS)
    assert asked.count("dear") == 1


async def test_subscriptions_that_may_vanish_are_looked_at_every_six_hours():
    clock, looks = FakeClock(), []

    async def keep_up() -> None:
        looks.append(clock.monotonic())
        raise KeyError("a defect")

    keeping = upkeep(clock)
    keeping._engine = SimpleNamespace(subscribers=SimpleNamespace(keep_up=keep_up))  # type: ignore[assignment]
    with capture_logs() as logs:
        async with anyio.create_task_group() as parts:
            parts.start_soon(keeping.run)
            await clock.advance(1)
            for _ in range(2):
                await clock.advance(SUBSCRIPTIONS_SECONDS)
            parts.cancel_scope.cancel()
    assert len(looks) == 2 and any(one["event"] == "upkeep_crashed" for one in logs)


def limited(*rates: str) -> Any:
    tiers = [SimpleNamespace(spec=TierSpec.parse(rate)) for rate in rates]
    return SimpleNamespace(view=dict, unsaved=False, book=SimpleNamespace(tiers=tiers))


async def test_probes_take_a_twentieth_of_the_tightest_limit_at_the_most_together_for_all_who_share_it():
    wide, day, shared, too = (account(name, region="eu") for name in ("wide", "day", "shared", "too"))
    wide.gate, day.gate = limited("100/min", "10/s"), limited("10/s", "4800/24h")
    shared.gate = too.gate = limited("20/min")
    too.scope = shared.scope
    keeping = upkeep(clock := FakeClock(), wide, day, shared, too)
    for _ in range(3600 // int(PROBE_LOOK_SECONDS)):
        await keeping._probe()
        await clock.advance(PROBE_LOOK_SECONDS)
    assert wide.session.called == pytest.approx(3600 / PROBE_SECONDS, abs=2), (
        "a trouble of a quiet partner is told within a minute"
    )
    assert day.session.called == pytest.approx(3600 / 360, abs=2)
    assert shared.session.called == too.session.called == pytest.approx(3600 / 120, abs=2)


async def test_a_partner_that_answered_slowly_is_asked_again_before_its_time():
    one = account("acme", region="eu")
    keeping = upkeep(clock := FakeClock(), one)
    await keeping._probe()
    await clock.advance(PROBE_SECONDS)
    await keeping._probe()
    await clock.advance(PROBE_LOOK_SECONDS)
    await keeping._probe()
    assert one.session.called == 1, "it was quick"
    one.health.latency_ms = 3500.0
    await keeping._probe()
    assert one.session.called == 2
