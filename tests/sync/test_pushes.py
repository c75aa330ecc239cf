"""Whose pushes go: of each record its oldest, nobody's backlog before everybody else's, none while they are barred."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.clock import SystemClock
from syncd.errors import OwnershipError
from syncd.limits import MANY
from syncd.model import Lane
from syncd.store import NewPush, Store
from syncd.sync.pushes import AT_ONCE, LOOK_ALL_SECONDS, Pushes
from syncd.testing.clock import FakeClock


def account(name: str, fence: int = 1) -> Any:
    known: Any = SimpleNamespace(
        name=name, partner="plain", scope=f"plain/{name}", fence=fence, plans={"things": None, "others": None}, takes=MANY,
        held=True, needs=lambda resource: (resource,),
    )  # fmt: skip
    known.may_call = lambda: known.held
    known.gate = SimpleNamespace(
        breakers=SimpleNamespace(takes=lambda group: known.takes if group == "things" else MANY)
    )
    return known


class Pool:
    """Takes whatever it is offered, and does nothing of it."""

    def __init__(self) -> None:
        self.offered: list[str] = []
        self.works: list[Any] = []

    def room(self, lane: Lane) -> int:
        return 1000

    def offer(self, member: str, lane: Lane, key: str, work: Any) -> bool:
        assert lane is Lane.HIGH
        self.offered.append(member)
        self.works.append(work)
        return True


class Stage:
    """Two integrations of one partner whose pool nobody empties."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.accounts = {name: account(name) for name in ("acme", "nova")}
        self.clock: Any = SystemClock()
        self.paused: set[tuple[str, str]] = set()
        self.anew()

    def anew(self) -> None:
        """As after a restart."""
        self.pool: Any = Pool()
        self.pushes = Pushes(
            "plain", self.accounts, self.pool, self.store, self.clock, paused=lambda *what: what in self.paused
        )

    async def put(
        self, integration: str, resource: str = "things", external_id: str | None = None, count: int = 1
    ) -> None:
        for number in range(count):
            await self.store.outbox.put(
                NewPush(integration, resource, "state", external_id=external_id or f"r{number}")
            )

    async def handed(self) -> dict[str, int]:
        """How many of each integration one look hands out."""
        before = {name: self.waiting(name) for name in self.accounts}
        await self.pushes.feed()
        return {name: self.waiting(name) - before[name] for name in self.accounts}

    def waiting(self, name: str) -> int:
        return int(self.pool.offered.count(name))


