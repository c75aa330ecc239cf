"""The second wall round secrets (R14): every value known to be one, and a mask for any text that holds it.

`secrets.Secret` registers each value it is given; `log` masks each line it writes. A value is also looked for in the
forms it takes on the way: percent-encoded in a URL, escaped in JSON, base64 alone or inside `user:password`.
Finding is plain substring search, so the cost of a line is (known forms) x (line length) and both are bounded.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, quote_plus

MASK = "****"
SHORTEST = 6
"""A shorter value would mask ordinary words all over the log; nobody should use one as a secret."""
_RECENT = 1_000
"""Run-time values (tokens) kept; the oldest are forgotten first. Those a Vault resolved are pinned and stay."""
_PINNED = 4_000
_CORE = 6
"""Shortest piece of base64 looked for."""

# What betrays a credential by its place, known value or not.
_TELLING = re.compile(
    r"(?P<scheme>\b(?:[Bb]earer|[Bb]asic)\s+)(?=[\w+/=.~-]*[0-9=])[\w+/=.~-]{8,}"
    r"|(?P<user>://)[^/\s:@\"']*:[^/\s@\"']+@"
    r"|(?P<param>[?&](?:access_token|refresh_token|api_?key|token|client_secret|password|signature|sig)=)[^&\s\"'#]+"
)


def _replace(found: re.Match[str]) -> str:
    if found["user"]:
        return f"{found['user']}{MASK}@"
    return f"{found['scheme'] or found['param']}{MASK}"


class _Known(NamedTuple):
    """The forms of one value, worked out once."""

    forms: frozenset[str]
    cores: frozenset[str]

    @classmethod
    def of(cls, value: str) -> _Known:
        return cls(frozenset(_forms(value)), frozenset(_cores(value)))


class KnownSecrets:
    """The registry. Safe to use from several threads."""

    def __init__(self) -> None:
        self._pinned: dict[str, _Known] = {}
        self._recent: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._texts: tuple[str, ...] = ()
        self._cores: tuple[str, ...] = ()
        self._stale = False

    def __len__(self) -> int:
        return len(self._pinned) + len(self._recent)

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self)})"

    def add(self, value: str) -> None:
        """Remember a value obtained at run time."""
        if len(value) < SHORTEST or value in self._pinned:
            return
        with self._lock:
            held = self._recent.pop(value, None)
            self._recent[value] = held or _Known.of(value)
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
            self._stale = self._stale or held is None

    def pin(self, value: str) -> None:
        """Remember a value of the configuration for as long as the process lives."""
        if len(value) < SHORTEST or value in self._pinned or len(self._pinned) >= _PINNED:
            return
        with self._lock:
            self._pinned[value] = self._recent.pop(value, None) or _Known.of(value)
            self._stale = True

    def mask(self, text: str) -> str:
        """The text with every known value, in any of its forms, replaced by ****."""
        if self._stale:
            self._rebuild()
        for form in self._texts:
            if form in text:
                text = text.replace(form, MASK)
        for core in self._cores:
            if core in text:
                # The neighbours hold the other bits of the same value: all of the run goes.
                text = re.sub(rf"[A-Za-z0-9+/_-]*{re.escape(core)}[A-Za-z0-9+/_=-]*", MASK, text)
        return _TELLING.sub(_replace, text)

    def _rebuild(self) -> None:
        with self._lock:
            self._stale = False
            known = [*self._pinned.values(), *self._recent.values()]
            texts = {form for one in known for form in one.forms}
            cores = {core for one in known for core in one.cores}
            # Longest first: a value that contains another must not be left half readable.
            self._texts = tuple(sorted(texts, key=len, reverse=True))
            self._cores = tuple(sorted(cores, key=len, reverse=True))


def _forms(value: str) -> Iterator[str]:
    yield value
    yield quote(value, safe="", errors="replace")
    yield quote(value, errors="replace")
    yield quote_plus(value, errors="replace")
    escaped = json.dumps(value)[1:-1]
    yield escaped
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(escaped)[1:-1]  # JSON within JSON
    yield repr(value)[1:-1]
    yield repr(value.encode("utf-8", "replace"))[2:-1]
    if "\n" in value:  # a PEM key may be cited line by line
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= 16 and "-----" not in line)


def _cores(value: str) -> Iterator[str]:
    """The part of the base64 that is the same whatever stands before and after, for each of the three alignments."""
    raw = value.encode("utf-8", "replace")
    for offset in range(3):
        padded = b"\0" * offset + raw
        text = base64.b64encode(padded).decode().rstrip("=")
        first = (0, 2, 3)[offset]  # characters that also hold bits of what stands before
        last = len(text) - (1 if len(padded) % 3 else 0)  # and of what follows
        core = text[first:last]
        if len(core) >= _CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")


KNOWN = KnownSecrets()
"""The process's one registry."""
