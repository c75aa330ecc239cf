"""`syncd evidence` without a daemon: what was given up is known all the same, and what is missing is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.test_data import execute

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def buried(directory: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    insert = (
        "INSERT INTO syncd.dead_letters (integration, origin, resource, external_id, error_class, message, fingerprint, "
        "request, response, history, attempts, buried_at) "
        "VALUES ($1, 'task', 'customers', $2, 'RejectedError', $3, $2, $4, $5, $6, 3, $7)"
    )
    request = json.dumps({"method": "GET", "route": "/customers/{id}", "path": "/customers/cus_1"})
    answer = {"status": 422, "headers": {"x-request-id": "req-9"}, "body": '{"code":"bad_id","owner":"Ada Lovelace"}'}
    tries = json.dumps([{"attempt": 1, "at": "2026-11-01T11:59:00+00:00", "error": "answered 500"}])
    rows = [("shop", "cus_1", "of ada@example.com: bad id"), ("other", "cus_2", "of another customer")]
    execute(
        database,
        *[(insert, name, id, text, request, json.dumps(answer), tries, NOON) for name, id, text in rows],
    )
    return directory


def test_what_was_given_up_is_told_and_nothing_of_others(run, buried: Path):
    done = run("evidence", "shop", "--config", buried)
    assert done.exit_code == 0, done.stderr
    assert "Given up after all tries" in done.stdout
    assert "2026-11-01 12:00:00Z  GET /customers/{id}, 1 time: of •••: bad id" in done.stdout
    assert "2026-11-01 11:59:00Z  answered 500" in done.stdout
    assert '"code":"bad_id"' in done.stdout
    assert "Not in it: no process that was asked calls for it" in done.stdout
    assert not any(text in done.stdout for text in ("Ada", "another customer", "ada@"))


def test_it_is_narrowed_by_record_and_time_and_wants_a_known_integration(run, buried: Path):
    def given_up(*words: str) -> int:
        return len(json.loads(run("evidence", "shop", "--json", *words, "--config", buried).stdout)["given_up"])

    assert (given_up(), given_up("--record", "customers/cus_1"), given_up("--record", "customers/cus_3")) == (1, 1, 0)
    assert (given_up("--since", "2026-11-01T11:00Z"), given_up("--since", "2026-11-01T13:00Z")) == (1, 0)
    assert run("evidence", "shpo", "--config", buried).exit_code == 2
    assert run("evidence", "shop", "--record", "cus_1", "--config", buried).exit_code == 2
