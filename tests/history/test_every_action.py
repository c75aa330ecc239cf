"""Every wish that the admin API takes leaves a row of `audit_log`, or stands with a reason among those that do not."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from syncd.server.admin import routes
from tests.server.fakes import FakeStatus

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "syncd"
PART = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("## Who did what")[2].partition("\n## ")[0]


def wishes() -> set[str]:
    """The POST routes of the admin API."""
    found = list(routes(FakeStatus()))
    for path in (SOURCE / "server").glob("desk_*.py"):
        desk: Any = object()  # routes are only named here, not served
        made = import_module(f"syncd.server.{path.stem}").routes
        found += made(*[desk] * len(signature(made).parameters))
    return {route.path for route in found if route.method == "POST"}


def rows() -> dict[str, list[str]]:
    """What the document says each leaves; nothing for those that leave none."""
    return {
        path: re.findall(r"`([a-z_]+)`", line.rpartition("|")[0].rpartition("|")[2]) if "| `syncd" in line else []
        for line, path in re.findall(r"^(\| `POST (/api/v1/[a-z/-]+)`.*)$", PART, re.MULTILINE)
    }


def test_every_wish_of_the_admin_api_stands_there_once():
    named = re.findall(r"^\| `POST (/api/v1/[a-z/-]+)`", PART, re.MULTILINE)
    assert sorted(named) == sorted(wishes())


def test_every_action_that_is_named_is_written_somewhere():
    code = "\n".join(
        path.read_text("utf-8")
        for path in SOURCE.rglob("*.py")
        if "history" not in path.parts and "cli" not in path.parts
    ) + "".join(
        path.read_text("utf-8") for verbs in ("credential*.py", "key*.py") for path in (SOURCE / "cli").glob(verbs)
    )
    named = {action for found in rows().values() for action in found}
    named |= {
        action for line in PART.splitlines() if line.startswith("| a") for action in re.findall(r"`([a-z_]+)`", line)
    }
    assert len(named) > 30
    assert [action for action in sorted(named) if f'"{action}"' not in code] == []


def test_every_row_that_is_written_is_named():
    code = {path: path.read_text("utf-8") for path in SOURCE.rglob("*.py") if "testing" not in path.parts}
    written = {
        action
        for text in code.values()
        for action in re.findall(r'audit\.add\(\s*[^,()]+(?:\(\))?,\s*"([a-z_]+)"', text)
        + re.findall(r'(?<!=)\baction="([a-z_]+_[a-z_]+|paused|resumed)"', text)
    }
    assert len(written) > 12
    assert [action for action in sorted(written) if f"`{action}`" not in PART and action != "store_true"] == []
