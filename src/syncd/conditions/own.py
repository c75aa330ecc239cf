"""The daemon's own troubles: told by the parts that meet them, or asked of those that can be looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from syncd import own_troubles
from syncd.clock import Clock
from syncd.conditions.condition import Condition
from syncd.explain import Explanation, State
from syncd.server.ports import ReloadReport

log = structlog.get_logger()


REWORD_SECONDS: Final = 300.0
"""Figures in a reason change with every look. What lasts keeps its words for so long, for whoever compares them."""


_FIGURES: Final = re.compile(r"\d+")


class Trouble(NamedTuple):
    """How bad it is, and what it is."""

    state: State
    told: Explanation


Source = Callable[[], Trouble | None]
"""Looks at one part, from memory."""


class Own:
    """What is wrong with this process, its database and its machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: list[Sequence[Source]] = []
        self._told: dict[str, Trouble] = {}
        self._worded: dict[int, tuple[float, Trouble]] = {}
        """What each source is quoted with, and since when."""
        self.reloaded_at: datetime | None = None
        self.reload_ok = True
        self.unpruned: Mapping[str, str] = {}
        """Tables whose latest prune did not come to its end, and why."""

    def ask(self, *sources: Source) -> None:
        """Have this one looked at from now on. Several that tell of one code are told as one trouble: its code is all that
        tells one from another."""
        self._sources.append(sources)

    def tell(self, told: Explanation, state: State = State.DEGRADED) -> None:
        """Something is wrong, until it is said to be `over`. It began when it was first told."""
        self._told[told.code] = Trouble(state, told)

    def over(self, code: str) -> None:
        """It has healed."""
        self._told.pop(code, None)

    def reloaded(self, report: ReloadReport) -> None:
        """A reload has ended."""
        now = self._clock.now()
        self.reloaded_at, self.reload_ok = now, report.ok
        if report.ok:
            self.over("reload-failed")
            return
        before = self._told.get("reload-failed")
        problems = [*report.problems, *(text for texts in report.kept.values() for text in texts)]
        told = own_troubles.reload_failed(
            sorted(set(report.kept) - set(report.idle)) if not report.problems else [],
            sorted(report.idle),
            problems[0].splitlines()[0] if problems else "the log has why",  # without the lines of the file below it
            len(problems) - 1,
            report.check,
            now if before is None or before.told.since is None else before.told.since,
        )
        self.tell(told)

    def pruned(self, unfinished: Mapping[str, str]) -> None:
        """The nightly prune has had a try; what it could not finish, by table, and why."""
        self.unpruned = unfinished
        if unfinished:
            self.tell(own_troubles.old_rows_stay(unfinished, None))
        else:
            self.over("old-rows-stay")

    def conditions(self) -> Iterator[Condition]:
        for trouble in self._told.values():
            yield Condition(trouble.state, trouble.told)
        now, worded = self._clock.monotonic(), self._worded
        self._worded = {}
        for number, sources in enumerate(self._sources):
            found = together([one for source in sources if (one := _looked(source)) is not None])
            if found is None:
                continue
            at, before = worded.get(number, (now, found))
            fresh = _kind(before) != _kind(found) or now - at >= REWORD_SECONDS
            self._worded[number] = at, before = (now, found) if fresh else (at, before)
            yield Condition(before.state, before.told)


def together(found: Sequence[Trouble]) -> Trouble | None:
    """Several of one code as one: as bad as the worst, with all reasons and causes and the first one's action."""
    if len(found) < 2:
        return found[0] if found else None
    told = [one.told for one in found]
    return Trouble(
        min((one.state for one in found), key=lambda state: state.rank),
        replace(
            told[0],
            reason="; ".join(dict.fromkeys(one.reason for one in told)),
            since=min((one.since for one in told if one.since is not None), default=None),
            cause="; ".join(dict.fromkeys(one.cause for one in told if one.cause)),
        ),
    )


def _looked(source: Source) -> Trouble | None:
    try:
        return source()
    except Exception:
        log.exception("condition_not_looked_at")
        return None


def _kind(trouble: Trouble) -> tuple[object, ...]:
    """What has to be told anew where it is another: all but figures."""
    told = trouble.told
    return trouble.state, told.code, told.action, _FIGURES.sub("", told.cause)
