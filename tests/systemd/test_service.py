"""The unit under a real systemd, in the order of a service's life. Every line of the unit that says what happens is held here
by something that happens."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.store.migrate import _LOCK as LOCK
from tests.systemd.conftest import write_partner
from tests.systemd.machine import Machine

UNIT = "syncd.service"
ROOT = Path(__file__).parents[2]
URL = "postgresql:///syncd?host=/run/postgresql"
DROP_IN = "/etc/systemd/system/syncd.service.d/test.conf"


def ask(machine: Machine, path: str, port: int = 8080) -> tuple[int, str]:
    """Status and body of one of the daemon's pages; 0 when nobody answers."""
    code = (
        "import sys,urllib.request,urllib.error\n"
        f"try: a=urllib.request.urlopen('http://127.0.0.1:{port}{path}', timeout=5); print(a.status, a.read().decode())\n"
        "except urllib.error.HTTPError as e: print(e.code, e.read().decode())\n"
        "except OSError as e: print(0, e)\n"
    )
    status, _, body = machine.run("python3", "-c", code).stdout.partition(" ")
    return int(status), body


def as_service(machine: Machine, *words: str) -> str:
    """Run a command as the service's user, with its environment; what it printed."""
    whole = ["runuser", "-u", "syncd", "--", "env", f"SYNCD_DATABASE_URL={URL}", *words]
    return machine.run(*whole, seconds=90).stdout


def started(machine: Machine) -> int:
    """The daemon runs, whatever the test before left; its process id."""
    machine.run("systemctl", "reset-failed", UNIT, check=False)
    machine.run("systemctl", "start", UNIT)
    return int(machine.show(UNIT, "MainPID")["MainPID"])


@pytest.fixture
def drop_in(machine: Machine) -> Iterator[None]:
    """Lines of one's own beside the unit, gone after the test."""
    yield
    machine.run("rm", "-f", DROP_IN)
    machine.run("systemctl", "daemon-reload")


def test_the_package_leaves_a_service_that_is_enabled_and_not_started(installed: Machine):
    found = installed.show(UNIT, "LoadState", "UnitFileState", "ActiveState", "Type", "User")
    assert found == {
        "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "inactive", "Type": "notify", "User": "syncd",
    }  # fmt: skip
    assert re.fullmatch(r"syncd \d+\.\d+\.\d+\n", installed.run("syncd", "--version").stdout)
    modes = installed.run(
        "stat", "-c", "%n %a %U %G", "/etc/syncd", "/etc/syncd/syncd.yaml", "/etc/syncd/secrets"
    ).stdout
    assert modes.splitlines() == [
        "/etc/syncd 750 root syncd", "/etc/syncd/syncd.yaml 640 root syncd", "/etc/syncd/secrets 700 syncd syncd",
    ]  # fmt: skip


def test_the_package_brings_the_manual_and_the_completion(installed: Machine):
    assert "syncd.1" in installed.run("man", "-w", "syncd").stdout
    said = installed.run("man", "--warnings", "syncd")
    assert said.stderr == ""
    assert "partners' records" in said.stdout
    script = "source /usr/share/bash-completion/completions/syncd; COMP_WORDS=(syncd run); COMP_CWORD=1; "
    asked = installed.run(
        "bash", "-c", script + "COMP_WORDS=(syncd runb); _syncd_completion syncd; echo ${COMPREPLY[@]}"
    )
    assert asked.stdout == "runbook\n"


def test_a_configuration_that_is_wrong_is_tried_once(machine: Machine):
    machine.run("systemctl", "stop", UNIT)
    write_partner(machine, "driver: maintainx\nintegrations: {plant: {no_such_key: 1}}\n")
    began = machine.run("systemctl", "start", UNIT, check=False)
    assert began.returncode != 0
    time.sleep(2.5)  # twice RestartSec
    found = machine.show(UNIT, "ActiveState", "ExecMainStatus", "NRestarts", "Result")
    assert found == {"ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0", "Result": "exit-code"}
    assert "no_such_key" in machine.journal(UNIT)
    write_partner(machine)


def test_a_start_is_over_when_syncd_serves(machine: Machine):
    started(machine)
    assert ask(machine, "/ready")[0] == 200  # at once: no waiting here
    found = machine.show(UNIT, "ActiveState", "SubState", "StatusText", "NotifyAccess", "WatchdogUSec")
    assert (found["ActiveState"], found["SubState"], found["NotifyAccess"]) == ("active", "running", "main")
    assert found["WatchdogUSec"] == "30s"
    assert "1 integration" in found["StatusText"], found
    assert found["StatusText"] in machine.run("systemctl", "status", UNIT).stdout
    told = machine.run("runuser", "-u", "syncd", "--", "syncd", "status").stdout
    assert "plant" in told


