"""What a plain scalar means: YAML 1.2's core schema, in which `NO` is a text, `0o17` is 15 and `12:30:00` no number."""

from __future__ import annotations

import re
from typing import Any

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,400}", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]{1,400}", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]{1,400}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def resolve(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema (spec 10.3.2)."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if found := _INF.fullmatch(text):
        return float("-inf") if found[1] == "-" else float("inf")
    return float("nan") if text in _NAN else text
