"""What is wrong now and since when; says once when something begins and once when it has ended.

Whoever shows conditions has them looked up anew, so no two surfaces differ; a look every few seconds makes sure that what
nobody asks about is said in the log too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from syncd.clock import Clock
from syncd.conditions.condition import Condition, Key
from syncd.explain import Severity, State

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
_LEVELS: Final[Mapping[Severity, int]] = {Severity.PAGE: 40, Severity.TICKET: 30, Severity.NOTE: 20}
_DEBUG: Final = 10

Looked = tuple[Iterable[Condition], Collection[str]]
"""What is wrong, and the integrations of which that cannot be told at this moment: they are being swapped, or start."""


class Conditions:
    """The list. `look()` brings it up to date, `run()` does so every few seconds."""

    def __init__(
        self, sight: Callable[[], Looked], clock: Clock, *, authenticated: Callable[[], Mapping[str, datetime]] = dict
    ) -> None:
        """`authenticated`: when each integration's partner last answered a call with our credential."""
        self._sight = sight
        self.authenticated = authenticated
        self._clock = clock
        self._known: dict[Key, Condition] = {}
        self.current: list[Condition] = []
        """As of the latest look, the worst first; each has a `since`."""
        self.turns = 0
        """How often one began or ended."""
        self.starting: frozenset[str] | None = None
        """Integrations of which no look could tell so far; None: there was none."""

    @property
    def daemon(self) -> list[Condition]:
        """Those of the daemon itself."""
        return [one for one in self.current if not one.integration]

    def look(self, seen: Looked | None = None) -> list[Condition]:
        """The list as it is now. `seen`: by one who has just looked himself."""
        now = self._clock.now()
        found, unseen = seen or self._sight()
        known: dict[Key, Condition] = {}
        for one in found:
            known.setdefault(one.key, self._dated(one, now))
        if unseen:
            for key, one in self._known.items():
                if one.integration in unseen:
                    known.setdefault(key, one)
        self.starting = frozenset(unseen) if self.starting is None else self.starting.intersection(unseen)
        before, self._known = self._known, known
        self.turns += before.keys() != known.keys()
        for key in before.keys() - known.keys():
            _say("condition_ended", before[key], lasted_seconds=_lasted(before[key], now))
        self.current = sorted(known.values(), key=lambda one: one.order)
        for one in self.current:
            if one.key not in before:
                _say("condition_began", one)
        return self.current

    async def run(self, late: Callable[[float], None] = lambda seconds: None) -> None:
        """`late` is told how many seconds too late each look comes: so late is everything else."""
        while True:
            try:
                self.look()
            except Exception:
                log.exception("conditions_not_looked_at")
            before = self._clock.monotonic()
            await self._clock.sleep(LOOK_SECONDS)
            late(self._clock.monotonic() - before - LOOK_SECONDS)

    def _dated(self, one: Condition, now: datetime) -> Condition:
        """Where nobody knows since when it is: since it was first seen."""
        if one.since is not None:
            return one
        before = self._known.get(one.key)
        return replace(one, told=replace(one.told, since=now if before is None else before.since))


def _lasted(one: Condition, now: datetime) -> float | None:
    return None if one.since is None else round(max((now - one.since).total_seconds(), 0.0), 1)


def _say(event: str, one: Condition, **more: object) -> None:
    """A wait comes and goes with the partner's limits: it is no news."""
    level = _DEBUG if one.state is State.WAITING else _LEVELS[one.severity]
    told = {**one.as_dict(), "since": None if one.since is None else one.since.isoformat()}
    log.log(level if event == "condition_began" else min(level, 20), event, **told, **more)
