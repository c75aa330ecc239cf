"""`syncd check` at its three depths, and the commands that stand on a sound configuration."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from syncd.cli.load import load_config
from syncd.config import ConfigProblems
from syncd.explain import Explanation
from syncd.server.ports import TestReport
from syncd.testing.process import spawn
from tests.cli.conftest import partner
from tests.whole.issuer import CLIENT_SECRET, Issuer
from tests.whole.plain import KEY


def plant_key(directory: Path) -> None:
    key = directory / "secrets" / "shop" / "key"
    key.parent.mkdir(mode=0o700, exist_ok=True)
    key.write_text("rk_live_planted_8813\n")
    key.chmod(0o600)


def free_ports(directory: Path) -> None:
    taken = []
    for _ in range(2):
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        taken.append(probe)
    listen, admin = (probe.getsockname()[1] for probe in taken)
    for probe in taken:
        probe.close()
    text = (directory / "syncd.yaml").read_text().replace("127.0.0.1:9'", f"127.0.0.1:{listen}'")
    (directory / "syncd.yaml").write_text(text.replace("127.0.0.1:10'", f"127.0.0.1:{admin}'"))


def test_a_sound_configuration_is_0_and_opens_nothing(run, directory: Path):
    done = run("check", "--config", directory)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "1 partner, 1 integration" in done.stderr


def test_every_mistake_is_said_at_once_with_its_line(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text("driver: resst\nworkrs: 3\n")
    (directory / "syncd.yaml").write_text("server: {listn: '127.0.0.1:8080'}\n")
    done = run("check", "--config", directory)
    assert done.exit_code == 78
    assert "partners/plain.yaml:1:" in done.stdout
    assert "partners/plain.yaml:2:" in done.stdout
    assert "syncd.yaml:1:" in done.stdout
    assert "did you mean 'listen'?" in done.stdout


def test_json_and_github_formats(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text("driver: rest\nworkrs: 3\n")
    found = json.loads(run("check", "--json", "--config", directory).stdout)
    assert found["schema"] == "syncd.check/1"
    assert found["ok"] is False
    problem = next(each for each in found["problems"] if "workrs" in each["message"])
    assert (problem["line"], problem["severity"], problem["partner"]) == (2, "error", "plain")
    assert "::error file=" in run("check", "--format", "github", "--config", directory).stdout


def test_a_warning_is_0_and_78_under_strict(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text(partner("rk_live_literal_1"))
    done = run("check", "--config", directory)
    assert done.exit_code == 0
    assert "warning" in done.stdout
    assert "rk_live_literal_1" not in done.output
    assert "✓" in done.stderr
    strict = run("check", "--strict", "--config", directory)
    assert strict.exit_code == 78
    assert "✓" not in strict.output


def test_a_warning_that_stays_one_ends_strict_without_a_tick_and_says_why(run, directory: Path):
    text = (directory / "partners" / "plain.yaml").read_text()
    (directory / "partners" / "plain.yaml").write_text(
        text.replace("  auth:", "  limits: {tiers: [60/h]}\n  auth:").replace(
            "integrations:", "resources: {customers: {every: 10s}}\nintegrations:"
        )
    )
    strict = run("check", "--strict", "--config", directory)
    assert strict.exit_code == 78
    assert "1 warning" in strict.stdout
    assert "✓" not in strict.output
    assert "warnings are errors under --strict" in strict.stderr
    assert "✓" in run("check", "--config", directory).stderr


def test_files_stand_for_the_configuration_they_belong_to(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text("driver: resst\n")
    done = run("check", directory / "partners" / "plain.yaml", directory / "partners" / "other.yaml")
    assert done.exit_code == 78
    assert done.stdout.count("resst") >= 1
    assert run("check", directory / "syncd.yaml").exit_code == 78


def test_no_configuration_at_all_is_explained(run, tmp_path: Path):
    done = run("check", "--config", tmp_path / "nowhere")
    assert done.exit_code == 78
    assert "syncd demo" in done.stderr


def test_env_lists_what_is_wrong_with_this_machine(run, directory: Path, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    free_ports(directory)
    done = run("check", "--env", "--config", directory)
    assert "✗ shop.api_key: secret file" in done.stdout
    assert "do: install -m 600" in done.stdout
    assert "✗ database: " in done.stdout
    assert done.exit_code == 78


def test_env_is_content_with_a_sound_machine(run, directory: Path, database: str, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    free_ports(directory)
    done = run("check", "--env", "--config", directory)
    assert done.exit_code == 0, done.output
    assert "✓ secrets: 2 secrets resolved" in done.stdout
    assert re.search(r"answers in \d+ ms, schema 0", done.stdout)
    assert "server.admin: 127.0.0.1:" in done.stdout
    assert "is free" in done.stdout


def test_env_tells_a_foreign_program_from_our_own_daemon(run, start, directory: Path, database: str, monkeypatch):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    start()
    done = run("check", "--env", "--config", directory)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("is held by the running syncd") == 2
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = (directory / "syncd.yaml").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("server:")]
        lines.append(f"server: {{listen: '127.0.0.1:{port}'}}")
        (directory / "syncd.yaml").write_text("\n".join(lines) + "\n")
        monkeypatch.setattr("syncd.cli.link.Link.serves_syncd", lambda *_: False)
        done = run("check", "--env", "--config", directory)
    assert done.exit_code == 78
    assert f"ss -ltnp 'sport = :{port}'" in done.stdout


def test_with_a_database_of_its_own_the_one_in_the_file_is_not_asked_for(
    run, directory: Path, database: str, monkeypatch
):
    monkeypatch.delenv("SYNCD_TEST_CLI_DATABASE", raising=False)
    monkeypatch.setattr("syncd.store.embedded.start", lambda _: nullcontext(SimpleNamespace(url=database)))
    plant_key(directory)
    free_ports(directory)
    done = run("check", "--env", "--embedded", "--config", directory)
    assert done.exit_code == 0, done.output
    assert "database.url" not in done.stdout and re.search(r"answers in \d+ ms, schema 0", done.stdout)


def test_who_has_no_database_of_the_file_hears_of_the_daemons_own(run, directory: Path, monkeypatch):
    monkeypatch.delenv("SYNCD_TEST_CLI_DATABASE", raising=False)
    done = run("webhook", "deliveries", "--config", directory)
    assert done.exit_code == 78
    assert "SYNCD_TEST_CLI_DATABASE is not set" in done.stderr
    assert "or --embedded (and its --state-dir), where the daemon runs with a PostgreSQL of its own" in done.stderr


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (TestReport(integration="shop", ok=True, status=200, latency_ms=212.0), 0, "✓ shop: authenticated in 212 ms"),
        (
            TestReport(
                integration="shop",
                ok=False,
                status=401,
                refused=True,
                explanation=Explanation("auth-failed", "401 invalid key", action="syncd credential set shop api_key"),
            ),
            77,
            "✗ shop: 401 invalid key",
        ),
        (TestReport(integration="shop", ok=False, status=503), 75, "✗ shop: answered 503"),
    ],
)
def test_live_asks_each_partner_once_through_the_daemon(
    run, start, directory: Path, database: str, monkeypatch, report: TestReport, code: int, said: str
):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    stage = start()
    stage.status.known, stage.status.tested = {"shop": ["customers"]}, report
    done = run("check", "--live", "--config", directory)
    assert done.exit_code == code
    assert said in done.stdout
    assert stage.status.asked == [("test", "shop")]
    alone = run("credential", "test", "shop", "--config", directory)
    assert alone.exit_code == code
    assert said in alone.stdout


def test_one_that_the_daemon_has_not_read_yet_is_told_from_a_refused_one(
    run, start, directory: Path, database: str, monkeypatch
):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    start().status.known = {"other": ["customers"]}
    done = run("check", "--live", "--config", directory)
    assert done.exit_code == 78
    assert "✗ shop: the daemon that runs does not know it\n  do: syncd reload --wait" in done.stdout


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [(KEY, 0, "✓ shop: authenticated in"), ("plain-api-key-wrong", 77, "✗ shop: GET /me: answered 401")],
)
def test_without_a_daemon_the_call_is_made_alone_under_the_scopes_own_lease(
    run, directory: Path, empty_database: str, monkeypatch, key: str, code: int, said: str
):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", empty_database)
    plant_key(directory)
    (directory / "secrets" / "shop" / "key").write_text(key + "\n")
    with spawn("tests.whole.plain") as simulator:
        path = directory / "partners" / "plain.yaml"
        path.write_text(path.read_text().replace("http://127.0.0.1:9/v1", simulator.base_url))
        looked = run("check", "--live", "--config", directory)
        assert looked.exit_code == 75, looked.output
        assert "✗ shop: the database is empty" in looked.stdout and "syncd migrate" in looked.stdout
        there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'syncd'"
        assert asyncio.run(_fetch(empty_database, there)) == [0], "a check writes nothing"
        done = run("credential", "test", "shop", "--config", directory)
        assert done.exit_code == code, done.output
        assert said in done.stdout and "made syncd's schema" in done.stderr
        assert key not in done.output
        again = run("check", "--live", "--config", directory)
        assert said in again.stdout
    left = asyncio.run(_fetch(empty_database, "SELECT state->>'clean' FROM syncd.limit_state"))
    assert left == ["true"], "whoever calls next has not to wait for seats that nobody holds"


async def _fetch(url: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


OAUTH = """\
driver: rest
rest:
  auth: {kind: oauth2_client, token_path: /oauth/token}
  test: /me
  resources:
    items: {path: /items, records: items, fields: {n: n}}
