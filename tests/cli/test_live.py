"""Calls without a daemon: under the lease for as long as they take, given back whatever ends them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.cli.app import App
from syncd.cli.live import alone
from syncd.config import load
from syncd.errors import StoreError
from syncd.sync.ownership import Ownership

PARTNER = """
driver: rest
rest: {base_url: https://api.yard.example, resources: {boats: {path: /boats}}}
integrations: {yard: {}}
"""


@pytest.fixture
def app(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> App:
    (tmp_path / "partners").mkdir()
    (tmp_path / "partners" / "yard.yaml").write_text(PARTNER)
    (tmp_path / "syncd.yaml").write_text(f"database: {{url: {{env: YARD_DB}}}}\nstate_directory: {tmp_path}\n")
    monkeypatch.setenv("YARD_DB", database)
    return App(config=str(tmp_path))


async def test_the_lease_is_kept_up_while_calls_take_longer_than_it_lasts(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ownership.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Ownership.__init__.__kwdefaults__, "ttl_seconds", 1.0)
    config = load(app.config_directory, drivers=None, env={}).require()
    async with alone(app, config, "yard", make=True, do="") as account:
        fence = account.fence
        await asyncio.sleep(1.6)
        assert account.fence == fence
    assert not account.ownership.held


async def test_what_ends_the_calls_is_raised_as_it_is_and_the_next_one_has_the_lease_at_once(app: App) -> None:
    config = load(app.config_directory, drivers=None, env={}).require()
    with pytest.raises(StoreError, match="as it was raised"):
        async with alone(app, config, "yard", make=True, do=""):
            raise StoreError("as it was raised")
    async with alone(app, config, "yard", make=True, do="") as account:
        assert await account.store.leases.acquire("yard/yard", "another:1", 30) is None
        store = account.store
    assert not account.ownership.held
    with pytest.raises(StoreError):
        await store.leases.acquire("yard/yard", "another:1", 30)  # closed with it
