"""`syncd doctor` as it is typed: names, what is open alone, acknowledgements, JSON, exit codes; no daemon and no database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_check import plant_key


@pytest.fixture
def sound(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plant_key(directory)
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://127.0.0.1:9/nothing")
    return directory


def lines(done) -> dict[str, dict[str, str]]:
    told = json.loads(done.stdout)
    assert told["schema"] == "syncd.doctor/1"
    return {line["id"]: line for line in told["lines"]}


def test_a_partner_without_a_checklist_of_its_own_gets_the_same_service(run, sound: Path):
    done = run("doctor", "--offline", "--json", "--config", sound)
    found = lines(done)
    assert {name.partition("-")[0] for name in found} == {"partner", "host"}
    assert found["partner-1.2"]["verdict"] == "pass"
    assert found["partner-2.4"]["verdict"] == "pass"
    assert found["partner-1.1"]["verdict"] == "later"
    assert found["host-3.1"]["verdict"] == "fail"
    assert done.exit_code == 1


def test_the_text_fits_a_screen_and_says_how_to_mend_it(run, sound: Path):
    done = run("doctor", "shop", "--offline", "--config", sound)
    assert done.exit_code == 1
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Every other integration: shop" in done.stdout
    assert "do: syncd check --env" in done.stdout
    assert "fail" in done.stderr and "manual" in done.stderr
    assert "rk_live_planted_8813" not in done.output


def test_only_what_is_open_is_shown_on_request(run, sound: Path):
    found = lines(run("doctor", "--failed", "--offline", "--json", "--config", sound))
    assert found and {line["verdict"] for line in found.values()} <= {"fail", "later", "warn", "manual"}


def test_an_acknowledged_line_is_excused_and_says_who_saw_what(run, sound: Path):
    done = run("doctor", "--ack", "partner-1.3", "--ack", "partner-6.*", "--reason", "looked", "--config", sound)
    assert done.exit_code == 0, done.output
    assert "reason: looked" in (sound / "acknowledged.yaml").read_text()
    found = lines(run("doctor", "--offline", "--json", "--config", sound))
    assert found["partner-1.3"]["acknowledged"]["reason"] == "looked"
    opened = lines(run("doctor", "--offline", "--failed", "--json", "--config", sound))
    assert "partner-1.3" not in opened
    assert found["partner-1.3"]["verdict"] == "manual"
    text = run("doctor", "--offline", "--config", sound).stdout
    assert "looked" in text
    assert run("check", "--config", sound).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ack", "partner-1.3"), "--reason"),
        (("--reason", "looked"), "--ack"),
        (("--ack", "partner-99.9", "--reason", "looked"), "no line"),
        (("shoop",), "did you mean 'shop'"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(run, sound: Path, words, said: str):
    done = run("doctor", *words, "--config", sound)
    assert done.exit_code == 2
    assert said in done.stderr


def test_strict_is_for_what_nobody_has_looked_at(run, sound: Path, monkeypatch: pytest.MonkeyPatch):
    from syncd.doctor import Answer, Result, Verdict

    one = Result("x", "y", "host-3.9", "Backup", "", (), Answer(Verdict.MANUAL, "is it backed up?", "look"))
    monkeypatch.setattr("syncd.doctor.examined", lambda *given: [one])
    assert run("doctor", "--offline", "--config", sound).exit_code == 0
    assert run("doctor", "--offline", "--strict", "--config", sound).exit_code == 1


def test_a_configuration_that_cannot_be_read_is_78(run, sound: Path):
    (sound / "syncd.yaml").write_text("server: {listn: x}\n")
    assert run("doctor", "--config", sound).exit_code == 78


def test_verify_without_a_daemon_is_69_and_an_unknown_integration_2(run, sound: Path):
    assert run("verify", "shop", "--config", sound).exit_code == 69
    done = run("verify", "shap", "--config", sound)
    assert done.exit_code == 2 and "did you mean 'shop'" in done.stderr


def test_verify_of_a_partner_that_is_only_read_makes_nothing(run, sound: Path):
    done = run("verify", "shop", "--dry-run", "--json", "--config", sound)
    assert json.loads(done.stdout) == {
        "schema": "syncd.verify-rehearsal/1",
        "integration": "shop",
        "mode": "read-only",
        "requests": [],
    }
