"""Maintenance windows: when a partner is known to be away and nothing is asked of it. What a file says of them, and when one
is open.

A window begins by the wall clock of its time zone and lasts for a fixed time, so in the night when clocks are changed it is
not an hour longer or shorter. A beginning that falls into the hour which does not exist is at the end of that hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from syncd.config.settings import DAY, Settings, mistake
from syncd.config.units import Duration
from syncd.wording import lasting

LONGEST_SECONDS = 7 * DAY
_HOURS_DOUBTED = timedelta(hours=3)
"""More than clocks are ever put forward or back at once: so much earlier the search for a beginning begins."""
_CHAINED = 100
_LOOKED_AT = 60
"""Beginnings that are looked at to see that a window ends before the next one begins."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A window that is open: since when, until when, and why."""

    began_at: datetime
    until: datetime
    reason: str


class MaintenanceConfig(Settings):
    """A time in which a partner is not called: it is said to be in maintenance, and no alert counts it."""

    cron: str = Field(description="When it begins: a five-field cron expression.", examples=["0 2 * * SUN"])
    lasts: Duration = Field(alias="for", description="How long it lasts.", examples=["2h"])
    time_zone: str = Field("UTC", description="Whose clock `cron` means.", examples=["Europe/Berlin"])
    reason: str = Field("", max_length=300, description="Shown wherever the maintenance is shown.")

    @field_validator("lasts")
    @classmethod
    def _bounded(cls, value: float) -> float:
        if not 60 <= value <= LONGEST_SECONDS:
            raise mistake("must be from 1m to 7d", "longer than that: enabled: false, or syncd pause --for")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):
            raise mistake(f"no time zone {value!r}", "as in Europe/Berlin, America/New_York, UTC") from None
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        from cronsim import CronSim, CronSimError  # only files that use cron pay for it

        hint = "minute hour day month weekday: 0 2 * * SUN"
        if len(value.split()) != 5:
            raise mistake(f"{value!r} is not a five-field cron expression", hint)
        try:
            next(CronSim(value, datetime(2026, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise mistake(f"{value!r} is not a cron expression: {error}", hint) from None
        except StopIteration:
            raise mistake(f"{value!r} never comes", hint) from None
        return value

    @model_validator(mode="after")
    def _ends(self) -> MaintenanceConfig:
        begins = self._begins(datetime(2026, 1, 1, tzinfo=UTC), _LOOKED_AT)
        gaps = [(two - one).total_seconds() for one, two in pairwise(begins)]
        if gaps and min(gaps) <= self.lasts:
            told = f"it begins again after {lasting(min(gaps))}, before {lasting(self.lasts)} are over"
            raise mistake(f"{told}: it would never end", "a shorter `for`, or a cron that comes less often", at="for")
        return self

    def open_at(self, now: datetime) -> Opening | None:
        """The window that is open at this moment; None: none is."""
        lasts = timedelta(seconds=self.lasts)
        open_ones = [each for each in self._begins(now - lasts - _HOURS_DOUBTED, 0, now) if now < each + lasts]
        return Opening(open_ones[-1], open_ones[-1] + lasts, self.reason) if open_ones else None

    def next_after(self, now: datetime) -> datetime | None:
        """When it begins next, UTC."""
        return next((each for each in self._begins(now - _HOURS_DOUBTED, _CHAINED, None) if each > now), None)

    def _begins(self, after: datetime, most: int, until: datetime | None = None) -> list[datetime]:
        """Beginnings later than a moment, in UTC: at most so many, or (0) those up to `until`."""
        from cronsim import CronSim

        found: list[datetime] = []
        for each in CronSim(self.cron, after.astimezone(ZoneInfo(self.time_zone))):
            begins = each.astimezone(UTC)
            if until is not None and begins > until:
                break
            found.append(begins)
            if most and len(found) >= most:
                break
        return found

    @property
    def sentence(self) -> str:
        """When it is, in words."""
        from cronsim import CronSim

        when = CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC)).explain()
        return f"{when} ({self.time_zone}), for {lasting(self.lasts)}"


def opening(windows: Iterable[MaintenanceConfig], now: datetime) -> Opening | None:
    """The maintenance of these windows together: those that overlap or follow at once are one, told by the first."""
    every = list(windows)
    found = [each for window in every if (each := window.open_at(now)) is not None]
    if not found:
        return None
    first = min(found, key=lambda each: each.began_at)
    until = max(each.until for each in found)
    for _ in range(_CHAINED):
        further = max((each.until for window in every if (each := window.open_at(until)) is not None), default=until)
        if further <= until:
            break
        until = further
    return Opening(first.began_at, until, first.reason)


def next_opening(windows: Iterable[MaintenanceConfig], now: datetime) -> datetime | None:
    """When the next of them begins."""
    return min((each for window in windows if (each := window.next_after(now)) is not None), default=None)
