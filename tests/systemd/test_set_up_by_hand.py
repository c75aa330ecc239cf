"""What documents have an operator run as root (`BOOTED` of tests/other_tools.py), run as it stands there, in the order of an
installation's life. It takes the package away at last: so this file is the last one."""

from __future__ import annotations

import re

import pytest

from tests import other_tools
from tests.documented import ROOT, blocks
from tests.systemd.machine import Machine

UNIT = "syncd.service"
EDITOR = "/srv/editor"
QUIET = ("grep", "--grep", "doctor")
"""What ends with 1 where it finds nothing, or something to mend."""
RUN: set[str] = set()
"""What was run, of all that is said."""


def shell(
    machine: Machine, command: str, *, stdin: str = "y\n", folder: str = "/srv/checkout", seconds: float = 180
) -> str:
    """Run it as it is said, by root's shell; a question is answered with yes."""
    RUN.add(command)
    words = command.replace("syncd_0.1.0-1_amd64.deb", "syncd_old.deb").replace(
        "syncd_0.2.0-1_amd64.deb", "syncd_new.deb"
    )
    if any(quiet in command for quiet in QUIET):
        words += " || [ $? = 1 ]"
    done = machine.run("bash", "-euc", f"cd {folder}; {words}", stdin=stdin, seconds=seconds)
    return done.stdout + done.stderr


def page(name: str, *begins: str) -> list[str]:
    """The lines of the page's `sh` blocks that begin so, in order."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    lines = [re.sub(r" {2,}#.*", "", line) for body in blocks(text, "sh", "console") for line in body.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith(begins)]


@pytest.fixture(scope="module")
def checkout(machine: Machine) -> Machine:
    """... with what a checkout has, `sudo`, and packages of this release and a later one."""
    for name in ("config/syncd.yaml", "systemd/syncd.service"):
        machine.put(f"/srv/checkout/{name}", (ROOT / name).read_text("utf-8"))
    machine.put(
        "/usr/local/bin/sudo",
        '#!/bin/sh\n[ "$1" = -u ] || exec "$@"\nuser=$2; shift 2\nexec runuser -u "$user" -- "$@"\n',
        mode="0755",
    )
    machine.run("mkdir", "-p", "/srv/checkout/dist")
    machine.run("ln", "/srv/syncd.deb", "/srv/checkout/dist/syncd_old.deb")
    machine.run("ln", "/srv/syncd.deb", "/srv/checkout/syncd_old.deb")
    again = "dpkg-deb -R /srv/syncd.deb /srv/new; sed -i 's/^Version: .*/Version: 9.0.0-1/' /srv/new/DEBIAN/control; "
    machine.run("sh", "-euc", again + "dpkg-deb -Znone -b /srv/new /srv/checkout/syncd_new.deb", seconds=120)
    machine.run("systemctl", "start", UNIT)
    return machine


def test_systemd_and_its_journal_are_asked_as_it_is_said(checkout: Machine) -> None:
    """The unit's own lines are changed by `systemctl edit`, with an editor that writes what the doctor says."""
    for command in other_tools.said():
        if not re.match(r"systemctl|journalctl|systemd-run|man ", command) or not _booted(command):
            continue
        if command.startswith("systemctl edit"):
            edited(checkout, command)
        else:
            shell(checkout, command + (" syncd" if command == "systemctl reload" else ""))
            RUN.add(command)
        if "stop" not in command:
            checkout.run("systemctl", "start", UNIT)
    checkout.until(UNIT, ActiveState="active", SubState="running")


def edited(machine: Machine, command: str) -> None:
    words, _, line = command.partition(": [Service] ")
    line = line or "Nice=3"
    machine.put(EDITOR, f"#!/bin/sh\nprintf '%s\\n' '[Service]' '{line}' > \"$1\"\n", mode="0755")
    machine.run("bash", "-euc", f'SYSTEMD_EDITOR={EDITOR} script -qec "{words}" /dev/null')
    RUN.add(command)
    assert f"\n[Service]\n{line}\n" in machine.run("systemctl", "cat", UNIT).stdout
    told = machine.run("systemd-analyze", "verify", UNIT, check=False).stderr
    assert "Failed to parse" not in told and "Unknown" not in told, told
    machine.run("systemctl", "revert", UNIT)


def test_a_later_package_is_put_in_place_and_the_earlier_one_back(checkout: Machine) -> None:
    """By apt, as docs/upgrade.md has it; the service runs on with each."""
    version = ("dpkg-query", "-Wf", "${Version}", "syncd")
    before = checkout.run(*version).stdout
    new = next(command for command in page("upgrade.md", "apt install"))
    shell(checkout, new)
    assert checkout.run(*version).stdout == "9.0.0-1"
    checkout.until(UNIT, ActiveState="active", SubState="running")
    shell(checkout, "apt install ./syncd_0.1.0-1_amd64.deb")
    assert checkout.run(*version).stdout == before
    checkout.until(UNIT, ActiveState="active", SubState="running")


def test_it_is_taken_away_and_set_up_by_hand(checkout: Machine) -> None:
    """As docs/install.md has it. Its environment is that of the package, since nothing can be fetched here."""
    machine = checkout
    machine.run("cp", "-a", "/opt/syncd", "/srv/opt-syncd")
    machine.run("cp", "-a", "/usr/share/doc/syncd/examples", "/srv/examples")
    shell(machine, "apt remove", folder='/srv; set -- syncd; apt() { command apt "$@" syncd; }')
    assert machine.run("test", "-e", "/etc/syncd/syncd.yaml", check=False).returncode == 0
    shell(machine, "apt purge syncd")
    RUN.add("apt purge")
    assert machine.run("test", "-e", "/etc/syncd", check=False).returncode == 1
    assert machine.run("getent", "passwd", "syncd", check=False).returncode != 0
    machine.run("runuser", "-u", "postgres", "--", "dropdb", "--force", "syncd")
    machine.run("runuser", "-u", "postgres", "--", "dropuser", "syncd")
    machine.run("cp", "-a", "/srv/opt-syncd", "/opt/syncd")
    machine.run("mkdir", "-p", "/usr/share/doc/syncd")
    machine.run("cp", "-a", "/srv/examples", "/usr/share/doc/syncd/examples")
    for command in page("install.md", "useradd", "install ", "ln ", "systemctl daemon-reload", "sudo "):
        shell(machine, command, stdin="sk_live_nobodys_key")
    machine.run("sed", "-i", "s/acme_payments/shop/", "/etc/syncd/partners/stripe.yaml")
    shell(machine, "systemctl start syncd")
    machine.until(UNIT, ActiveState="active", SubState="running")
    health = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/ready', timeout=5).status)"
    assert machine.run("python3", "-c", health).stdout == "200\n"
    for command in other_tools.said():  # the head of the unit says the same once more
        if "&&" in command and command.startswith("install ") and _booted(command):
            shell(machine, command)
        if command.startswith("install -m 644 systemd"):
            shell(machine, command)


def test_everything_was_run_that_is_said(machine: Machine) -> None:
    RUN.update(page("install.md", "apt install"))  # conftest.py installs the package by it
    assert [command for command in other_tools.said() if _booted(command) and command not in RUN] == []


def _booted(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in other_tools.BOOTED)
