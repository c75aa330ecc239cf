"""Letters found among any number of others: what does not ask for all of them does not read all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncd.store import Selection, Store

from .looking import FEW, WAITING, rows_read

FILL = (
    "INSERT INTO syncd.dead_letters (integration, origin, origin_id, resource, error_class, message, fingerprint, buried_at) "
    "SELECT 'acme', 'inbox', g::text, 'things', 'RejectedError', '422: no', "
    "CASE WHEN g % 1000 = 0 THEN 'rare' ELSE 'f' || g % 50 END, "
    "now() - interval '1 hour' FROM generate_series(1, $1::integer) g"
)
RARE = WAITING // 1000


async def test_letters_of_a_rare_cause_are_listed_without_reading_the_others(store: Store, database: str):
    await store._database.execute(FILL, WAITING)

    async def look(other: Store) -> None:
        assert len(await other.dead_letters.list(fingerprint="rare")) == RARE
        assert len(await other.dead_letters.list("acme", fingerprint="rare", resource="things")) == RARE
        found = await other.dead_letters.of_origin("acme", "inbox", "17")
        assert found is not None and found.fingerprint == "f17"
        assert await other.dead_letters.of_origin("acme", "inbox", "none") is None

    assert await rows_read(database, "dead_letters", look) < FEW


async def test_letters_of_a_rare_cause_are_replayed_without_reading_the_others(store: Store, database: str):
    await store._database.execute(FILL, WAITING)
    rare = Selection(cause=("acme", "things", "rare"))

    async def look(other: Store) -> None:
        [group] = await other.replays.groups(rare)
        assert group.count == RARE
        [(_, replay)] = await other.replays.begin(rare, who="ann")
        assert await other.replays.cancel(rare, who="ann") == [("acme", replay, RARE)]

    assert await rows_read(database, "dead_letters", look) < FEW
    assert await store.dead_letters.discard(rare, by="ann", reason="") == RARE


async def test_each_letter_is_read_once_however_many_batches_it_takes_to_be_rid_of_all(
    store: Store, database: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("syncd.store.dead_letters.BATCH", 100)
    await store._database.execute(FILL, WAITING)
    await store._database.execute("UPDATE syncd.dead_letters SET buried_at = now() WHERE id % 4 = 0")
    before = store._database.clock.now() - timedelta(minutes=1)

    async def look(other: Store) -> None:
        assert (
            await other.dead_letters.discard(Selection("acme", until=before), by="ann", reason="") == WAITING * 3 // 4
        )
        assert await other.dead_letters.purge(before, integration="acme") == 0

    # Each is found, settled, and looked at once more for what may be removed.
    assert await rows_read(database, "dead_letters", look) < 5 * WAITING
