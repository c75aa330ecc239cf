"""Secrets at rest: sealed, bound to their row, replaced only knowingly."""

from __future__ import annotations

import asyncio
import base64
import copy
import os
import pickle
import stat
import subprocess
from pathlib import Path

import pytest

from syncd.errors import OwnershipError, StoreError
from syncd.store import KeyRing, SealError, Store, new_key_line
from syncd.store.sealing import HOW_TO_MAKE_A_KEY

from .parts import at

SECRET = {"access_token": "very-secret-token", "refresh_token": "other-secret"}
A, B = bytes(range(32)), bytes(range(32, 64))


async def test_what_was_put_comes_back_and_the_database_never_saw_it(store: Store):
    stored = await store.credentials.put("acme", "oauth2", SECRET, expires_at=at(60), replaces=None)
    assert (stored.version, stored.expires_at) == (1, at(60))
    assert await store.credentials.get("acme", "oauth2") == stored
    assert await store.credentials.get("acme", "other") is None
    dump = await store._database.fetchval(
        "SELECT encode(ciphertext, 'escape') || credentials::text FROM syncd.credentials"
    )
    assert "secret" not in dump
    assert "secret" not in repr(stored)


@pytest.mark.parametrize(("kind", "value", "refreshes"), [
    ("oauth2_refresh", SECRET, True),
    ("oauth2_refresh", {"access_token": "t"}, False),
    ("oauth2_client", SECRET, None),
])  # fmt: skip
async def test_what_may_be_shown_of_a_token_has_whether_a_refresh_token_lies_with_it(
    store: Store, kind: str, value: dict[str, str], refreshes: bool | None
):
    await store.credentials.put("acme", kind, value, expires_at=None, replaces=None)
    [note] = await store.credentials.list()
    assert note.refreshes is refreshes


async def test_a_version_is_replaced_only_by_who_has_seen_it(store: Store):
    put = store.credentials.put
    await put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
    with pytest.raises(OwnershipError):
        await put("acme", "oauth2", {"a": "b"}, expires_at=None, replaces=None)
    assert (await put("acme", "oauth2", {"a": "c"}, expires_at=None, replaces=1)).version == 2
    with pytest.raises(OwnershipError):
        await put("acme", "oauth2", {"a": "d"}, expires_at=None, replaces=1)
    with pytest.raises(OwnershipError):
        await put("acme", "new", {"a": "d"}, expires_at=None, replaces=1)
    found = await store.credentials.get("acme", "oauth2")
    assert found is not None
    assert found.value == {"a": "c"}


@pytest.mark.parametrize(
    "change", ["integration = 'evil'", "kind = 'other'", "key_id = 'b'", "ciphertext = ciphertext || '\\x00'"]
)
async def test_a_row_that_was_moved_or_changed_does_not_open(database: str, change: str):
    ring = KeyRing({"a": A, "b": A})
    async with await Store.open(database, clock=(await _clock()), key_ring=ring, pool_size=1) as store:
        await store.credentials.put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
        await store._database.execute(f"UPDATE syncd.credentials SET {change}")
        [note] = await store.credentials.list()
        with pytest.raises(SealError, match="does not open") as caught:
            await store.credentials.get(note.integration, note.kind)
        assert "secret" not in str(caught.value)


async def _clock():
    from syncd.clock import SystemClock

    return SystemClock()


async def test_keys_rotate_without_losing_anything(database: str):
    clock = await _clock()
    async with await Store.open(database, clock=clock, key_ring=KeyRing({"a": A}), pool_size=1) as old:
        await old.credentials.put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
        await old.credentials.put("acme", "other", SECRET, expires_at=None, replaces=None)
    async with await Store.open(database, clock=clock, key_ring=KeyRing({"b": B, "a": A}), pool_size=1) as both:
        assert await both.credentials.reseal() == 2
        assert await both.credentials.reseal() == 0
    async with await Store.open(database, clock=clock, key_ring=KeyRing({"b": B}), pool_size=1) as new:
        found = await new.credentials.get("acme", "oauth2")
        assert found is not None
        assert (found.value, found.version) == (SECRET, 1)
        assert {each.key_id for each in await new.credentials.list("acme")} == {"b"}
    async with await Store.open(database, clock=clock, key_ring=KeyRing({"a": A}), pool_size=1) as late:
        with pytest.raises(SealError, match="key b"):
            await late.credentials.get("acme", "oauth2")


