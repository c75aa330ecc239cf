"""Which work may be taken while breakers are not closed."""

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.limits import MANY, BreakerPolicy, Gate
from syncd.sync.probing import Probing
from syncd.testing.clock import FakeClock


class Account(SimpleNamespace):
    def needs(self, resource: str) -> tuple[str, ...]:
        own = self.plans.get(resource, "")
        return ("token", own) if self.lacks_token else (own,)


def account(gate: Gate, **plans: str) -> Any:
    return Account(scope=gate.scope, gate=gate, plans=plans, lacks_token=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def gate_of(clock: FakeClock, scope: str = "s") -> Gate:
    return Gate(scope, ["100/s"], clock=clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=30))


async def breaks(gate: Gate, group: str = "") -> None:
    async with gate.admit(group=group) as slot:
        slot.failure("answered 503")


async def test_while_all_is_well_everything_may_be_taken(clock: FakeClock):
    probing = Probing({"acme": account(gate_of(clock), things="", reports="reports")})
    assert not probing.barred(["acme"])
    assert probing.takes("acme", "things") == MANY
    assert probing.probe_keys(["acme"]) == {}


async def test_an_open_breaker_bars_its_group_alone(clock: FakeClock):
    gate = gate_of(clock)
    probing = Probing({"acme": account(gate, things="", reports="reports")})
    await breaks(gate, "reports")
    assert probing.barred(["acme"])
    assert probing.open_keys(["acme"]) == ["acme/things"]
    assert probing.takes("acme", "reports") == 0
    assert probing.probe_keys(["acme"]) == {}


async def test_half_open_one_piece_may_be_taken_and_the_next_when_that_is_over(clock: FakeClock):
    gate = gate_of(clock)
    probing = Probing({"acme": account(gate, things="", flow=""), "twin": account(gate, things="")})
    await breaks(gate)
    await clock.advance(30)
    assert probing.probe_keys(["acme", "twin"]) == {("s", ""): ["acme/things", "acme/flow", "twin/things"]}
    probing.hand_out(("s", ""), "run:acme/flow")
    assert probing.takes("twin", "things") == 0
    assert probing.probe_keys(["acme", "twin"]) == {}
    probing.ended("run:twin/other")
    assert probing.takes("twin", "things") == 0
    probing.ended("run:acme/flow")
    assert probing.takes("twin", "things") == 1


async def test_nobody_else_is_a_probe_while_one_is_on_its_way(clock: FakeClock):
    gate = gate_of(clock)
    probing = Probing({"acme": account(gate, things="")})
    await breaks(gate)
    await clock.advance(30)
    async with gate.admit() as slot:
        assert probing.takes("acme", "things") == 0
        slot.success()
    assert probing.takes("acme", "things") == MANY


async def test_scopes_are_apart(clock: FakeClock):
    sick, well = gate_of(clock, "sick"), gate_of(clock, "well")
    probing = Probing({"one": account(sick, things=""), "two": account(well, things="")})
    await breaks(sick)
    assert probing.open_keys(["one", "two"]) == ["two/things"]


async def test_for_want_of_a_token_its_endpoints_breaker_bars_everything_and_one_piece_is_its_probe(clock: FakeClock):
    gate = gate_of(clock)
    one = account(gate, things="", reports="reports")
    probing = Probing({"acme": one})
    await breaks(gate, "token")
    assert not probing.barred(["acme"]), "a token that is held serves on"
    one.lacks_token = True
    assert probing.open_keys(["acme"]) == []
    await clock.advance(30)
    assert probing.probe_keys(["acme"]) == {("s", "token"): ["acme/things", "acme/reports"]}
    assert probing.probes("acme", "reports") == ("s", "token")


async def test_a_task_of_a_resource_no_longer_configured_follows_the_unnamed_group(clock: FakeClock):
    gate = gate_of(clock)
    probing = Probing({"acme": account(gate, things="reports")})
    await breaks(gate)
    assert probing.takes("acme", "gone") == 0
    assert probing.takes("acme", "things") == MANY


async def test_a_hold_bars_everything(clock: FakeClock):
    gate = gate_of(clock)
    probing = Probing({"acme": account(gate, things="", reports="reports")})
    gate.hold("audit", who="ann")
    assert probing.open_keys(["acme"]) == []
    assert probing.probe_keys(["acme"]) == {}
