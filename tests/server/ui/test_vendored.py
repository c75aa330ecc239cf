"""What the page ships of others' is what was taken, the templates do not come with the start, and a page costs little."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import syncd.server.ui.page as page

VENDOR = Path(page.__file__).parent / "static" / "vendor"


def test_vendored_files_are_as_they_were_taken():
    told = tomllib.loads((VENDOR / "VENDOR.toml").read_text("utf-8"))
    named = {name: digest for package in told["package"] for name, digest in package["sha256"].items()}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert {name: digest for name, digest in there.items() if name not in {"VENDOR.toml", "update"}} == named
    assert all(package["name"] and package["version"] and package["licence"] for package in told["package"])


def test_neither_the_command_line_nor_the_daemons_modules_bring_the_template_engine():
    names = "('jinja2', 'markdown_it')"
    code = f"import sys, syncd.cli.root, syncd.daemon; print([name for name in sys.modules if name in {names}])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
