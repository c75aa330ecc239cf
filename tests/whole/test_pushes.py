"""Changes of ours at the partner: each once, whatever is cut off or killed, and the copy knows at once."""

from __future__ import annotations

import asyncio
import copy
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.whole.conftest import PLAIN, only, partner, started
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import registered
from tests.whole.written import PUSHES

FRESH_SEED = secrets.randbelow(10**9)


def writing(base_url: str, **more: Any) -> dict[str, Any]:
    """A partner file for the plain API with its writes."""
    rest = copy.deepcopy(PLAIN)
    rest["resources"]["things"] |= {"pushes": PUSHES}
    rest["resources"]["things"]["fields"] |= {"state": "state"}
    rest["limits"] = {"tiers": ["400/200ms"], "share": 1.0, "breaker": {"failures": 50}}
    return {**partner(base_url, resources=only("things", every="1h"), **more), "rest": rest}


@pytest.fixture
def written() -> Iterator[Any]:
    """Start plain APIs that take writes; they end with the test."""
    yield from started("tests.whole.written")


async def push(
    rows: Rows, kind: str, data: dict[str, Any], external_id: str | None = None, key: str | None = None
) -> int:
    """As an application does it, by the function."""
    made: int = await rows.connection.fetchval(
        "SELECT syncd.push('acme', 'things', $1, $2::jsonb, external_id => $3, idempotency_key => $4, cause => 'a test')",
        kind,
        orjson.dumps(data).decode(),
        external_id,
        key,
    )
    return made


async def over(rows: Rows) -> bool:
    left = await rows.connection.fetchval(
        "SELECT count(*) FROM syncd.outbox WHERE state IN ('waiting', 'taken', 'unknown')"
    )
    return left == 0


async def state_of(rows: Rows, number: int) -> dict[str, Any]:
    found = await rows.connection.fetchrow("SELECT * FROM syncd.outbox WHERE id = $1", number)
    return dict(found)


async def test_a_push_goes_at_once_and_the_copy_has_what_came_of_it(tmp_path: Path, database: str, rows: Rows, written):
    simulator, control = written(things=5)
    async with Daemon(tmp_path, database, {"plain": writing(simulator.base_url)}) as daemon:

        async def copied() -> bool:
            return await rows.count("acme", "things") == 5

        await daemon.until(copied)
        thing = (await control.truth_ids("things"))[0]
        async with rows.connection.transaction():  # with the change that causes it
            made = await push(rows, "create", {"name": "New"}, key="order-1")
            assert await push(rows, "create", {"name": "New"}, key="order-1") == made
        moved = await push(rows, "state", {"state": "open"}, thing)
        by_hand = await rows.connection.fetchval(
            "INSERT INTO syncd.outbox (integration, resource, operation, external_id, payload) "
            "VALUES ('acme', 'things', 'note', $1, '{\"text\": \"hello\"}') RETURNING id",
            thing,
        )
        bad = await push(rows, "create", {"name": "Bad", "email": "nobody"})
        await daemon.until(lambda: over(rows), seconds=20)
        applied = (await control.do("applied"))["applied"]
        created = next(entry for entry in applied if entry[0] == "create")
        assert [entry[0] for entry in applied].count("create") == 1
        assert created[1] == "order-1"
        assert sorted(entry[0] for entry in applied) == ["create", "note", "state"]
        for number in (made, moved, by_hand):
            assert (await state_of(rows, number))["state"] == "done"
        assert (await state_of(rows, made))["external_id"] == created[2]
        stored = await rows.connection.fetch(
            "SELECT external_id, data, cause FROM syncd.records WHERE cause LIKE 'push%'"
        )
        causes = {row["external_id"]: row["cause"] for row in stored}
        assert causes == {created[2]: f"push {made}: a test", thing: f"push {moved}: a test"}
        refused = await state_of(rows, bad)
        assert refused["state"] == "buried"
        assert "field email" in refused["reason"]
        assert "nobody" not in refused["reason"]
        letter = await rows.connection.fetchrow("SELECT * FROM syncd.dead_letters WHERE origin = 'outbox'")
        assert letter["origin_id"] == str(bad)
        assert letter["error_class"] == "RejectedError"


