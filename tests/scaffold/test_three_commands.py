"""`syncd new driver` and exactly the three commands it prints: all green, in an empty directory and in a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from syncd.config import load
from tests.config.test_schema import CONFIG, uncommented

ROOT = Path(__file__).resolve().parents[2]


def run(command: str, here: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, shell=True, cwd=here, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def follow(here: Path, env: dict[str, str], *words: str) -> list[str]:
    """Make the driver and run what is printed; what each of the three said."""
    printed = run(f"python -m syncd new driver {' '.join(words)}", here, env).splitlines()
    assert len(printed) == 3, printed
    return [run(command, here, env) for command in printed]


def test_in_an_empty_directory_a_package_is_written_installed_tested_and_checked(tmp_path: Path) -> None:
    """In an environment of its own that sees what ours has; nothing is fetched."""
    venv.create(tmp_path / "venv", symlinks=True)
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "src"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way of saying: without isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    here = tmp_path / "empty"
    here.mkdir()
    _, tested, checked = follow(
        here, env, "newcomer", "--auth", "oauth2_refresh", "--pagination", "next", "--webhooks", "stripe"
    )
    assert " passed" in tested
    assert checked == ""  # what it has to say goes to stderr
    assert "newcomer" in run("python -m syncd sim", here, env).splitlines()


def test_in_a_checkout_a_driver_is_written_among_the_others(tmp_path: Path) -> None:
    here = tmp_path / "checkout"
    leave = shutil.ignore_patterns("__pycache__", "demo", "attio", "guesty", "stripe", "airbnb", "cloudbeds")
    shutil.copytree(ROOT / "src" / "syncd", here / "src" / "syncd", ignore=leave)
    shutil.copytree(ROOT / "tests" / "config", here / "tests" / "config", ignore=leave)
    shutil.copytree(CONFIG, here / "config")
    for name in ("pyproject.toml", "tests/drivers/test_every_driver.py"):
        (here / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(ROOT / name, here / name)
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    env["PYTHONPATH"] = str(here / "src")
    suite, own, example = follow(here, env, "newcomer_pms", "--auth", "signer", "--owner", "ann")
    assert " passed" in suite
    assert "1 passed" in own
    assert "2 passed" in example
    written = here / "config" / "partners" / "newcomer_pms.yaml.example"
    for text in (written.read_text(), uncommented(written.read_text())):
        (tmp_path / "one" / "partners").mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / "partners" / "newcomer_pms.yaml").write_text(text)
        assert load(tmp_path / "one", drivers=None, env={}).errors == ()
    shown = written.read_text()
    template = (CONFIG / "partners" / "rest.yaml.example").read_text()
    keys = set(re.findall(r"^[# ]*([a-z_]+):", template.partition("\n\n# limits:")[2], re.MULTILINE)) - {
        "rules",
        "boats",
    }
    assert {key for key in keys if f"{key}:" not in shown} <= {"boatyard", "api_key"}
    assert "boat" not in shown
    code = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "src/syncd/drivers/newcomer_pms", "tests/drivers/newcomer_pms"],
        cwd=here, capture_output=True, text=True,
    )  # fmt: skip
    assert code.returncode == 0, code.stdout
