"""Log levels that people set for a while, of everything or of one integration. They end by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from syncd import log
from syncd.clock import Clock
from syncd.history import Changes

say = structlog.get_logger()

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lasting:
    """A level somebody set."""

    integration: str
    """Empty: of everything."""
    level: log.Level
    who: str
    until: datetime


class LogLevels:
    """Set, ended, and told of in the audit log."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock
        self._set: dict[str, Lasting] = {}

    async def set(self, integration: str, level: log.Level, *, until: datetime, who: str) -> None:
        """From now on, until then."""
        before = self._set.get(integration)
        self._set[integration] = Lasting(integration, level, who, until)
        log.set_level_for_a_while(integration, level)
        told = {"level": level, "until": until}
        say.warning("log_level_set", integration=integration, level=level, until=until.isoformat(), who=who)
        former = {"level": before.level, "who": before.who} if before is not None else {"level": log.level()}
        await self._changes.note(who, "log_level_set", integration=integration, before=former, after=told)

    async def run(self) -> None:
        """End what is over; for ever."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now = self._clock.now()
            for one in [each for each in self._set.values() if each.until <= now]:
                if self._set.get(one.integration) is not one:
                    continue  # set anew while another's end was written down
                del self._set[one.integration]
                log.set_level_for_a_while(one.integration, None)
                say.warning("log_level_ended", integration=one.integration, level=log.level())
                told = {"level": one.level, "who": one.who}
                await self._changes.note("syncd", "log_level_ended", integration=one.integration, before=told)

    def view(self) -> dict[str, Any]:
        """Schema `syncd.log-levels/1`."""
        lasting = [
            {"integration": one.integration, "level": one.level, "who": one.who, "until": one.until}
            for one in self._set.values()
        ]
        return {"schema": "syncd.log-levels/1", "level": log.level(), "for_a_while": lasting}
