"""What a partner erased: its old values go in the transaction that stores the record without them, and nothing else goes."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.model import History
from syncd.store import NewDeadLetter, NewPush, Reject, Row, Store

from .parts import Desk, at, row, told


def guest(name: str = "", *, fetched: float, erased: tuple[str, ...] = (), external_id: str = "g", **more: Any) -> Row:
    data = {"name": name or None, "mail": f"{name}@post.example" if name else None, "status": "here"}
    return row(external_id, data, fetched=fetched, erased=erased, **more)


GONE = ("name", "mail")


async def every_word(store: Store) -> str:
    """All that stands in the tables, as text."""
    found = []
    for table in ("records", "changes", "inbox", "dead_letters", "outbox", "rejects", "media", "adapter_trials"):
        found.append(
            await store._database.fetchval(
                f"SELECT coalesce(string_agg(to_jsonb(t)::text, ' '), '') FROM syncd.{table} t"
            )
        )
    bodies = await store._database.fetch("SELECT body FROM syncd.inbox WHERE body IS NOT NULL")
    raws = await store._database.fetch("SELECT raw FROM syncd.rejects")
    return " ".join(found) + " ".join(bytes(one[0]).decode() for one in [*bodies, *raws])


async def test_the_old_values_of_what_was_erased_are_gone_and_a_reader_is_told(desk: Desk):
    store = desk.store
    await desk.put(guest("Ada", fetched=0), history=History.FULL)
    await desk.put(guest("Bea", fetched=1), guest("Ben", fetched=1, external_id="other"), history=History.FULL)
    before = await told(store)
    await desk.put(guest(fetched=2, erased=GONE), history=History.FULL)
    words = await every_word(store)
    assert "Ada" not in words
    assert "Bea" not in words
    assert "Ben" in words
    after = await told(store)
    assert [one.id for one in after[: len(before)]] == [one.id for one in before], (
        "whoever reads on goes on where it was"
    )
    mine = [one for one in after if one.external_id == "g"]
    assert all(one.cause.startswith("erased: ") for one in mine)
    whole = next(one for one in mine if one.kind == "insert")
    assert whole.new == {"status": "here"}
    last = {one.field: (one.old, one.new) for one in mine if one.row_version == 3}
    assert last == {"name": (None, None), "mail": (None, None)}
    assert not any(one.cause.startswith("erased") for one in after if one.external_id == "other")


async def test_whatever_else_was_kept_of_it_goes_too_and_what_is_another_records_stays(desk: Desk):
    store, sql = desk.store, desk.store._database.execute
    await desk.put(guest("Ada", fetched=0), guest("Ben", fetched=0, external_id="other"))
    for event, external_id, state in (("e1", "g", "done"), ("e2", "other", "done"), ("e3", "g", "waiting")):
        await sql(
            "INSERT INTO syncd.inbox (integration, event_id, received_at, state, body, resource, external_id) "
            "VALUES ('acme', $1, now(), $2, $3, 'things', $4)",
            event,
            state,
            f"{event} of Ada".encode(),
            external_id,
        )
    said = {"method": "PUT", "body": "Ada's", "headers": {"x": "Ada"}}
    letter = NewDeadLetter(
        "acme", "task", "RejectedError", "422: no", "422", resource="things", external_id="g", request=said,
        response={"status": 422, "body": "Ada?"}, traceback="Ada", payload={"kind": "fetch"},
    )  # fmt: skip
    await store.dead_letters.bury(letter)
    number, _ = await store.outbox.put(NewPush("acme", "things", "upsert", {"name": "Ada"}, "g"))
    await sql("UPDATE syncd.outbox SET state = 'done' WHERE id = $1", number)
    await desk.put(rejects=[Reject(b'{"name": "Ada"}', "no", "g")])
    await sql(
        "INSERT INTO syncd.media (integration, resource, external_id, place, url, sha256, bytes, content_type, fetched_at) "
        "VALUES ('acme', 'things', 'g', 0, 'https://x.example/Ada', '00', 1, 'image/png', now())"
    )
    await sql(
        "INSERT INTO syncd.adapter_trials (integration, resource, adapter, against, examples, since, last_at) "
        """VALUES ('acme', 'things', 'v2', 'v1', '[{"id": "g", "name": "Ada"}]', now(), now())"""
    )
    await desk.put(guest(fetched=2, erased=GONE))
    bodies = await store._database.fetch("SELECT event_id, body FROM syncd.inbox ORDER BY event_id")
    assert [tuple(one) for one in bodies] == [("e1", None), ("e2", b"e2 of Ada"), ("e3", b"e3 of Ada")]
    [kept] = await store.dead_letters.list("acme")
    assert kept.request == {"method": "PUT", "erased": True}
    assert (kept.response, kept.traceback, kept.payload) == ({"status": 422}, None, {"kind": "fetch"})
    await sql("DELETE FROM syncd.inbox")
    assert "Ada" not in await every_word(store)


@pytest.mark.parametrize("earlier", ["stale", "refused"])
async def test_a_version_that_is_not_stored_erases_nothing(desk: Desk, earlier: str):
    await desk.put(guest("Ada", fetched=5, updated=5))
    await desk.put(guest("Bea", fetched=6, updated=6))
    gone = guest(fetched=4, updated=4, erased=GONE)
    await desk.put(gone if earlier == "stale" else gone._replace(fetched_at=at(9), data_json=b'{"name": "\\u0000"}'))
    assert [one.old for one in await told(desk.store) if one.field == "name"] == ["Ada"]


async def test_what_is_empty_and_never_was_anything_else_is_left_alone(desk: Desk):
    await desk.put(guest(fetched=0))
    await desk.put(
        guest(fetched=1)._replace(data_json=b'{"name": null, "mail": null, "status": "left"}', content_hash=b"1")
    )
    again = guest(fetched=2, erased=GONE)._replace(data_json=b'{"name": null, "mail": null}', content_hash=b"2")
    await desk.put(again)
    changes = await told(desk.store)
    assert [(one.field, one.old, one.cause) for one in changes] == [
        ("status", "here", "test"),
        ("status", "left", "test"),
    ]


async def test_a_listing_erases_as_a_single_read_does_also_where_the_record_comes_twice(desk: Desk):
    await desk.begin()
    await desk.commit(guest("Ada", fetched=0))
    await desk.commit(guest("Bea", fetched=1), guest(fetched=2, erased=GONE), last=True, seen_ids=["g"])
    words = await every_word(desk.store)
    assert "Ada" not in words
    assert "Bea" not in words
    assert await desk.data("g") == {"name": None, "mail": None, "status": "here"}


async def test_a_transaction_that_fails_erases_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from syncd.store import erasing

    await desk.put(guest("Ada", fetched=0))
    await desk.put(guest("Bea", fetched=1))
    monkeypatch.setitem(erasing._BESIDE, "files", "SELECT 1 / (length($1::text) - 4), $2::text[], $3::text[]")
    with pytest.raises(Exception, match="division"):
        await desk.put(guest(fetched=2, erased=GONE))
    assert (await desk.data("g") or {})["name"] == "Bea"
    assert [one.old for one in await told(desk.store) if one.field == "name"] == ["Ada"]


async def test_a_page_of_which_nothing_is_to_be_forgotten_asks_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    from syncd.store import erasing

    monkeypatch.setattr(erasing, "_LEFT", "SELECT 1 / 0")
    monkeypatch.setattr(erasing, "_CHANGES", "SELECT 1 / 0")
    await desk.begin()
    await desk.commit(guest("Ada", fetched=0))
    await desk.commit(guest("Bea", fetched=1), guest("Cy", fetched=2), last=True, seen_ids=["g"])
    await desk.store.pages.commit_read(desk.page(guest(fetched=3), run_id=None, seen_ids=None))
    assert await desk.data("g") == {"name": None, "mail": None, "status": "here"}
