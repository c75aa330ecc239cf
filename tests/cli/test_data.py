"""Commands that read the database themselves: records, dlq, migrate, credential list."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syncd.store.migrate import shipped

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def execute(url: str, *statements: tuple[Any, ...]) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            for sql, *values in statements:
                await connection.execute(sql, *values)
        finally:
            await connection.close()

    asyncio.run(work())


def record(external_id: str, data: dict[str, Any], *, deleted: bool = False) -> tuple[Any, ...]:
    text = json.dumps(data)
    return (
        "INSERT INTO syncd.records (integration, resource, external_id, fetched_at, synced_at, deleted_at, content_hash, "
        "adapter, cause, data, raw) VALUES ('shop', 'customers', $1, $2, $2, $3, '\\x00', 'v1', 'run 7', $4, $5)",
        external_id,
        NOON,
        NOON if deleted else None,
        text,
        json.dumps({"sent": data}),
    )


def change(external_id: str, field: str, old: Any, new: Any) -> tuple[Any, ...]:
    return (
        "INSERT INTO syncd.changes (integration, resource, external_id, row_version, kind, field, old, new, cause, "
        "changed_at, bound) VALUES ('shop', 'customers', $1, 2, 'update', $2, $3, $4, 'run 8', $5, pg_current_xact_id())",
        external_id,
        field,
        json.dumps(old),
        json.dumps(new),
        NOON,
    )


@pytest.fixture
def filled(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    execute(
        database,
        record("cus_1", {"name": "Ann", "vip": True, "tags": ["a", "b"]}),
        record("cus_2", {"name": 'Bob, the "builder"', "balance": 12.5}),
        record("cus_3", {"name": "Cid"}, deleted=True),
        change("cus_1", "name", "Anne", "Ann"),
        ("INSERT INTO syncd.record_counts (integration, resource, live, buried) VALUES ('shop', 'customers', 2, 1)",),
    )
    return database


def test_show_tells_where_a_record_came_from(run, directory: Path, filled: str):
    done = run("records", "show", "shop/customers", "cus_1", "--config", directory)
    assert done.exit_code == 0
    assert "fetched_at    2026-11-01 12:00:00Z" in done.stdout
    assert "cause         run 7" in done.stdout
    assert 'name   name  "Ann"' in done.stdout, "the field, and the path in the raw record that it is read from"
    assert "vip    -     true" in done.stdout, "no mapping tells of it"
    assert '"Anne" → "Ann"  run 8' in done.stdout
    assert "sent" not in done.stdout
    assert '"sent"' in run("records", "show", "shop/customers", "cus_1", "--raw", "--config", directory).stdout


def test_show_as_json_has_everything(run, directory: Path, filled: str):
    found = json.loads(run("records", "show", "shop/customers", "cus_1", "--json", "--config", directory).stdout)
    assert found["schema"] == "syncd.record/1"
    assert found["data"] == {"name": "Ann", "vip": True, "tags": ["a", "b"]}
    assert found["raw"] == {"sent": found["data"]}
    assert found["changes"][0]["old"] == "Anne"
    assert found["fetched_at"] == "2026-11-01T12:00:00Z"
    assert {"name": "name", "vip": None}.items() <= {one["name"]: one["from"] for one in found["fields"]}.items()
    assert (found["found"], found["refused"], found["letters"], found["reject"]) == (True, None, [], None)


def test_what_was_refused_and_what_lies_open_is_told_of_a_record(run, directory: Path, filled: str):
    stamps = {"fetched_at": "2026-11-01T12:00:30+00:00", "source_updated_at": "2026-11-01T11:00:00+00:00"}
    held = {"fetched_at": "2026-11-01T12:00:00+00:00", "source_updated_at": "2026-11-01T11:30:00+00:00"}
    one = {"at": "2026-11-01T12:01:00+00:00", "cause": "webhook evt_9", **stamps, "held": held}
    execute(
        filled,
        (
            "INSERT INTO syncd.refusals VALUES ('shop', 'customers', 'cus_1', 3, $1, $1, $2)",
            NOON,
            json.dumps([one]),
        ),
        (
            "INSERT INTO syncd.inbox (integration, event_id, event_type, resource, external_id, state, received_at, reason) "
            "VALUES ('shop', 'evt_9', 'customer.updated', 'customers', 'cus_1', 'done', $1, 'older than what is stored')",
            NOON,
        ),
        (
            "INSERT INTO syncd.rejects (integration, resource, external_id, raw, reason, fingerprint, first_at, last_at) "
            "VALUES ('shop', 'customers', 'cus_8', '\\x7b', 'name is missing', 'f', $1, $1)",
            NOON,
        ),
        ("INSERT INTO syncd.controls VALUES ('shop', '', 'pause', 'ann', 'they move', '{}', $1, NULL)", NOON),
    )
    shown = run("records", "show", "shop/customers", "cus_1", "--config", directory).stdout
    assert "refused as older: 3 times" in shown
    assert "webhook evt_9 (customer.updated), received 2026-11-01 12:00:00Z" in shown
    assert "the partner stamped it 2026-11-01 11:00:00Z, and what was stored 2026-11-01 11:30:00Z" in shown
    assert "it is not brought up to date now: shop is paused by ann: they move" in shown
    assert "do: syncd resume shop" in shown
    absent = run("records", "show", "shop/customers", "cus_8", "--config", directory).stderr
    assert absent.index("name is missing") < absent.index("paused by ann"), "the most telling reason first"
    found = json.loads(run("records", "show", "shop/customers", "cus_7", "--json", "--config", directory).stdout)
    assert [each["code"] for each in found["why"]] == ["paused", "not-read-yet"]
    assert found["read_it"] == "syncd sync shop/customers --id cus_7"


def test_a_tombstone_says_what_made_it(run, directory: Path, filled: str):
    execute(filled, ("UPDATE syncd.records SET cause = 'pass 9' WHERE external_id = 'cus_3'",))
    shown = run("records", "show", "shop/customers", "cus_3", "--config", directory).stdout
    assert "deleted 2026-11-01 12:00:00Z: two complete passes did not show it" in shown
    assert "the complete pass 9 and the one before did not show it" in shown


@pytest.mark.parametrize(
    ("target", "id", "code", "said"),
    [
        ("shop/customers", "cus_9", 1, "syncd sync shop/customers --id cus_9"),
        ("shop/custmers", "cus_1", 2, "did you mean 'customers'?"),
        ("shpo/customers", "cus_1", 2, "did you mean 'shop'?"),
        ("shop", "cus_1", 2, "name the resource too"),
    ],
)
def test_a_record_that_is_not_there_is_explained(run, directory: Path, filled: str, target, id, code, said):
    done = run("records", "show", target, id, "--config", directory)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""


def test_export_writes_one_document_a_line(run, directory: Path, filled: str):
    done = run("records", "export", "shop/customers", "--config", directory)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["external_id"] for each in found] == ["cus_1", "cus_2"]
    assert found[0]["data"]["tags"] == ["a", "b"]
    assert "raw" not in found[0]
    assert "2 records exported" in done.stderr


def test_export_of_tombstones_of_raw_and_of_a_few(run, directory: Path, filled: str):
    def ids(*words: str) -> list[str]:
        done = run("records", "export", "shop/customers", "--config", directory, *words)
        return [json.loads(line)["external_id"] for line in done.stdout.splitlines()]

    assert ids("--deleted", "only") == ["cus_3"]
    assert ids("--deleted", "too") == ["cus_1", "cus_2", "cus_3"]
    assert ids("--limit", "1") == ["cus_1"]
    raw = run("records", "export", "shop/customers", "--raw", "--limit", "1", "--config", directory)
    assert json.loads(raw.stdout)["raw"] == {"sent": {"name": "Ann", "vip": True, "tags": ["a", "b"]}}
    assert run("records", "export", "shop/customers", "--raw", "--format", "csv", "--config", directory).exit_code == 2


def test_csv_has_a_column_for_every_field_any_record_has(run, directory: Path, filled: str):
    done = run("records", "export", "shop/customers", "--format", "csv", "--config", directory)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert set(rows[0]) == {"external_id", "name", "vip", "tags", "balance"}
    assert rows[0] == {"external_id": "cus_1", "name": "Ann", "vip": "true", "tags": '["a", "b"]', "balance": ""}
    assert rows[1]["name"] == 'Bob, the "builder"'
    some = run("records", "export", "shop/customers", "--format", "csv", "--field", "balance", "--config", directory)
    assert some.stdout == "external_id,balance\ncus_1,\ncus_2,12.5\n"


def test_dlq_groups_by_cause_and_shows_one(run, directory: Path, database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    assert "nothing needs you" in run("dlq", "list", "--config", directory).stdout
    reject = (
        "INSERT INTO syncd.rejects (integration, resource, external_id, raw, reason, fingerprint, first_at, last_at) "
        "VALUES ('shop', 'customers', $1, $2, 'email is null', 'email is null', $3, $4)"
    )
    letter = (
        "INSERT INTO syncd.dead_letters (integration, origin, resource, external_id, error_class, message, fingerprint, "
        "request, attempts, buried_at) VALUES ('shop', 'task', 'invoices', 'in_1', 'RejectedError', '403 missing scope', "
        "'403', '{\"path\": \"/v1/invoices/in_1\"}', 5, $1)"
    )
    execute(
        database,
        (reject, "cus_1", b"\xff{", NOON, NOON),
        (reject, "cus_2", b"{}", NOON - timedelta(days=1), NOON + timedelta(hours=1)),
        (letter, NOON),
    )
    done = run("dlq", "list", "--config", directory)
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["CAUSE", "KIND", "WHERE", "WHAT", "COUNT", "FIRST", "LAST", "EXAMPLE"]
    assert "shop/customers  email is null" in first
    assert first.endswith("cus_2")
    assert "shop/invoices   403 missing scope" in second
    assert second.endswith("letter 1 (in_1)"), "what `dlq show` takes, and the record"
    shown = run("dlq", "show", first.split()[0][:5], "--config", directory)
    assert "shop/customers  2 rejects" in shown.stdout
    assert "cus_1" in shown.stdout
    assert "xff" not in shown.stdout
    assert "\\xff{" in run("dlq", "show", first.split()[0], "--raw", "--config", directory).stdout
    one = run("dlq", "show", first.split()[0], "--limit", "1", "--config", directory)
    assert "1 other like these: --limit 2" in one.stderr
    shown = run("dlq", "show", second.split()[0], "--json", "--raw", "--config", directory)
    found = json.loads(shown.stdout)
    assert found["schema"] == "syncd.dlq-cause/1"
    assert found["entries"][0]["request"] == {"path": "/v1/invoices/in_1"}
    causes = json.loads(run("dlq", "list", "shop", "--json", "--config", directory).stdout)["causes"]
    assert [(each["kind"], each["count"]) for each in causes] == [("reject", 2), ("dead_letter", 1)]
    wrong = run("dlq", "show", "zz", "--config", directory)
    assert wrong.exit_code == 2
    assert "no cause begins so" in wrong.stderr
    wrong = run("dlq", "show", "9999", "--config", directory)
    assert (wrong.exit_code, "there is no dead letter 9999, nor a cause" in wrong.stderr) == (2, True)
    wrong = run("dlq", "replay", "eb22", "--config", directory)
    assert (wrong.exit_code, "A cause? --cause eb22" in wrong.stderr) == (2, True)
    assert run("dlq", "list", "shopp", "--config", directory).exit_code == 2


def test_migrate_says_what_it_would_do_and_does_it(run, directory: Path, empty_database: str, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", empty_database)
    every = len(shipped())
    check = run("migrate", "--check", "--json", "--config", directory)
    assert check.exit_code == 1
    assert len(json.loads(check.stdout)["pending"]) == every
    dry = run("migrate", "--dry-run", "--show-sql", "--config", directory)
    assert dry.exit_code == 0
    assert "pending  0001_tables   previous release: none" in dry.stdout
    assert "CREATE TABLE syncd.records" in dry.stdout
    assert run("migrate", "--check", "--config", directory).exit_code == 1
    done = run("migrate", "--config", directory)
    assert f"schema 0000 → {every:04}" in done.stdout
    assert run("migrate", "--check", "--config", directory).exit_code == 0
    assert f"schema {every:04} is current" in run("migrate", "--config", directory).stdout


def test_reading_an_old_schema_names_the_command_that_mends_it(run, directory: Path, empty_database: str, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", empty_database)
    done = run("records", "show", "shop/customers", "x", "--config", directory)
    assert done.exit_code == 75
    assert "do:  syncd migrate" in done.stderr


def test_credential_list_shows_places_and_hashes_but_no_value(run, directory: Path, database: str, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    execute(
        database,
        (
            "INSERT INTO syncd.credentials (integration, kind, ciphertext, key_id, expires_at, version, stored_at) "
            "VALUES ('shop', 'access_token', '\\x00', 'k', $1, 3, $1)",
            NOON,
        ),
    )
    done = run("credential", "list", "--config", directory)
    assert done.exit_code == 1
    assert "does not exist" in done.stdout
    assert "install -m 600" in done.stdout
    key = directory / "secrets" / "shop" / "key"
    key.parent.mkdir(mode=0o700)
    key.write_text("rk_live_planted_8812\n")
    key.chmod(0o600)
    done = run("credential", "list", "--json", "--config", directory)
    assert done.exit_code == 0
    rows = json.loads(done.stdout)["credentials"]
    assert rows[0]["kept"] == "{file: shop/key}"
    assert len(rows[0]["hash"]) == 8
    assert rows[1]["name"] == "access_token"
    assert rows[1]["kept"] == "database (version 3, key k)"
    assert rows[1]["expires_at"] == "2026-11-01T12:00:00Z"
    assert "rk_live_planted" not in done.output


def test_credential_list_does_without_a_database(run, directory: Path, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    done = run("credential", "list", "shop", "--config", directory)
    assert "file: shop/key" in done.stdout
    assert "tokens obtained at run time are not shown" in done.stderr
