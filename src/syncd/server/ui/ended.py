"""Sessions that their owners have ended, until their cookies would end by themselves: a copy of one opens nothing.

They are few, and kept in a file, so that a restart brings none of them back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson
import structlog

from syncd.clock import Clock

log = structlog.get_logger()

FILE: Final = "page-sessions.json"
MOST: Final = 1_000
"""Should there ever be more, all sessions that have begun until then are over."""


class Ended:
    """By a hash of their nonces, and until when each has to be remembered (Unix seconds)."""

    def __init__(self, clock: Clock, lasts_seconds: float, directory: Callable[[], Path | None] = lambda: None) -> None:
        """`lasts_seconds`: longest that a cookie handed out now is good for; `directory` holds the file."""
        self._clock = clock
        self._lasts_seconds = lasts_seconds
        self._directory = directory
        self._until: dict[str, float] | None = None
        """None: not read yet."""
        self._all_until = 0.0
        """Cookies that end by then are over, whosever they are."""

    def add(self, nonce: str) -> None:
        """This one is over."""
        known = self._known()
        now = self._clock.now().timestamp()
        self._until = {one: until for one, until in known.items() if until > now}
        self._until[_hash(nonce)] = now + self._lasts_seconds
        if len(self._until) > MOST:
            self._until, self._all_until = {}, now + self._lasts_seconds
        self._write()

    def has(self, nonce: str, expires: float) -> bool:
        """Was it ended, or with all others?"""
        known = self._known()
        return expires <= self._all_until or (bool(known) and _hash(nonce) in known)

    def _known(self) -> dict[str, float]:
        if self._until is None:
            self._until = {}
            path = self._path()
            try:
                found = orjson.loads(path.read_bytes()) if path is not None else {}
                self._until = {str(one): float(until) for one, until in list(found.get("ended", {}).items())[:MOST]}
                self._all_until = float(found.get("all_until", 0.0))
            except FileNotFoundError:
                pass
            except (OSError, ValueError, TypeError, AttributeError) as error:
                log.warning("page_sessions_unread", reason=type(error).__name__)
        return self._until

    def _write(self) -> None:
        path = self._path()
        if path is None:
            return
        beside = path.with_suffix(".new")
        try:
            beside.write_bytes(orjson.dumps({"ended": self._until, "all_until": self._all_until}))
            beside.replace(path)
        except OSError as error:
            log.warning("page_sessions_unwritten", reason=error.strerror)

    def _path(self) -> Path | None:
        directory = self._directory()
        return directory / FILE if directory is not None and directory.is_dir() else None


def _hash(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()[:32]
