"""Tasks at work: what is not worth a call any more, what happens when the scope is lost, and suspects that go alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import AuthError, GoneError, OwnershipError, RejectedError, TransientError
from syncd.kit import Request
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync.decide import RetryPolicy
from syncd.sync.let_in import whose
from syncd.sync.work import batches
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, migrate=False) as store:
        yield await Desk.open(store, clock)


def fetch(external_id: str, **more: Any) -> NewTask:
    return NewTask("fetch", resource="things", external_id=external_id, **more)


async def take(desk: Desk) -> list[Any]:
    return await desk.take_tasks()


async def test_what_expired_while_it_waited_for_a_coroutine_costs_no_call(desk: Desk):
    soon = desk.clock.now() + timedelta(seconds=10)
    await desk.store.tasks.put("acme", fetch("7", expires_at=soon), fetch("8"))
    tasks = await take(desk)
    await desk.clock.advance(11)
    for task in tasks:
        await desk.worker.run([task])
    assert desk.partner.calls == ["/things/8"]
    assert desk.account.flow.skipped == {"expired": 1}
    assert await desk.store.tasks.list("acme") == []


async def test_a_record_that_was_read_after_the_task_was_asked_for_is_not_read_again(desk: Desk):
    await desk.store.tasks.put("acme", fetch("7"), fetch("7"), fetch("7"))
    await desk.clock.advance(2)
    for task in await take(desk):
        await desk.worker.run([task])
    assert desk.partner.calls == ["/things/7"]
    assert (desk.account.flow.done, desk.account.flow.skipped) == (1, {"stale": 2})
    await desk.clock.advance(2)
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    assert len(desk.partner.calls) == 2, "asked for anew"


async def test_a_row_that_a_later_request_brought_answers_the_task_and_one_of_the_same_moment_does_not(desk: Desk):
    desk.partner.truth["/things/7"] = {"id": "7", "name": "seven"}
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    desk.account.freshness._asked.clear()
    await desk.store.tasks.put("acme", fetch("7"))
    for seconds, cause, calls in ((4, "run 1 page 2", 2), (6, "webhook e1", 3), (6, "run 1 page 2", 3)):
        await desk.store._database.execute(
            "UPDATE syncd.records SET fetched_at = $1, cause = $2", desk.clock.now() + timedelta(seconds=seconds), cause
        )
        await desk.clock.advance(10)
        await desk.do_tasks()
        desk.account.freshness._asked.clear()
        assert desk.partner.calls.count("/things/7") == calls
        await desk.store.tasks.put("acme", fetch("7"))


async def test_a_clock_that_was_set_back_makes_nothing_stale(desk: Desk):
    desk.partner.truth["/things/7"] = {"id": "7", "name": "seven"}
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.clock.advance(2)
    await desk.do_tasks()
    assert desk.account.freshness.read_since("things", "7", desk.clock.now() - timedelta(seconds=2))
    desk.clock.set_now(desk.clock.now() - timedelta(hours=1))
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    assert desk.partner.calls.count("/things/7") == 2, "the row is of a time to come, and the memory of another clock"
    assert not desk.account.freshness.read_since("things", "7", desk.clock.now())


async def test_where_the_scope_was_lost_the_task_waits_for_its_next_owner(desk: Desk):
    await desk.store.tasks.put("acme", fetch("7"))
    [task] = await take(desk)

    async def lost(*_: Any, **__: Any) -> Any:
        raise OwnershipError("this instance does not own the scope")

    desk.account.session.call = lost  # type: ignore[method-assign]
    await desk.worker.run([task])
    [waits] = await desk.store.tasks.list("acme")
    assert (waits.attempts, waits.taken_fence) == (0, None), "nobody's failure, and free at once"
    assert desk.account.flow.skipped == {}


async def test_takes_that_died_with_the_process_count_for_nothing(desk: Desk):
    await desk.store.tasks.put("acme", fetch("7"))
    for fence in range(2, 32):
        await take(desk)
        await desk.store.losses.free("acme", fence=fence)
        desk.ownership.fence = fence

    async def fails(*_: Any, **__: Any) -> Any:
        raise TransientError("503")

    desk.account.session.call = fails  # type: ignore[method-assign]
    await desk.do_tasks()
    [waits] = await desk.store.tasks.list("acme")
    assert (waits.lost, waits.attempts) == (30, 31)
    assert await desk.store.dead_letters.list("acme") == [], "its first failure, not its thirty-first"


async def test_suspects_go_alone_and_say_so_while_they_are_handled(desk: Desk):
    desk.partner.truth["/things/7"] = {"id": "7", "name": "seven"}
    await desk.store.tasks.put("acme", fetch("7", suspicion=2))
    [task] = await take(desk)
    seen: list[int] = []
    read = desk.account.processor.read_all

    async def watching(*values: Any, **more: Any) -> Any:
        [row] = await desk.store.tasks.list("acme")
        seen.append(row.suspicion)
        return await read(*values, **more)

    desk.account.processor.read_all = watching  # type: ignore[method-assign]
    await desk.worker.run([task])
    assert seen == [3]
    assert desk.account.flow.done == 1

    await desk.store._database.execute("DELETE FROM syncd.tasks")  # its children
    await desk.store.tasks.put("acme", *(fetch(each, suspicion=2 * (each == "b")) for each in "abc"))
    made = batches(await take(desk), {"acme/things": 10})
    assert sorted(sorted(one.external_id or "" for one in batch) for batch in made) == [["a", "c"], ["b"]]
    assert all(task.lane is Lane.NORMAL for batch in made for task in batch)


async def refuses(desk: Desk, error: Exception) -> None:
    """Every call ends like that."""

    async def call(*_: Any, **__: Any) -> Any:
        desk.partner.calls.append("refused")
        raise error

    desk.account.session.call = call  # type: ignore[method-assign]


def children(parent_id: str) -> NewTask:
    return NewTask("children", resource="notes", parent_id=parent_id)


def of_many(external_id: str) -> NewTask:
    return NewTask("fetch", resource="many", external_id=external_id, dedupe_key=external_id)


async def test_a_record_that_only_a_call_for_many_can_read_is_not_gone_because_that_call_is_not_found(desk: Desk):
    await desk.store.tasks.put("acme", of_many("7"))
    await refuses(desk, GoneError("GET /many: answered 404", status=404))
    await desk.do_tasks()
    [letter] = await desk.store.dead_letters.list("acme")
    assert (letter.error_class, letter.resource) == ("RejectedError", "many")
    assert desk.account.flow.done == 0


async def test_what_is_refused_together_and_was_not_told_apart_is_tried_again_and_in_the_end_buried(desk: Desk):
    await desk.store.tasks.put("acme", *(of_many(str(number)) for number in range(50)))
    await refuses(desk, RejectedError("GET /many: answered 422", status=422))
    await desk.worker.run(await take(desk))
    buried = len(await desk.store.dead_letters.list("acme"))
    waiting = await desk.store.tasks.list("acme")
    assert 0 < buried < 10, "those that were asked for alone"
    assert len(waiting) == 50 - buried
    assert {(one.attempts, one.reason) for one in waiting} == {(1, "GET /many: answered 422")}
    await desk.store._database.execute("UPDATE syncd.tasks SET attempts = 7, not_before = NULL")
    await desk.worker.run(await take(desk))
    assert await desk.store.tasks.list("acme") == []
    assert len(await desk.store.dead_letters.list("acme")) == 50


async def test_a_refused_credential_that_a_task_met_stops_the_calls(desk: Desk):
    await desk.store.tasks.put("acme", fetch("7"))
    await refuses(desk, AuthError("answered 401", status=401))
    assert desk.account.may_call()
    await desk.do_tasks()
    assert not desk.account.may_call()
    assert desk.account.health.auth is not None
    await desk.clock.advance(RetryPolicy().auth_pause_seconds + 1)
    assert desk.account.may_call(), "and is tried again"


def of_two_yards(desk: Desk, name: str, option: str | None) -> None:
    """That resource is of several, and the credential's own test is let in where `shut` refuses a record."""
    each = Each(param="yard", option=option, values=("a", "b"))
    plan = desk.account.plans[name]
    desk.account.plans[name] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))  # type: ignore[index]
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]

    async def call(request: Request, **_: Any) -> Any:
        desk.partner.calls.append(request.path)
        if request.path != "/me":
            raise AuthError("answered 401", status=401, permanent=True)

    desk.account.session.call = call  # type: ignore[method-assign]


