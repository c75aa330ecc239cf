"""When a record is read again because of an event: a burst on one record becomes one read.

The first event about a record has it read at once. While events keep coming it is read again only after a gap, which grows
with the calls events have cost lately: a quiet integration follows within two seconds, one whose records all change at once
spends about one call in 0.7 seconds, and none waits longer than two minutes. Nothing is lost by it: the event is a row until
a read that began after it.

Memory of one account, bounded; after a restart each record's first event has it read at once again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from syncd.clock import Clock

SECONDS_A_CALL = 0.7
LEAST_SECONDS = 2.0
MOST_SECONDS = 120.0
WINDOW_SECONDS = 120.0
RUN_SECONDS = 60.0
"""Least time between two runs of a resource whose records cannot be read by their ids."""
REMEMBERED = 10_000
"""Records remembered; of the longest ago the next event is a first one again."""
_CALLS = int(MOST_SECONDS / SECONDS_A_CALL) + 1
"""With so many calls the gap is the longest there is: more need not be counted."""

_Key = tuple[str, str]


class Coalescing:
    """What was asked for because of events, and when. Times are of the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[_Key, float] = {}
        """When each record was last asked for; the longest ago first."""
        self._calls: deque[float] = deque(maxlen=_CALLS)

    @property
    def gap_seconds(self) -> float:
        """How long after a read the next one of the same record has to wait now."""
        horizon = self._clock.monotonic() - WINDOW_SECONDS
        while self._calls and self._calls[0] <= horizon:
            self._calls.popleft()
        return min(max(SECONDS_A_CALL * len(self._calls), LEAST_SECONDS), MOST_SECONDS)

    def wait_seconds(self, resource: str, external_id: str) -> float:
        """How long the record has to wait before it is read again; 0: not at all."""
        began = self._began.get((resource, external_id))
        return 0.0 if began is None else max(began + self.gap_seconds - self._clock.monotonic(), 0.0)

    def not_before(self, resource: str, external_id: str) -> datetime | None:
        """The same as a moment; None: at once."""
        wait = self.wait_seconds(resource, external_id)
        return self._clock.now() + timedelta(seconds=wait) if wait else None

    def asks(self, resource: str, external_ids: Iterable[str]) -> None:
        """One call for these records begins now, because of events."""
        now = self._clock.monotonic()
        self._calls.append(now)
        for external_id in external_ids:
            self._note((resource, external_id), now)

    def run_not_before(self, resource: str) -> datetime | None:
        """When a run of this resource may be asked for, which counts as asked for then; None: at once."""
        key, now = (resource, ""), self._clock.monotonic()
        before = self._began.get(key)
        if before is None or before <= now:
            at = now if before is None else max(before + RUN_SECONDS, now)
            self._note(key, at)
        else:
            at = before  # one that was put off stands for this one too
        return self._clock.now() + timedelta(seconds=at - now) if at > now else None

    def _note(self, key: _Key, now: float) -> None:
        self._began.pop(key, None)
        self._began[key] = now
        while len(self._began) > REMEMBERED:
            del self._began[next(iter(self._began))]
