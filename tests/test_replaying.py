"""Working through dead letters by the admin API: what is said first, who is obeyed, what goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.explain import Explanation
from syncd.limits import Gate
from syncd.replaying import Replaying
from syncd.server.address import url_of
from syncd.server.app import Server
from syncd.server.desk_letters import routes
from syncd.store import Run, Selection, Store
from syncd.store.controls import PAUSE
from syncd.store.database import DataRefusedError
from syncd.sync.health import Health
from tests.server.fakes import FakeStatus, settings
from tests.store.test_letters import delivery, letter, push
from tests.store.test_replays import of_task


def account(name: str = "acme", tiers: tuple[str, ...] = ("100/min", "20/s"), **resources: int) -> Any:
    """An integration; `resources` says how many ids one call may name (0: one by one)."""
    plans = {
        resource: SimpleNamespace(resource=SimpleNamespace(many=SimpleNamespace(max=most) if most else None))
        for resource, most in (resources or {"things": 0}).items()
    }
    return SimpleNamespace(
        name=name, partner="plain", scope=f"plain/{name}", plans=plans, health=Health(name), tasks_added=lambda: None,
        needs=lambda resource: ("",),
        gate=Gate(f"plain/{name}", list(tiers), clock=SystemClock(), share=1.0),
    )  # fmt: skip


def desk(store: Store, *accounts: Any) -> Replaying:
    known = {one.name: () for one in accounts}
    return Replaying(lambda: list(accounts), lambda: store, SystemClock(), known=lambda: known)


@asynccontextmanager
async def api(letters: Replaying) -> AsyncIterator[Any]:
    """`await call("POST", "dlq/price", {...})`: status and body."""
    server = Server(settings(), FakeStatus(), clock=SystemClock(), desks=routes(letters))
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as client:
        started = asyncio.Event()
        running = group.create_task(server.run(task_status=SimpleNamespace(started=started.set)))  # type: ignore[arg-type]
        await started.wait()

        async def call(method: str, path: str, said: Any = None, **headers: str) -> tuple[int, Any]:
            url = f"{url_of(server.admin)}/api/v1/{path}"
            async with client.request(method, url, json=said, headers=headers) as response:
                return response.status, await response.json()

        yield call
        running.cancel()


async def put(store: Store, number: int, **more: Any) -> list[int]:
    return [await store.dead_letters.bury(of_task(each, **more)) for each in range(number)]


# -- the price ---------------------------------------------------------------------------------------------------------


async def test_the_price_says_jobs_calls_and_the_share_of_the_limit_they_fill_most(store: Store):
    ids = await put(store, 11)
    async with api(desk(store, account())) as call:
        status, price = await call("POST", "dlq/price", {"integration": "acme"})
    assert status == 200
    assert (price["schema"], price["letters"], price["calls"], price["under_way"]) == ("syncd.dlq-price/1", 11, 11, 0)
    assert price["upto"] == max(ids)
    [scope] = price["scopes"]
    assert (scope["partner"], scope["window"], scope["share"], scope["seconds"]) == ("plain", "minute", 0.11, 0.0)
    [cause] = price["causes"]
    assert (cause["count"], cause["message"]) == (11, "422: no")


async def test_more_than_a_window_holds_is_told_as_time(store: Store):
    await put(store, 300)
    price = await desk(store, account()).price(selection())
    [scope] = price["scopes"]
    assert scope["share"] == 3.0
    assert scope["seconds"] == pytest.approx(120, abs=1)


async def test_reads_of_many_at_once_runs_and_pushes_are_reckoned_as_they_are(store: Store):
    await put(store, 11)
    await store.dead_letters.bury(letter(origin="run", resource="things", fingerprint="run"))
    for number in range(3):
        await store.dead_letters.bury(letter(origin="outbox", origin_id=str(number), fingerprint="push"))
    letters = desk(store, account(things=5))
    price = await letters.price(selection())
    assert price["calls"] == 3 + 1 + 3
    assert [one["from"] for one in price["causes"]] == ["task", "outbox", "run"]


async def test_a_run_is_reckoned_by_the_calls_of_the_last_one(store: Store, monkeypatch: pytest.MonkeyPatch):
    await store.dead_letters.bury(letter(origin="run"))

    async def recent(names: Any, *, each: int) -> list[Run]:
        known = dict.fromkeys(Run.__slots__)
        return [Run(**{**known, "integration": "acme", "resource": "things", "calls": 40})]

    monkeypatch.setattr(store.runs, "recent", recent)
    assert (await desk(store, account()).price(selection()))["calls"] == 40


def selection(**more: Any) -> Selection:
    return Selection(**{"integration": "acme", **more})


# -- orders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["price", "replay", "cancel", "discard"])
async def test_an_order_that_names_nothing_is_never_taken_to_mean_all(store: Store, order: str):
    await put(store, 2)
    async with api(desk(store, account())) as call:
        for said in ({}, {"ids": []}, {"upto": 99}, {"ids": "all"}, {"ids": [True]}, {"ids": [-1]}, {"cause": ""}):
            status, body = await call("POST", f"dlq/{order}", said)
            assert (status, body["error"]["code"]) == (400, "usage"), said
    assert len(await store.dead_letters.list()) == 2
    assert await store.replays.running() == []


async def test_a_purge_names_an_age_or_says_all(store: Store):
    await put(store, 2)
    async with api(desk(store, account())) as call:
        for said in ({}, {"older_than_seconds": -1}, {"older_than_seconds": "1d"}, {"all": "yes"}, {"settled": True}):
            assert (await call("POST", "dlq/purge", said))[0] == 400, said
        assert (await call("POST", "dlq/purge", {"older_than_seconds": 3600}))[1]["removed"] == 0
        assert (await call("POST", "dlq/purge", {"all": True, "settled": True}))[1]["removed"] == 0
        assert (await call("POST", "dlq/purge", {"all": True}))[1]["removed"] == 2
    assert [each.action for each in await store.audit.list()] == ["dead_letters_purged"]


async def test_a_page_of_another_site_is_not_obeyed(store: Store):
    await put(store, 2)
    async with api(desk(store, account())) as call:
        for path in ("replay", "discard", "cancel", "purge"):
            said = {"integration": "acme", "all": True}
            status, _ = await call("POST", f"dlq/{path}", said, Origin="http://evil.example")
            assert status == 403
    assert len(await store.dead_letters.list()) == 2


async def test_a_replay_is_noted_with_who_asked_and_takes_no_more_than_was_told(store: Store):
    [first, second, third] = await put(store, 3)
    async with api(desk(store, account())) as call:
        said = {"integration": "acme", "upto": second}
        status, body = await call("POST", "dlq/replay", said, **{"X-Syncd-Actor": "ann@ops"})
        assert status == 202
        [row] = body["replays"]
        assert (row["total"], row["state"], row["who"]) == (2, "canary", "ann@ops")
        assert (await call("GET", f"dlq/replays?replay=acme:{row['replay']}"))[1] == body
        assert (await call("GET", "dlq/replays"))[1] == body
    [noted] = await store.audit.list()
    assert (noted.actor, noted.action, noted.integration) == ("ann@ops", "dead_letters_replayed", "acme")
    assert noted.after is not None
    assert noted.after["letters"] == 2
    assert {one.id: one.replay_id for one in await store.dead_letters.list()} == {
        first: row["replay"],
        second: row["replay"],
        third: None,
    }


async def test_words_that_name_no_cause_alone_begin_nothing(store: Store):
    await put(store, 1)
    await store.dead_letters.bury(of_task(7, fingerprint="500", message="500: no"))
    async with api(desk(store, account())) as call:
        status, body = await call("POST", "dlq/replay", {"cause": "no"})
        assert (status, body["error"]["code"]) == (404, "unknown-cause")
        assert "2 fit" in body["error"]["message"]
        assert (await call("POST", "dlq/replay", {"integration": "acm"}))[1]["error"]["hint"] == "did you mean 'acme'?"
        assert (await call("POST", "dlq/replay", {"cause": "500"}))[0] == 202


async def test_a_cause_of_rejected_records_is_told_from_one_of_letters(store: Store):
    await store._database.execute(
        "INSERT INTO syncd.rejects (integration, resource, external_id, raw, reason, fingerprint, first_at, last_at) "
        "VALUES ('acme', 'things', '1', '{}', 'email is null', 'email is null', now(), now())"
    )
    async with api(desk(store, account())) as call:
        status, body = await call("POST", "dlq/replay", {"cause": "email"})
        assert (status, body["error"]["hint"]) == (404, "syncd sync acme/things")
        assert "rejected records" in body["error"]["message"]


async def test_letters_of_what_is_no_longer_configured_are_not_replayed_into_nothing(store: Store):
    await store.dead_letters.bury(of_task(1))
    await store.dead_letters.bury(of_task(2, integration="gone"))
    await store.dead_letters.bury(of_task(3, resource="dropped"))
    async with api(desk(store, account())) as call:
        status, body = await call("POST", "dlq/replay", {"until": "2999-01-01T00:00:00Z"})
        assert status == 422
        assert body["error"]["message"].startswith("acme/dropped, gone is no longer configured")
        assert (await call("POST", "dlq/price", {"integration": "gone"}))[1]["unknown"] == ["gone"]
    assert await store.replays.running() == []


async def test_who_replays_is_believed_to_have_mended_the_credential(store: Store):
    await put(store, 1)
    one = account()
    one.health.auth_retry_at = SystemClock().now()
    await desk(store, one).replay(selection(), who="ann")
    assert one.health.auth_retry_at is None


async def test_discarding_and_cancelling_are_noted(store: Store):
    await put(store, 3)
    async with api(desk(store, account())) as call:
        await call("POST", "dlq/replay", {"integration": "acme"})
        status, body = await call("POST", "dlq/cancel", {"integration": "acme"})
        assert (status, [one["left"] for one in body["cancelled"]]) == (200, [3])
        said = {"integration": "acme", "reason": "closed"}
        assert (await call("POST", "dlq/discard", said))[1]["discarded"] == 3
    assert [each.action for each in await store.audit.list()] == [
        "dead_letters_discarded",
        "replay_cancelled",
        "dead_letters_replayed",
    ]


async def test_a_letter_is_shown_whole_with_those_before_it(store: Store):
    first = await store.dead_letters.bury(of_task(1, request={"password": "hush-hush-hush"}, message="first"))
    await store.dead_letters.settle("acme", [first], state="replayed", by="ann")
    second = await store.dead_letters.bury(of_task(1, former_id=first, message="second"))
    async with api(desk(store, account())) as call:
        status, found = await call("GET", f"dlq/letters/{second}")
        assert (status, found["schema"], found["replays"]) == (200, "syncd.dlq-letter/1", 1)
        assert [one["letter"] for one in found["former"]] == [first]
        assert (await call("GET", f"dlq/letters/{first}"))[1]["request"] == {"password": "****"}
        for unknown in (second + 1, 10**30):
            assert (await call("GET", f"dlq/letters/{unknown}"))[0] == 404


@pytest.mark.parametrize("asked", ["7", "acme:", ":7", "acme:x", "acme:99999999999999999999"])
async def test_a_replay_is_asked_for_by_integration_and_number(store: Store, asked: str):
    async with api(desk(store, account())) as call:
        assert (await call("GET", f"dlq/replays?replay={asked}"))[0] == 400
        assert (await call("GET", "dlq/replays?replay=acme:7"))[1]["replays"] == []


# -- carrying on -------------------------------------------------------------------------------------------------------


async def test_what_was_begun_before_a_restart_goes_on_by_itself(store: Store):
    await put(store, 3)
    await store.dead_letters.bury(letter(origin="inbox", origin_id=str(await delivery(store, "e1")), fingerprint="e"))
    await desk(store, account()).replay(selection(), who="ann")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(desk(store, account()).run())  # another process, as it were

        async def over() -> bool:
            for task in await store.tasks.take("acme", fence=1, limit=10):
                await store.tasks.done(task)
            await store._database.execute("UPDATE syncd.inbox SET state = 'done' WHERE state = 'waiting'")
            return not await store.replays.running()

        async with asyncio.timeout(60):
            while not await over():
                await asyncio.sleep(0.05)
        running.cancel()
    assert await store.dead_letters.list() == []


@pytest.mark.parametrize("trouble", [StoreError("the statement took too long"), DataRefusedError("no such value")])
async def test_a_replay_that_cannot_go_on_does_not_hold_up_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch, trouble: StoreError
):
    await put(store, 1)
    await store.dead_letters.bury(of_task(7, fingerprint="other"))
    letters = desk(store, account())
    await letters.replay(selection(), who="ann")
    (_, bad), _ = await store.replays.running()
    step, fails = store.replays.step, [bad]

    async def broken(integration: str, replay: int) -> bool:
        if replay in fails:
            raise trouble
        return await step(integration, replay)

    monkeypatch.setattr(store.replays, "step", broken)
    for _ in range(2):
        assert await letters._carry_on(store)
        for task in await store.tasks.take("acme", fence=1, limit=10):
            await store.tasks.done(task)
    assert [one[1] for one in await store.replays.running()] == [bad]
    if not isinstance(trouble, DataRefusedError):
        with pytest.raises(StoreError):
            await letters._carry_on(store)  # nothing could be done: the database may be away
    fails.clear()
    for _ in range(3):
        await letters._carry_on(store)
        for task in await store.tasks.take("acme", fence=1, limit=10):
            await store.tasks.done(task)
    assert await store.replays.running() == []


async def test_a_replay_is_found_by_its_cause_though_no_letter_of_it_is_open(store: Store):
    ids = await put(store, 1)
    letters = desk(store, account())
    [begun] = (await letters.replay(selection(), who="ann"))["replays"]
    key = (begun["integration"], begun["replay"])
    await store.replays.step(*key)
    assert await store.dead_letters.list() == []
    async with api(letters) as call:
        for said in ({"cause": "422"}, {"cause": begun["cause"][:5]}, {"integration": "acme"}, {"ids": ids}):
            status, price = await call("POST", "dlq/price", said)
            assert status == 200, price
            assert price["letters"] == 0, said
            assert [one["replay"] for one in price["replays"]] == [begun["replay"]], said
        assert (await call("POST", "dlq/price", {"cause": "nonsense"}))[0] == 404
        status, price = await call("POST", "dlq/price", {"ids": [99]})
        assert (status, price.get("replays")) == (200, []), price
        [task] = await store.tasks.take("acme", fence=1, limit=1)
        await store.tasks.done(task)
        while await store.replays.step(*key):
            pass
        [ended] = (await call("POST", "dlq/price", {"cause": "422"}))[1]["replays"]
        assert (ended["state"], ended["done"]) == ("done", 1)
        assert (await call("POST", "dlq/price", {"until": "2999-01-01T00:00:00Z"}))[1]["replays"] == []


async def test_who_watches_is_told_why_it_waits(store: Store):
    await put(store, 1)
    one = account()
    letters = desk(store, one)
    [row] = (await letters.replay(selection(), who="ann"))["replays"]
    key = [(row["integration"], row["replay"])]
    await store.replays.step(*key[0])

    async def why() -> Any:
        return (await letters.replays(key))["replays"][0]["why_waiting"]

    assert await why() is None
    one.health.paused = Explanation("paused", "paused by ann")
    assert await why() == "acme is paused: syncd resume acme"
    one.health.paused = Explanation("maintenance", "in maintenance until 2026-11-29 03:00 UTC: weekly update")
    assert await why() == "acme is in maintenance until 2026-11-29 03:00 UTC: weekly update"
    one.health.paused = None
    one.health.auth_retry_at = SystemClock().now() + timedelta(minutes=5)
    assert await why() == "the credential was refused: syncd credential test acme"
    one.health.auth_retry_at = None
    await store.controls.set("acme", PAUSE, who="ann", resource="other")
    assert await why() is None
    await store.controls.set("acme", PAUSE, who="ann", resource="things")
    assert await why() == "acme/things is paused: syncd resume acme/things"
    await store.controls.clear("acme", PAUSE, resource="things")
    one.gate.hold("they asked", who="ann")
    assert await why() == "calls are held by ann: they asked: syncd breaker acme release"
    one.gate.release()
    [task] = await store.tasks.take("acme", fence=1, limit=1)
    await store.tasks.later(task, SystemClock().now() + timedelta(minutes=5), reason="answered 503")
    assert (await why()).startswith("answered 503; again at ")


async def test_who_watches_is_told_what_was_stepped_over_and_why(store: Store):
    number = await push(store, "r1", {"name": "old"})
    await store.dead_letters.bury(letter(origin="outbox", origin_id=str(number), external_id="r1"))
    await push(store, "r1", {"name": "new"}, state="unknown")
    letters = desk(store, account())
    [row] = (await letters.replay(selection(), who="ann"))["replays"]
    key = [(row["integration"], row["replay"])]
    await store.replays.step(*key[0])
    [told] = (await letters.replays(key))["replays"]
    assert (told["put_off"], told["in_flight"]) == (1, 0)
    assert told["why_waiting"] == told["put_off_for"] == "a newer push of the record is under way"
    [only] = await store.dead_letters.list()
    shown = await letters.letter(only.id)
    assert shown is not None
    assert shown["waits_for"] == told["put_off_for"]


async def test_creates_of_no_known_record_are_not_said_to_wait_for_newer_pushes(store: Store):
    numbers = [await push(store, None, {"name": str(number)}) for number in range(30)]
    await store._database.execute("UPDATE syncd.outbox SET ordered_by = ''")
    for number in numbers:
        await store.dead_letters.bury(letter(origin="outbox", origin_id=str(number)))
    letters = desk(store, account())
    [row] = (await letters.replay(selection(), who="ann"))["replays"]
    key = [(row["integration"], row["replay"])]
    for _ in range(5):
        await store.replays.step(*key[0])
        [told] = (await letters.replays(key))["replays"]
        assert (told["why_waiting"], told["put_off"]) == (None, 0)
        await store._database.execute(
            "UPDATE syncd.outbox SET state = 'done', finished_at = now() WHERE state = 'waiting' AND letter_id IS NOT NULL"
        )