async def test_a_credential_that_one_of_several_refuses_costs_its_tasks_tries_and_stops_no_calls(desk: Desk):
    of_two_yards(desk, "many", "yards")
    of_two_yards(desk, "things", "yards")
    await desk.store.tasks.put("acme", fetch("7"), children("7"), *(of_many(str(number)) for number in range(50)))
    tasks = await take(desk)
    for name in ("many", "things", "notes"):
        await desk.worker.run([one for one in tasks if one.resource == name])
    assert "/me" in desk.partner.calls
    waiting = await desk.store.tasks.list("acme", limit=100)
    assert len(waiting) == 52, "none is buried for one refusal"
    assert {(one.attempts, one.reason) for one in waiting} == {(1, "answered 401 (the credential itself is let in)")}
    assert desk.account.may_call() and desk.account.health.auth is None
    await desk.store._database.execute(
        "UPDATE syncd.tasks SET attempts = 7, not_before = NULL WHERE resource = 'things'"
    )
    await desk.do_tasks()
    [letter] = await desk.store.dead_letters.list("acme")
    assert "the credential itself is let in" in letter.message, "and it does not go on for ever"


async def test_values_of_a_filter_are_no_several_that_could_refuse_a_credential(desk: Desk):
    of_two_yards(desk, "things", None)
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    assert not desk.account.may_call() and desk.account.health.auth is not None
    [waits] = await desk.store.tasks.list("acme")
    assert (waits.attempts, waits.reason) == (0, "answered 401")


