"""Wishes to the daemon, and what is said when nobody hears them."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.errors import StoreError
from syncd.server.ports import ReconcileReport, ReloadReport


def test_pause_ends_by_itself_and_carries_a_reason(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    done = run("pause", "shop/customers", "--for", "30m", "--reason", "partner migrates", "--config", directory)
    assert done.exit_code == 0
    verb, integration, resource, who, reason, until = stage.status.asked[0]
    assert (verb, integration, resource, reason) == ("pause", "shop", "customers", "partner migrates")
    assert "@" in who
    assert timedelta(minutes=29) < until - datetime.now(UTC) <= timedelta(minutes=30)
    assert "shop/customers paused until 20" in done.stdout


def test_pause_lasts_two_hours_unless_told_otherwise(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    assert "--reason" in run("pause", "shop", "--config", directory).stderr
    assert timedelta(minutes=119) < stage.status.asked[0][-1] - datetime.now(UTC) <= timedelta(hours=2)
    again = run("pause", "shop", "--until-resumed", "--config", directory)
    assert stage.status.asked[1][-1] is None
    assert "until `syncd resume` (it was paused already" in again.stdout


def test_a_bare_number_is_no_duration(run, directory: Path):
    done = run("pause", "shop", "--for", "30", "--config", directory)
    assert done.exit_code == 2
    assert "names its unit" in done.stderr


@pytest.mark.parametrize("lasting", ["0s", "0m", "999999w"])
def test_a_pause_that_ends_at_once_or_in_another_age_is_a_usage_error(run, start, directory: Path, lasting: str):
    stage = start()
    done = run("pause", "shop", "--for", lasting, "--config", directory)
    assert done.exit_code == 2
    assert "at once" in done.stderr or "at most 3660d" in done.stderr
    assert stage.status.asked == []


def test_resume_says_when_there_was_no_pause(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    run("pause", "shop", "--config", directory)
    assert run("resume", "shop", "--config", directory).stdout == "shop resumed\n"
    assert run("resume", "shop", "--config", directory).stdout == "shop was not paused\n"
    assert json.loads(run("resume", "shop", "--json", "--config", directory).stdout)["already_running"] is True


def test_reconcile_shows_what_is_held_and_confirms_it(run, start, directory: Path):
    stage = start()
    stage.status.known = {"shop": ["customers"]}
    stage.status.reconciled = ReconcileReport(wish_ids=[1], held={"customers": 40})
    done = run("reconcile", "shop", "--config", directory)
    assert "complete pass of shop wished for: 1 run" in done.stdout
    assert "customers: 40 deletions held; look, then: syncd reconcile shop/customers --confirm" in done.stderr
    stage.status.reconciled = ReconcileReport(confirmed=40, held={"customers": 40})
    done = run("reconcile", "shop/customers", "--confirm", "--config", directory)
    assert "40 held deletions of shop/customers confirmed" in done.stdout
    assert "look, then" not in done.stderr
    assert stage.status.asked[-1][:4] == ("reconcile", "shop", "customers", True)


def test_reload_waits_and_says_what_changed(run, start, directory: Path):
    start()
    done = run("reload", "--wait", "--config", directory)
    assert done.exit_code == 0
    assert done.stdout == "  guesty.limits 7/s -> 5/s\napplied: guesty\n"


def test_reload_tells_what_a_check_would_warn_of(run, start, directory: Path):
    start().status.reloaded = ReloadReport(
        ok=True, applied=["a"], warnings=["a.yaml:2:3: warning: no such file: x.json"]
    )
    done = run("reload", "--wait", "--config", directory)
    assert done.exit_code == 0 and "warning: no such file: x.json" in done.stderr


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (ReloadReport(ok=True), 0, "configuration unchanged"),
        (ReloadReport(ok=False, applied=["a"], kept={"b": ["b.yaml:1:1: error: x"]}), 1, "applied: a"),
        (ReloadReport(ok=False, kept={"b": ["b.yaml:1:1: error: x"]}), 1, ""),
        (ReloadReport(ok=False, problems=["syncd.yaml:1:1: error: x"]), 78, "nothing applied"),
    ],
)
def test_reload_exits_by_how_much_was_applied(run, start, directory: Path, report: ReloadReport, code: int, said: str):
    start().status.reloaded = report
    done = run("reload", "--wait", "--config", directory)
    assert done.exit_code == code
    assert said in done.stdout
    if not report.ok:
        assert "error: x" in done.stderr
        assert ("not applied" in done.stderr) is bool(report.kept)


def test_reload_without_wait_only_asks(run, start, directory: Path):
    stage = start()
    done = run("reload", "--config", directory)
    assert done.exit_code == 0
    assert done.stdout == ""
    for _ in range(100):
        if stage.status.asked:
            break
        run("status", "--config", directory)
    assert stage.status.asked[0][0] == "reload"


def test_nobody_there_is_69_with_the_setting_and_the_command(run, directory: Path):
    done = run("status", "--config", directory)
    assert done.exit_code == 69
    assert done.stdout == ""
    assert "no daemon answers at 127.0.0.1:10" in done.stderr
    assert f"server.admin in {directory}/syncd.yaml" in done.stderr
    assert "systemctl status syncd" in done.stderr


def test_a_broken_configuration_does_not_hide_the_daemon(run, start, directory: Path):
    start()
    (directory / "partners" / "broken.yaml").write_text("driver: [")
    assert run("status", "--config", directory).exit_code == 0
    (directory / "syncd.yaml").write_text("server: {admin: '127.0.0.1:10', listn: 3}\n")
    assert "127.0.0.1:10" in run("status", "--config", directory).stderr
    (directory / "syncd.yaml").write_text("server: [\n")
    assert "127.0.0.1:8081" in run("status", "--config", directory).stderr


def test_an_address_in_the_environment_wins(run, directory: Path, monkeypatch):
    monkeypatch.setenv("SYNCD_ADMIN", "127.0.0.1:11")
    assert "127.0.0.1:11" in run("status", "--config", directory).stderr
    monkeypatch.setenv("SYNCD_ADMIN", "nonsense")
    assert run("status", "--config", directory).exit_code == 78


def test_a_unix_socket_is_reached_and_its_absence_explained(run, start, directory: Path, tmp_path: Path):
    path = tmp_path / "s.sock"
    start(admin=f"unix:{path}")
    assert run("status", "--config", directory).exit_code == 0
    (directory / "syncd.yaml").write_text(f"server: {{admin: 'unix:{tmp_path}/none.sock'}}\n")
    done = run("status", "--config", directory)
    assert done.exit_code == 69
    assert "No such file" in done.stderr


def test_the_token_is_read_from_where_the_configuration_keeps_it(run, start, directory: Path, monkeypatch):
    start(token="sesame-open-17")
    done = run("status", "--config", directory)
    assert done.exit_code == 77
    assert "wants its token\n  do:  set SYNCD_ADMIN_TOKEN to it" in done.stderr
    (directory / "secrets" / "token").write_text("sesame-open-17\n")
    (directory / "secrets" / "token").chmod(0o600)
    text = (directory / "syncd.yaml").read_text().replace("admin: ", "admin_token: {file: token}, admin: ")
    (directory / "syncd.yaml").write_text(text)
    assert run("status", "--config", directory).exit_code == 0
    (directory / "secrets" / "token").write_text("sesame-open-18\n")
    assert "what the daemon started with: systemctl restart" in run("status", "--config", directory).stderr
    monkeypatch.setenv("SYNCD_ADMIN_TOKEN", "wrong")
    wrong = run("status", "--config", directory)
    assert (wrong.exit_code, "unset it, or set it to" in wrong.stderr) == (77, True)


def test_a_database_that_is_away_is_75_with_the_hint(run, start, directory: Path):
    start().status.error = StoreError("the database cannot be reached", hint="syncd check --env")
    done = run("status", "--config", directory)
    assert done.exit_code == 75
    assert "do:  syncd check --env" in done.stderr


def test_another_program_at_the_address_is_no_traceback(run, directory: Path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (directory / "syncd.yaml").write_text(f"server: {{admin: '127.0.0.1:{port}'}}\n")
        import threading

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        done = run("status", "--config", directory)
        thread.join()
    assert done.exit_code == 69
    assert "Traceback" not in done.stderr


def test_healthcheck_asks_the_public_site(run, start, directory: Path):
    stage = start()
    assert run("healthcheck", "--config", directory).exit_code == 0
    stage.status.stuck = ["event loop"]
    assert run("healthcheck", "--config", directory).exit_code == 1
    assert run("healthcheck", "--ready", "--config", directory).exit_code == 0
    stage.status.reasons = ["draining"]
    done = run("healthcheck", "--ready", "--json", "--config", directory)
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"ready": False, "reasons": ["draining"]}


def test_healthcheck_without_a_daemon_is_69(run, directory: Path):
    assert run("healthcheck", "--config", directory).exit_code == 69


def test_a_partner_is_paused_with_all_of_its_integrations(run, start, directory: Path):
    stage = start()
    done = run("pause", "stripe", "--partner", "--reason", "they move", "--config", directory)
    assert done.stdout.startswith("stripe (acme, shop) paused until ")
    assert {call[1] for call in stage.status.asked if call[0] == "pause"} == {"acme", "shop"}
    assert run("resume", "stripe", "--partner", "--config", directory).stdout == "stripe (acme, shop) resumed\n"
    nobody = run("pause", "stripy", "--partner", "--config", directory)
    assert (nobody.exit_code, "stripe" in nobody.stderr) == (2, True)
    assert run("pause", "stripe/customers", "--partner", "--config", directory).exit_code == 2
