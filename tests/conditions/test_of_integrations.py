"""Slow partners and signatures that no longer fit: begin, hold, heal; and what of an integration becomes a condition."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.client.pace import Pace
from syncd.conditions.of_integrations import of_integrations
from syncd.explain import Explanation, Severity, State
from syncd.server.refusals import LEAST, Refusals
from syncd.standing import Judged
from syncd.sync.health import Health
from syncd.sync.slowness import Slowness
from syncd.sync.troubles import signatures_refused
from syncd.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Partner:
    """One whose answers take as long as they are told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.pace, self.slowness = clock, Pace(), Slowness("acme")

    async def answers(self, count: int, seconds: float, *, every: float = 5.0) -> Explanation | None:
        for _ in range(count):
            self.pace.note(self.clock.monotonic(), seconds)
            self.look()
            await self.clock.advance(every)
        return self.look()

    def look(self) -> Explanation | None:
        return self.slowness.look(self.pace, self.clock.monotonic(), self.clock.now())


async def test_a_partner_that_answers_slowly_is_said_within_a_minute_and_heals_when_it_is_quick(clock: FakeClock):
    partner = Partner(clock)
    assert await partner.answers(30, 0.2) is None
    told = await partner.answers(12, 4.0)
    assert told is not None and told.code == "partner-slow" and told.action == "syncd credential test acme"
    assert "3 of its last 5 answers took more than 3 s, 2.5 s on average" in told.reason
    assert await partner.answers(1, 0.2) is not None, "not for one good answer"
    ended = [await partner.answers(1, 0.2) is None for _ in range(12)]
    assert ended[3:] == [True] * 9, "and it stays so, though most of the last half minute was slow"


async def test_one_slow_answer_is_no_news(clock: FakeClock):
    partner = Partner(clock)
    assert await partner.answers(1, 9.0) is None
    assert await partner.answers(30, 0.1) is None


async def test_the_slowest_in_twenty_count_over_ten_minutes(clock: FakeClock):
    partner = Partner(clock)
    for _ in range(20):
        await partner.answers(9, 0.2, every=2)
        told = await partner.answers(1, 6.0, every=2)
    assert told is not None and "one call in 20 takes more than 5 s" in told.reason
    assert await partner.answers(60, 0.2, every=2) is None


async def test_a_quiet_partner_is_told_by_its_probes_and_silence_ends_it(clock: FakeClock):
    partner = Partner(clock)
    assert await partner.answers(2, 4.0, every=60) is not None
    await clock.advance(700)
    assert partner.look() is None


async def test_signatures_that_fit_nobody_are_said_after_a_few_and_heal_with_the_first_that_fits(clock: FakeClock):
    refusals, began = Refusals(clock), clock.now()
    for _ in range(LEAST - 1):
        refusals.refused("acme", "signature")
        await clock.advance(5)
    assert not refusals.view()
    refusals.refused("acme", "signature")
    assert refusals.view()["acme"].since == began
    refusals.accepted("beta")
    assert "acme" in refusals.view()
    refusals.accepted("acme")
    assert not refusals.view()


async def test_a_forger_beside_the_partner_and_deliveries_that_cannot_be_read_are_no_news(clock: FakeClock):
    refusals = Refusals(clock)
    for _ in range(40):
        refusals.refused("acme", "malformed")
        refusals.refused("acme", "disabled")
        refusals.refused("beta", "signature")
        refusals.accepted("beta")
    assert not refusals.view()


async def test_what_nobody_has_tried_for_a_day_is_forgotten(clock: FakeClock):
    refusals = Refusals(clock)
    for _ in range(LEAST):
        refusals.refused("acme", "stale")
    assert refusals.view()["acme"].stale == LEAST
    clock.set_now(clock.now() + timedelta(days=2))
    assert not refusals.view()


@pytest.mark.parametrize(
    ("stale", "repairs", "command"),
    [(0, True, "syncd webhook repair acme"), (0, False, "syncd reload --wait"), (9, True, "timedatectl")],
)
def test_what_helps_depends_on_what_is_wrong(stale: int, repairs: bool, command: str):
    refused: Any = SimpleNamespace(since=FakeClock().now(), count=9, stale=stale)
    assert signatures_refused("acme", refused, repairs=repairs).action.endswith(command)


GATE: dict[str, Any] = {"tiers": [], "breakers": {}, "ramp": None}


def looked(
    clock: FakeClock, health: Health, *, resources: tuple[str, ...] = ("r1", "r2"), held: bool = True
) -> list[Any]:
    """The conditions of an integration of this health."""
    account: Any = SimpleNamespace(
        name="acme", partner="guesty", health=health, ownership=SimpleNamespace(held=held), plans=resources
    )
    state, told = health.judge(GATE, clock.now())
    every = {name: health.resource_state(name, GATE, clock.now()) for name in resources}
    judged = Judged(account, GATE, state, told, None, every, [("",)])
    return list(of_integrations([judged], clock.now(), lambda name: "ACME Inc"))


def test_what_befalls_the_whole_partner_is_one_condition(clock: FakeClock):
    from syncd.errors import TransientError

    health = Health("acme")
    for name in ("r1", "r2"):
        for _ in range(3):
            health.failed(name, TransientError(f"GET /{name}: 503"), clock.now())
    [found] = looked(clock, health)
    assert (found.told.code, found.state, found.resource) == ("partner-down", State.DOWN, "")
    assert (found.company, found.partner, found.severity) == ("ACME Inc", "guesty", Severity.PAGE)


def test_it_stays_the_same_condition_as_more_resources_meet_it(clock: FakeClock):
    from syncd.errors import TransientError

    health = Health("acme")
    health.failed("r1", TransientError("GET /r1: 503"), clock.now())
    [first] = looked(clock, health)
    health.failed("r2", TransientError("GET /r2: 503"), clock.now())
    [second] = looked(clock, health)
    assert first.key == second.key == ("acme", "", "partner-down")


def test_what_is_of_one_resource_names_it_and_hides_nothing_else(clock: FakeClock):
    from syncd.errors import PayloadError

    health = Health("acme", slow=Explanation("partner-slow", "slow", clock.now()))
    health.of("r2")
    health.failed("r1", PayloadError("r1: no id"), clock.now())
    found = {(one.told.code, one.resource): one.severity for one in looked(clock, health)}
    assert found == {("schema-changed", "r1"): Severity.TICKET, ("partner-slow", ""): Severity.TICKET}


def test_a_paused_integration_says_that_and_nothing_else(clock: FakeClock):
    health = Health("acme", paused=Explanation("paused", "by ann"), slow=Explanation("partner-slow", "slow"))
    assert [(one.told.code, one.severity) for one in looked(clock, health)] == [("paused", Severity.NOTE)]


def test_slow_answers_and_refused_signatures_degrade_an_integration_that_works(clock: FakeClock):
    health = Health("acme", slow=Explanation("partner-slow", "slow"))
    assert health.judge(GATE, clock.now())[0] is State.DEGRADED
    health.forged = Explanation("signatures-refused", "none fits")
    assert health.judge(GATE, clock.now()) == (State.DEGRADED, health.forged)
    assert {one.told.code for one in looked(clock, health)} == {"partner-slow", "signatures-refused"}