async def test_what_one_of_several_refused_keeps_all_that_is_known_of_the_call(desk: Desk):
    of_two_yards(desk, "things", "yards")
    error = AuthError(
        "answered 401", status=401, code="x", request_id="r", partner="p", integration="i", resource="things"
    )
    error.evidence = {"answer": "no"}
    told = await whose(desk.account, "notes", error, Lane.NORMAL)
    assert type(told) is TransientError
    known = ("status", "code", "request_id", "partner", "integration", "resource", "evidence")
    assert [getattr(told, name) for name in known] == [getattr(error, name) for name in known]
    assert await whose(desk.account, "many", error, Lane.NORMAL) is error
    of_no_call = AuthError("no token")
    assert await whose(desk.account, "things", of_no_call, Lane.NORMAL) is of_no_call


async def test_a_404_is_believed_as_of_when_it_was_asked_for_and_not_of_when_it_came_to_wait(desk: Desk):
    desk.partner.truth["/things/7"] = {"id": "7", "name": "seven"}
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    await desk.clock.advance(10)
    await desk.store.tasks.put("acme", fetch("7"))
    gone = GoneError("answered 404", status=404)

    async def call(*_: Any, **__: Any) -> Any:
        await desk.clock.sleep(90)  # at the gate
        gone.requested_at = desk.clock.now()
        raise gone

    desk.account.session.call = call  # type: ignore[method-assign]
    working = asyncio.create_task(desk.do_tasks())
    while not working.done():
        await desk.clock.advance(10)
        await asyncio.sleep(0.01)
    await working
    [row] = await desk.rows("SELECT deleted_at, fetched_at FROM syncd.records WHERE resource = 'things'")
    assert row["deleted_at"] is not None
    assert row["fetched_at"] == gone.requested_at


