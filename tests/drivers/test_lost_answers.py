"""Each kind of push of each driver, its request lost on the way once, and its answer once: what the simulator has in the end.

The engine's own sending, the driver, a session and the simulator; no daemon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import drivers
from syncd.errors import TransientError
from syncd.kit import Change, Request, Resource, Response
from syncd.model import Lane, Record
from syncd.store import NewPush, PushRow, Store
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.flow import Flow
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.schedule import Schedule
from syncd.sync.sending import Sender
from syncd.sync.target import Target
from syncd.testing import driver_calls as calls
from syncd.testing.driving import Driven, listed, possible, session_to
from syncd.testing.process import make, serve
from syncd.testing.samples import read_samples
from tests.contract.test_driven import REFUSED, WORLDS, options_at

SCOPE = "lossy/office"
MOST_RECORDS = 10
"""Records tried until one is in a state that the push fits."""
MEANT: dict[str, dict[str, Any]] = {
    "airbnb": {"calendar": {"operations": [{"dates": ["2026-12-01:2026-12-05"], "availability": "available"}]}},
}
"""By driver and kind, what is pushed where what is made up has no sense."""
BEFORE: dict[str, dict[str, dict[str, Any]]] = {
    "airbnb": {"accept": {"status_type": "pending"}, "deny": {"status_type": "pending"}},
}
"""By driver and kind, how the record is at the partner before."""
UNFIT: dict[str, dict[str, str]] = {
    "airbnb": {"push answer of alterations": "none of the first reservations has one"},
}
"""By driver, what cannot be pushed here: how it begins, and why. Beside what the driven suite names."""


class Lossy:
    """A session that loses the first request of a push, or the answer to it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.lose = ""
        self.arrived = 0
        """Pushes that the simulator has taken."""
        self.refused = ""

    async def call(
        self,
        request: Request,
        *,
        lane: Lane = Lane.NORMAL,
        leaving: Callable[[], Awaitable[None]] | None = None,
        judging: Any = None,
    ) -> Response:
        if leaving is None:
            answer: Response = await self._session.call(request, lane=lane)
            return answer
        lose, self.lose = self.lose, ""
        await leaving()
        if lose == "request":
            raise TransientError("the connection broke", unknown=True)
        try:
            answer = await self._session.call(request, lane=lane)
        except Exception as error:
            self.refused = str(error)
            raise
        self.arrived += 1
        if lose:
            raise TransientError("the connection broke", unknown=True)
        return answer


class Office:
    """An integration that pushes, and does nothing else."""

    def __init__(self, store: Store, fence: int, driver: Any, resources: Any, session: Lossy) -> None:
        plans = {name: ResourcePlan(one, Strategy.FULL, Schedule(every_seconds=900)) for name, one in resources.items()}
        targets = {name: Target(one) for name, one in resources.items()}
        self.store, self.fence, self.session, self.driver = store, fence, session, driver
        account: Any = SimpleNamespace(
            name="office", partner="lossy", scope=SCOPE, fence=fence, driver=driver, plans=plans, session=session,
            store=store, clock=store._database.clock, health=Health("office"), flow=Flow(), history={},
            processor=Processor(driver, "office", targets, store),
            moved=lambda: None, tasks_added=lambda: None, count=lambda *_: None,
        )  # fmt: skip
        account.write = partial(Account.write, account)
        self._sender = Sender(account, RetryPolicy(attempts=4, first_seconds=0.001, longest_seconds=0.001))

    async def push(self, change: Change, lose: str) -> PushRow:
        """The push, once it is over."""
        self.session.lose, self.session.arrived, self.session.refused = lose, 0, ""
        pushed = NewPush("office", change.resource, change.kind, change.data, external_id=change.external_id)
        number, _ = await self.store.outbox.put(pushed)
        ended: PushRow | None = None
        for _ in range(4):
            await self.store._database.execute(
                "UPDATE syncd.outbox SET not_before = NULL, sent_at = sent_at - interval '1 min'"
            )
            row = await self.store.outbox.take("office", number, scope=SCOPE, fence=self.fence)
            assert row is not None
            await self._sender.send(row)
            ended = await self.store.outbox.get("office", number)
            assert ended is not None
            if ended.state in {"done", "buried", "dropped"}:
                break
        assert ended is not None
        return ended

    def wrong(self, resource: Resource, change: Change, row: PushRow, lose: str) -> str:
        """What is wrong with its end; empty: nothing."""
        arrived, reason = self.session.arrived, row.reason or self.session.refused
        repeats = self.driver.idempotent(resource, change)
        if not repeats and self.driver.look_up(resource, change) is None:
            sound = row.state == "buried" and "nobody knows" in reason and arrived == (lose == "answer")
        else:
            sound = row.state == "done" and (1 <= arrived <= 2 if repeats else arrived == 1)
        return "" if sound else f"{row.state} after {arrived} arrived: {reason}"


@pytest.mark.parametrize("lose", ["request", "answer"])
@pytest.mark.parametrize("name", [name for name in drivers.names() if name != "rest"])
async def test_a_push_is_made_once_whatever_is_lost_on_its_way(name: str, lose: str, store: Store) -> None:
    driver, samples = drivers.load(name), read_samples(name, drivers.folder(name))
    simulator = make(name, {"tiers": [], **WORLDS.get(name, {})})
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    wrong: list[str] = []
    async with await serve(simulator) as served:
        options = options_at(name, samples[0].options if samples else {}, served.url)
        driven = Driven(session_to(driver, options, served), driver, options)
        try:
            resources = await listed(driven)
            office = Office(store, fence, driver, resources, Lossy(driven.session))
            for resource, made in calls.pushes(driver, options, samples):
                made = replace(made, data=MEANT.get(name, {}).get(made.kind, made.data))
                stored = driven.records.get(resource.name, ())
                for one in stored if made.kind in BEFORE.get(name, {}) else ():
                    simulator.update(resource.name, one.identity.external_id, BEFORE[name][made.kind])
                told = await _pushed(office, resource, made, stored, lose)
                if told:
                    wrong.append(f"push {made.kind} of {resource.name}: {told}")
        finally:
            await driven.aclose()
    expected = {**REFUSED.get(name, {}), **UNFIT.get(name, {})}
    surprising = [told for told in wrong if not any(told.startswith(begin) for begin in expected)]
    assert not surprising, "\n".join(surprising)


async def _pushed(office: Office, resource: Resource, made: Change, stored: Sequence[Record], lose: str) -> str:
    """What is wrong with its end. Where nothing arrived, for its record was of no use, another one is taken."""
    told = "no record here may be changed so"
    for _ in range(MOST_RECORDS):
        change = possible(office.driver, resource, made, stored)
        if change is None:
            break
        row = await office.push(replace(change, idempotency_key=""), lose)
        told = office.wrong(resource, change, row, lose)
        if not told or office.session.arrived or change.external_id is None:
            break
        stored = [one for one in stored if one.identity.external_id != change.external_id]
    return told
