"""`syncd credential` and `syncd key` without a daemon: what they change, what they refuse, what they say is left."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.cli import credential_steps as steps
from syncd.cli.app import App
from syncd.cli.link import Link as RealLink
from syncd.cli.link import Unreachable
from syncd.server.ports import judged_as_before
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


def test_the_second_secret_of_a_webhook_is_rotated_by_the_commands_that_are_printed(
    run: Run, directory: Path, hook: Path
) -> None:
    two = HOOKED.replace("[{file: pay/hook}]", "[{file: pay/hook}, {file: pay/second}]")
    (directory / "partners" / "stripe.yaml").write_text(two)
    second = hook.with_name("second")
    second.touch(mode=0o600)
    second.write_text("whsec_second\n")
    done = run("credential", "rotate", "pay", "webhook 2", "--config", directory, stdin="whsec_2new\n")
    assert done.exit_code == 0, done.output
    printed = shlex.split(done.stdout.splitlines()[-1])
    assert printed[0] == "syncd"
    assert run(*printed[1:], "--config", directory).exit_code == 0
    assert sorted(one.name for one in hook.parent.iterdir()) == ["hook", "second"]
    assert second.read_text() == "whsec_2new\n"


class Link:
    """A daemon that answers as it is told to."""

    def __init__(self, used: str | None, error: Unreachable | None = None) -> None:
        self.used, self.error = used, error

    def get(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"integrations": {"acme": {"in_force": {"key": self.used} if self.used else None}}}

    def post(self, *_: Any, **__: Any) -> dict[str, Any]:
        assert self.error is not None
        raise self.error


@pytest.mark.parametrize(
    ("kept", "used", "why"),
    [
        ([], "new", ""),
        (["webhooks of other are judged as before: secret file /s does not exist"], "new", ""),
        (["the new credential of other was refused"], "old", "the new credential of other was refused"),
        ([], "old", "it works with another value of it (#old) all the same"),
        (["no base_url"], None, "no base_url"),
        ([], None, ""),
    ],
)
def test_whether_a_secret_was_taken_is_what_the_daemon_works_with(kept: list[str], used: str | None, why: str) -> None:
    """Not what else its reload had to say of the partner: the secret of somebody's webhook that cannot be read, say."""
    config: Any = SimpleNamespace(integrations={"acme": (SimpleNamespace(name="guesty"), None)})
    app: Any = SimpleNamespace(link=lambda: Link(used))
    report = {"kept": {"guesty": kept} if kept else {}, "problems": []}
    assert steps.not_taken(app, config, "acme", "key", "new", report) == why


def test_whether_a_webhooks_secret_was_taken_is_no_matter_of_a_credential() -> None:
    own = judged_as_before("acme") + "secret file /s does not exist"
    report = {"kept": {"guesty": ["the new credential of acme was refused", judged_as_before("other") + "x"]}}
    assert steps.refusal(report, "guesty", webhooks_of="acme") == ""
    report["kept"]["guesty"].append(own)
    assert steps.refusal(report, "guesty", webhooks_of="acme") == own


def test_a_daemon_that_says_nothing_is_not_taken_for_none() -> None:
    """Who reads that no daemon runs believes that the next start will do."""
    link = RealLink("127.0.0.1:1")
    nobody, silent = link._unreachable(ConnectionRefusedError(111, "refused")), link._unreachable(TimeoutError())
    assert steps.reload(SimpleNamespace(link=lambda: Link(None, nobody))) is None  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        steps.reload(SimpleNamespace(link=lambda: Link(None, silent)))  # type: ignore[arg-type]


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
        (("rotate", "pay"), "x", 2, "set SYNCD_TEST_PAY_KEY where the service has it from"),
        (("set", "pay", "api_key"), "x", 2, "then: systemctl restart syncd; then: syncd credential test pay"),
        (("set", "pay", "api_key"), "x", 2, "write {file: pay/api_key} as api_key of pay in partners/stripe.yaml"),
        (("rotate", "pay", "webhook"), b"\xff\xfe", 2, "no UTF-8 text"),
        (("set", "pay", "webhook"), b"\xff\xfe", 2, "no UTF-8 text"),
        (("login", "pay"), "", 2, "not allowed in a browser"),
        (("login", "pay", "--redirect", "https://x"), "", 2, "goes with --paste"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    run: Run, directory: Path, hook: Path, words: tuple[str, ...], stdin: str | bytes, exit_code: int, said: str
) -> None:
    done = run("credential", *words, "--config", directory, stdin=stdin)
    assert (done.exit_code, said in done.output) == (exit_code, True), done.output
    assert [one.name for one in hook.parent.iterdir()] == ["hook"]


OAUTH = """\
driver: rest
rest:
  auth: {kind: %s, token_path: /token}
  test: {path: /me}
  resources:
    customers: {path: /customers, records: data, id: id, pages: {kind: none}, fields: {name: name}}
integrations:
  shop:
    base_url: http://127.0.0.1:9/v1
    credentials: {client_id: {file: id}, client_secret: {file: secret}%s}
"""


@pytest.mark.parametrize(
    ("kind", "more", "name", "untried"),
    [
        ("oauth2_refresh", ", refresh_token: {file: token}", "client_secret", True),
        ("oauth2_refresh", ", refresh_token: {file: token}", "refresh_token", False),
        ("oauth2_client", "", "client_secret", False),
    ],
)
def test_a_clients_secret_that_no_call_has_tried_is_told_as_that(
    directory: Path, kind: str, more: str, name: str, untried: bool
) -> None:
    (directory / "partners" / "plain.yaml").write_text(OAUTH % (kind, more))
    config = App(config=str(directory)).config()
    told = steps.untried(config, "shop", name)
    assert ("not with this secret" in told, "syncd credential list shop" in told) == (untried, untried)


def test_what_the_daemon_has_read_once_is_at_least_as_old_as_the_daemon(
    run: Run, directory: Path, hook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key, _] = json.loads(run("credential", "list", "pay", "--json", "--config", directory).stdout)["credentials"]
    since = (datetime.now(UTC) - timedelta(days=3, minutes=5)).isoformat()
    told = {"in_force": {"api_key": key["hash"]}, "running_since": since, "sealed": [], "set": [], "scopes": None}
    monkeypatch.setattr(App, "link", lambda _: SimpleNamespace(get=lambda *_: {"integrations": {"pay": told}}))
    done = run("credential", "list", "pay", "--config", directory)
    assert "3d or more" in done.stdout
    told["in_force"] = {"api_key": "another"}
    assert "not known" in run("credential", "list", "pay", "--config", directory).stdout
