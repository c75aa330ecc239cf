"""Placeholders of a listing, a single read or a subscription, and what stands for them. Those of a push: `filling.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from syncd.client.dates import TODAY
from syncd.errors import RejectedError

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
OPTION: Final = re.compile(r"\{option\.([^{}]*)\}")
"""The placeholder of one of the driver's own settings."""
PREFIX: Final = "option."
"""What the name in it begins with."""


def texts_in(value: Any) -> list[str]:
    """All texts in a value, whatever it is made of; the names of keys are none."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in texts_in(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in texts_in(inner)]
    return []


def check_placeholders(text: str, known: set[str]) -> None:
    """Are a text's placeholders days, or among these (`parent.` and `id`: with all below them)? Raises ValueError."""
    for name in PLACEHOLDER.findall(TODAY.sub("", text)):
        family = name.partition(".")[0]
        if (
            name not in known
            and not (family == "parent" and "parent." in known)
            and not (family == "id" and "id" in known)
        ):
            raise ValueError(
                f"unknown placeholder {{{name}}}; there are {{parent.id}}, {{today}}, {{today-30d}}, and {{id}} under `one`"
            )


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Query parameters with values as they go out: text, or a list of text for a repeated one. None is left out."""
    return {name: _plain(value) for name, value in params.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def fill(value: Any, known: Mapping[str, Any]) -> Any:
    """Replace the placeholders in every text of a value. Raises RejectedError for one nothing is known of."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _later(match) or str(_known(match[1], known)), value)
    if isinstance(value, Mapping):
        return {name: fill(inner, known) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill(inner, known) for inner in value]
    return value


def fill_path(path: str, known: Mapping[str, Any]) -> str:
    """Replace the placeholders in a path, each value quoted so that it stays one segment."""
    return PLACEHOLDER.sub(lambda match: _later(match) or _segment(str(_known(match[1], known))), path)


def _later(match: re.Match[str]) -> str:
    """A day that is filled in when the call leaves; empty for any other placeholder."""
    return match[0] if TODAY.fullmatch(match[0]) else ""


def _known(name: str, known: Mapping[str, Any]) -> Any:
    if known.get(name) is None:
        raise RejectedError(f"nothing is known to stand for {{{name}}}")
    return known[name]


def _segment(value: str) -> str:
    if value in {"", ".", ".."}:
        raise RejectedError("an id of nothing but dots cannot stand in a path")
    return quote(value, safe="")
