"""What `syncd doctor` sees of a database: with the whole schema, without one, and under a role that may do little."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.store import Store
from syncd.store.inspection import inspect

ROLE = "syncd_doctor_of_tests"


async def test_a_sound_database_is_seen_whole(store: Store, database: str) -> None:
    await store.audit.add("ops", "verified", integration="plant", after={"ok": False})
    await store.audit.add("ops", "verified", integration="plant", after={"ok": True})
    found = await inspect(database, SystemClock())
    assert found.schema_there and found.owns_schema and found.can_create
    assert found.temp and found.listen and found.advisory and found.inbox_unique
    assert not found.read_only
    assert found.isolation == "read committed"
    assert abs(found.skew_seconds) < 5
    assert found.verified["plant"][1] is True
    assert 0 < found.used_connections <= found.max_connections
    assert found.version >= 130_000


async def test_one_without_a_schema_says_so(empty_database: str) -> None:
    found = await inspect(empty_database, SystemClock())
    assert (found.schema_there, found.owns_schema, found.inbox_unique) == (False, False, False)
    assert found.verified == {}


async def test_a_role_that_may_do_little_is_seen_as_that(database: str) -> None:
    """Another's schema, no schema of its own, no temporary tables."""
    owner = await asyncpg.connect(database)
    name = urlsplit(database).path.lstrip("/")
    try:
        if not await owner.fetchval("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"):
            pytest.skip("the tests' role may make no other one")
        await owner.execute(f"DROP ROLE IF EXISTS {ROLE}")
        await owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'doctor'")
        await owner.execute(f"REVOKE TEMP ON DATABASE {name} FROM PUBLIC")
        parts = urlsplit(database)
        host = parts.netloc.rpartition("@")[2]
        try:
            found = await inspect(urlunsplit(parts._replace(netloc=f"{ROLE}:doctor@{host}")), SystemClock())
        finally:
            await owner.execute(f"GRANT TEMP ON DATABASE {name} TO PUBLIC")
            await owner.execute(f"DROP ROLE {ROLE}")
    finally:
        await owner.close()
    assert found.schema_there
    assert (found.owns_schema, found.can_create, found.temp) == (False, False, False)
    assert found.listen


async def test_tables_of_another_role_are_told_though_the_schema_is_ours(database: str) -> None:
    """A restore by another role leaves them so: nothing can be written, and the schema looks sound."""
    owner = await asyncpg.connect(database)
    try:
        if not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
            pytest.skip("the tests' role may give nothing away")
        assert (await inspect(database, SystemClock())).barred == ()
        await owner.execute(f"DROP ROLE IF EXISTS {ROLE}")
        await owner.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'doctor'")
        us = await owner.fetchval("SELECT current_user")
        await owner.execute(f"ALTER SCHEMA syncd OWNER TO {ROLE}")
        parts = urlsplit(database)
        host = parts.netloc.rpartition("@")[2]
        try:
            found = await inspect(urlunsplit(parts._replace(netloc=f"{ROLE}:doctor@{host}")), SystemClock())
        finally:
            await owner.execute(f'ALTER SCHEMA syncd OWNER TO "{us}"')
            await owner.execute(f"DROP ROLE {ROLE}")
    finally:
        await owner.close()
    assert found.owns_schema
    assert {"inbox", "checkpoints"} <= set(found.barred)


async def test_one_that_is_away_is_an_error_of_ours() -> None:
    with pytest.raises(StoreError) as raised:
        await inspect("postgresql://127.0.0.1:9/nothing", SystemClock())
    assert raised.value.hint.startswith("pg_isready")