async def test_without_a_key_nothing_is_stored_and_the_error_says_what_to_do(database: str):
    async with await Store.open(database, clock=await _clock(), pool_size=1) as store:
        with pytest.raises(StoreError) as caught:
            await store.credentials.put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
        assert "secrets.key" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_a_key_that_root_makes_belongs_to_whoever_the_directory_belongs_to(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 4711, 4712)
    KeyRing.load_or_create(state / "syncd.key")
    made = (state / "syncd.key").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (4711, 4712, 0o600)


async def test_without_a_key_already_the_question_for_a_token_fails_so_that_none_is_asked_for(database: str):
    async with await Store.open(database, clock=await _clock(), pool_size=1) as store:
        with pytest.raises(SealError, match="no key to seal"):
            await store.credentials.get("acme", "oauth2")


def test_the_key_that_the_hints_make_is_a_good_one(tmp_path):
    command = HOW_TO_MAKE_A_KEY.removeprefix("this makes a key: ").replace("FILE", str(tmp_path / "key"))
    subprocess.run(["sh", "-c", command], check=True)
    assert KeyRing.load_or_create(tmp_path / "key").ids == ("k1",)


async def test_a_credential_can_be_removed(store: Store):
    await store.credentials.put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
    assert await store.credentials.remove("acme", "oauth2")
    assert not await store.credentials.remove("acme", "oauth2")


def test_a_key_ring_is_read_from_lines():
    text = f"# keys\nnew:{base64.b64encode(B).decode()}\n\nold:{base64.b64encode(A).decode()}\n"
    ring = KeyRing.parse(text)
    assert (ring.ids, ring.current) == (("new", "old"), "new")
    assert KeyRing.parse(new_key_line()).current.startswith("k")


@pytest.mark.parametrize(
    "text", ["", "nonsense", "a:short", f"a:{base64.b64encode(A).decode()[:-4]}!!!!", ":" + "A" * 44]
)
def test_an_unusable_key_file_is_refused_without_showing_it(text: str):
    with pytest.raises(StoreError) as caught:
        KeyRing.parse(text)
    assert "AAAA" not in str(caught.value)


def test_a_key_ring_shows_and_gives_away_nothing():
    ring = KeyRing({"a": A})
    assert repr(ring) == "KeyRing(a)"
    with pytest.raises(TypeError):
        pickle.dumps(ring)
    with pytest.raises(TypeError):
        copy.copy(ring)
    with pytest.raises(StoreError):
        KeyRing({"a": A}, current="b")


def test_the_embedded_key_is_made_once_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "syncd.key"
    ring = KeyRing.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.load_or_create(path).ids == ring.ids
    path.chmod(0o640)
    with pytest.raises(StoreError) as caught:
        KeyRing.load_or_create(path)
    assert caught.value.hint == f"chmod 600 {path}"


async def test_whoever_judges_deliveries_hears_of_a_changed_webhook_secret_and_of_nothing_else(store: Store):
    heard: list[str] = []
    await store.listen("syncd_receivers", heard.append)

    async def hears(expected: list[str]) -> None:
        async with asyncio.timeout(20):
            while [each for each in heard if each] != expected:
                await asyncio.sleep(0.01)

    await store.credentials.put("acme", "oauth2", SECRET, expires_at=None, replaces=None)
    first = await store.credentials.put("acme", "webhook", {"s1": "whsec"}, expires_at=None, replaces=None)
    await hears(["acme"])
    await store.credentials.put("acme", "webhook", {"s2": "whsec"}, expires_at=None, replaces=first.version)
    await store.credentials.put("other", "webhook", {"s3": "whsec"}, expires_at=None, replaces=None)
    assert await store.credentials.remove("acme", "oauth2")
    assert await store.credentials.remove("acme", "webhook")
    await hears(["acme", "acme", "other", "acme"])
