"""Run the commands by which documents have somebody install syncd and see it at work: `IN_CI` of tests/other_tools.py.

In a copy of the checkout, with the wheel that CI has built; all of it is gone afterwards. What no machine has to have (a
version of Python, a folder in /opt, a release in a file's name) is replaced by what is there. Each command has a bound.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

SECONDS = 300
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


def commands() -> list[str]:
    """In the order of the table."""
    from tests import other_tools

    said = other_tools.said()
    return [one for pattern in other_tools.IN_CI for one in said if re.fullmatch(pattern, one)]


def main() -> int:
    scratch = Path(tempfile.mkdtemp(prefix="syncd-documented-"))
    try:
        return _all(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _all(scratch: Path) -> int:
    tools, syncd = scratch / "tools", scratch / "syncd"
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(scratch / "bin"), str(tools / "bin"), os.environ["PATH"]]),
        "PIPX_HOME": str(scratch / "pipx"),
        "PIPX_BIN_DIR": str(scratch / "bin"),
        "UV_TOOL_DIR": str(scratch / "uv"),
        "UV_TOOL_BIN_DIR": str(scratch / "bin"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "copy",
    }
    here = _checkout(scratch)
    [wheel] = (here / "dist").glob("*.whl")
    driver = f"syncd new driver acme >/dev/null && mv acme {here}/syncd-driver-acme"
    for words in (
        f"{sys.executable} -m venv {tools} && {tools}/bin/python -m pip install -qq pipx uv",
        f"{sys.executable} -m venv {syncd} && {syncd}/bin/python -m pip install -qq {wheel}",
        f"PATH={syncd}/bin:$PATH; cd {scratch}; {driver}",  # in a checkout it would be written among the others,
    ):
        if code := _run(words, here, env):
            return code
    for said in commands():
        words = said.replace("syncd-0.1.0-py3-none-any.whl", wheel.name).replace("/opt/syncd", str(scratch / "opt"))
        words = re.sub(r"--python 3\.\d+", f"--python {sys.executable}", words)
        if words.startswith("pip "):
            words = f"{syncd}/bin/{words}"
        if words.startswith(("pipx install", "uv tool install")):
            words = f"{words} --force"  # the page has several ways, each for a machine that has none of it yet
        place = ROOT if words.startswith("make ") else here
        if code := _run(words, place, env):
            return code
        if " install " in words and not words.startswith(("pipx", "uv")):
            continue
        if not words.startswith("make ") and (code := _run("syncd --version", here, env)):
            return code
    return 0


def _checkout(scratch: Path) -> Path:
    """What git has of it, and the wheel: builds leave nothing behind in the tree that is looked at afterwards."""
    here = scratch / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/images/")):
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, here / name)
    (here / "dist").mkdir()
    for wheel in (ROOT / "dist").glob("*.whl"):
        shutil.copy2(wheel, here / "dist" / wheel.name)
    return here


def _run(words: str, here: Path, env: Mapping[str, str]) -> int:
    began = time.monotonic()
    print(f"$ {words}", flush=True)
    loud = words.startswith("make ")
    try:
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=here,
            env=env,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
            text=True,
            stdout=None if loud else subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        print(f"still running after {SECONDS} s: {words}")
        return 1
    if done.returncode != 0:
        print(f"{(done.stdout or '')[-3000:]}\nexit {done.returncode} after {time.monotonic() - began:.0f} s: {words}")
        return 1
    print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
