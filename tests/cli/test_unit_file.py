"""The systemd unit: sound, hardened, and every line explained."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "syncd.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@needs_systemd
def test_verify_has_nothing_to_say():
    done = run("verify", "--man=no", str(UNIT))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_exposure_is_at_most_one_and_a_half():
    done = run("security", "--offline=yes", "--no-pager", str(UNIT))
    match = re.search(r"Overall exposure level for syncd\.service: ([0-9.]+)", done.stdout)
    assert match is not None, done.stdout + done.stderr
    assert float(match[1]) <= 1.5


def test_it_speaks_to_systemd_the_way_the_daemon_does():
    found = settings()
    assert found["Type"] == ["notify"]
    assert found["ExecReload"] == ["/usr/bin/env syncd reload --wait"]
    assert found["RestartPreventExitStatus"] == ["2 77 78"]
    assert "ExecStartPre" not in found  # its exit code would not stop the restarts
    assert float(found["TimeoutStopSec"][0]) == 40
    assert "WatchdogSec" in found
    assert "MemoryMax" in found


def test_every_setting_stands_below_a_comment():
    """A group of like settings shares one: the nearest line above that is no setting must be a comment."""
    lines = UNIT.read_text().splitlines()
    bare = {"Description", "Documentation", "WantedBy"}
    for number, line in enumerate(lines):
        if "=" not in line or line.startswith("#") or line.partition("=")[0] in bare:
            continue
        above = number - 1
        while lines[above].partition("=")[0].isidentifier() and "=" in lines[above]:
            above -= 1
        assert lines[above].startswith("#"), f"line {number + 1}: {line}"


def test_the_page_on_operations_tells_the_units_numbers():
    text = (UNIT.parents[1] / "docs" / "operations.md").read_text()
    found = settings()
    assert f"exit codes {', '.join(found['RestartPreventExitStatus'][0].split()[:-1])} and 78" in text
    assert f"systemd kills after {found['TimeoutStopSec'][0]} s" in text


def test_the_libraries_do_without_memory_that_is_writable_and_executable():
    """What MemoryDenyWriteExecute= asks of them, asked of the kernel directly (PR_SET_MDWE, Linux 6.3)."""
    code = """
import ctypes, mmap, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(42)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    pass
else:
    sys.exit("the kernel allowed it")
import aiohttp, asyncpg, httpx, orjson, pydantic, uvloop, yaml
import syncd.daemon
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
AESGCM(bytes(32)).encrypt(bytes(12), b"x", None)
async def nothing():
    return None
uvloop.run(nothing())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=UNIT.parents[1] / "src",
    )
    if done.returncode == 42:
        pytest.skip("this kernel cannot be asked")
    assert done.returncode == 0, done.stderr