async def caused(desk: Desk) -> dict[str, str]:
    return {row[0]: row[1] for row in await desk.rows("SELECT external_id, cause FROM syncd.records")}


async def test_what_a_task_brings_names_the_task_and_what_caused_it(desk: Desk):
    desk.partner.truth |= {f"/things/{one}": {"id": one, "name": one} for one in "789"}
    desk.partner.truth["/things/7/notes"] = {"items": [{"id": "n1", "name": "note"}]}
    await desk.store.tasks.put("acme", fetch("7", cause="webhook e1"), fetch("8", cause="push 3: order 7"), fetch("9"))
    seven, eight, nine = await take(desk)
    for task in (seven, eight, nine):
        await desk.worker.run([task])
    assert await caused(desk) == {
        "7": f"task {seven.id}: webhook e1", "8": f"task {eight.id}: push 3: order 7", "9": f"task {nine.id}",
    }  # fmt: skip
    [below] = [task for task in await desk.store.tasks.list("acme") if task.parent_id == "7"]
    assert below.cause == f"task {seven.id}: webhook e1"
    await desk.do_tasks()
    assert (await caused(desk))["n1"] == f"task {below.id}: webhook e1", "not the whole chain of tasks between"
    del desk.partner.truth["/things/8"]
    await desk.clock.advance(60)
    await desk.store.tasks.put("acme", fetch("8", cause="webhook e2"))
    [gone] = await take(desk)
    await desk.worker.run([gone])
    assert (await caused(desk))["8"] == f"task {gone.id}: webhook e2: gone at the partner"


async def test_of_many_read_by_one_call_each_names_its_own_cause(desk: Desk):
    desk.partner.truth |= {f"/many/{one}": {"id": one, "name": one} for one in "78"} | {
        "/many/9": {"id": "9", "name": {"no": "text"}}
    }
    tasks = [of_many(one) for one in "789"]
    for task, cause in zip(tasks, ("webhook e1", "webhook e2", "webhook e3"), strict=True):
        task.cause = cause
    await desk.store.tasks.put("acme", *tasks)
    taken = {task.external_id: task for task in await take(desk)}
    await desk.worker.run(list(taken.values()))
    assert await caused(desk) == {"7": f"task {taken['7'].id}: webhook e1", "8": f"task {taken['8'].id}: webhook e2"}
    assert [row[0] for row in await desk.rows("SELECT cause FROM syncd.rejects")] == [
        f"task {taken['9'].id}: webhook e3"
    ]


NOBODY, ALL, NO_LIST = ("account", "listing"), (), ("listing",)


@pytest.mark.parametrize(
    ("status", "shut", "never", "gone"),
    [
        (403, ALL, False, True),
        (403, NO_LIST, False, False),
        (403, NOBODY, False, False),
        (404, NOBODY, False, True),
        (403, ALL, True, False),
        (404, ALL, True, False),
    ],
)
async def test_where_gone_is_a_word_of_permission_it_is_believed_only_while_account_and_listing_are_open(
    desk: Desk, status: int, shut: tuple[str, ...], never: bool, gone: bool
):
    """And never of what the partner says is never deleted."""
    plan = desk.account.plans["things"]
    desk.account.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"never_gone": never}))
    desk.partner.truth["/things/7"] = {"id": "7", "name": "seven"}
    await desk.store.tasks.put("acme", fetch("7"))
    await desk.do_tasks()
    await desk.clock.advance(10)
    await desk.store.tasks.put("acme", fetch("7"), fetch("8"))
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]

    async def call(request: Any, **_: Any) -> Any:
        if request.path == "/me" and "account" in shut:
            raise RejectedError("answered 403 (with a fresh credential too)", status=403)
        if request.path == "/things" and "listing" in shut:
            raise RejectedError("answered 403", status=403)
        if request.path.startswith("/things/"):
            raise GoneError("no_access", status=status)

    desk.account.session.call = call  # type: ignore[method-assign]
    await desk.do_tasks()
    rows = await desk.rows("SELECT external_id, deleted_at FROM syncd.records WHERE resource = 'things' ORDER BY 1")
    assert [(each["external_id"], each["deleted_at"] is not None) for each in rows] == (
        [("7", True), ("8", True)] if gone else [("7", False)]
    )
    assert (desk.account.health.auth is not None) is ("account" in shut and status == 403)
    buried = [each["external_id"] for each in await desk.rows("SELECT external_id FROM syncd.dead_letters ORDER BY id")]
    assert buried == ([] if gone or "account" in shut else ["7"] if never else ["7", "8"]), "the unknown one is no loss"


