"""What is measured every ten seconds, and what is told of it: schema `syncd.figures/1`."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from syncd.client import CLASSES, Recent
from syncd.clock import Clock
from syncd.figures.hours import Hour, milliseconds
from syncd.figures.rings import Rings

FIGURES_SCHEMA = "syncd.figures/1"
SAMPLE_SECONDS = 10.0
WINDOWS = {"1h": (SAMPLE_SECONDS, 360), "24h": (300.0, 288)}
"""By name: seconds between two points, and how many there are."""
PROCESS = "process"
_CONNECT = CLASSES.index("connect")
_WORST = frozenset({"waiting", "oldest_seconds", "rss_bytes", "loop_lag_ms", "limit_share", "lag_seconds"})
"""A longer step shows the worst of these; of the others the mean."""


class Measured(Protocol):
    """What figures are taken from. Asked from memory, every ten seconds."""

    def calls(self) -> Mapping[str, Recent]:
        """Counts of the calls of every integration that runs; the same object until its session is replaced."""
        ...

    def standing(self, now: datetime) -> Mapping[str, Mapping[str, float | None]]:
        """Of every integration `limit_share` (0 to 1) and `lag_seconds`."""
        ...

    def queues(self) -> Iterable[Mapping[str, Any]]:
        """`name`, `waiting` and `oldest_seconds` of each."""
        ...

    def process(self) -> Mapping[str, float | None]:
        """`rss_bytes`, `loop_lag_ms` (the worst since it was last asked for) and `deliveries` (received, in all)."""
        ...


@dataclass(slots=True)
class _Longer:
    """What a longer step has gathered of its shorter ones."""

    began: float
    calls: dict[str, Recent] = field(default_factory=dict)
    worst: dict[str, dict[str, float | None]] = field(default_factory=dict)
    deliveries: float = 0.0


class Figures:
    """The last hour by ten seconds, the last day by five minutes, and sums of the hour."""

    def __init__(
        self,
        measured: Measured,
        clock: Clock,
        changes: Callable[[timedelta, str | None], Sequence[Mapping[str, Any]]] = lambda within, integration: (),
    ) -> None:
        """`changes`: what people, reloads and the daemon did lately, of one integration or of all, the latest last."""
        self._measured = measured
        self._changes = changes
        self._clock = clock
        self._rings = {name: Rings(*shape) for name, shape in WINDOWS.items()}
        self._hours: dict[str, Hour] = {}
        self._known: dict[str, Recent] = {}
        self._told: dict[str, tuple[int, dict[str, Any]]] = {}
        """Sums of the hour as they were asked for since the last sample, and in which minute."""
        self._sampled = clock.monotonic()
        self._longer = _Longer(self._sampled)
        self._deliveries: float | None = None

    def sample(self) -> None:
        """One point of everything; to be called every `SAMPLE_SECONDS`."""
        mono, now = self._clock.monotonic(), self._clock.now()
        passed = mono - self._sampled
        if passed <= 0:
            return
        self._sampled = mono
        self._told.clear()
        taken = self._take()
        minute = int(mono // 60)
        for name, recent in taken.items():
            self._hours.setdefault(name, Hour(minute)).add(minute, recent)
        standing = self._measured.standing(now)
        found: dict[str, dict[str, float | None]] = {
            f"i {name}": {**_calls(recent, passed), **standing.get(name, {})} for name, recent in taken.items()
        }
        for queue in self._measured.queues():
            found[f"q {queue['name']}"] = {key: queue.get(key) for key in ("waiting", "oldest_seconds")}
        process = dict(self._measured.process())
        received = process.pop("deliveries") or 0.0
        came = max(received - self._deliveries, 0.0) if self._deliveries is not None else 0.0
        self._deliveries = received
        found[PROCESS] = {**process, "deliveries": came / passed}
        self._keep("1h", now, found)
        self._gather(mono, now, taken, found, came)

    def _take(self) -> dict[str, Recent]:
        """What came of the calls since the last time, also of a session that was replaced meanwhile."""
        calls = self._measured.calls()
        taken = {}
        for name, recent in calls.items():
            taken[name] = recent.take()
            before = self._known.get(name)
            if before is not None and before is not recent:
                _add(taken[name], before.take())
        self._known = dict(calls)
        self._hours = {name: hour for name, hour in self._hours.items() if name in calls}
        return taken

    def _keep(self, window: str, now: datetime, found: Mapping[str, Mapping[str, float | None]]) -> None:
        rings = self._rings[window]
        rings.keep(found)
        rings.add(now.timestamp(), found)

    def _gather(
        self,
        mono: float,
        now: datetime,
        taken: Mapping[str, Recent],
        found: Mapping[str, Mapping[str, float | None]],
        came: float,
    ) -> None:
        longer = self._longer
        for name, recent in taken.items():
            _add(longer.calls.setdefault(name, Recent()), recent)
        for group, values in found.items():
            worst = longer.worst.setdefault(group, {})
            for key in _WORST & values.keys():
                worst[key] = max((each for each in (worst.get(key), values[key]) if each is not None), default=None)
        longer.deliveries += came
        passed = mono - longer.began
        if passed < WINDOWS["24h"][0] - SAMPLE_SECONDS / 2:
            return
        merged: dict[str, dict[str, float | None]] = {group: longer.worst[group] for group in found}
        for name in taken:
            merged[f"i {name}"] |= _calls(longer.calls[name], passed)
        merged[PROCESS]["deliveries"] = longer.deliveries / passed
        self._keep("24h", now, merged)
        self._longer = _Longer(mono)

    # -- telling

    def hour(self, integration: str) -> dict[str, Any] | None:
        """Sums of the last sixty minutes; None of an integration that has not been measured yet."""
        hour = self._hours.get(integration)
        if hour is None:
            return None
        minute = int(self._clock.monotonic() // 60)
        known = self._told.get(integration)
        if known is None or known[0] != minute:
            hour.turn(minute)
            known = self._told[integration] = minute, hour.view()
        return known[1]

    def errors(self) -> dict[str, int]:
        """Errors of the last hour by class, of everything."""
        total = array("Q", bytes(8 * len(CLASSES)))
        for name in self._hours:
            hour = self._hours[name]
            hour.turn(int(self._clock.monotonic() // 60))
            for place, count in enumerate(hour.errors):
                total[place] += count
        return dict(zip(CLASSES, total, strict=True))

    def view(
        self, window: str = "1h", integration: str | None = None, *, series: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Everything of a window (`1h`, `24h`), or of one integration alone; of integrations these series alone.

        Raises KeyError for another window.
        """
        rings = self._rings[window]
        names = [name for name in self._hours if integration in (None, name)]
        queues = [queue["name"] for queue in self._measured.queues()]
        return {
            "schema": FIGURES_SCHEMA,
            "at": self._clock.now(),
            "window": window,
            "step_seconds": rings.step_seconds,
            "times": rings.times(),
            "integrations": {
                name: {**rings.of(f"i {name}", series), "hour": self.hour(name)} for name in sorted(names)
            },
            "queues": {name: rings.of(f"q {name}") for name in queues},
            "process": rings.of(PROCESS),
            "errors": self.errors(),
            "changes": list(self._changes(timedelta(seconds=rings.step_seconds * rings.points), integration)),
        }


def _calls(recent: Recent, passed: float) -> dict[str, float | None]:
    calls = recent.calls
    p95, p99 = milliseconds(recent.seconds, 95, 99)
    errors = sum(recent.errors) / calls if calls else None
    return {"calls": calls / passed, "errors": errors, "p95_ms": p95, "p99_ms": p99}


def _add(to: Recent, more: Recent) -> None:
    for total, found in ((to.seconds, more.seconds), (to.errors, more.errors)):
        for place, count in enumerate(found):
            if count:
                total[place] += count


__all__ = ["FIGURES_SCHEMA", "SAMPLE_SECONDS", "WINDOWS", "Figures", "Measured"]
