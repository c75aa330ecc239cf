"""A partner's queue: what is acknowledged of a page, how what is shown again is, and when it is said that nobody does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import drivers
from syncd.explain import State
from syncd.kit import Headers, Identity, Response
from syncd.store import Reject
from syncd.sync.health import Health
from syncd.sync.page import PageRead
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.reading import Reader
from syncd.sync.schedule import Schedule
from syncd.testing.clock import FakeClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "resources": {
        "orders": {
            "path": "/orders",
            "strategy": "queue",
            "queue": {"acknowledge": "received", "within": "20m", "otherwise": "the shop telephones"},
            "pushes": {"received": {"path": "/received", "idempotency": "natural", "settled": [404]}},
        }
    }
}


class Queue:
    """A reader of one queue, told what its pages hold."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health = Health("acme")
        driver = drivers.load("rest", rest=SPEC, partner="shop")
        self.resource = driver.spec.resources["orders"]
        plan = ResourcePlan(self.resource, Strategy.FEED, Schedule(every_seconds=20))
        account: Any = SimpleNamespace(driver=driver, health=self.health, clock=self.clock, name="acme", plans={})
        self.reader = Reader.__new__(Reader)
        self.reader._account, self.reader._plan = account, plan

    def shows(self, *ids: str, unsound: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        """The parts in which a page with these messages is acknowledged."""
        read = PageRead(
            identities=[Identity(one) for one in ids], rejects=[Reject(b"{}", "odd", one, "orders") for one in unsound]
        )
        self.reader._queued(Response(200, Headers(), b"{}"), read)
        assert {part.kind for part in read.acknowledges} <= {"received"}
        return [part.ids for part in read.acknowledges]


def test_the_messages_of_a_page_are_acknowledged_together_once_each() -> None:
    assert Queue().shows("a", "b", "a") == [("a", "b")]


def test_more_messages_than_one_push_holds_are_acknowledged_by_several() -> None:
    parts = Queue().shows(*(str(number) for number in range(2_500)))
    assert [len(part) for part in parts] == [1_000, 1_000, 500]


def test_what_is_set_aside_is_not_acknowledged() -> None:
    assert Queue().shows("a", "b", unsound=("b", "c")) == [("a",)]


def test_what_is_shown_again_is_acknowledged_in_halves_until_the_one_that_is_not_taken_stands_alone() -> None:
    queue, waiting, parts = Queue(), ["a", "b", "c", "d", "e"], [("a", "b", "c", "d", "e")]
    assert queue.shows(*waiting) == parts
    for _ in range(3):
        waiting = [one for part in parts if "d" in part for one in part]
        parts = queue.shows(*waiting, "new") if len(waiting) == 5 else queue.shows(*waiting)
    assert ("d",) in parts


async def test_a_message_nobody_acknowledges_is_said_after_its_time_and_for_as_long_as_it_is_shown() -> None:
    queue = Queue()
    queue.shows("a", unsound=("b",))
    await queue.clock.advance(1200)
    queue.shows(unsound=("b",))
    assert queue.health.of("orders").unacknowledged is None
    await queue.clock.advance(20)
    queue.shows("c", unsound=("b",))
    told = queue.health.of("orders").unacknowledged
    assert told is not None
    assert (told.code, "1 messages" in told.reason, "the shop telephones" in told.cause) == (
        "unacknowledged",
        True,
        True,
    )
    assert queue.health.judge({}, queue.clock.now())[0] is State.DEGRADED
    assert queue.health.resource_state("orders", {}, queue.clock.now())[1] == told
    queue.shows("c")
    assert queue.health.of("orders").unacknowledged is None


def test_what_one_queue_does_not_show_may_still_wait_in_the_other() -> None:
    health, resource = Health("acme"), Queue().resource
    health.shown(resource, "new", ["a"], NOON)
    health.shown(resource, "changes", [], NOON + timedelta(minutes=21))
    assert health.of("orders").unacknowledged is not None


@pytest.mark.parametrize("wrong", [{"strategy": "full"}, {"queue": None}, {"queue": {"acknowledge": "sent"}}])
def test_a_queue_without_what_it_needs_is_refused(wrong: dict[str, Any]) -> None:
    spec = {"resources": {"orders": {**SPEC["resources"]["orders"], **wrong}}}
    with pytest.raises(Exception, match="queue"):
        drivers.load("rest", rest=spec, partner="shop")


def test_a_file_cannot_make_a_queue_a_listing_whose_silence_deletes() -> None:
    from syncd.config.resource import ResourceConfig
    from syncd.plans import resource_plan

    plan = resource_plan(Queue().resource, ResourceConfig(strategy="full"), "v1")
    assert plan.strategy is Strategy.FEED