async def test_the_command_pushes_rehearses_refuses_and_lists(tmp_path: Path, database: str, rows: Rows, written):
    simulator, control = written(things=3)
    async with Daemon(tmp_path, database, {"plain": writing(simulator.base_url)}) as daemon:

        async def copied() -> bool:
            return await rows.count("acme", "things") == 3

        await daemon.until(copied)
        thing = (await control.truth_ids("things"))[0]
        said = ("push", "acme/things", "--kind", "note", "--id", thing, "--data", '{"text": "hello"}', "--key", "n1")
        code, out, err = await daemon.cli(*said, "--dry-run")
        assert (code, out.splitlines()[0]) == (0, f"POST /things/{thing}/notes")
        assert "looked up first: GET" in out
        assert await over(rows)
        assert not (await control.do("applied"))["applied"]
        code, out, err = await daemon.cli(*said, "--wait", "--json")
        assert code == 0, err
        found = orjson.loads(out)
        assert (found["schema"], found["push"]["state"], found["already"]) == ("syncd.push/1", "done", False)
        code, out, _ = await daemon.cli(*said, "--wait")
        assert code == 0
        assert "done (1 try)" in out
        assert (await control.do("applied"))["applied"] == [["note", "n1", thing]]
        code, _, err = await daemon.cli(
            "push", "acme/things", "--kind", "move", "--id", thing, "--data", '{"state": "lots"}'
        )
        assert code == 2
        assert "field state: is none of open, done, lost" in err
        code, _, err = await daemon.cli("push", "acme/things", "--kind", "mvoe", "--id", thing, "--data", "{}")
        assert code == 2
        assert "move" in err
        code, _, err = await daemon.cli(
            "push", "acme/things", "--kind", "note", "--key", "n1", "--id", thing, "--data", '{"text": "x"}'
        )
        assert code == 2
        assert "was used for another push" in err
        code, out, _ = await daemon.cli("push", "list", "acme/things", "--json")
        listed = orjson.loads(out)
        assert [(one["key"], one["state"]) for one in listed["pushes"]] == [("n1", "done")]
        code, out, _ = await daemon.cli("push", "show", "acme", str(listed["pushes"][0]["id"]))
        assert code == 0
        assert '"text": "hello"' in out
        await daemon.cli("pause", "acme")
        await push(rows, "shout", {"text": "later"}, thing)
        await asyncio.sleep(1.5)
        code, out, _ = await daemon.cli("status")
        assert "pushes to acme: 1 waiting" in out
        await daemon.cli("resume", "acme")
        await daemon.until(lambda: over(rows))


async def test_an_answer_that_is_lost_for_good_is_a_letter_that_says_so_and_a_refused_transition_sends_nothing(
    tmp_path: Path, database: str, rows: Rows, written
):
    simulator, control = written(things=3)
    async with Daemon(tmp_path, database, {"plain": writing(simulator.base_url)}) as daemon:

        async def copied() -> bool:
            return await rows.count("acme", "things") == 3

        await daemon.until(copied)
        thing = (await control.truth_ids("things"))[0]
        await control.misbehave("drop_after", match="/notes", count=1)
        lost = await push(rows, "shout", {"text": "hello"}, thing)
        next_one = await push(rows, "shout", {"text": "again"}, thing)
        await daemon.until(lambda: over(rows))
        assert (await state_of(rows, lost))["state"] == "buried"
        assert "nobody knows whether it arrived" in (await state_of(rows, lost))["reason"]
        assert (await state_of(rows, next_one))["state"] == "done"
        assert len((await control.do("applied"))["applied"]) == 2
        letter = await rows.connection.fetchrow("SELECT * FROM syncd.dead_letters")
        assert letter["error_class"] == "UnknownOutcomeError"
        done = await push(rows, "move", {"state": "done"}, thing)
        back = await push(rows, "move", {"state": "open"}, thing)
        await daemon.until(lambda: over(rows))
        assert (await state_of(rows, done))["state"] == "done"
        refused = await state_of(rows, back)
        assert refused["state"] == "buried"
        assert refused["sent_at"] is None
        assert "field state: done cannot become open" in refused["reason"]
        # A person has looked: it is not there. The replay sends it.
        code, out, err = await daemon.cli("dlq", "replay", str(letter["id"]), "--yes")
        assert code == 0, out + err
        await daemon.until(lambda: over(rows))
        assert (await state_of(rows, lost))["state"] == "done"
        assert len([entry for entry in (await control.do("applied"))["applied"] if entry[0] == "note"]) == 3


