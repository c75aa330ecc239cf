"""Beyond loopback the page asks for the token: a whole daemon at such an address, and a real browser that signs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.afar import ADDRESS, TOKEN

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(180)]
APART = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
NETWORK = f'ip link set lo up && ip addr add {ADDRESS}/32 dev lo && exec "$@"'


@pytest.fixture
def apart() -> list[str]:
    """How a command is begun in a network of its own, in which `ADDRESS` is this machine."""
    begun = [*APART, "sh", "-c", NETWORK, "sh"]
    try:
        tried = subprocess.run([*begun, "true"], capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        pytest.skip(f"no network of its own to be had: {error}")
    if tried.returncode:
        pytest.skip(f"no network of its own to be had: {tried.stderr.strip()[:200]}")
    return begun


def test_whoever_has_the_token_signs_in_from_another_machine(
    program: str, apart: list[str], database: str, tmp_path: Path
):
    if "host=/" not in database:
        pytest.skip("the tests' database is not at a Unix socket, which alone reaches into that network")
    command = [*apart, sys.executable, "-m", "tests.browser.afar", database, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    seen = json.loads(ended.stdout)
    assert seen["asked at"] == "/ui/login?to=/ui/letters%3Fintegration%3Dacme"
    assert "that is not the token" in seen["wrong"]
    assert seen["led to"] == "/ui/letters?integration=acme"
    assert seen["api"] == 401, "the session is the page's alone"
    assert seen["cookie"] == [True, "Strict", "/ui"]
    assert seen["scripts"] == "", "no cookie is for scripts"
    assert seen["afterwards"].startswith("/ui/login")
    assert seen["faults"] == [], "of scripts, or against the policy"
    log = (tmp_path / "daemon.log").read_text()
    assert "desk_failed" not in log and TOKEN not in log
