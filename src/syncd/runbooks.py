"""What to do about each trouble: the parts of `runbooks.md`, which is part of the program; read by command line and page."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from types import MappingProxyType

_HEADING = re.compile(r"^## (\S+)\n+", re.MULTILINE)
_MEANING = re.compile(r"\*\*Meaning\.\*\* (.*?)\.(?:\s|$)", re.DOTALL)
PARTS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
"""What every part says, in this order."""


@cache
def pages() -> MappingProxyType[str, str]:
    """Markdown by the name of the trouble, in the order of the file."""
    text = resources.files("syncd").joinpath("runbooks.md").read_text("utf-8")
    _, *parts = _HEADING.split(text)
    return MappingProxyType({name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)})


def meaning(page: str) -> str:
    """The first sentence of a page, on one line."""
    found = _MEANING.search(page)
    return " ".join(found[1].split()) if found else ""
