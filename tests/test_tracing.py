"""What became of deliveries: values hidden, our names, ranges put back in portions; and rehearsals of an account."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import yaml

from syncd import drivers
from syncd.clock import SystemClock
from syncd.codec import dumps
from syncd.config import Config, load
from syncd.errors import ConfigError, StoreError
from syncd.receivers import Receivers
from syncd.rehearsal import Stage
from syncd.secrets import Vault
from syncd.store import Store
from syncd.store.received import Which
from syncd.tracing import MOST_AT_ONCE, Tracing

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SECRET = "whsec_c3ludGhldGljLWd1ZXN0eS13ZWJob29rLWtleS0zMmI="
OBJECT = "6d2a0c11-7f05-4b0e-9b55-0d6c8a2f1e37"
PERSON = "2c3d4e5f-6071-4283-a4b5-c6d7e8f90a1b"


def partner(driver: str, name: str, credentials: dict[str, str], **more: Any) -> dict[str, Any]:
    integration = {"credentials": credentials, "webhook": {"secrets": [SECRET]}}
    return {"driver": driver, "integrations": {name: integration}, **more}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "partners").mkdir()
    (tmp_path / "syncd.yaml").write_text("{}")
    files = {
        "guesty": partner("guesty", "stay", {"client_id": "a", "client_secret": "b"}),
        "attio": partner("attio", "crm", {"token": "c"}, base_url="http://127.0.0.1:9/v2"),
        "stripe": {"driver": "stripe", "integrations": {"shop": {"credentials": {"api_key": "sk_test_1"}}}},
        "airbnb": partner("airbnb", "host", {"client_id": "a", "client_secret": "b", "refresh_token": "d"},
                          options={"host_id": 5}),
    }  # fmt: skip
    for name, body in files.items():
        (tmp_path / "partners" / f"{name}.yaml").write_text(yaml.safe_dump(body))
    return load(tmp_path, drivers=drivers.facts(), env={}).require()


@pytest.fixture
async def tables(database: str):
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def came(
    tables: asyncpg.Connection,
    event_id: str,
    body: bytes | None,
    *,
    integration: str = "stay",
    state: str = "done",
    at: datetime = NOW,
) -> int:
    made: int = await tables.fetchval(
        "INSERT INTO syncd.inbox (integration, event_id, event_type, headers, body, state, received_at, finished_at) "
        "VALUES ($1, $2, 'listing.updated', $3::jsonb, $4, $5, $6, $7) RETURNING id",
        integration, event_id, json.dumps({"svix-id": event_id}), body, state, at,
        at + timedelta(seconds=2) if state != "waiting" else None,
    )  # fmt: skip
    return made


async def stored(tables: asyncpg.Connection, integration: str, resource: str, external_id: str, raw: Any) -> None:
    await tables.execute(
        "INSERT INTO syncd.records (integration, resource, external_id, data, raw, content_hash, fetched_at, synced_at, "
        "row_version, adapter, cause) VALUES ($1, $2, $3, '{}', $4::jsonb, '', $5, $5, 4, 'v1', 'run 1')",
        integration, resource, external_id, orjson.dumps(raw).decode(), NOW,
    )  # fmt: skip


def tracing(config: Config, store: Store | None) -> Tracing:
    return Tracing(lambda: config, lambda: store)


async def stage(config: Config, store: Store, tmp_path: Path) -> Stage:
    vault = Vault(tmp_path, {})
    receivers = Receivers(vault, lambda: store)
    receivers.load(config)
    return Stage(lambda: config, lambda: store, lambda: receivers.current, vault, SystemClock())


async def test_values_are_hidden_but_for_the_ids_and_the_type(config: Config, store: Store, tables):
    body = dumps({"event": "listing.updated", "listing": {"_id": "L1", "nickname": "Anna's place", "rooms": [1, None]}})
    number = await came(tables, "msg_1", body)
    await stored(tables, "stay", "listings", "L1", {})
    for name in (str(number), "msg_1"):
        found = await tracing(config, store).delivery("stay", name)
        assert found is not None
        assert json.loads(found["body"]) == {
            "event": "listing.updated", "listing": {"_id": "L1", "nickname": "•••", "rooms": ["•••", None]},
        }  # fmt: skip
        whole = await tracing(config, store).delivery("stay", name, body=True)
        assert whole is not None
        assert json.loads(whole["body"]) == json.loads(body)
        (event,) = found["events"]
        assert (event["resource"], event["id"], event["record"]["row_version"]) == ("listings", "L1", 4)
        assert found["seconds"] == 2.0
    assert await tracing(config, store).delivery("stay", "msg_2") is None
    assert await tracing(config, store).delivery("stay", "9" * 30) is None


@pytest.mark.parametrize("body", [b"\xff\xfe", b"", b"[" * 5000, None], ids=["bytes", "empty", "deep", "gone"])
async def test_what_cannot_be_read_is_shown_all_the_same(config: Config, store: Store, tables, body: bytes | None):
    number = await came(tables, "msg_1", body, state="buried")
    found = await tracing(config, store).delivery("stay", str(number))
    assert found is not None
    assert found["unread"]
    assert found["events"] == []
    assert (found["body"] is None) is (body is None)


async def test_an_integration_that_is_gone_from_the_files_still_shows_its_deliveries(
    config: Config, store: Store, tables
):
    await came(tables, "msg_1", b"{}", integration="former")
    found = await tracing(config, store).delivery("former", "msg_1")
    assert found is not None
    assert "no longer configured" in found["unread"]


async def test_a_known_secret_in_a_body_is_never_shown(config: Config, store: Store, tables, tmp_path: Path):
    Vault(tmp_path, {"K": "a-secret-that-came-back"}).resolve(_ref({"env": "K"}))
    await came(tables, "msg_1", b'{"token": "a-secret-that-came-back"}')
    found = await tracing(config, store).delivery("stay", "msg_1", body=True)
    assert "a-secret-that-came-back" not in str(found)


def _ref(said: dict[str, str]) -> Any:
    from syncd.secrets import Ref

    return Ref.model_validate(said)


async def test_a_range_is_put_back_in_portions_each_once_and_only_what_is_finished(
    config: Config, store: Store, tables
):
    many = MOST_AT_ONCE + 30
    for number in range(many):
        await came(tables, f"msg_{number}", b"{}", at=NOW + timedelta(seconds=number))
    await came(tables, "waiting", b"{}", state="waiting")
    await came(tables, "bare", None)
    await came(tables, "other", b"{}", integration="shop")
    found = tracing(config, store)
    assert (await found.count("stay", Which(since=NOW)))[0] == many
    assert await found.count("stay", Which(since=NOW, until=NOW + timedelta(seconds=10))) == (10, 10)
    assert await found.count("stay", Which(state="buried")) == (0, 0)
    assert await found.count("stay", Which(event_type="listing.updated")) == (many, many)
    assert await found.count("stay", Which(event_type="listing.new")) == (0, 0)
    assert await found.replay_range("stay", Which(event_type="listing.new"), who="ann") == 0
    assert await found.replay_range("stay", Which(since=NOW + timedelta(seconds=5)), who="ann") == many - 5
    left = await tables.fetch(
        "SELECT event_id, state FROM syncd.inbox WHERE integration = 'stay' AND state <> 'waiting'"
    )
    assert {row["event_id"] for row in left} == {*(f"msg_{number}" for number in range(5)), "bare"}
    assert await found.replay_range("stay", Which(since=NOW + timedelta(seconds=5)), who="ann") == 0
    (entry,) = await store.audit.list("stay")
    assert (entry.actor, entry.action, entry.after["deliveries"]) == ("ann", "webhooks_replayed", many - 5)  # type: ignore[index]


async def test_before_the_database_is_reached_it_is_said(config: Config):
    with pytest.raises(StoreError, match="not been reached"):
        await tracing(config, None).latest()


async def test_a_rehearsal_tells_of_a_stored_record_and_what_version_it_is(
    config: Config, store: Store, tables, tmp_path: Path
):
    await stored(tables, "stay", "listings", "64f0c0ffee0000000000b777", {})
    staged = await stage(config, store, tmp_path)
    made = await staged.rehearse("stay", "listing.updated", who="ann")
    (entry,) = await store.audit.list("stay")
    assert (entry.actor, entry.action) == ("ann", "webhook_rehearsed")
    assert SECRET not in str(entry)
    (event,) = made["events"]
    assert (event["id"], event["row_version"]) == ("64f0c0ffee0000000000b777", 4)
    assert made["judged"] == "accepted"
    assert "real account" in made["cautions"][0]
    assert SECRET not in str(made)
    gone = await staged.rehearse("stay", "listing.removed")
    assert gone["events"][0]["id"] != "64f0c0ffee0000000000b777", "what is stored is not buried by default"
    assert any("tombstone" in caution for caution in gone["cautions"])
    for options, judged in [({"forged": True}, "signature"), ({"stale_seconds": 900.0}, "stale")]:
        refused = await staged.rehearse("stay", "listing.removed", **options)  # type: ignore[arg-type]
        assert refused["judged"] == judged
        assert not any("tombstone" in caution for caution in refused["cautions"])


async def test_a_sample_of_another_account_is_told_of_an_object_of_this_one(
    config: Config, store: Store, tables, tmp_path: Path
):
    for other in ("0b1c2d3e-4f50-4162-8394-a5b6c7d8e9f0", OBJECT):
        slug = "people" if other == OBJECT else "workspaces"
        await stored(tables, "crm", "objects", other, {"id": {"object_id": other}, "api_slug": slug})
    await stored(tables, "crm", "people", PERSON, {})
    staged = await stage(config, store, tmp_path)
    made = await staged.rehearse("crm", "record.updated")
    assert [(event["resource"], event["id"]) for event in made["events"]] == [("people", PERSON)]
    assert OBJECT in made["body"]
    assert made["cautions"] == [], "a partner on this machine is no real account"
    await came(tables, "hook_1", made["body"].encode(), integration="crm")
    found = await tracing(config, store).delivery("crm", "hook_1")
    assert found is not None
    assert [(event["resource"], event["id"]) for event in found["events"]] == [("people", PERSON)]


async def test_without_a_secret_nothing_can_be_signed(config: Config, store: Store, tmp_path: Path):
    staged = await stage(config, store, tmp_path)
    with pytest.raises(ConfigError, match="no webhook secret") as refused:
        await staged.rehearse("shop", "customer.updated")
    assert "webhook register shop" in refused.value.hint
    await store.credentials.put("shop", "webhook", {"we_1": "whsec_sealed"}, expires_at=None, replaces=None)
    assert (await staged.rehearse("shop", "customer.updated"))["judged"] == "disabled", "no receiver knows it yet"
    with pytest.raises(ConfigError, match="no integration"):
        await staged.rehearse("nobody", "customer.updated")


@pytest.mark.parametrize(
    "fault",
    [TypeError("list indices must be integers"), KeyError("data"), RecursionError()],
    ids=["type", "key", "deep"],
)
async def test_a_driver_that_fails_over_a_delivery_is_said_and_the_delivery_shown_and_put_back(
    config: Config, store: Store, tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
):
    def events(driver: object, delivery: object) -> list[object]:
        raise fault

    number = await came(tables, "msg_1", b"[]", state="buried")
    rehearsals = await stage(config, store, tmp_path)
    monkeypatch.setattr(type(drivers.load("guesty")), "events", events)
    found = await tracing(config, store).delivery("stay", "msg_1", body=True)
    assert found is not None
    assert (found["id"], found["body"], found["events"]) == (number, "[]", [])
    assert "driver guesty failed" in found["unread"] and type(fault).__name__ in found["unread"]
    assert "no longer configured" not in found["unread"]
    assert await tracing(config, store).replay("stay", [number], who="me") == 1
    with pytest.raises(drivers.DriverFaultError, match=r"guesty failed .* in events, line \d+") as caught:
        await rehearsals.rehearse("stay", "listing.updated")
    assert "mend it" in caught.value.hint


async def test_a_rehearsal_is_of_the_account_of_its_integration(config: Config, store: Store, tmp_path: Path):
    """Not of the sample's, whose deliveries would be dropped. One that is asked for stays, and is told of."""
    desk = await stage(config, store, tmp_path)
    kind = "listing_approval_status_changed"
    made = await desk.rehearse("host", kind, who="ann")
    assert (made["judged"], json.loads(made["body"])["listing_approval_status"]["host_id"]) == ("accepted", 5)
    assert not [said for said in made["cautions"] if "it names account" in said]
    other = await desk.rehearse("host", kind, settings={"listing_approval_status.host_id": 6}, who="ann")
    assert json.loads(other["body"])["listing_approval_status"]["host_id"] == 6
    assert [said for said in other["cautions"] if "it names account 6, and host is of 5" in said]
