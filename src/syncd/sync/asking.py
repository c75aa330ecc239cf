"""Asking a partner in no hurry for records by their ids, or whatever else there is to compare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from syncd.errors import GoneError, PayloadError
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.differences import There, seen_there
from syncd.sync.plan import ResourcePlan
from syncd.sync.unhurried import Unhurried

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


class Asking(Unhurried):
    """Of one resource."""

    def __init__(self, account: Account, plan: ResourcePlan) -> None:
        super().__init__(account, pause_seconds=PAUSE_SECONDS, longest_seconds=LONGEST_WAIT_SECONDS, tries=TRIES)
        self.unread: set[str] = set()
        """Records whose own answer could not be read: nothing is known of them."""
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