def test_the_log_in_the_journal_is_json_and_has_priorities(machine: Machine):
    started(machine)
    lines = machine.run("journalctl", "--no-pager", "--output=json", f"--unit={UNIT}").stdout.splitlines()
    told = [(json.loads(line)["MESSAGE"], json.loads(line)["PRIORITY"]) for line in lines]
    events = {json.loads(text)["event"]: priority for text, priority in told if text.startswith('{"')}
    assert events["daemon_started"] == "6"


def test_state_is_the_services_own_and_outlives_it(machine: Machine):
    started(machine)
    owner = machine.run("stat", "-c", "%a %U", "/var/lib/syncd", "/run/syncd").stdout.split()
    assert owner == ["700", "syncd", "750", "syncd"]
    before = machine.run("sha256sum", "/var/lib/syncd/syncd.key").stdout
    assert machine.run("stat", "-c", "%a", "/var/lib/syncd/syncd.key").stdout == "600\n"
    machine.run("systemctl", "restart", UNIT)
    assert machine.run("sha256sum", "/var/lib/syncd/syncd.key").stdout == before


def test_a_reload_is_over_when_it_is_in_force(machine: Machine):
    pid = started(machine)
    write_partner(machine, name="works")
    machine.run("systemctl", "reload", UNIT)
    assert list(json.loads(ask(machine, "/health")[1])["services"]) == ["works"]  # at once
    write_partner(machine)
    machine.run("systemctl", "reload", UNIT)
    assert list(json.loads(ask(machine, "/health")[1])["services"]) == ["plant"]
    assert machine.show(UNIT, "MainPID", "ActiveState") == {"MainPID": str(pid), "ActiveState": "active"}


def test_a_reload_of_what_is_wrong_fails_and_leaves_all_as_it_was(machine: Machine):
    pid = started(machine)
    write_partner(machine, "driver: maintainx\nintegrations: {works: {no_such_key: 1}}\n")
    refused = machine.run("systemctl", "reload", UNIT, check=False)
    write_partner(machine)
    assert refused.returncode != 0
    assert machine.show(UNIT, "MainPID", "ActiveState") == {"MainPID": str(pid), "ActiveState": "active"}
    assert list(json.loads(ask(machine, "/health")[1])["services"]) == ["plant"]
    assert "no_such_key" in machine.journal(UNIT)
    machine.run("systemctl", "reload", UNIT)


