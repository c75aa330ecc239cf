"""A driver's own settings, given under an integration's `options:`, checked against what the driver declares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import quote

from syncd.client.addresses import origin_of
from syncd.codec import dumps_text
from syncd.errors import ConfigError
from syncd.kit.paths import kind
from syncd.kit.placeholders import OPTION
from syncd.kit.spec import DriverSpec

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list, tuple),
    "object": (dict,),
    "url": (str,),
}


def checked(spec: DriverSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with defaults filled in. Raises ConfigError naming every option that is wrong."""
    wrong = [_unknown(name, spec) for name in options if name not in spec.options]
    empty = []
    found: dict[str, Any] = {}
    for name, option in spec.options.items():
        value = options.get(name, option.default)
        found[name] = value
        if value is None:
            if option.default is not None:
                empty.append(name)
                wrong.append(f"option {name!r} has no value")
            elif option.required:
                wrong.append(f"option {name!r} is missing: {option.about}")
            continue
        if not isinstance(value, _TYPES[option.kind]) or (isinstance(value, bool) and option.kind != "boolean"):
            wrong.append(f"option {name!r} must be {option.kind}, it is {kind(value)}")
        elif option.kind == "url" and (why := _no_address(value)):
            wrong.append(f"option {name!r} {why}")
        elif option.choices and value not in option.choices:
            wrong.append(f"option {name!r} must be one of {', '.join(map(str, option.choices))}")
    if wrong:
        # As JSON, which YAML reads as just that: an empty text, a version that looks like a number.
        defaults = {name: dumps_text(spec.options[name].default) for name in empty}
        hint = "; ".join(f"{name}: {default}, or leave it out" for name, default in defaults.items())
        raise ConfigError(f"{spec.name}: " + "; ".join(wrong), hint=hint)
    return found


def with_options(spec: DriverSpec, text: str, options: Mapping[str, Any]) -> str:
    """A URL with each `{option.NAME}` replaced by that option's value, quoted so that it stays one segment.

    Raises ConfigError for options that are wrong, and for a placeholder nothing stands for.
    """
    if "{" not in text:
        return text
    known = checked(spec, options)

    def segment(match: re.Match[str]) -> str:
        value = known.get(match[1])
        if value is None or str(value) in {"", ".", ".."}:
            raise ConfigError(f"{spec.name}: nothing stands for {match[0]} in {text}", hint=f"give options.{match[1]}")
        return quote(str(value), safe="")

    return OPTION.sub(segment, text)


def _no_address(value: object) -> str:
    """Why calls cannot go there; empty where they can."""
    try:
        origin_of(str(value))
    except ValueError as error:
        return f"{error}"
    return "has a fragment" if "#" in str(value) else ""


def _unknown(name: str, spec: DriverSpec) -> str:
    near = get_close_matches(str(name), spec.options, 1)
    if near:
        return f"there is no option {name!r}; did you mean {near[0]!r}?"
    known = ", ".join(spec.options) or "none"
    return f"there is no option {name!r}; known: {known}"
