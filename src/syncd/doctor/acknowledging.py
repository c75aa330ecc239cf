"""What people have acknowledged: a file beside the configuration, so that it is reviewed with it, and survives a database.

attio-1.1: {who: ops@host, at: 2026-11-22, reason: scopes looked at with Dana}
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from syncd.doctor.facts import Acknowledgement
from syncd.errors import ConfigError

FILE = "acknowledged.yaml"
_HEAD = "# What `syncd doctor` cannot see and somebody has looked at. Written by syncd doctor --ack ID --reason TEXT.\n"


def place(directory: Path) -> Path:
    """Where they are kept, for this configuration."""
    return (directory.parent if directory.is_file() else directory) / FILE


def read(directory: Path) -> dict[str, Acknowledgement]:
    """By the line's id. Raises ConfigError for a file that is none."""
    path = place(directory)
    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=f"mend it, or remove it: {path}") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(_is_one(one) for one in found.values()):
        raise ConfigError(
            f"{path}: expected ID: {{who: ..., at: ..., reason: ...}}", hint="see docs/cli.md, syncd doctor"
        )
    return {
        str(name): Acknowledgement(str(one.get("who", "")), str(one.get("at", "")), str(one["reason"]))
        for name, one in found.items()
    }


def _is_one(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("reason"), str)


def add(directory: Path, ids: Collection[str], *, who: str, reason: str, now: datetime) -> Path:
    """Write them down, beside those that stand. Raises ConfigError where nothing can be written."""
    path = place(directory)
    found = {name: {"who": one.who, "at": one.at, "reason": one.reason} for name, one in read(directory).items()}
    found |= {name: {"who": who, "at": f"{now:%Y-%m-%d}", "reason": reason} for name in ids}
    text = _HEAD + yaml.safe_dump(dict(sorted(found.items())), allow_unicode=True, sort_keys=False, width=120)
    beside = path.with_name(f".{FILE}.{os.getpid()}")
    try:
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint=f"as who owns the configuration: sudo {ACK_COMMAND}"
        ) from None
    return path


ACK_COMMAND = "syncd doctor --ack ID --reason TEXT"


def matching(pattern: str, known: Collection[str]) -> list[str]:
    """The ids a pattern such as `attio-6.*` names, in their order."""
    return sorted((one for one in known if fnmatchcase(one, pattern)), key=_order)


def _order(text: str) -> tuple[str, list[int]]:
    name, _, numbers = text.partition("-")
    return name, [int(part) for part in numbers.split(".") if part.isdigit()]
