"""`syncd webhook deliveries|show|replay|send` as a person uses them: real daemon, real simulator, real front door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from syncd.cli.root import cli
from syncd.testing.control import Control
from tests.whole.conftest import hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET


@pytest.fixture
async def acme(tmp_path: Path, database: str, rows: Rows, plain) -> AsyncIterator[tuple[Daemon, Control]]:
    """A daemon that has twenty things and polls no more for hours."""
    simulator, control = plain(things=20)
    partner = hooked(simulator.base_url, resources=only("things", every="12h", jitter="0s"))
    async with Daemon(tmp_path, database, {"plain": partner}) as daemon:

        async def here() -> bool:
            return await rows.count("acme", "things") == 20

        await daemon.until(here)
        yield daemon, control


async def syncd(daemon: Daemon, *words: str) -> tuple[int, str, str]:
    """One command in this process, which is a second quicker than one of its own."""

    def run() -> tuple[int, str, str]:
        environment = {"SYNCD_CONFIG": str(daemon.config), "SYNCD_TEST_DB": daemon.database_url}
        done = CliRunner().invoke(cli, words, env=environment)
        return done.exit_code, done.stdout, done.stderr

    return await asyncio.to_thread(run)


async def told(daemon: Daemon, *words: str) -> dict[str, Any]:
    code, out, err = await syncd(daemon, *words, "--json")
    assert code == 0, out + err
    found: dict[str, Any] = json.loads(out)
    return found


async def test_a_sample_is_followed_from_the_door_to_the_row(acme: tuple[Daemon, Control], rows: Rows):
    daemon, control = acme
    thing = (await control.truth_ids("things"))[4]
    await control.update("things", thing, {"name": "Changed at the source"})
    code, out, err = await daemon.cli("webhook", "send", "acme", "thing.updated", "--id", thing)
    assert code == 0, out + err
    print(out)
    names = [line[2:].split()[0] for line in out.splitlines()]
    assert names[:4] == ["made", "answered", "verified", "queued"]
    assert names[-1] == "row"
    assert "202" in out
    assert "row_version 1 → 2" in out
    assert await rows.connection.fetchval("SELECT data->>'name' FROM syncd.records WHERE external_id = $1", thing) == (
        "Changed at the source"
    )
    code, out, err = await daemon.cli("webhook", "send", "acme", "thing.updated")
    assert code == 0, out + err
    assert "unchanged, row_version" in out, "without --id it tells of a record that is stored"
    assert WEBHOOK_SECRET not in out + err + daemon.log()
    assert (await syncd(daemon, "pause", "acme", "--reason", "they move house"))[0] == 0
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.updated", "--id", thing, "--wait", "2s")
    assert code == 1, out + err
    assert "202" in out, "what comes while it is paused is stored"
    assert "is paused by" in err
    assert (await syncd(daemon, "resume", "acme"))[0] == 0

    async def worked_off() -> bool:
        return await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state = 'done'") == 3

    await daemon.until(worked_off)


async def test_each_guard_shows_itself_and_what_it_cannot_mean_is_said(acme: tuple[Daemon, Control], rows: Rows):
    daemon, control = acme
    for words, said in [(("--bad-signature",), "no signature of ours"), (("--stale", "10m"), "too long ago")]:
        code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.updated", *words)
        assert code == 0, out + err
        assert "401" in out
        assert said in out
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox") == 0
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.updated", "--duplicate")
    assert code == 0, out + err
    assert "200" in out
    assert "known already" in out
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox") == 1
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.updated", "--stale", "1m")
    assert code == 1, "a minute is within the tolerance: what was to be refused was accepted"
    assert "tolerance" in out
    await what_writes_by_itself_wants_a_yes(daemon, control, rows)
    await unknown_names_get_a_suggestion(daemon)


async def what_writes_by_itself_wants_a_yes(daemon: Daemon, control: Control, rows: Rows) -> None:
    before = await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox")
    thing = (await control.truth_ids("things"))[0]
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.deleted", "--id", thing)
    assert code == 2, out + err
    assert "tombstone" in err
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox") == before
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.updated", "--id", "nobody")
    assert code == 2, out + err
    assert "no things nobody is stored" in err
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox") == before
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.deleted", "--id", thing, "--dry-run")
    assert code == 0, out + err
    assert thing in out
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.deleted", "--id", thing, "--yes")
    assert code == 0, out + err
    assert "a tombstone" in out


async def unknown_names_get_a_suggestion(daemon: Daemon) -> None:
    code, out, err = await syncd(daemon, "webhook", "send", "acme", "thing.update")
    assert code == 2, out + err
    assert "thing.updated" in err
    code, out, err = await syncd(daemon, "webhook", "send", "acmee", "thing.updated")
    assert code == 2
    assert "acme" in err
    code, out, err = await syncd(daemon, "webhook", "send", "acme")
    assert out.split() == ["thing.created", "thing.deleted", "thing.updated"]
    code, out, err = await syncd(daemon, "webhook", "show", "acme", "17")
    assert code == 2
    assert "no delivery" in err


async def test_deliveries_are_listed_shown_masked_and_worked_on_once_more(acme: tuple[Daemon, Control], rows: Rows):
    daemon, control = acme
    await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
    things = (await control.truth_ids("things"))[:6]
    for thing in things:
        await control.update("things", thing, {"name": "Anna Karenina"})

    async def all_done() -> bool:
        return await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state = 'done'") == 6

    await daemon.until(all_done)
    found = (await told(daemon, "webhook", "deliveries", "acme"))["deliveries"]
    assert {each["record_id"] for each in found} == set(things)
    assert {(each["state"], each["type"], each["resource"]) for each in found} == {("done", "thing.updated", "things")}
    assert await daemon.metric('webhooks_received_total{event_type="thing.updated",partner="plain"}') == 6
    code, out, _ = await syncd(daemon, "webhook", "deliveries")
    assert code == 0
    assert out.count("thing.updated") == 6

    (came,) = (await told(daemon, "webhook", "types", "acme"))["types"]
    assert (came["type"], came["known"], came["count"]) == ("thing.updated", True, 6)
    code, out, _ = await syncd(daemon, "webhook", "types", "--unknown")
    assert (code, out.strip()) == (0, "no events that nothing is done for")
    assert (await told(daemon, "webhook", "deliveries", "acme", "--type", "thing.created"))["deliveries"] == []

    number, event_id, thing = found[0]["id"], found[0]["event_id"], found[0]["record_id"]
    await control.stop_stream()
    by_number = await told(daemon, "webhook", "show", "acme", str(number))
    assert by_number == await told(daemon, "webhook", "show", "acme", event_id)
    body = json.loads(by_number["body"])
    assert body == {"type": "thing.updated", "at": "•••", "thing": {"id": thing}}
    assert by_number["headers"]["webhook-id"] == event_id
    assert "webhook-signature" not in by_number["headers"]
    (event,) = by_number["events"]
    assert event["record"]["row_version"] == 2
    whole = await told(daemon, "webhook", "show", "acme", str(number), "--body")
    assert json.loads(whole["body"])["at"].startswith("20")
    code, out, _ = await syncd(daemon, "webhook", "show", "acme", str(number))
    assert code == 0
    assert "row_version 2" in out
    assert "values hidden" in out

    code, out, err = await syncd(daemon, "webhook", "replay", "acme", "--since", "1h", "--dry-run")
    assert code == 0, err
    assert out.startswith("6 deliveries of acme, about 6 records")
    none = await told(daemon, "webhook", "replay", "acme", "--since", "1h", "--type", "thing.created", "--dry-run")
    assert none["count"] == 0
    code, out, err = await syncd(daemon, "webhook", "replay", "acme", "--since", "1h")
    assert code == 2, "nobody was there to say yes"
    assert "6 deliveries" in err
    code, out, err = await syncd(daemon, "webhook", "replay", "acme", "--until", "1h", "--yes")
    assert code == 0
    assert "no finished delivery" in out
    for words in (["--since", "1h", "--yes"], [str(number), event_id]):
        attempts = await rows.connection.fetchval("SELECT sum(attempts) FROM syncd.inbox")
        code, out, err = await syncd(daemon, "webhook", "replay", "acme", *words)
        assert code == 0, out + err
        again = 6 if "--yes" in words else 1
        assert out.startswith(f"{again} deliver")

        async def worked() -> bool:
            now = await rows.connection.fetchval("SELECT sum(attempts) FROM syncd.inbox WHERE state = 'done'")
            return now is not None and now >= attempts + again  # noqa: B023 - called before the next round

        await daemon.until(worked)
        await daemon.until(all_done)
    versions = await rows.connection.fetch("SELECT row_version FROM syncd.records WHERE external_id = ANY($1)", things)
    assert {row["row_version"] for row in versions} == {2}, "what is stored already is not written again"
    entry = await rows.connection.fetchrow(
        "SELECT actor, after FROM syncd.audit_log WHERE action = 'webhooks_replayed'"
    )
    assert entry is not None
    code, out, err = await syncd(daemon, "webhook", "replay", "acme")
    assert code == 2