async def test_a_backlog_of_one_integration_bars_nobody_elses_pushes(store: Store):
    stage = Stage(store)
    await stage.put("acme", count=AT_ONCE * 2)
    await stage.put("nova", count=3)
    assert await stage.handed() == {"acme": AT_ONCE // 2, "nova": 3}
    assert await stage.handed() == {"acme": 0, "nova": 0}, "what is out is not handed out again"


async def test_of_one_record_one_is_handed_out(store: Store):
    stage = Stage(store)
    await stage.put("acme", external_id="one", count=5)
    assert await stage.handed() == {"acme": 1, "nova": 0}


async def test_who_may_not_call_or_is_paused_has_none_handed_out(store: Store):
    stage = Stage(store)
    await stage.put("acme", "things")
    await stage.put("acme", "others")
    await stage.put("nova")
    stage.accounts["nova"].held = False
    stage.paused.add(("acme", "things"))
    assert await stage.handed() == {"acme": 1, "nova": 0}
    stage.paused.add(("acme", ""))
    stage.anew()
    assert await stage.handed() == {"acme": 0, "nova": 0}


async def test_while_a_breaker_is_open_its_pushes_stay_rows_and_while_it_is_half_open_one_goes(store: Store):
    stage = Stage(store)
    await stage.put("acme", count=5)
    await stage.put("acme", "others", external_id="free")
    stage.accounts["acme"].takes = 0
    assert await stage.handed() == {"acme": 1, "nova": 0}, "another group answers"
    stage.anew()
    stage.accounts["acme"].takes = 1
    await stage.store._database.execute("DELETE FROM syncd.outbox WHERE resource = 'others'")
    assert await stage.handed() == {"acme": 1, "nova": 0}
    stage.accounts["acme"].takes = MANY
    assert await stage.handed() == {"acme": 4, "nova": 0}


async def test_suspects_go_one_at_a_time(store: Store):
    stage = Stage(store)
    await stage.put("acme", count=5)
    await store._database.execute("UPDATE syncd.outbox SET suspicion = 2 WHERE external_id <> 'r4'")
    assert await stage.handed() == {"acme": 2, "nova": 0}
    assert await stage.handed() == {"acme": 0, "nova": 0}


async def own(stage: Stage, *names: str) -> None:
    """Become the owner, under a new fence."""
    for name in names:
        fence = await stage.store.leases.acquire(f"plain/{name}", "one", 3600)
        assert fence is not None
        stage.accounts[name].fence = fence


async def take(stage: Stage, name: str) -> int:
    """Take the first that waits, as this integration's owner of now."""
    [first, *_] = await stage.store.outbox.ready([name], limit=10)
    account = stage.accounts[name]
    assert await stage.store.outbox.take(name, first.id, scope=account.scope, fence=account.fence)
    return first.id


async def test_what_a_dead_process_had_taken_is_free_at_the_first_look(store: Store):
    stage = Stage(store)
    await own(stage, "acme")
    await stage.put("acme", count=2)
    await take(stage, "acme")
    await take(stage, "acme")
    assert await stage.handed() == {"acme": 2, "nova": 0}


async def test_what_was_taken_by_one_before_us_after_we_looked_is_free_in_the_end(store: Store):
    stage = Stage(store)
    stage.clock = clock = FakeClock()
    stage.anew()
    await own(stage, "acme")
    await stage.put("acme")
    assert await stage.handed() == {"acme": 1, "nova": 0}
    stage.pushes.give_back()
    await take(stage, "acme")  # its answer comes late: by then somebody else, and then we again, have the scope
    await store._database.execute("UPDATE syncd.outbox SET taken_fence = taken_fence - 1")
    assert await stage.handed() == {"acme": 0, "nova": 0}
    await clock.advance(LOOK_ALL_SECONDS)
    assert await stage.handed() == {"acme": 1, "nova": 0}


async def test_what_was_taken_under_our_own_fence_and_nobody_heard_of_is_free_in_the_end(store: Store):
    """A taking that a reload cut off may be committed after the first look of whoever came then, with the same fence."""
    stage = Stage(store)
    stage.clock = clock = FakeClock()
    stage.anew()
    await own(stage, "acme")
    await stage.put("acme", external_id="one")
    await stage.put("acme", external_id="two")
    assert await stage.handed() == {"acme": 2, "nova": 0}
    [second, _] = await store.outbox.list("acme")
    await take(stage, "acme")
    await take(stage, "acme")
    stage.pushes._out = {("acme", second.id): True}  # the other one was taken by whoever is gone
    await clock.advance(LOOK_ALL_SECONDS)
    assert await stage.handed() == {"acme": 1, "nova": 0}
    [held, freed] = await store.outbox.list("acme")
    assert (held.state, freed.state, freed.attempts) == ("taken", "waiting", 0)


async def test_what_we_lost_only_for_a_moment_is_freed_by_us(store: Store):
    """The other integration is looked at while this one is not ours: that look must not be taken for this one's."""
    stage = Stage(store)
    await own(stage, "acme", "nova")
    await stage.put("acme", external_id="one", count=2)
    await stage.handed()

    class Lost:
        async def send(self, push: Any) -> None:
            raise OwnershipError("this instance does not own the scope")

    stage.pushes._senders["acme"] = Lost()  # type: ignore[assignment]
    await stage.pool.works.pop()()
    [_, first] = await store.outbox.list("acme")
    assert first.state == "taken"
    stage.accounts["acme"].held = False
    assert await stage.handed() == {"acme": 0, "nova": 0}
    stage.accounts["acme"].held = True
    assert await stage.handed() == {"acme": 1, "nova": 0}
    found = await store.outbox.get("acme", first.id)
    assert found is not None
    assert found.state == "waiting"


class Died(BaseException):
    """The process ends here."""


def deadly(stage: Stage, name: str) -> list[str]:
    """The driver of `acme` ends the process over this record; returns the names it is asked about."""
    asked: list[str] = []

    def order_key(resource: Any, change: Any) -> str:
        asked.append(change.data["name"])
        if change.data["name"] == name:
            raise Died
        return str(change.data["name"])

    stage.accounts["acme"].driver = SimpleNamespace(order_key=order_key)
    stage.accounts["acme"].plans = {"things": SimpleNamespace(resource=None)}
    return asked


async def test_a_new_record_over_whose_name_the_driver_kills_the_process_is_found_after_four_more_deaths(store: Store):
    stage = Stage(store)
    asked = deadly(stage, "r3")
    for number in range(6):
        await store.outbox.put(NewPush("acme", "things", "new", {"name": f"r{number}"}))
    for _ in range(4):
        stage.anew()
        stage.accounts["acme"].fence += 1
        with pytest.raises(Died):
            await stage.pushes.feed()
    asked.clear()
    stage.anew()
    stage.accounts["acme"].fence += 1
    assert (await stage.handed())["acme"] == 6
    assert "r3" not in asked, "it is not asked about any more"
    rows = await store._database.fetch("SELECT payload ->> 'name', ordered_by, suspicion FROM syncd.outbox ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (f"r{number}", "" if number == 3 else f"r{number}", 5 if number == 3 else 0) for number in range(6)
    ], "and is buried when its turn comes"


async def test_while_nobody_dies_what_comes_is_asked_about_without_a_word_in_its_row(store: Store, monkeypatch: Any):
    stage = Stage(store)
    deadly(stage, "")
    await stage.pushes.feed()
    monkeypatch.setattr(store.outbox, "doubt", None)
    for number in range(3):
        await store.outbox.put(NewPush("acme", "things", "new", {"name": f"r{number}"}))
    assert (await stage.handed())["acme"] == 3