def test_a_hangup_reloads_too(machine: Machine):
    pid = started(machine)
    write_partner(machine, name="works")
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", UNIT)
    deadline = time.monotonic() + 20
    while list(json.loads(ask(machine, "/health")[1])["services"]) != ["works"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    machine.until(UNIT, ActiveState="active", MainPID=str(pid))
    write_partner(machine)
    machine.run("systemctl", "reload", UNIT)


@pytest.mark.usefixtures("drop_in")
def test_a_loop_that_is_blocked_is_ended_by_the_watchdog_and_comes_back(machine: Machine):
    """The loop stands still because a signal's handler does, in the daemon's own thread, as a driver's endless loop would."""
    machine.put(
        "/srv/blocking/sitecustomize.py",
        "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))\n",
    )
    machine.put(DROP_IN, "[Service]\nWatchdogSec=3\nEnvironment=PYTHONPATH=/srv/blocking\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    pid = machine.show(UNIT, "MainPID")["MainPID"]
    time.sleep(4)  # one watchdog interval and more: a daemon that moves is left alone
    assert machine.show(UNIT, "MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", UNIT)
    machine.until(UNIT, NRestarts="1", ActiveState="active", SubState="running")
    assert machine.show(UNIT, "MainPID")["MainPID"] != pid
    assert ask(machine, "/ready")[0] == 200
    said = machine.journal(UNIT)
    assert "Watchdog timeout" in said
    assert "sitecustomize.py" in said, "where it stood is not in the journal"


def test_a_killed_daemon_comes_back(machine: Machine):
    pid = started(machine)
    before = int(machine.show(UNIT, "NRestarts")["NRestarts"])
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    machine.until(UNIT, NRestarts=str(before + 1), ActiveState="active", SubState="running")
    assert machine.show(UNIT, "MainPID")["MainPID"] != str(pid)
    assert ask(machine, "/ready")[0] == 200


@pytest.mark.usefixtures("drop_in")
def test_a_key_handed_over_by_systemd_is_used_and_nothing_else_sees_it(machine: Machine):
    """The line of the unit that is commented out, as docs/install.md has an operator switch it on."""
    machine.run("systemctl", "stop", UNIT)
    key = machine.run("cat", "/var/lib/syncd/syncd.key").stdout
    machine.put("/etc/syncd/key", key, mode="0400")
    machine.run("rm", "/var/lib/syncd/syncd.key")
    line = re.search(
        r"^#(LoadCredential=.*)$", machine.run("cat", "/lib/systemd/system/syncd.service").stdout, re.MULTILINE
    )
    assert line is not None
    machine.put(DROP_IN, f"[Service]\n{line[1]}\n")
    machine.run("systemctl", "daemon-reload")
    pid = started(machine)
    assert machine.run("test", "-e", "/var/lib/syncd/syncd.key", check=False).returncode == 1, (
        "it made a key of its own"
    )
    assert key.strip() not in machine.run("cat", f"/proc/{pid}/environ").stdout
    handed = machine.run("find", "/run/credentials/syncd.service", "-type", "f", "-printf", "%f %m\n").stdout
    assert handed in {"syncd.key 400\n", "syncd.key 440\n"}
    machine.run("systemctl", "stop", UNIT)
    machine.put("/var/lib/syncd/syncd.key", key, mode="0600", owner="syncd", group="syncd")


def test_a_stop_drains_and_ends_well_within_its_time(machine: Machine):
    started(machine)
    began = time.monotonic()
    machine.run("systemctl", "stop", UNIT)
    assert time.monotonic() - began < 40  # TimeoutStopSec
    found = machine.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "ExecMainCode")
    assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}
    assert ask(machine, "/ready")[0] == 0


@pytest.mark.usefixtures("drop_in")
def test_a_drain_that_is_to_last_longer_than_systemd_waits_is_waited_for(machine: Machine):
    """A page that hangs is held for all of `drain`; what systemd gives by itself is over long before."""
    hang = "import socket,time; s=socket.create_server(('127.0.0.1',9101)); time.sleep(600)"
    machine.run("systemd-run", "--unit=hanging", "--property=DynamicUser=yes", "python3", "-c", hang)
    machine.run("systemctl", "stop", UNIT)
    body = machine.run("cat", "/etc/syncd/partners/maintainx.yaml").stdout
    write_partner(machine, body.replace(":9100/", ":9101/").replace("plant:", "hangs:"))
    machine.run("sed", "-i", "$ a drain: 8s", "/etc/syncd/syncd.yaml")
    machine.put(DROP_IN, "[Service]\nTimeoutStopSec=3\n")
    machine.run("systemctl", "daemon-reload")
    started(machine)
    deadline = time.monotonic() + 20
    while " 0100007F:238D 01 " not in machine.run("cat", "/proc/net/tcp").stdout:  # established, to port 9101
        assert time.monotonic() < deadline, machine.journal(UNIT)[-2000:]
        time.sleep(0.2)
    began = time.monotonic()
    machine.run("systemctl", "stop", UNIT)
    took = time.monotonic() - began
    found = machine.show(UNIT, "ActiveState", "Result", "ExecMainStatus")
    machine.run("sed", "-i", "$ d", "/etc/syncd/syncd.yaml")
    machine.run("systemctl", "stop", "hanging")
    write_partner(machine)
    assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}, machine.journal(UNIT)[
        -2000:
    ]
    assert took > 5, "nothing was held: the test shows nothing"


