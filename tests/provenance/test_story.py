"""Whom a story names: who wrote the values, who only brought a newer stamp, and what keeps a row from being read now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.load import read_config
from syncd.cli.record_shown import open_about, plain, render
from syncd.config import Config
from syncd.provenance import Provenance
from syncd.store import BREAKER_HOLD, PAUSE, Store
from syncd.testing.clock import FakeClock
from tests.store.parts import Desk, at, row

NOON = datetime(2026, 11, 23, 12, 4, tzinfo=UTC)


@pytest.fixture
async def desk(store: Store) -> Desk:
    store.pages._database.clock = FakeClock(at(35))
    return await Desk.open(store)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "partners").mkdir()
    (tmp_path / "syncd.yaml").write_text("database: {url: {env: NOWHERE}}\n")
    (tmp_path / "partners" / "plain.yaml").write_text(
        "driver: rest\nbase_url: https://api.plain.example\nmaintenance: [{cron: '0 12 * * *', for: 1h, reason: they move}]\n"
        "rest:\n  auth: {kind: bearer}\n  test: /me\n  limits: {tiers: [5/s]}\n"
        "  resources: {things: {path: /things, records: items, fields: {name: name}}}\n"
        "integrations: {acme: {credentials: {token: {env: NOTHING}}}}\n"
    )
    read = read_config(tmp_path)
    assert read.config is not None, read
    return read.config


def call(_: str, when: datetime) -> dict[str, Any]:
    return {"method": "GET", "route": "/things", "status": 200, "at": when, "request_id": f"req-{when:%S}"}


async def told(store: Store, config: Config, external_id: str = "a") -> dict[str, Any]:
    return await Provenance(lambda: config, lambda: store, FakeClock(NOON), call=call).story(
        "acme", "things", external_id
    )


async def test_a_newer_stamp_on_the_same_content_is_not_told_as_who_wrote_it(desk: Desk, store: Store, config: Config):
    await desk.put(row("a", {"x": 1}, updated=10, fetched=10), cause="run 6 page 1")
    await desk.put(row("a", {"x": 2}, updated=20, fetched=30), cause="run 7 page 1")
    await desk.put(row("a", {"x": 2}, updated=40, fetched=50), cause="run 8 page 1")
    found = await told(store, config)
    assert (found["written"]["cause"], found["confirmed"]["cause"]) == ("run 7 page 1", "run 8 page 1")
    assert (found["written"]["request"], found["confirmed"]["request"]["request_id"]) == (None, "req-50")
    assert found["written"]["text"] == "run 7, whose row is not kept any more"


async def test_who_wrote_a_first_version_that_was_confirmed_since_is_not_made_up(
    desk: Desk, store: Store, config: Config
):
    await desk.put(row("a", {"x": 1}, updated=10, fetched=30), cause="run 7 page 1")
    assert (await told(store, config))["written"]["cause"] == "run 7 page 1"
    await desk.put(row("a", {"x": 1}, updated=40, fetched=50), cause="run 8 page 1")
    found = await told(store, config)
    assert (found["written"]["kind"], found["confirmed"]["cause"]) == ("unknown", "run 8 page 1")
    assert "who stored it 2024-05-01 12:00:35Z is not kept" in "\n".join(render(found, raw=False))


async def test_all_that_keeps_a_row_from_being_read_is_said(desk: Desk, store: Store, config: Config):
    await desk.put(row("a"))
    store.controls._database.clock = FakeClock(NOON)
    for kind, resource in ((PAUSE, ""), (PAUSE, "others"), (BREAKER_HOLD, "token")):
        until = NOON + timedelta(hours=1)
        await store.controls.set("acme", kind, resource=resource, who="ann", why="x", until=until, action="noted")
    for each in ("a", "nobody"):
        why = {one["code"]: one["text"] for one in (await told(store, config, each))["why"]}
        assert {"paused", "held", "maintenance"} <= set(why)
        assert why["held"] == "calls of acme (token) are held back by ann until 2026-11-23 13:04:00Z: x"
        assert why["maintenance"] == "acme is in maintenance until 2026-11-23 13:00:00Z: they move"


async def test_an_id_is_neither_a_command_nor_a_line_of_its_own(desk: Desk, store: Store, config: Config):
    nasty = "x; $(reboot)\n\x1b[8mwritten by\x1b[0m me"
    found = await told(store, config, nasty)
    assert found["read_it"].startswith("syncd sync acme/things --id 'x; $(reboot)\n")
    assert found["read_it"].endswith(" me'")
    await desk.put(row(nasty), cause="webhook evt\n\x1b[1A")
    shown = "\n".join(render(await told(store, config, nasty), raw=False))
    assert "acme/things x; $(reboot)\\n\\x1b[8mwritten by" in shown
    assert "\x1b" not in shown
    assert "\x1b" not in "\n".join(open_about(plain(found)))