@pytest.mark.parametrize(("parent", "gone"), [("there", False), ("gone", True)])
async def test_what_may_not_be_listed_below_a_record_that_is_shown_is_not_gone(desk: Desk, parent: str, gone: bool):
    await desk.store.tasks.put("acme", children("7"), children("8"))
    desk.partner.truth["/things/7/notes"] = {"items": [{"id": "1", "name": "one"}]}
    desk.partner.truth["/things/8/notes"] = {"items": [{"id": str(one), "name": "another's"} for one in range(2, 12)]}
    await desk.do_tasks()

    async def call(request: Any, **_: Any) -> Any:
        if request.path == "/things/7/notes" or (request.path == "/things/7" and parent == "gone"):
            raise GoneError("no_access", status=403)

    desk.account.session.call = call  # type: ignore[method-assign]
    for _ in range(2):
        await desk.clock.advance(10)
        await desk.store.tasks.put("acme", children("7"))
        await desk.do_tasks()
    [row] = await desk.rows("SELECT deleted_at FROM syncd.records WHERE resource = 'notes' AND external_id = '1'")
    assert (row["deleted_at"] is not None) is gone


@pytest.mark.parametrize(
    ("last", "gone"), [({}, True), ({"total": 12}, False), ({"items": [{"name": "who is that?"}]}, False)]
)
async def test_a_listing_below_a_record_that_is_short_of_what_it_states_or_names_one_by_no_id_proves_nothing(
    desk: Desk, last: dict[str, Any], gone: bool
):
    plan = desk.account.plans["notes"]
    resource = plan.resource.model_copy(update={"total": "total"})
    desk.account.plans["notes"] = replace(plan, resource=resource)
    notes = [{"id": str(one), "name": "n"} for one in range(10)]
    desk.partner.truth["/things/7/notes"] = {"items": notes}
    await desk.store.tasks.put("acme", children("7"))
    await desk.do_tasks()
    desk.partner.truth["/things/7/notes"] = {**last, "items": notes[1:] + last.get("items", [])}
    for _ in range(2):
        await desk.clock.advance(10)
        await desk.store.tasks.put("acme", children("7"))
        await desk.do_tasks()
    [row] = await desk.rows("SELECT deleted_at FROM syncd.records WHERE resource = 'notes' AND external_id = '0'")
    assert (row["deleted_at"] is not None) is gone


async def test_below_a_record_rows_that_come_twice_are_counted_as_rows_where_they_may(desk: Desk):
    plan = desk.account.plans["notes"]
    resource = plan.resource.model_copy(update={"total": "total", "repeats": True})
    desk.account.plans["notes"] = replace(plan, resource=resource)
    notes = [{"id": str(one), "name": "n"} for one in range(10)]
    desk.partner.truth["/things/7/notes"] = {"items": notes}
    await desk.store.tasks.put("acme", children("7"))
    await desk.do_tasks()
    twice = [*notes[1:], notes[1]]
    desk.partner.truth["/things/7/notes"] = {"items": twice, "total": len(twice)}
    for _ in range(2):
        await desk.clock.advance(10)
        await desk.store.tasks.put("acme", children("7"))
        await desk.do_tasks()
    [row] = await desk.rows("SELECT deleted_at FROM syncd.records WHERE resource = 'notes' AND external_id = '0'")
    assert row["deleted_at"] is not None