@pytest.mark.usefixtures("drop_in")
def test_a_migration_that_takes_longer_than_a_start_may_is_waited_for(machine: Machine):
    """It waits for the lock under which another instance migrates, here held for longer than TimeoutStartSec."""
    machine.run("systemctl", "stop", UNIT)
    machine.run("runuser", "-u", "postgres", "--", "psql", "-qc", "DROP SCHEMA IF EXISTS syncd CASCADE", "syncd")
    machine.put(DROP_IN, "[Service]\nTimeoutStartSec=8\n")
    machine.run("systemctl", "daemon-reload")
    hold = f"SELECT pg_advisory_lock({LOCK}); SELECT pg_sleep(14)"
    words = ["systemd-run", "--unit=holding", "--uid=postgres", "psql", "-qc", hold, "syncd"]
    machine.run(*words)
    deadline = time.monotonic() + 10
    held = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = {LOCK & 0xFFFFFFFF}"
    while machine.run("runuser", "-u", "postgres", "--", "psql", "-Atc", held, "syncd").stdout != "1\n":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    before = machine.show(UNIT, "NRestarts")["NRestarts"]
    began = machine.run("systemctl", "start", UNIT, check=False)
    assert began.returncode == 0, machine.journal(UNIT)[-3000:]
    found = machine.show(UNIT, "ActiveState", "SubState", "NRestarts")
    assert found == {"ActiveState": "active", "SubState": "running", "NRestarts": before}


def test_a_restart_at_boot_waits_for_a_database_that_comes_later(machine: Machine):
    """Neither order nor presence is required: the start goes on while it waits, and says what it waits for."""
    machine.run("systemctl", "stop", UNIT, "postgresql@15-main")
    machine.run("systemctl", "start", "--no-block", UNIT)
    machine.until(UNIT, ActiveState="activating", StatusText="waiting for the database")
    machine.run("systemctl", "start", "postgresql@15-main")
    machine.until(UNIT, ActiveState="active", SubState="running")


@pytest.mark.usefixtures("drop_in")
def test_a_start_that_is_to_wait_for_the_schema_waits_for_it(machine: Machine):
    """The line that docs/upgrade.md has for those who let nothing but a pipeline change the schema."""
    line = re.search(r"^ExecStartPre=.*$", (ROOT / "docs/upgrade.md").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    machine.run("systemctl", "stop", UNIT)
    machine.run("runuser", "-u", "postgres", "--", "psql", "-qc", "DROP SCHEMA syncd CASCADE", "syncd")
    machine.put(DROP_IN, f"[Service]\n{line[0]}\n")
    machine.run("systemctl", "daemon-reload")
    assert machine.run("systemctl", "start", UNIT, check=False).returncode != 0
    machine.until(UNIT, SubState="auto-restart")
    as_service(machine, "syncd", "migrate")
    machine.until(UNIT, ActiveState="active", SubState="running")


def test_the_way_back_by_a_dump_is_as_docs_upgrade_says(machine: Machine):
    """Its commands, run as they stand there; what happened after the dump is gone, what was before is there."""
    started(machine)
    page = (ROOT / "docs/upgrade.md").read_text("utf-8")
    dump = re.search(r"^pg_dump .*$", page, re.MULTILINE)
    back = re.search(r"^systemctl stop syncd\npsql .*?^systemctl start syncd$", page, re.MULTILINE | re.DOTALL)
    assert dump is not None and back is not None
    records = "SELECT count(*) FROM syncd.records"
    as_service(machine, "syncd", "sync", "plant")
    before = int(as_service(machine, "psql", "-Atc", records, URL).strip())
    assert before > 0
    there = f"set -e; cd /var/lib/syncd; export SYNCD_DATABASE_URL='{URL}'; "
    as_service(machine, "sh", "-c", there + dump[0])
    as_service(machine, "psql", "-qc", "INSERT INTO syncd.schema_migrations VALUES (9999, 'later', '')", URL)
    machine.run("systemctl", "stop", UNIT)
    assert machine.run("systemctl", "start", UNIT, check=False).returncode != 0
    assert machine.show(UNIT, "ExecMainStatus")["ExecMainStatus"] == "78"
    machine.run("systemctl", "reset-failed", UNIT)
    for command in back[0].splitlines():
        if command.startswith("systemctl"):
            machine.run(*command.split())
        else:
            as_service(machine, "sh", "-c", there + command)
    machine.until(UNIT, ActiveState="active", SubState="running")
    assert int(as_service(machine, "psql", "-Atc", records, URL).strip()) >= before


def test_an_upgrade_of_the_package_starts_the_service_again_and_keeps_what_was_changed(machine: Machine):
    pid = started(machine)
    machine.run("sed", "-i", "s/^log:/# mine\\nlog:/", "/etc/syncd/syncd.yaml")
    machine.run("dpkg", "--install", "/srv/syncd.deb", seconds=180)
    machine.until(UNIT, ActiveState="active", SubState="running")
    assert machine.show(UNIT, "MainPID")["MainPID"] != str(pid)
    assert "# mine" in machine.run("cat", "/etc/syncd/syncd.yaml").stdout
