"""When a resource runs next. Pure: clocks and dice are handed in.

A missed slot is never made up more than once: after downtime each resource is due one single time, spread over a short
while so that forty integrations do not start in the same second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cronsim import CronSim

CATCH_UP_SECONDS = 30.0
"""After a start, or an outage, overdue resources begin within this time, spread evenly by chance."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """An interval or a cron expression (UTC), with jitter. Exactly one of `every_seconds` and `cron` is set."""

    every_seconds: float | None = None
    cron: str | None = None
    jitter_seconds: float = 0.0

    def after(self, moment: datetime, chance: float) -> datetime:
        """The first regular start later than `moment`, which is when the last run began; `chance` in [0, 1)."""
        if self.cron is not None:
            regular = next(CronSim(self.cron, moment))
        elif self.every_seconds is not None:
            regular = moment + timedelta(seconds=self.every_seconds)
        else:
            raise ValueError("a schedule needs an interval or a cron expression")
        return regular + timedelta(seconds=self.jitter_seconds * chance)

    def seconds_after(self, moment: datetime) -> float:
        """How long after this moment the next regular start is."""
        return self.every_seconds or (self.after(moment, 0.0) - moment).total_seconds()

    def first(self, last_started: datetime | None, now: datetime, chance: float) -> datetime:
        """When to run for the first time after a start of the daemon.

        Never ran: at once. Overdue: once, somewhere in the catch-up spread. Otherwise: when it is due.
        """
        if last_started is None:
            return now
        due = self.after(last_started, chance)
        if due > now:
            return due
        return self.catch_up(now, chance)

    def catch_up(self, now: datetime, chance: float) -> datetime:
        """When to make up for what could not begin in time: once, somewhere in the catch-up spread."""
        return now + timedelta(seconds=min(CATCH_UP_SECONDS, self._period(now)) * chance)

    def _period(self, now: datetime) -> float:
        """Rough distance between two runs; keeps the spread of a two-second schedule below two seconds."""
        if self.every_seconds is not None:
            return self.every_seconds
        steps = CronSim(self.cron or "* * * * *", now)
        one, two = next(steps), next(steps)
        return (two - one).total_seconds()
