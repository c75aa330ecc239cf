"""The package when it goes, and comes back: what stays, what is as the operator had it, and what a purge leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine

UNIT = "syncd.service"


def install(machine: Machine) -> None:
    machine.run("dpkg", "--install", "/srv/syncd.deb", seconds=180)


def is_enabled(machine: Machine) -> str:
    return machine.run("systemctl", "is-enabled", UNIT, check=False).stdout.strip()


def test_a_service_that_was_switched_off_stays_so_and_a_deleted_file_is_not_missed(machine: Machine):
    machine.run("systemctl", "disable", "--now", UNIT)
    machine.run("mv", "/etc/syncd/syncd.yaml", "/srv/syncd.yaml")
    install(machine)
    assert machine.run("dpkg-query", "--show", "--showformat=${Status}", "syncd").stdout == "install ok installed"
    assert is_enabled(machine) == "disabled"
    assert machine.show(UNIT, "ActiveState")["ActiveState"] == "inactive"
    machine.run("cp", "-p", "/srv/syncd.yaml", "/etc/syncd/syncd.yaml")
    machine.run("systemctl", "enable", "--now", UNIT)


def test_a_removal_keeps_configuration_and_state_and_another_installation_finds_all_as_it_was(machine: Machine):
    machine.run("systemctl", "start", UNIT)
    pid = machine.show(UNIT, "MainPID")["MainPID"]
    key = machine.run("sha256sum", "/var/lib/syncd/syncd.key").stdout
    machine.run("dpkg", "--remove", "syncd", seconds=180)
    assert machine.run("test", "-e", f"/proc/{pid}", check=False).returncode == 1, "it still runs"
    gone = ("/opt/syncd", "/usr/bin/syncd", "/lib/systemd/system/syncd.service")
    assert [path for path in gone if machine.run("test", "-e", path, check=False).returncode == 0] == []
    machine.run("test", "-d", "/opt")
    machine.run("test", "-e", "/etc/syncd/secrets/maintainx/api_key")
    install(machine)
    assert is_enabled(machine) == "enabled"
    machine.run("systemctl", "start", UNIT)
    assert machine.run("sha256sum", "/var/lib/syncd/syncd.key").stdout == key


@pytest.fixture
def kept(machine: Machine) -> Iterator[None]:
    """What the purge takes is there again for whoever comes afterwards; the account has the number it had."""
    machine.run("sh", "-c", "mkdir /srv/kept; cp -a /etc/syncd /srv/kept/etc; cp -a /var/lib/syncd /srv/kept/state")
    yield
    install(machine)
    back = "rm -r /etc/syncd; cp -a /srv/kept/etc /etc/syncd; cp -a /srv/kept/state /var/lib/syncd; rm -r /srv/kept"
    machine.run("sh", "-euc", f"rm -rf /var/lib/syncd; {back}")
    machine.run("systemctl", "start", UNIT)


@pytest.mark.usefixtures("kept")
def test_a_purge_leaves_nothing_but_the_copy(machine: Machine):
    machine.run("dpkg", "--purge", "syncd", seconds=180)
    places = ["/etc", "/opt", "/run", "/usr", "/var"]
    found = machine.run("find", *places, "-xdev", "-name", "*syncd*").stdout.split()
    others = ("/var/cache/man/", "/var/lib/postgresql/")  # what man(1) keeps of pages it has shown; the copy
    assert [path for path in found if not path.startswith(others)] == []
    assert machine.run("getent", "passwd", "syncd", check=False).returncode == 2
    counted = "SELECT count(*) > 0 FROM syncd.records"
    assert machine.run("runuser", "-u", "postgres", "--", "psql", "-Atc", counted, "syncd").stdout == "t\n"
