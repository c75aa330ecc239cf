"""Pushes in rows: the oldest of a record first, what may have arrived is not forgotten, nobody sends what is not his."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import OwnershipError
from syncd.store import OUTBOX, POISON, KeyUsedError, NewDeadLetter, NewPush, PushRow, Store

SCOPE = "plain/acme"


def now(store: Store):
    return store._database.clock.now()


async def put(store: Store, external_id: str | None = None, **more) -> int:
    made, _ = await store.outbox.put(
        NewPush("acme", "things", "state", **{"data": {"n": 1}, "external_id": external_id, **more})
    )
    return made


async def ready(store: Store, **more) -> list[int]:
    return [each.id for each in await store.outbox.ready(["acme"], **{"limit": 100, **more})]


async def own(store: Store) -> int:
    """Become the owner; in a new database under fence 1."""
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    return fence


async def taken(store: Store, push_id: int, fence: int = 1) -> PushRow:
    found = await store.outbox.take("acme", push_id, scope=SCOPE, fence=fence)
    assert found is not None
    return found


async def state(store: Store, push_id: int) -> tuple[str, bool]:
    """Its state, and whether it may have arrived."""
    found = await store.outbox.get("acme", push_id)
    assert found is not None
    return found.state, found.unsure_since is not None


async def test_a_push_is_written_once_for_its_key_and_wakes_the_owner(store: Store):
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen(OUTBOX, heard.put_nowait)
    push = NewPush("acme", "things", "state", {"n": 1}, external_id="a", idempotency_key="k")
    made, fresh = await store.outbox.put(push)
    assert fresh
    assert await asyncio.wait_for(heard.get(), 10) == "acme"
    assert await store.outbox.put(push) == (made, False)
    assert await store.outbox.put(replace(push, external_id=None)) == (made, False)
    for other in (replace(push, kind="x"), replace(push, data={"n": 2}), replace(push, external_id="b")):
        with pytest.raises(KeyUsedError, match="was used for another push"):
            await store.outbox.put(other)
    assert (await store.outbox.put(replace(push, integration="nova")))[1], "keys are an integration's own"


async def test_two_transactions_with_one_key_make_one_push(store: Store, database: str):
    first, second = await asyncpg.connect(database), await asyncpg.connect(database)
    call = "SELECT syncd.push('acme', 'things', 'state', '{}', idempotency_key => 'k')"
    try:
        transaction = first.transaction()
        await transaction.start()
        made = await first.fetchval(call)
        waiting = asyncio.ensure_future(second.fetchval(call))
        await asyncio.sleep(0.05)
        await transaction.commit()
        assert await waiting == made
    finally:
        await first.close()
        await second.close()


async def test_what_is_no_push_is_refused_in_the_transaction_that_writes_it(store: Store, database: str):
    connection = await asyncpg.connect(database)
    insert = "INSERT INTO syncd.outbox (integration, resource, operation, external_id, payload) VALUES ({})"
    try:
        for values in ("'acme', 'r', 'k', NULL, '[]'", "'', 'r', 'k', NULL, '{}'", "'acme', 'r', 'k', '', '{}'"):
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute(insert.format(values))
        for call in (
            "'acme', 'r', 'k', '[1]'",
            "'acme', '', 'k', '{}'",
            "NULL, 'r', 'k', '{}'",
            "'acme', 'r', 'k', NULL",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(f"SELECT syncd.push({call})")
        assert await connection.fetchval("SELECT count(*) FROM syncd.outbox") == 0
    finally:
        await connection.close()


async def test_an_application_needs_no_more_than_the_documented_grants(store: Store, database: str):
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute("CREATE ROLE app_of_test")
            await connection.execute("GRANT USAGE ON SCHEMA syncd TO app_of_test")
            await connection.execute("GRANT SELECT, INSERT ON syncd.outbox TO app_of_test")
            await connection.execute("SET LOCAL ROLE app_of_test")
            made = await connection.fetchval(
                "SELECT syncd.push('acme', 'things', 'state', '{}', idempotency_key => 'k')"
            )
            again = await connection.fetchval(
                "SELECT syncd.push('acme', 'things', 'state', '{}', idempotency_key => 'k')"
            )
            await connection.execute(
                "INSERT INTO syncd.outbox (integration, resource, operation, payload) VALUES ('acme', 'things', 'x', '{}')"
            )
            assert made == again
            await connection.execute("RESET ROLE")
            await connection.execute("DROP OWNED BY app_of_test; DROP ROLE app_of_test")
    finally:
        await connection.close()
    assert len(await store.outbox.list("acme")) == 2


async def test_what_left_is_unknown_after_a_death_and_what_did_not_waits(store: Store):
    fence = await own(store)
    gone, stayed = await put(store, "a"), await put(store, "b")
    left = await taken(store, gone, fence)
    await taken(store, stayed, fence)
    await store.outbox.leaving(left, SCOPE)
    assert await store.outbox.free("acme", scope=SCOPE, fence=fence) == 0, "what is ours is not freed"
    assert await store.outbox.free("acme", scope=SCOPE, fence=fence + 1) == 0, "who owns nothing frees nothing"
    newer = await own(store)
    assert await store.outbox.free("acme", scope=SCOPE, fence=newer) == 2
    assert await state(store, gone) == ("unknown", True)
    assert await state(store, stayed) == ("waiting", False)
    again = await taken(store, gone, newer)
    assert (again.state, again.attempts, again.lost, again.tries) == ("unknown", 2, 1, 1)
    assert again.sent_at is not None


async def replayed(store: Store, external_id: str) -> int:
    """A push that a replay has returned."""
    number = await put(store, external_id)
    await store._database.execute("UPDATE syncd.outbox SET letter_id = 1, replaces = true WHERE id = $1", number)
    return number


async def become(store: Store, push_id: int, become: str) -> None:
    await store._database.execute("UPDATE syncd.outbox SET state = $2 WHERE id = $1", push_id, become)


async def test_a_replayed_push_does_not_go_after_a_newer_one_that_was_sent_before_the_replay_was_seen(store: Store):
    await own(store)
    older, newer, other = await replayed(store, "a"), await put(store, "a"), await replayed(store, "b")
    await become(store, newer, "taken")  # it was taken while the older one was still a dead letter
    assert await store.outbox.take("acme", older, scope=SCOPE, fence=1) is None
    assert await state(store, older) == ("waiting", False), "what becomes of the newer one tells"
    await become(store, newer, "done")
    assert await store.outbox.take("acme", older, scope=SCOPE, fence=1) is None
    found = await store.outbox.get("acme", older)
    assert found is not None
    assert (found.state, found.reason) == ("dropped", "a newer push of the record was done")
    assert found.finished_at is not None
    assert await taken(store, other)


@pytest.mark.parametrize("ended", ["unknown", "buried"])
async def test_a_newer_push_that_came_to_nothing_so_far_holds_no_replayed_one_up(store: Store, ended: str):
    await own(store)
    older, newer = await replayed(store, "a"), await put(store, "a")
    await become(store, newer, ended)
    assert await taken(store, older)


async def test_nobody_takes_what_is_no_longer_his(store: Store):
    fence, number = await own(store), await put(store, "a")
    newer = await own(store)
    assert await store.outbox.take("acme", number, scope=SCOPE, fence=fence) is None
    assert await store.outbox.take("acme", number, scope="another", fence=newer) is None
    assert await store.outbox.take("acme", number, scope=SCOPE, fence=newer) is not None


async def test_what_was_taken_in_another_scope_under_a_higher_fence_is_free_too(store: Store):
    for _ in range(7):
        fence = await own(store)
    number = await put(store, "a")
    await taken(store, number, fence)
    other = await store.leases.acquire("plain/shared", "two", 3600)
    assert other is not None
    assert other < fence
    assert await store.outbox.free("acme", scope="plain/shared", fence=other) == 1
    assert await state(store, number) == ("waiting", False)


async def test_the_first_look_frees_what_was_taken_under_the_same_fence(store: Store):
    fence, number = await own(store), await put(store, "a")
    await taken(store, number, fence)
    assert await store.outbox.free("acme", scope=SCOPE, fence=fence, first=True) == 1
    assert await state(store, number) == ("waiting", False)


async def test_nobody_sends_what_is_no_longer_his(store: Store):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    push = await taken(store, await put(store, "a"), fence)
    with pytest.raises(OwnershipError):
        await store.outbox.leaving(push, "another scope")
    await store.leases.release(SCOPE, "one", fence)
    newer = await store.leases.acquire(SCOPE, "two", 3600)
    assert newer is not None
    assert newer > fence
    with pytest.raises(OwnershipError):  # the row is as it was: the lease alone tells
        await store.outbox.leaving(push, SCOPE)
    assert (await store.outbox.get("acme", push.id)).unsure_since is None  # type: ignore[union-attr]
    await store.outbox.free("acme", scope=SCOPE, fence=newer)
    assert not await store.outbox.later(push, None)
    assert not await store.outbox.unknown(push, None, reason="x")
    assert not await store.outbox.drop(push, "x")
    assert not await store.outbox.bury(push, NewDeadLetter("acme", "outbox", "E", "m", "f"), unsure=False)
    with pytest.raises(OwnershipError):
        await store.outbox.done(push, answer={})
    assert await store.dead_letters.list("acme") == []


async def test_doubt_lasts_until_an_answer_takes_it_away(store: Store):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    number = await put(store, "a")
    push = await taken(store, number, fence)
    await store.outbox.leaving(push, SCOPE)
    await store.outbox.later(push, None, reason="429: nothing arrived")
    assert await state(store, number) == ("waiting", False)
    push = await taken(store, number, fence)
    await store.outbox.leaving(push, SCOPE)
    await store.outbox.unknown(push, None, reason="cut off")
    push = await taken(store, number, fence)
    since = push.unsure_since
    await store.outbox.leaving(push, SCOPE)
    await store.outbox.later(push, None, reason="429, of the second try")
    assert await state(store, number) == ("unknown", True), "the first try may have arrived all the same"
    push = await taken(store, number, fence)
    assert push.unsure_since == since
    assert await store.outbox.settled(push)
    push = replace(push, unsure_since=None)
    await store.outbox.later(push, None, counts=False)
    assert await state(store, number) == ("waiting", False)
    found = await store.outbox.get("acme", number)
    assert found is not None
    assert found.attempts == 3


async def test_an_answer_for_good_ends_it_and_lets_the_next_one_go(store: Store):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    first, second = await put(store), await put(store, "made")
    await store.outbox.order({("acme", first): ""})
    push = await taken(store, first, fence)
    await store.outbox.leaving(push, SCOPE)
    await store.outbox.done(push, answer={"status": 200, "odd": "\x00"}, external_id="made\x00")
    found = await store.outbox.get("acme", first)
    assert found is not None
    assert (found.state, found.unsure_since, found.reason) == ("done", None, None)
    assert found.external_id == "made\N{REPLACEMENT CHARACTER}"
    push = await taken(store, second, fence)
    letter = NewDeadLetter("acme", "outbox", "RejectedError", "422: no \x00", "422", origin_id=str(second))
    assert await store.outbox.bury(push, letter, unsure=False)
    assert await state(store, second) == ("buried", False)
    assert await ready(store) == []
    assert await store.outbox.counts() == {}


async def test_a_taking_whose_answer_was_lost_is_found_again(store: Store):
    await own(store)
    mine, held = await put(store, "a"), await put(store, "b")
    await taken(store, mine)
    await taken(store, held)
    assert await store.outbox.free_strays({"acme": 1}, held=[held]) == 1
    assert await ready(store) == [mine]


async def test_broken_connections_make_no_push_a_killer(store: Store):
    await own(store)
    number = await put(store, "a")
    for _ in range(6):
        push = await taken(store, number)
        await store.outbox.handles(push, now=True)
        await store.outbox.free_strays({"acme": 1}, held=[])
    push = await taken(store, number)
    assert push.suspicion < POISON
    await store.outbox.handles(push, now=True)
    await store.outbox.put_back(push, now(store), "a fault of ours")
    assert (await taken(store, number)).suspicion == push.suspicion


async def test_an_outcome_that_was_not_written_leaves_doubt_about_what_left_and_counts_its_try(store: Store):
    fence = await own(store)
    gone, stayed = await put(store, "a"), await put(store, "b")
    await store.outbox.leaving(await taken(store, gone, fence), SCOPE)
    await taken(store, stayed, fence)
    assert await store.outbox.free_strays({"acme": fence}, held=[]) == 2
    found = {each.id: each for each in await store.outbox.list("acme")}
    assert (found[gone].state, found[gone].attempts) == ("unknown", 1)
    assert found[gone].reason == "its outcome was not written"
    assert (found[stayed].state, found[stayed].attempts, found[stayed].reason) == ("waiting", 0, None)


async def test_what_waits_past_its_time_goes_and_what_may_have_arrived_does_not(store: Store):
    await own(store)
    soon = now(store) + timedelta(milliseconds=1)
    waits, unsure = await put(store, "a", expires_at=soon), await put(store, "b", expires_at=soon)
    push = await taken(store, unsure)
    await store.outbox.unknown(push, None, reason="cut off")
    await asyncio.sleep(0.02)
    assert await store.outbox.expire(["acme"]) == 1
    assert [(await state(store, each))[0] for each in (waits, unsure)] == ["dropped", "unknown"]


async def test_counts_and_lists_tell_what_is_under_way(store: Store):
    await own(store)
    await put(store, "a")
    push = await taken(store, await put(store, "b"))
    await store.outbox.unknown(push, None, reason="cut off")
    found = (await store.outbox.counts())["acme"]
    assert (found["waiting"], found["taken"], found["unknown"]) == (1, 0, 1)
    assert [each.state for each in await store.outbox.list("acme")] == ["unknown", "waiting"]
    assert [each.external_id for each in await store.outbox.list("acme", states=["waiting"])] == ["a"]
    assert await store.outbox.list("nova") == []


STEPS = st.lists(st.sampled_from(["take", "leave", "die", "later", "unknown", "settle", "done"]), max_size=25)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
async def test_whatever_happens_a_try_that_left_is_never_forgotten(store: Store, steps: list[str]):
    """Against a model of what the partner may have got: doubt stands exactly while a try left and nothing told of it."""
    owner = f"owner {now(store).timestamp()}"
    fence = await store.leases.acquire(SCOPE, owner, 3600)
    assert fence is not None
    number = await put(store, f"record {now(store).timestamp()}")
    push: PushRow | None = None
    doubt = left = over = False
    for step in steps:
        if step == "take" and push is None:
            push, left = await store.outbox.take("acme", number, scope=SCOPE, fence=fence), False
            assert (push is None) is over
        elif step == "leave" and push is not None:
            await store.outbox.leaving(push, SCOPE)
            left = True
        elif step == "die":
            await store.leases.release(SCOPE, owner, fence)
            fence = await store.leases.acquire(SCOPE, owner, 3600)
            assert fence is not None
            await store.outbox.free("acme", scope=SCOPE, fence=fence)
            doubt, push = doubt or (push is not None and left), None
        elif push is not None and step == "later":
            await store.outbox.later(push, None)
            push = None
        elif push is not None and step == "unknown" and left:
            await store.outbox.unknown(push, None, reason="cut off")
            doubt, push = True, None
        elif push is not None and step == "settle" and doubt and not left:
            await store.outbox.settled(push)
            push, doubt = replace(push, unsure_since=None), False
        elif push is not None and step == "done":
            await store.outbox.done(push, answer={})
            doubt, push, over = False, None, True
        if push is None:
            assert await state(store, number) == ("done" if over else "unknown" if doubt else "waiting", doubt)
    await store.leases.release(SCOPE, owner, fence)


async def test_a_key_that_is_taken_is_refused_and_what_to_do_is_said_once(store: Store):
    await put(store, "a", idempotency_key="k")
    with pytest.raises(KeyUsedError) as refused:
        await put(store, "b", idempotency_key="k")
    assert refused.value.hint
    assert refused.value.hint not in str(refused.value)
    assert "HINT" not in str(refused.value)
