"""`syncd bundle` without a daemon: what is in it, what is missing, and that none of many planted secrets is."""

from __future__ import annotations

import base64
import json
import os
import resource
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from syncd.cli.bundle_parts import everybody, from_daemon
from syncd.cli.link import Unreachable
from syncd.cli.output import Failure
from syncd.support.bundle import Part, write
from syncd.support.redacted import Pseudonyms, configuration, document, log_line, sample
from tests.cli.test_data import execute

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PLANTED = {
    place: f"PLANTED/{place}+{number:03}&x"
    for number, place in enumerate(
        ("literal", "header", "option", "file", "environ", "userinfo", "payload", "token", "message")
    )
}


def forms(secret: str) -> set[str]:
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + secret.encode()).decode()
        found |= {text[4:-4], text[4:-4].replace("+", "-").replace("/", "_")}
    return found


@pytest.fixture
def planted(directory: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    monkeypatch.setenv("SHOP_TOKEN", PLANTED["environ"])
    key = directory / "secrets" / "shop" / "key"
    key.parent.mkdir()
    key.touch(mode=0o600)
    key.write_text(PLANTED["file"] + "\n")
    (directory / "partners" / "other.yaml").write_text(
        "driver: rest\n"
        f"base_url: https://ann:{quote(PLANTED['userinfo'], safe='')}@api.other.example/v1\n"
        f"rest: {{auth: {{kind: bearer}}, headers: {{X-Odd: '{PLANTED['header']}'}}, test: {{path: /me}}, resources: {{}}}}\n"
        "integrations:\n"
        f"  their-shop: {{company: Jane Roe Ltd, credentials: {{token: '{PLANTED['literal']}'}}, "
        f"options: {{pin: '{PLANTED['option']}'}}}}\n"
    )
    execute(
        database,
        (
            "INSERT INTO syncd.dead_letters (integration, origin, resource, external_id, error_class, message, fingerprint, "
            "payload, request, buried_at) "
            "VALUES ('shop', 'task', 'customers', 'cus_77', 'RejectedError', $1, 'f', $2, $2, $3)",
            f"refused: {PLANTED['literal']}",
            json.dumps({"card": PLANTED["payload"]}),
            NOON,
        ),
        (
            "INSERT INTO syncd.credentials (integration, kind, ciphertext, key_id, stored_at) "
            "VALUES ('shop', 'token', $1, 'k', $2)",
            PLANTED["token"].encode(),
            NOON,
        ),
        (
            "INSERT INTO syncd.inbox (integration, event_id, body, state, received_at) "
            "VALUES ('shop', 'e', $1, 'waiting', $2)",
            PLANTED["message"].encode(),
            NOON,
        ),
    )
    return directory


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {
            entry.name.removeprefix("syncd-bundle/"): tar.extractfile(entry).read().decode()
            for entry in tar.getmembers()
        }


def test_it_is_written_for_the_owner_alone_and_says_what_is_missing(run, planted: Path, tmp_path: Path):
    path = tmp_path / "b.tar.gz"
    done = run("bundle", "--yes", "--json", "-o", path, "--config", planted)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["schema"], told["file"]) == ("syncd.bundle/1", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    files = unpacked(path)
    manifest = {each["file"]: each for each in json.loads(files["MANIFEST.json"])["files"]}
    assert manifest["status.json"]["missing"].startswith("no daemon answers")
    assert "status.json" not in files
    assert json.loads(files["database.json"])["tables"], "the database was there"
    assert "every secret" in manifest["config/partners/other.yaml"]["taken_out"]
    assert "file: shop/key" in files["config/partners/plain.yaml"], "references stay"
    assert "api.other.example" in files["config/partners/other.yaml"], "hosts stay"
    leaks = [
        (name, place)
        for name, text in files.items()
        for place, secret in PLANTED.items()
        for form in forms(secret)
        if form in text
    ]
    assert leaks == []
    assert run("bundle", "--yes", "-o", path, "--config", planted).exit_code == 2, "nothing is written over"


def test_anonymous_it_names_nobody_and_the_database_may_be_away(run, planted: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    path = tmp_path / "b.tar.gz"
    done = run("bundle", "--yes", "--anonymous", "-o", path, "--config", planted)
    assert done.exit_code == 0, done.stderr
    whole = "\n".join(f"{name}\n{text}" for name, text in unpacked(path).items())
    assert not any(name in whole for name in ("their-shop", "Jane Roe", "api.other.example"))
    assert "integration-1" in whole
    assert "the database was not asked" in whole


def test_nobody_is_asked_where_nobody_is(run, planted: Path, tmp_path: Path):
    done = run("bundle", "-o", tmp_path / "b.tar.gz", "--config", planted)
    assert (done.exit_code, (tmp_path / "b.tar.gz").exists()) == (2, False)
    assert "--yes" in done.stderr


def test_a_configuration_keeps_its_structure_and_loses_its_values():
    shown = configuration(
        {
            "credentials": {"api_key": {"env": "SHOP_KEY"}, "pin": "1234"},
            "limits": {"tiers": ["5/s"], "concurrency": 4},
            "options": {"account_id": "8841"},
            "webhook": {"secrets": [{"file": "a/b"}, "whsec_literal"]},
        }
    )
    assert shown == {
        "credentials": {"api_key": {"env": "SHOP_KEY"}, "pin": "****"},
        "limits": {"tiers": ["5/s"], "concurrency": 4},
        "options": {"account_id": "•••"},
        "webhook": {"secrets": [{"file": "a/b"}, "****"]},
    }


def test_documents_keep_figures_and_lose_ids_and_persons():
    told = {
        "bytes": 12345678901,
        "record": "64af0c",
        "token": "t",
        "text": "mail to ada@example.com",
        "access_token": None,
    }
    assert document(told) == {
        "bytes": 12345678901, "record": "•••", "token": "****", "text": "mail to •••", "access_token": "****",
    }  # fmt: skip


def test_a_line_of_the_log_is_cleaned_key_by_key_and_one_of_the_metrics_keeps_its_figure():
    line = '<4>{"event":"call_failed","record_id":"64af0c","reason":"password=planted Cookie: a=planted","bytes":12345678901}'
    told = json.loads(log_line(line).removeprefix("<4>"))
    assert "planted" not in str(told)
    assert (told["event"], told["record_id"], told["bytes"]) == ("call_failed", "•••", 12345678901)
    assert log_line("warning: token=planted {not json") == "warning: token=**** {not json"
    was = 'syncd_condition_info{reason="ada@example.com said token=planted",credential="api_key"} 12345678901.0'
    assert sample(was) == 'syncd_condition_info{reason="••• said token=****",credential="api_key"} 12345678901.0'


def test_who_did_something_is_named_otherwise_too():
    def part(name: str, told: object) -> Part:
        return Part(name, "", "", json.dumps(told))

    parts = [
        part("status.json", {"integrations": [{"name": "gone-shop", "company": "Old Ltd"}]}),
        part("changes.json", {"changes": [{"who": "ann@web1", "integration": ""}, {"who": "page"}, {"who": "Bob"}]}),
        Part("health.json", "", "", missing="no daemon"),
    ]
    found = everybody({"integration": ["shop"], "company": [], "host": ["api.example"], "user": []}, parts)
    assert Pseudonyms(found)("paused by ann@web1, Bob and page: gone-shop of Old Ltd, shop") == (
        "paused by user-1@host-2, user-2 and page: integration-2 of company-1, integration-1"
    )


def test_a_daemon_that_hangs_is_waited_for_once():
    lost: list[str] = []
    asked = []

    def hang() -> str:
        asked.append(1)
        error = Unreachable("no daemon answers")
        error.there = True
        raise error

    for _ in range(3):
        with pytest.raises(Failure, match="no daemon answers"):
            from_daemon(lost, hang)
    assert len(asked) == 1


def test_half_a_bundle_does_not_stay(tmp_path: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "b.tar.gz"
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write(path, {"a": os.urandom(5000)}, NOON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()


def test_other_names_are_the_same_each_time_and_take_whole_words():
    renamed = Pseudonyms({"integration": ["acme", "acme-eu"], "host": ["api.acme.example"]})
    assert (
        renamed("acme, ACME-EU and acmeist at api.acme.example") == "integration-1, integration-2 and acmeist at host-1"
    )
