"""Asking a partner in no hurry: in the lowest lane, waiting out limits and short outages; records by their ids too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from syncd.errors import BreakerOpenError, GoneError, PayloadError, RateLimitError, RejectedError, TransientError
from syncd.kit import Request, Response
from syncd.model import Lane
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.differences import There, seen_there
from syncd.sync.plan import ResourcePlan

LONGEST_WAIT_SECONDS = 3600.0
"""One call is waited for so long in all."""
PAUSE_SECONDS = 30.0
"""Where nobody says how long to wait."""
TRIES = 5
"""A call that fails so often in a row, each time in spite of the client's own retries, ends the work."""
AT_ONCE = 4
"""Reads by id under way at a time."""
IDS_A_TURN = 50
"""Records read one by one between two looks at the copy."""


class Asking:
    """Of one resource. Counts what it costs."""

    def __init__(self, account: Account, plan: ResourcePlan) -> None:
        self.calls = 0
        self.waited_seconds = 0.0
        self.unread: set[str] = set()
        """Records whose own answer could not be read: nothing is known of them."""
        self._account = account
        self._plan = plan

    @property
    def by_id(self) -> bool:
        """Can single records be asked for?"""
        resource = self._plan.resource
        return self._account.driver.one(resource, "0") is not None or resource.many is not None

    @property
    def at_once(self) -> int:
        """How many ids to hand to `read` at a time."""
        many = self._plan.resource.many
        return many.max if many is not None else IDS_A_TURN

    async def read(self, ids: Sequence[str]) -> dict[str, There | None]:
        """These records as the partner shows them now; None: it says that it has none of that id, or see `unread`."""
        account, plan = self._account, self._plan
        driver, resource = account.driver, plan.resource
        shown: dict[str, There | None] = {}
        request = driver.many(resource, list(ids)) if len(ids) > 1 else None
        if request is not None:
            response = await self.call(request)
            for item in driver.several(resource, response):
                with suppress(PayloadError):  # asked for by itself below, where it says who it is
                    there = seen_there(driver, resource, item, plan.adapter)
                    shown[there.external_id] = there
        left = [external_id for external_id in ids if external_id not in shown]
        async with Ahead[There | None]() as ahead:
            for external_id in left[:AT_ONCE]:
                ahead.push(self._one(external_id))
            for number, external_id in enumerate(left):
                shown[external_id] = await ahead.pop()
                if number + AT_ONCE < len(left):
                    ahead.push(self._one(left[number + AT_ONCE]))
        return shown

    async def _one(self, external_id: str) -> There | None:
        driver, resource = self._account.driver, self._plan.resource
        request = driver.one(resource, external_id)
        try:
            if request is None:
                request = driver.many(resource, [external_id])
                items = driver.several(resource, await self.call(request)) if request is not None else []
            else:
                items = [driver.item(resource, await self.call(request))]
            there = seen_there(driver, resource, items[0], self._plan.adapter) if items else None
        except GoneError:
            return None
        except PayloadError:
            self.unread.add(external_id)
            return None
        # An answer under another id is a record that was merged into that one.
        return there if there is None or there.external_id == external_id else None

    async def call(self, request: Request) -> Response:
        """One call. Raises OwnershipError once another instance owns the scope, RejectedError once a person has paused it."""
        account = self._account
        waited, failures = 0.0, 0
        while True:
            _ = account.fence  # who owns the scope counts its calls
            if account.health.paused is not None:
                raise RejectedError(f"{account.name} is paused", hint=f"syncd resume {account.name}")
            stats = account.session.stats()
            try:
                return await account.session.call(request, lane=Lane.LOW, stats=stats)
            except RateLimitError as error:
                if error.hopeless:
                    raise
                pause = self._pause(error.retry_at)
                if waited + pause > LONGEST_WAIT_SECONDS:
                    raise
            except BreakerOpenError as error:
                pause = self._pause(error.retry_at)
                if error.held or waited + pause > LONGEST_WAIT_SECONDS:
                    raise
            except TransientError as error:
                failures += 1
                pause = self._pause(error.retry_at)
                if failures >= TRIES or waited + pause > LONGEST_WAIT_SECONDS:
                    raise
            finally:
                self.calls += stats.calls
                self.waited_seconds += stats.waited_seconds
            waited += pause
            self.waited_seconds += pause
            await account.clock.sleep(pause)

    def _pause(self, until: datetime | None) -> float:
        if until is None:
            return PAUSE_SECONDS
        return max(1.0, (until - self._account.clock.now()) / timedelta(seconds=1))