@pytest.mark.parametrize("at", ["pushed", pytest.param("check", marks=pytest.mark.soak)])
async def test_a_push_that_kills_the_process_is_a_letter_and_the_others_go_on(
    at: str, tmp_path: Path, database: str, rows: Rows, written
):
    simulator, control = written(things=8)
    body = writing(simulator.base_url)
    async with Daemon(tmp_path / "first", database, {"plain": body}) as daemon:

        async def copied() -> bool:
            return await rows.count("acme", "things") == 8

        await daemon.until(copied)
    ids = await control.truth_ids("things")
    deadly = ids[5]
    pushes = {each: await push(rows, "state", {"state": "done"}, each) for each in ids}
    # As after two deaths while all of them were taken, of which any may be the one.
    await rows.connection.execute(
        "UPDATE syncd.outbox SET lost = 2, attempts = 2, suspicion = 2 WHERE state = 'waiting'"
    )
    body["driver"] = "deadly"
    env = registered(tmp_path / "site", body.pop("rest"), deadly, at=at)
    daemon = Daemon(tmp_path / "d", database, {"plain": body}, env=env)
    deaths = 0
    while deaths < 8:
        await daemon.start(wait=False)
        assert daemon.process is not None
        dying = asyncio.create_task(daemon.process.wait())
        while not dying.done() and not await over(rows):
            await asyncio.sleep(0.1)
        if not dying.done():
            dying.cancel()
            break
        deaths += 1
    assert deaths == 3
    found = {each: (await state_of(rows, number))["state"] for each, number in pushes.items()}
    assert found == {**dict.fromkeys(ids, "done"), deadly: "buried"}
    letter = await rows.connection.fetchrow("SELECT * FROM syncd.dead_letters")
    assert letter["error_class"] == "PoisonError"
    assert letter["origin_id"] == str(pushes[deadly])
    applied = (await control.do("applied"))["applied"]
    assert sorted(entry[1] for entry in applied) == sorted(
        ids if at == "pushed" else [each for each in ids if each != deadly]
    )
    await daemon.until_ready()
    assert await daemon.stop() == 0


@pytest.mark.timeout(180)
async def test_cut_database_connections_reloads_and_a_stop_double_nothing(
    tmp_path: Path, database: str, rows: Rows, written
):
    """Every connection of the daemon is cut again and again, some answers to a COMMIT are lost; reloads and a stop."""
    simulator, control = written(things=30, latency=(0.01, 0.05))
    body = writing(simulator.base_url)
    daemon = Daemon(tmp_path, database, {"plain": body})
    await daemon.start()
    ids = await control.truth_ids("things")
    keys = [f"n{number}" for number in range(120)]
    wanted = {each: [f"s{number}" for number in range(3)] for each in ids}
    for number, key in enumerate(keys):
        await push(rows, "note", {"text": key}, ids[number % len(ids)], key=key)
    for states in range(3):
        for each in ids:
            await push(rows, "state", {"state": f"s{states}"}, each)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'syncd%' AND datname = current_database()"
    )
    for turn in range(12):
        await rows.connection.execute(cut)
        await asyncio.sleep(0.25)
        if turn in (2, 9):  # a reload builds the partner anew, while pushes are under way
            daemon.write_partner("plain", {**body, "workers": turn})
            daemon.hup()
        if turn == 6:
            assert await daemon.stop() == 0
            taken = "SELECT count(*) FROM syncd.outbox WHERE state = 'taken'"
            assert await rows.connection.fetchval(taken) == 0, "what is held at a stop is finished or given back"
            await daemon.start()
    await daemon.until(lambda: over(rows), seconds=60)
    applied = (await control.do("applied"))["applied"]
    assert Counter(entry[1] for entry in applied if entry[0] == "note") == Counter(keys)
    for each in ids:
        assert [entry[2] for entry in applied if entry[0] == "state" and entry[1] == each] == wanted[each]
    assert await daemon.stop() == 0


