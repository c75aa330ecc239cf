"""A wall clock that was ahead and is set right: what it put off must not wait for as long as it was ahead.

Moments at which something is due are kept by the wall clock, since they outlive the process. Where it is set back by a day,
each of them would be a day late: schedules would stand still, and so would retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.unit import Unit

log = structlog.get_logger()

AGAIN_SECONDS = 60.0
"""After the rows could not be brought forward."""
LEAST_SECONDS = 2.0
"""Clocks are put right by less all the time."""


class Setbacks:
    """One partner's watch of the clock."""

    def __init__(
        self, accounts: Mapping[str, Account], units: Mapping[tuple[str, str], Unit], store: Store, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._units = units
        self._store = store
        self._clock = clock
        self._offset = self._ahead()
        self._owed = 0.0
        """Seconds by which the rows have still to follow."""
        self._try_at = 0.0

    async def look(self) -> None:
        """Where the clock was set back since the last look, bring forward what waits. Raises nothing: a database that is
        away, or takes long over very many rows, holds up no other work."""
        ahead = self._ahead()
        back, self._offset = self._offset - ahead, ahead
        if back >= LEAST_SECONDS:
            by = timedelta(seconds=back)
            for unit in self._units.values():
                unit.due_at -= by
            for account in self._accounts.values():
                if account.health.auth_retry_at is not None:
                    account.health.auth_retry_at -= by
            self._owed += back
            log.warning("clock_set_back", seconds=round(back, 1))
        names = [name for name, account in self._accounts.items() if account.ownership.held]
        if self._owed and not names:
            self._owed = 0.0
        if self._owed and self._clock.monotonic() >= self._try_at:
            try:
                await self._store.postponed.set_back(names, self._owed)
            except StoreError as error:
                self._try_at = self._clock.monotonic() + AGAIN_SECONDS
                log.warning("postponed_not_brought_forward", seconds=round(self._owed, 1), reason=str(error))
            else:
                self._owed = 0.0

    def _ahead(self) -> float:
        """How far the wall clock is ahead of the monotonic one."""
        return self._clock.now().timestamp() - self._clock.monotonic()
