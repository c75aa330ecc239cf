"""Asking only for what changed: a whole listing that came in one answer is asked for with what it was known by.

An answer of 304 says that the listing is as it was; where what is stored is still what was stored of it, the pass is
complete without a body sent, read or compared. It is believed for scheduled runs alone and for a day: who asks by hand sees
the listing itself, and a partner whose ETag does not change with its records is found out by the next full reading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from syncd import codec
from syncd.kit import Request, Response
from syncd.model import Mode
from syncd.store import Validator
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.tally import Tally

UNCHANGED = 304
LONGEST = 1024
"""A value longer than that is not sent back."""


@dataclass(slots=True)
class Conditional:
    """Of one run. `on`: the run may be answered so."""

    account: Account
    plan: ResourcePlan
    tally: Tally
    on: bool
    unchanged: bool = False
    """The partner said that the listing is as it was."""
    _sent: Validator | None = None
    _found: Validator | None = None
    _asked: bool = False
    _reading: str = ""

    async def ask(self, request: Request) -> Request:
        """The listing's first call, with what its answer was known by last."""
        if not self._applies:
            return request
        now = self.account.clock.now()
        self._reading = _reading(request, self.plan)
        known = await self.account.store.validators.get(self.account.name, self.plan.name)
        self._sent = known
        if not self.on or known is None or known.reading != self._reading:
            return request
        if not timedelta(0) <= now - known.told_at < timedelta(seconds=self.plan.full_every_seconds):
            return request
        headers = dict(request.headers)
        if known.etag is not None:
            headers["If-None-Match"] = known.etag
        if known.modified is not None:
            headers["If-Modified-Since"] = known.modified
        self._asked = True
        return replace(request, headers=headers)

    def hear(self, response: Response) -> bool:
        """Is the listing as it was? What its answer says it is known by is remembered for `keep`."""
        if not self._applies:
            return False
        if response.status_code == UNCHANGED and self._asked:
            self.unchanged = True
            return True
        etag, modified = _header(response, "etag"), _header(response, "last-modified")
        if etag is not None or modified is not None:
            told_at = response.requested_at or self.account.clock.now()
            self._found = Validator(etag, modified, self._reading, told_at)
        return False

    async def repeat(self) -> None:
        """Count the pass as what the last one was."""
        account, tally = self.account, self.tally
        assert tally.run_id is not None and self._sent is not None
        await account.store.validators.repeat(
            account.name,
            self.plan.name,
            scope=account.scope,
            fence=account.fence,
            run_id=tally.run_id,
            calls=tally.calls,
            waited_seconds=tally.waited_seconds,
        )
        tally.as_before = True
        tally.pages += 1
        tally.seen += self._sent.records
        tally.unchanged += self._sent.records

    async def keep(self, *, complete: bool) -> None:
        """After the run: remember what its one answer was known by, where all it held is stored and nothing else is."""
        if not self._applies or self.unchanged:
            return
        account, tally, sweep = self.account, self.tally, self.tally.sweep
        just_so = (
            complete
            and tally.pages == 1
            and not (tally.rejected or tally.stale or tally.doubted or account.processor.aside)
            and sweep is not None
            and not (sweep.missed or sweep.held)
        )
        found = self._found if just_so else None
        if found is not None or self._sent is not None:
            await account.store.validators.keep(account.name, self.plan.name, found)

    @property
    def _applies(self) -> bool:
        """Is it a listing that is read whole each time, from its start?"""
        return self.plan.strategy is Strategy.FULL and self.tally.mode is Mode.FULL


def _header(response: Response, name: str) -> str | None:
    value = response.headers.get(name, "").strip()
    return value if 0 < len(value) <= LONGEST and value.isascii() and value.isprintable() else None


def _reading(request: Request, plan: ResourcePlan) -> str:
    """Of the call and of how its answer is read: other fields or another adapter must see the answer itself."""
    told = [request.method, request.path, str(request.params), str(request.json), plan.resource.model_dump_json()]
    by = [str(plan.adapter), *(plan.rollout.ends if plan.rollout is not None else ())]
    return codec.fingerprint({"told": told}, str(by))[1].hex()
