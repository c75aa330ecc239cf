"""Who keeps the event loop from everybody else: a thread that asks the loop for a sign of life ten times a second.

A step of the loop that keeps it for longer than a quarter second is told once, with what was running: the task, the
integration, and the place in the code, looked at while it ran. What it ran before it was asked is not seen, a tenth of a
second at most, so one of 0.35 s is told for certain. A place that does so again and again is told once in ten minutes, with a
count. While the loop is quick, all this costs ten wake-ups a second.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.kit import Driver

log = structlog.get_logger()

ASK_SECONDS = 0.1
"""So often the loop is asked."""
SLOW_SECONDS = 0.25
"""A step that lasts longer is told."""
FIRST_LOOK_SECONDS = 0.1
LOOK_SECONDS = 0.05
"""So often it is looked what runs, once the loop has been silent for `FIRST_LOOK_SECONDS`."""
MOST_LOOKS = 200
AGAIN_SECONDS = 600.0
MOST_PLACES = 100
"""Places remembered (R12)."""
FRAMES = 12
"""Of a stack that is told, the innermost."""
_OWN = "syncd"


@dataclass(frozen=True, slots=True)
class Sight:
    """What ran at one moment."""

    place: str
    """Where in syncd or a driver: the innermost line that is not a library's."""
    task: str
    integration: str
    driver: str
    stack: tuple[str, ...]
    """Outermost first."""


class SlowSteps:
    """Watches the loop it is entered on, until it is left. `clock` may be read by any thread."""

    def __init__(self, clock: Clock, *, slow_seconds: float = SLOW_SECONDS) -> None:
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._slow = slow_seconds
        self._told: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """By place: when it was told last, and how often it was slow since."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = 0
        self.last: dict[str, object] | None = None
        """The latest slow step, as it is told, and when it was: also where it is not told again."""

    def __enter__(self) -> SlowSteps:
        self._loop, self._watched = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="slow steps", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _watch(self) -> None:
        assert self._loop is not None
        while not self._over.wait(ASK_SECONDS):
            answered, asked_at, heard_at = threading.Event(), self._monotonic(), [0.0]

            def here(answered: threading.Event = answered, heard_at: list[float] = heard_at) -> None:
                heard_at[0] = self._monotonic()
                answered.set()

            try:
                self._loop.call_soon_threadsafe(here)
            except RuntimeError:  # the loop is closed
                return
            seen = self._look_until(answered)
            if not answered.is_set():
                return  # over
            seconds = heard_at[0] - asked_at
            metrics.LOOP_WAIT_SECONDS.observe(seconds)
            if seconds > self._slow:
                self._tell(seconds, seen)

    def _look_until(self, answered: threading.Event) -> list[Sight]:
        """Wait for the loop, and look what runs meanwhile."""
        seen: list[Sight] = []
        if answered.wait(FIRST_LOOK_SECONDS):
            return seen
        while not self._over.is_set():
            if len(seen) < MOST_LOOKS and (sight := self._look()) is not None:
                seen.append(sight)
            if answered.wait(LOOK_SECONDS):
                break
        return seen

    def _look(self) -> Sight | None:
        frame = sys._current_frames().get(self._watched)
        try:
            return None if frame is None else sight(frame, asyncio.current_task(self._loop))
        except Exception:  # the other thread runs on while we look: one sight less
            return None

    def _tell(self, seconds: float, seen: list[Sight]) -> None:
        metrics.SLOW_STEPS.inc()
        place = Counter(one.place for one in seen).most_common(1)[0][0] if seen else "not seen"
        now = self._monotonic()
        fields = self._fields(seconds, place, seen)
        self.last = {"at": self._now(), **fields}
        told_at, missed = self._told.pop(place, (None, 0))
        if told_at is not None and now - told_at < AGAIN_SECONDS:
            self._told[place] = (told_at, missed + 1)
            return
        self._told[place] = (now, 0)
        while len(self._told) > MOST_PLACES:
            self._told.popitem(last=False)
        if missed:
            fields["as_often_before"] = missed
        log.warning("loop_step_slow", **fields)

    def _fields(self, seconds: float, place: str, seen: list[Sight]) -> dict[str, object]:
        sample = next((one for one in reversed(seen) if one.place == place), None)
        fields: dict[str, object] = {"seconds": round(seconds, 3), "place": place}
        if sample is None:
            fields["reason"] = (
                "nothing was seen while it lasted: a library that does not let go of the interpreter, or the machine"
            )
        else:
            fields |= {"share": round(sum(one.place == place for one in seen) / len(seen), 2), "task": sample.task}
            fields |= {key: value for key in ("integration", "driver") if (value := getattr(sample, key))}
            fields["stack"] = list(sample.stack)
            if sample.driver:
                fields["action"] = (
                    f"the driver {sample.driver} works too long in one piece, or waits: see docs/writing-a-driver.md"
                )
        return fields


def sight(frame: FrameType, task: asyncio.Task[object] | None) -> Sight:
    """What a frame that runs, and all that called it, tell."""
    frames = list(_outwards(frame))
    ours = next((one for one in frames if _named(one).partition(".")[0] == _OWN), frames[0])
    driver = next((name for one in frames if (name := _driver(one))), "")
    if driver:
        ours = next(one for one in frames if _driver(one))
    return Sight(
        place=f"{_named(ours)}:{ours.f_lineno} in {ours.f_code.co_name}",
        task="" if task is None else task.get_name(),
        integration=next((name for one in frames if (name := _integration(one))), ""),
        driver=driver,
        stack=tuple(f"{_named(one)}:{one.f_lineno} in {one.f_code.co_name}" for one in reversed(frames[:FRAMES])),
    )


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _named(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _driver(frame: FrameType) -> str:
    """The driver whose code this is: what the kit does for it is not its doing."""
    owner = frame.f_locals.get("self")
    if isinstance(owner, Driver) and not _named(frame).startswith("syncd.kit"):
        return owner.spec.name
    parts = _named(frame).split(".")
    return parts[2] if parts[:2] == [_OWN, "drivers"] and len(parts) > 2 else ""


def _integration(frame: FrameType) -> str:
    """For whom the frame's object works, as far as it tells."""
    owner = frame.f_locals.get("self")
    for value in (
        getattr(owner, "integration", None),
        getattr(owner, "_integration", None),
        getattr(getattr(owner, "account", None) or getattr(owner, "_account", None), "name", None),
    ):
        if isinstance(value, str) and value:
            return value
    return ""


__all__ = ["Sight", "SlowSteps", "sight"]