async def survives(count: int, kills: int, seed: int, tmp_path: Path, database: str, rows: Rows, written: Any) -> None:
    """Push, lose every third answer, kill every two seconds; then everything is there once, in order, and copied."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    simulator, control = written(things=80, cut=3, latency=(0.05, 0.3), seed=seed % 1000)
    daemon = Daemon(tmp_path, database, {"plain": writing(simulator.base_url)})
    ids = await control.truth_ids("things")
    wanted: dict[str, list[str]] = {each: [] for each in ids}
    keys: list[str] = []
    for number in range(count):
        thing = dice.choice(ids)
        match number % 3:
            case 0:
                keys.append(f"create-{number}")
                await push(rows, "create", {"name": f"Pushed {number}"}, key=keys[-1])
            case 1:
                wanted[thing].append(f"state {number}")
                await push(rows, "state", {"state": wanted[thing][-1]}, thing)
            case _:
                keys.append(f"note-{number}")
                await push(rows, "note", {"text": f"note {number}"}, thing, key=keys[-1])
    began = time.monotonic()
    killed = 0
    while True:
        await daemon.start()
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends and not await over(rows):
            await asyncio.sleep(0.05)
        if killed >= kills or await over(rows):
            break
        await daemon.kill()
        killed += 1
    assert killed, "nothing was killed: give it more to do"
    await daemon.until(lambda: over(rows), seconds=90)
    print(f"{killed} kills, {time.monotonic() - began:.1f} s")
    found = await rows.connection.fetch("SELECT state, operation, reason, count(*) FROM syncd.outbox GROUP BY 1, 2, 3")
    assert {row["state"] for row in found} == {"done"}, found
    applied = (await control.do("applied"))["applied"]
    once = Counter(entry[1] for entry in applied if entry[0] != "state")
    assert once == Counter(keys), (once - Counter(keys), Counter(keys) - once)
    for thing in ids:
        assert [entry[2] for entry in applied if entry[0] == "state" and entry[1] == thing] == wanted[thing]
    tried = await rows.connection.fetchrow("SELECT sum(attempts) AS takes, sum(lost) AS lost FROM syncd.outbox")
    print(f"{tried['takes']} takes, {tried['lost']} of them lost, for {len(applied)} changes at the partner")
    truth = await control.truth("things")
    assert await rows.live("acme", "things") == truth
    assert await daemon.stop() == 0


@pytest.mark.timeout(240)
async def test_pushes_with_lost_answers_and_kills_are_each_applied_once(
    tmp_path: Path, database: str, rows: Rows, written
):
    await survives(150, 3, FRESH_SEED, tmp_path, database, rows, written)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_two_instances_that_are_killed_in_turn_apply_each_push_once(
    tmp_path: Path, database: str, rows: Rows, written
):
    simulator, control = written(things=40, cut=3, latency=(0.05, 0.3))
    body = writing(simulator.base_url)
    ids = await control.truth_ids("things")
    keys = [f"{kind}-{number}" for number in range(150) for kind in ("create", "note")]
    for number, key in enumerate(keys):
        data = {"name": key} if key.startswith("create") else {"text": key}
        await push(rows, key.partition("-")[0], data, None if "name" in data else ids[number % len(ids)], key=key)
    daemons = [Daemon(tmp_path / name, database, {"plain": body}) for name in ("one", "two")]
    await asyncio.gather(*(daemon.start() for daemon in daemons))
    for turn in range(10):
        await asyncio.sleep(2.0)
        await daemons[turn % 2].kill()
        await daemons[turn % 2].start()
    await daemons[0].until(lambda: over(rows), seconds=120)
    applied = (await control.do("applied"))["applied"]
    assert Counter(entry[1] for entry in applied) == Counter(keys)
    found = await rows.connection.fetch("SELECT DISTINCT state FROM syncd.outbox")
    assert [row["state"] for row in found] == ["done"]
    for daemon in daemons:
        assert await daemon.stop() == 0


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [20261122, FRESH_SEED], ids=["fixed", "fresh"])
async def test_five_hundred_pushes_with_lost_answers_and_kills_are_each_applied_once(
    seed: int, tmp_path: Path, database: str, rows: Rows, written
):
    await survives(500, 50, seed, tmp_path, database, rows, written)
