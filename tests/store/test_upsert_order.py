"""R7 as a law: whatever order versions arrive in, however often, the same one is left."""

from __future__ import annotations

import asyncio
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.clock import SystemClock
from syncd.model import History
from syncd.store import Row, Store

from .parts import Desk, row

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
NUMBERS = count()


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[dict[str, int], dict[str, float], bool]]:
    """Versions of one record as the partner made them: content, stamps, deleted or not. Contents repeat (A, B, A)."""
    kind = draw(st.sampled_from(["version", "updated", "version and updated", "fetched"]))
    made = []
    for number in range(draw(st.integers(1, 5))):
        content = {"x": number if kind == "fetched" else draw(st.integers(0, 2))}
        stamps: dict[str, float] = {"fetched": number if kind == "fetched" else draw(st.integers(0, 6))}
        if "version" in kind:
            stamps["version"] = number
        if "updated" in kind:
            stamps["updated"] = number
        made.append((content, stamps, draw(st.integers(0, 4)) == 0))
    return made


def build(name: str, version: tuple[dict[str, int], dict[str, float], bool]) -> Row:
    content, stamps, deleted = version
    return row(name, content, deleted=deleted, **stamps)  # type: ignore[arg-type]


@given(data=st.data(), versions=histories())
@SETTINGS
async def test_any_order_and_any_repetition_end_in_the_same_row(desk: Desk, data: st.DataObject, versions):
    """Each delivery is a version of the record, some more than once, in pages of any size."""
    straight, mixed = f"straight{next(NUMBERS)}", f"mixed{next(NUMBERS)}"
    for version in versions:
        await desk.put(build(straight, version), history=History.FULL)
    order = data.draw(
        st.permutations([*range(len(versions)), *data.draw(st.lists(st.sampled_from(range(len(versions)))))])
    )
    deliveries = [build(mixed, versions[number]) for number in order]
    while deliveries:
        size = data.draw(st.integers(1, len(deliveries)))
        page, deliveries = deliveries[:size], deliveries[size:]
        await desk.put(*page, history=History.FULL)

    expected = await desk.store.records.get("acme", "things", straight)
    found = await desk.store.records.get("acme", "things", mixed)
    assert expected is not None
    assert found is not None
    assert (found.deleted_at is None) == (expected.deleted_at is None) == (not versions[-1][2])
    assert (found.source_version, found.source_updated_at) == (expected.source_version, expected.source_updated_at)
    if found.deleted_at is None:
        assert found.data == expected.data == versions[-1][0]
        assert found.content_hash == build(mixed, versions[-1]).content_hash
    await the_log_tells_the_same_story(desk, mixed)


async def the_log_tells_the_same_story(desk: Desk, name: str) -> None:
    """Replaying the changes of a record gives the record."""
    stored = await desk.store.records.get("acme", "things", name)
    assert stored is not None
    replayed: dict[str, object] | None = None
    for change in reversed(await desk.store.changes.of_record("acme", "things", name, limit=1000)):
        if change.kind == "insert":
            replayed = dict(change.new)
        elif change.kind == "delete":
            assert replayed == change.old
            replayed = None
        else:
            assert replayed is not None
            assert replayed.get(change.field) == change.old
            replayed[change.field] = change.new
            if change.new is None:
                del replayed[change.field]
    assert replayed == (None if stored.deleted_at is not None else stored.data)


@st.composite
def readings(draw: st.DrawFn) -> tuple[bool, list[Row]]:
    """What requests found one after the other, by our clock; who is not found has no stamp of its end.

    The stamps are the record's own, or what answers showed of the partner's clock: off by up to two seconds.
    """
    observed = draw(st.booleans())
    found = []
    for number in range(draw(st.integers(1, 5))):
        if draw(st.integers(0, 2)) == 0:
            found.append(row("r", {}, fetched=number, deleted=True, cause="task"))
        else:
            stamp = number - draw(st.floats(0, 2)) if observed else number
            found.append(
                row("r", {"x": number}, fetched=number, updated=stamp, observed=observed, cause="run 1 page 1")
            )
    return observed, found


@given(data=st.data(), read=readings())
@SETTINGS
async def test_of_requests_the_last_one_knows_best_in_whatever_order_their_answers_are_stored(
    desk: Desk, data: st.DataObject, read: tuple[bool, list[Row]]
):
    name, found = f"read{next(NUMBERS)}", read[1]
    order = data.draw(st.permutations([*range(len(found)), *data.draw(st.lists(st.integers(0, len(found) - 1)))]))
    for number in order:
        await desk.put(found[number]._replace(external_id=name), history=History.FULL)
    assert await desk.data(name) == (None if found[-1].deleted else {"x": len(found) - 1})
    await the_log_tells_the_same_story(desk, name)


async def test_many_writers_at_once_neither_deadlock_nor_lose(database: str):
    """Six connections write shuffled pages of the same forty records, new and known ones mixed."""
    clock = SystemClock()
    stores = [await Store.open(database, clock=clock, pool_size=2, migrate=False) for _ in range(6)]
    names = [f"r{number}" for number in range(40)]
    fence = await stores[0].leases.acquire("acme", "test:1", 600)
    assert fence is not None
    top = dict.fromkeys(names, 0)

    async def write(number: int, store: Store) -> None:
        desk = Desk(store, fence)
        for turn in range(8):
            rows = []
            for name in names:
                if (hash((number, turn, name)) % 3) == 0:
                    continue
                version = 1 + (turn * 7 + number * 3 + len(name) * 5) % 50
                top[name] = max(top[name], version)
                rows.append(row(name, {"x": version}, version=version))
            rows.sort(key=lambda each: hash((number, turn, each.external_id)))
            await desk.put(*rows)

    await asyncio.gather(*(write(number, store) for number, store in enumerate(stores)))
    desk = Desk(stores[0], fence)
    for name in names:
        assert await desk.data(name) == {"x": top[name]}
    retried = await stores[0]._database.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert retried == 0
    for store in stores:
        await store.aclose()


async def test_two_first_sights_of_one_record_at_the_same_moment_keep_the_newer(database: str):
    stores = [await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False) for _ in range(2)]
    fence = await stores[0].leases.acquire("acme", "test:1", 600)
    assert fence is not None
    for attempt in range(20):
        await asyncio.gather(
            *(
                Desk(store, fence).put(row(f"a{attempt}", {"x": number}, version=number))
                for number, store in enumerate(stores)
            )
        )
        assert await Desk(stores[0], fence).data(f"a{attempt}") == {"x": 1}
    for store in stores:
        await store.aclose()
