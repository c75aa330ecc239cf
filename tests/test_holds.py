"""Orders for breakers: rows that any instance takes, obeyed by the gate of who owns the scope."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.holds import Breakers, in_force
from syncd.limits import MANY, BreakerPolicy, Gate
from syncd.store import BREAKER_HOLD, BREAKER_RESET, Store
from syncd.testing.clock import FakeClock

REPORTS = {"", "reports"}
SCOPES = {"one": "shared", "two": "shared", "far": "alone"}


class Instance:
    """One process: its gates and what it asks and orders. `owns` is whether it has the lease of its scopes."""

    def __init__(self, store: Store, *, owns: bool = True) -> None:
        self.clock = FakeClock(SystemClock().now())
        self.shared = Gate(
            "shared", ["900/s"], clock=self.clock, breaker=BreakerPolicy(failures=1, cooldown_seconds=60)
        )
        self.alone = Gate("alone", ["900/s"], clock=self.clock)
        self.ownership = SimpleNamespace(held=owns)
        accounts = [
            self._account("one", self.shared),
            self._account("two", self.shared),
            self._account("far", self.alone),
        ]
        self.breakers = Breakers(lambda: accounts, lambda: store, self.clock)
        self.store = store

    def _account(self, name: str, gate: Gate) -> Any:
        return SimpleNamespace(
            name=name, partner="plain", scope=gate.scope, gate=gate, groups=REPORTS, ownership=self.ownership
        )

    async def obey(self) -> None:
        """What upkeep does when it is woken."""
        active = await self.store.controls.active()
        for gate in (self.shared, self.alone):
            gate.set_holds(in_force(active, gate.scope, SCOPES))
        await self.breakers.carry_out(active)

    def takes(self, group: str = "") -> int:
        return self.shared.breakers.takes(group)

    async def sicken(self) -> None:
        async with self.shared.admit() as slot:
            slot.failure("GET /a: answered 503")


@pytest.fixture
def here(store: Store) -> Instance:
    return Instance(store)


async def audited(store: Store) -> list[tuple[str, str, str]]:
    return [(entry.actor, entry.action, entry.integration) for entry in reversed(await store.audit.list())]


async def test_a_hold_is_of_the_scope_with_all_who_share_it_and_of_no_other(here: Instance, store: Store):
    found = await here.breakers.hold("one", None, who="ann", reason="they move house", until=None)
    assert (found["scope"], found["integrations"], found["already_held"]) == ("shared", ["one", "two"], False)
    await here.obey()
    assert here.takes() == 0
    assert here.alone.breakers.takes("") == MANY
    assert await audited(store) == [("ann", "breaker_held", "one")]
    assert (await store.audit.list())[0].after["reason"] == "they move house"


async def test_whoever_shares_the_scope_may_replace_and_release_the_hold(here: Instance, store: Store):
    await here.breakers.hold("one", None, who="ann", reason="first", until=None)
    assert (await here.breakers.hold("two", None, who="bob", reason="second", until=None))["already_held"]
    assert [control.why for control in await store.controls.active()] == ["second"]
    found = await here.breakers.release("one", None, who="eve")
    assert (found["released"], found["still_held"]) == (1, [])
    await here.obey()
    assert here.takes() == MANY
    assert (await audited(store))[-1] == ("eve", "breaker_released", "two")
    assert (await store.audit.list())[0].before["who"] == "bob"


async def test_while_a_hold_is_replaced_by_another_integrations_there_is_one_at_every_moment(
    here: Instance, store: Store, monkeypatch: pytest.MonkeyPatch
):
    await here.breakers.hold("one", None, who="ann", reason="first", until=None)
    await here.obey()
    clear, takes = store.controls.clear, []

    async def cleared(*names: str, **more: Any) -> bool:
        done = await clear(*names, **more)
        await here.obey()  # the row's end wakes upkeep at once
        takes.append(here.takes())
        return done

    monkeypatch.setattr(store.controls, "clear", cleared)
    await here.breakers.hold("two", None, who="bob", reason="second", until=None)
    assert takes == [0]
    assert [control.why for control in await store.controls.active()] == ["second"]


async def test_a_hold_of_one_group_stands_beside_one_of_the_scope(here: Instance):
    await here.breakers.hold("one", "reports", who="ann", reason="dear", until=None)
    await here.obey()
    assert (here.takes("reports"), here.takes()) == (0, MANY)
    await here.breakers.hold("one", None, who="ann", reason="all of it", until=None)
    found = await here.breakers.release("one", "reports", who="ann")
    assert (found["released"], found["still_held"]) == (1, [""])
    await here.obey()
    assert (here.takes("reports"), here.takes()) == (0, 0)
    assert (await here.breakers.release("one", None, who="ann"))["released"] == 1
    assert (await here.breakers.release("one", None, who="ann"))["released"] == 0


async def test_a_new_process_obeys_from_its_first_look(here: Instance, store: Store):
    await here.breakers.hold("one", None, who="ann", reason="over night", until=None)
    later = Instance(store)
    await later.obey()
    assert later.takes() == 0
    held = later.breakers.view("one")[0]["held"]
    assert (held["who"], held["why"]) == ("ann", "over night")


async def test_a_hold_whose_time_is_over_goes_and_that_is_noted_once(here: Instance, store: Store):
    until = here.clock.now() - timedelta(seconds=1)
    await here.breakers.hold("one", None, who="ann", reason="short", until=until)
    await here.obey()
    await Instance(store).obey()
    assert here.takes() == MANY
    # Its end is noted for the moment it was to end, here before it was ordered.
    assert sorted(action for _, action, _ in await audited(store)) == ["breaker_held", "breaker_hold_ended"]
    assert await store.controls.end(BREAKER_HOLD) == []


async def test_of_two_rows_for_one_scope_the_one_that_lasts_longer_counts(here: Instance, store: Store):
    """Two integrations may come to share a scope by a reload, each with a hold of its own."""
    soon, late = (here.clock.now() + timedelta(hours=hours) for hours in (1, 2))
    for name, until in (("one", late), ("two", soon)):
        await store.controls.set(name, BREAKER_HOLD, who=name, why="x", until=until, detail={"scope": "shared"})
    assert in_force(await store.controls.active(), "shared", SCOPES)[None].who == "one"
    await store.controls.set("two", BREAKER_HOLD, who="two", why="x", until=None, detail={"scope": "shared"})
    assert in_force(await store.controls.active(), "shared", SCOPES)[None].who == "two"


async def test_the_hold_of_an_integration_that_does_not_run_still_holds_its_scope(here: Instance, store: Store):
    await store.controls.set("switched-off", BREAKER_HOLD, who="ann", why="x", detail={"scope": "shared"})
    await here.obey()
    assert here.takes() == 0


async def test_a_hold_follows_its_integration_into_another_scope(here: Instance, store: Store):
    await here.breakers.hold("one", None, who="ann", reason="x", until=None)
    active = await store.controls.active()
    assert in_force(active, "shared", {**SCOPES, "one": "new"}) == {}
    assert list(in_force(active, "new", {**SCOPES, "one": "new"})) == [None]


async def test_a_reset_closes_at_once_where_the_scope_is_owned(here: Instance, store: Store):
    await here.sicken()
    assert here.takes() == 0
    found = await here.breakers.reset("two", None, who="ann")
    assert found["closed"] == [""]
    assert here.takes() == MANY
    assert await store.controls.active() == []
    assert await audited(store) == [("ann", "breaker_reset", "two")]


async def test_a_reset_asked_of_another_instance_is_carried_out_by_the_owner_once(here: Instance, store: Store):
    other = Instance(store, owns=False)
    await here.sicken()
    assert (await other.breakers.reset("one", None, who="ann"))["closed"] is None
    assert [control.kind for control in await store.controls.active()] == [BREAKER_RESET]
    await other.obey()
    assert here.takes() == 0, "who does not own the scope leaves it to who does"
    await here.obey()
    assert here.takes() == MANY
    await here.sicken()
    await here.obey()
    assert here.takes() == 0, "an order is carried out once"


async def test_a_reset_nobody_carried_out_in_time_is_forgotten_with_its_row(here: Instance, store: Store):
    over = here.clock.now() - timedelta(seconds=1)
    await store.controls.set("one", BREAKER_RESET, who="ann", until=over, detail={"scope": "shared"})
    await here.obey()
    assert await store.controls.end(BREAKER_RESET) == [], "it is gone already"


async def test_what_is_held_stays_held_after_a_reset(here: Instance):
    await here.breakers.hold("one", None, who="ann", reason="x", until=None)
    await here.obey()
    found = await here.breakers.reset("one", None, who="ann")
    assert found["still_held"] == [""]
    assert here.takes() == 0


async def test_the_view_shows_every_group_also_those_nobody_has_called(here: Instance):
    await here.sicken()
    [scope] = here.breakers.view("two")
    assert (scope["scope"], scope["integrations"], scope["owned"]) == ("shared", ["one", "two"], True)
    unnamed, reports = scope["groups"]
    assert (unnamed["state"], unnamed["failures"]) == ("open", 1)
    assert unnamed["next_probe_at"] == here.clock.now() + timedelta(seconds=60)
    assert unnamed["errors"][0]["error"] == "GET /a: answered 503"
    assert unnamed["explanation"]["code"] == "breaker-open"
    assert (reports["group"], reports["state"], reports["next_probe_at"]) == ("reports", "closed", None)
    assert [one["scope"] for one in here.breakers.view()] == ["alone", "shared"]
    assert here.breakers.groups("one") == ["reports"]


async def test_an_integration_that_does_not_run_is_said_to(here: Instance):
    with pytest.raises(StoreError, match="nobody does not run here"):
        await here.breakers.hold("nobody", None, who="ann", reason="x", until=None)
