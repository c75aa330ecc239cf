"""What the unit forbids is really forbidden: the same attempts in our unit, and in one that says nothing but the user.

Each that is refused by ours has to come off in the other; otherwise it would show nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.machine import Machine

UNIT = Path(__file__).parents[2] / "systemd" / "syncd.service"
PROBE = Path(__file__).with_name("probe.py")
OTHER = ("Type=", "ExecStart=", "ExecReload=", "WatchdogSec=", "Restart", "NotifyAccess=", "EnvironmentFile=")
"""Lines that are about how it runs and ends; all others are ours to the letter."""
PLAIN = "[Service]\nUser=syncd\nGroup=syncd\n"


@pytest.fixture(scope="module")
def told(installed: Machine) -> dict[str, dict[str, Any]]:
    """What became of the attempts in each unit."""
    installed.put("/srv/probe.py", PROBE.read_text())
    installed.run("install", "-d", "-m", "0777", "/srv/open", "/home/somebody")
    installed.run("install", "-m", "4755", "/usr/bin/id", "/srv/open/root-id")
    installed.run("touch", "/tmp/of-others")
    lines = [line for line in UNIT.read_text().splitlines() if not line.startswith(OTHER)]
    once = ["Type=oneshot", "ExecStart=/opt/syncd/bin/python /srv/probe.py"]
    ours = "\n".join(line if line != "[Service]" else "\n".join([line, *once]) for line in lines)
    found = {}
    for name, text in {"ours": ours, "plain": PLAIN + "\n".join(once)}.items():
        installed.put(f"/etc/systemd/system/probe-{name}.service", text.replace("Alias=", ""))
        installed.run("systemctl", "daemon-reload")
        begun = installed.run("systemctl", "start", f"probe-{name}", check=False)
        said = installed.journal(f"probe-{name}")
        answers = [line for line in said.splitlines() if line.startswith("{")]
        assert begun.returncode == 0 and answers, said
        found[name] = json.loads(answers[-1])
    return found


def test_nothing_that_is_forbidden_comes_off_and_all_of_it_would_without_the_units_lines(told: dict[str, Any]):
    ours, plain = told["ours"]["tried"], told["plain"]["tried"]
    assert {name for name, result in plain.items() if result != "done"} == set()
    assert {name for name, result in ours.items() if result == "done"} == set()


def test_the_kernel_holds_the_limits(told: dict[str, Any]):
    none = "0" * 16
    kernel = told["ours"]["kernel"]
    assert kernel == {"NoNewPrivs": "1", "Seccomp": "2", "CapBnd": none, "CapEff": none, "CapAmb": none}
    assert (told["ours"]["umask"], told["ours"]["core"], told["ours"]["files"]) == ("0077", 0, 8192)
    assert told["plain"]["kernel"]["CapBnd"] != none


def test_what_the_daemon_needs_works_all_the_same(told: dict[str, Any]):
    """Compiled libraries without memory that is writable and executable, its directories, threads, sockets."""
    assert told["ours"]["works"]


def test_the_daemon_that_runs_is_held_the_same_way(machine: Machine):
    machine.run("systemctl", "start", "syncd.service")
    pid = machine.show("syncd.service", "MainPID")["MainPID"]
    status = dict(
        line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0)
    assert status["Uid"].split() == [machine.run("id", "-u", "syncd").stdout.strip()] * 4
