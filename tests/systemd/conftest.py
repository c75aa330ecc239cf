"""One machine for all tests of this folder, with the package installed, a database made and a partner that answers."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import PACKAGE, TREE, Machine, NotBooted, cannot

ROOT = Path(__file__).parents[2]
PARTNER = "http://127.0.0.1:9100/v1"


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine as it comes up, nothing of ours in it."""
    if reason := cannot():
        pytest.skip(reason)
    machine = Machine(Path(os.environ[TREE]), tmp_path_factory.mktemp("machine"))
    try:
        machine.__enter__()
    except NotBooted as error:
        pytest.skip(f"no machine can be booted here: {error}")
    yield machine
    machine.off()


@pytest.fixture(scope="session")
def installed(booted: Machine) -> Machine:
    """... with our package."""
    booted.bring(Path(os.environ[PACKAGE]), "/srv/syncd.deb")
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    command = next(line for line in page.splitlines() if line.startswith("apt install "))
    booted.run("sh", "-c", re.sub(r"\./dist/\S+\.deb", "/srv/syncd.deb", command), seconds=180, stdin="y\n")
    return booted


@pytest.fixture(scope="session")
def machine(installed: Machine) -> Machine:
    """... with a database and one integration of a partner that answers, as docs/install.md has an operator do it."""
    installed.run("runuser", "-u", "postgres", "--", "createuser", "syncd")
    installed.run("runuser", "-u", "postgres", "--", "createdb", "--owner", "syncd", "syncd")
    address = "SYNCD_DATABASE_URL=postgresql:///syncd?host=/run/postgresql\n"
    installed.put("/etc/syncd/environment", address, mode="0640", group="syncd")
    installed.run(
        "systemd-run", "--unit=partner", "--property=DynamicUser=yes", "syncd", "sim", "maintainx", "--port", "9100"
    )
    key = _credentials(installed)["api_key"]
    installed.run("install", "-d", "-m", "0700", "-o", "syncd", "/etc/syncd/secrets/maintainx")
    installed.put("/etc/syncd/secrets/maintainx/api_key", key, mode="0600", owner="syncd")
    write_partner(installed)
    return installed


def write_partner(machine: Machine, text: str | None = None, *, name: str = "plant") -> None:
    body = f"""driver: maintainx
integrations:
  {name}:
    base_url: {PARTNER}
    credentials: {{api_key: {{file: maintainx/api_key}}}}
"""
    machine.put("/etc/syncd/partners/maintainx.yaml", body if text is None else text, mode="0640", group="syncd")


def _credentials(machine: Machine) -> dict[str, str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for line in machine.journal("partner").splitlines():
            if line.startswith("{"):
                found: dict[str, str] = json.loads(line)["credentials"]
                return found
        time.sleep(0.2)
    raise AssertionError("the simulated partner does not answer:\n" + machine.journal("partner"))