integrations:
  acme:
    base_url: %s
    credentials: {client_id: the-client-id-0001, client_secret: {file: shop/key}}
"""


async def test_without_a_daemon_one_token_serves_every_call_and_is_sealed_with_the_daemons_key(
    run, directory: Path, database: str, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    (directory / "secrets" / "shop" / "key").write_text(CLIENT_SECRET + "\n")
    state = tmp_path / "state"
    issuer = Issuer(database, state / "syncd.key")
    try:
        (directory / "partners" / "plain.yaml").write_text(OAUTH % await issuer.start())
        asked = [("credential", "test", "acme"), ("check", "--live"), ("credential", "test", "acme")]
        for words in asked:
            done = await asyncio.to_thread(run, *words, "--config", directory, "--state-dir", state)
            assert done.exit_code == 0, done.output
            assert "✓ acme: authenticated" in done.stdout
        assert issuer.token_requests == 1
        assert issuer.violations == []
    finally:
        await issuer.stop()


async def test_where_no_key_can_be_kept_no_token_is_asked_for(
    run, directory: Path, database: str, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", database)
    plant_key(directory)
    state = tmp_path / "state"
    state.write_text("a file where the directory should be")
    issuer = Issuer(database, state / "syncd.key")
    try:
        (directory / "partners" / "plain.yaml").write_text(OAUTH % await issuer.start())
        done = await asyncio.to_thread(run, "credential", "test", "acme", "--config", directory, "--state-dir", state)
        assert done.exit_code == 78, done.output
        assert "secrets.key" in done.stderr
        assert issuer.token_requests == 0
    finally:
        await issuer.stop()


def test_credential_set_replaces_the_file_and_never_shows_the_value(run, directory: Path):
    plant_key(directory)
    path = directory / "secrets" / "shop" / "key"
    done = run("credential", "set", "shop", "api_key", "--config", directory, stdin="rk_live_planted_8814\n")
    assert done.exit_code == 0
    assert path.read_text() == "rk_live_planted_8814\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "8814" not in done.output
    assert list(path.parent.iterdir()) == [path]
    listed = run("credential", "list", "shop", "--config", directory)
    assert listed.exit_code == 0
    assert listed.stdout.count("file: shop/key") == 1


def test_credential_set_makes_the_directory_it_needs(run, directory: Path):
    assert run("credential", "set", "shop", "api_key", "--config", directory, stdin="k-1234567").exit_code == 0
    assert (directory / "secrets" / "shop").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("integration", "name", "stdin", "said"),
    [
        ("shpo", "api_key", "x", "did you mean 'shop'?"),
        ("shop", "api_kee", "x", "did you mean 'api_key'?"),
        ("shop", "api_key", "\n", "stdin was empty"),
        ("shop", "api_key", b"a\0b", "that is no secret"),
        ("shop", "api_key", b"x" * 70_000, "that is no secret"),
    ],
)
def test_credential_set_refuses_what_cannot_be_meant(run, directory: Path, integration, name, stdin, said):
    done = run("credential", "set", integration, name, "--config", directory, stdin=stdin)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (directory / "secrets" / "shop").exists()


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("{env: SHOP_KEY}", "set SHOP_KEY"),
        ("{credential: shop}", "LoadCredential="),
        ("rk_live_l_9", "keep it in a file"),
    ],
)
def test_credential_set_says_where_else_a_secret_is_changed(run, directory: Path, ref: str, said: str):
    (directory / "partners" / "plain.yaml").write_text(partner(ref))
    done = run("credential", "set", "shop", "api_key", "--config", directory, stdin="x")
    assert done.exit_code == 2
    assert said in done.stderr
    assert "rk_live_l_9" not in done.output


def test_run_without_a_database_says_how_to_get_one(run, directory: Path):
    text = (directory / "syncd.yaml").read_text()
    (directory / "syncd.yaml").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("database"))
    )
    done = run("run", "--config", directory)
    assert done.exit_code == 78
    assert "SYNCD_DATABASE_URL=postgresql://" in done.stderr
    assert f"set in {directory / 'syncd.yaml'}   database: {{url: {{env: SYNCD_DATABASE_URL}}}}" in done.stderr
    assert "syncd run --embedded" in done.stderr


def test_run_refuses_a_wrong_configuration_with_78(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text("driver: resst\n")
    done = run("run", "--config", directory)
    assert done.exit_code == 78
    assert "partners/plain.yaml:1:" in done.stderr


@pytest.mark.parametrize("kind", ["syncd", "partner", "driver"])
def test_schema_prints_json_schema(run, kind: str):
    found = json.loads(run("schema", kind).stdout)
    assert found["properties"]


def test_sim_lists_simulators_and_refuses_others(run):
    names = run("sim").stdout.split()
    assert "stripe" in names
    done = run("sim", "strip")
    assert done.exit_code == 2
    assert "did you mean 'stripe'?" in done.stderr
    assert run("sim", "stripe", "--option", "nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        (
            "bookingcom",
            {
                "reservations_url": "http://127.0.0.1:9100",
                "auth_url": "http://127.0.0.1:9100/token-based-authentication/exchange",
            },
        ),
        ("twilio", {"account_sid": "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"}),
        ("cloudbeds", {"properties": ["900000000101", "900000000102"]}),
        ("stripe", {}),
    ],
)
def test_sim_says_all_that_a_file_needs_to_work_with_it(tmp_path: Path, driver: str, options: dict[str, object]):
    from syncd import drivers
    from syncd.config import load
    from syncd.testing.process import file_options, make

    simulator = make(driver, {})
    url = "http://127.0.0.1:9100"
    assert file_options(driver, simulator, url) == options
    needs = {"base_url": url + simulator.base_path, "options": options}
    needs["credentials"] = {name: {"env": "A"} for name in simulator.credentials}
    (tmp_path / "partners").mkdir()
    text = json.dumps({"driver": driver, "integrations": {"acme": needs}})
    (tmp_path / "partners" / "partner.yaml").write_text(text)
    assert load(tmp_path, drivers=drivers.facts(), env={}).errors == ()


def test_sim_serves_until_it_is_told_to_stop():
    import signal
    import subprocess
    import sys
    import urllib.request

    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", "sim", "stripe", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2] / "src",
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(told["url"] + "/v1/customers", timeout=10)
        assert refused.value.code == 401
        asked = urllib.request.Request(told["url"] + "/v1/customers")
        asked.add_header("Authorization", f"Bearer {told['credentials']['api_key']}")
        assert urllib.request.urlopen(asked, timeout=10).status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_mistake_in_one_partners_file_keeps_nobody_from_looking_after_the_others(
    directory: Path, capsys: pytest.CaptureFixture[str]
):
    sound = set(load_config(directory).partners)
    (directory / "partners" / "broken.yaml").write_text("driver: resst\n")
    assert set(load_config(directory).partners) == sound
    assert "left out, for its file is wrong: broken. See: syncd check" in capsys.readouterr().err
    (directory / "syncd.yaml").write_text("server: {listn: '127.0.0.1:8080'}\n")
    with pytest.raises(ConfigProblems):
        load_config(directory)
