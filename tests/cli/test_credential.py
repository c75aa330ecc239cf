"""`syncd credential` and `syncd key` without a daemon: what they change, what they refuse, what they say is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run

HOOKED = """\
driver: stripe
integrations:
  pay:
    credentials: {api_key: {env: SYNCD_TEST_PAY_KEY}}
    webhook: {secrets: [{file: pay/hook}]}
"""
JWT_2030 = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE4OTM0NTYwMDB9.c2lnbmF0dXJl"
"""A token that says itself that it ends with the year 2029."""


@pytest.fixture
def hook(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (directory / "partners" / "stripe.yaml").write_text(HOOKED)
    monkeypatch.setenv("SYNCD_TEST_PAY_KEY", "sk_test_abcdefghijklmnopqrstuvwx")
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    file = directory / "secrets" / "pay" / "hook"
    file.parent.mkdir(mode=0o700)
    file.touch(mode=0o600)
    file.write_text("whsec_old\n")
    return file


def test_a_webhook_secret_is_added_beside_the_old_one_until_it_is_finished(
    run: Run, directory: Path, hook: Path
) -> None:
    done = run("credential", "rotate", "pay", "webhook", "--config", directory, stdin="whsec_new\n")
    assert done.exit_code == 0, done.output
    assert "--finish" in done.stdout
    assert (hook.read_text(), hook.with_name("hook.previous").read_text()) == ("whsec_new\n", "whsec_old\n")
    rows = json.loads(run("credential", "list", "pay", "--json", "--config", directory).stdout)["credentials"]
    assert [(row["name"], row["use"]) for row in rows] == [
        ("api_key", "credential"), ("webhook", "webhook"), ("webhook before", "webhook"),
    ]  # fmt: skip
    assert "--finish" in rows[1]["left"]
    again = run("credential", "rotate", "pay", "webhook", "--config", directory, stdin="whsec_newer\n")
    assert again.exit_code == 1
    assert "--finish" in again.output
    assert run("credential", "rotate", "pay", "webhook", "--finish", "--config", directory).exit_code == 0
    assert [one.name for one in hook.parent.iterdir()] == ["hook"]
    assert "whsec" not in done.output + again.output


def test_the_age_of_a_secret_is_known_from_its_file_or_said_to_be_unknown(
    run: Run, directory: Path, hook: Path
) -> None:
    os.utime(hook, (0, 0))
    done = run("credential", "list", "pay", "--json", "--config", directory)
    key, secret = json.loads(done.stdout)["credentials"]
    assert (key["age_seconds"], key["age_by"]) == (None, "not known: an environment variable does not tell its age")
    assert key["ends_with"] == "uvwx"
    assert (secret["age_by"], secret["set_at"], secret["ends_with"]) == ("file time", "1970-01-01T00:00:00Z", "")
    assert "sk_test" not in done.output


def test_a_token_that_says_when_it_ends_is_believed(
    run: Run, directory: Path, hook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_TEST_PAY_KEY", JWT_2030)
    [key, _] = json.loads(run("credential", "list", "pay", "--json", "--config", directory).stdout)["credentials"]
    assert (key["expires_at"], key["renews"]) == ("2030-01-01T00:00:00Z", False)


@pytest.mark.parametrize(
    ("words", "stdin", "exit_code", "said"),
    [
        (("rotate", "pay", "api_key"), "x", 2, "cannot write"),
        (("rotate", "pay", "webhok"), "x", 2, "webhook"),
        (("rotate", "pay", "webhook"), "whsec_old", 2, "in force already"),
        (("rotate", "pay", "webhook"), "", 2, "no value"),
        (("rotate", "pay", "--undo", "--resume"), "", 2, "one of"),
        (("rotate", "pay", "webhook", "--resume"), "", 0, "nothing to resume"),
        (("rotate", "pay", "webhook", "--undo"), "", 0, "nothing to undo"),
        (("rotate", "pay"), "x", 2, "name it"),
        (("login", "pay"), "", 2, "not allowed in a browser"),
        (("login", "pay", "--redirect", "https://x"), "", 2, "goes with --paste"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    run: Run, directory: Path, hook: Path, words: tuple[str, ...], stdin: str, exit_code: int, said: str
) -> None:
    done = run("credential", *words, "--config", directory, stdin=stdin)
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output
    assert [one.name for one in hook.parent.iterdir()] == ["hook"]
