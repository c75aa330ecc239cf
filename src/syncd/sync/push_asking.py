"""What is asked about one push, of its driver and of the partner, before it is sent and after its answer was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio
import structlog

from syncd.errors import GoneError, RejectedError, StoreError, UnknownOutcomeError
from syncd.kit import STATE, Change, Request, Resource, Response
from syncd.model import Lane
from syncd.store import PushRow
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.plan import ResourcePlan
from syncd.sync.push_outcomes import brought, told, written

log = structlog.get_logger()

T = TypeVar("T")
GIVE_BACK_SECONDS = 3.0


class Asking:
    """One taken push, and how sure one can be of it."""

    def __init__(self, account: Account, policy: RetryPolicy, push: PushRow, plan: ResourcePlan) -> None:
        self._account = account
        self._policy = policy
        self._push = push
        self._plan = plan
        sent_at = push.unsure_since or push.sent_at or push.created_at
        self._change = Change(
            push.resource, push.external_id, push.operation, push.payload, push.idempotency_key, sent_at
        )
        self._left = False
        """Has this try begun to leave?"""
        self._readable = True
        """Could the driver read what the answer brought?"""
        self._seen: tuple[Request, Response] | None = None
        """How the record was read just now."""

    @property
    def _resource(self) -> Resource:
        return self._plan.resource

    @asynccontextmanager
    async def _handled(self) -> AsyncIterator[None]:
        """Round whatever the driver does. Of a push whose takes have ended with the process its row says so meanwhile."""
        push, store = self._push, self._account.store.outbox
        if not push.suspect:
            yield
            return
        await store.handles(push, now=True)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS), suppress(StoreError):
                await store.handles(push, now=False)  # whatever outcome is written says it too

    async def _told_by_driver(self, question: Callable[[], T]) -> T | None:
        """What the driver says of a push whose outcome is due; None where it dies over it: that must not cost the outcome.

        What is said of a suspect meanwhile needs the database, which may be what is away: it is waited for.
        """
        answer: T | None = None

        async def ask() -> None:
            nonlocal answer
            async with self._handled():
                try:
                    answer = question()
                except Exception as error:
                    log.warning("push_driver_failed", **told(self._account, self._push), reason=repr(error))

        await written(self._account, self._push, ask)
        return answer

    async def _check(self) -> None:
        """Raises RejectedError for what must not be sent.

        A state is never held against it without having been read just now: a copy is older than the partner's own record,
        however little, and an application writes a push for what it knows. One that is not known here is read, too. What
        the change expects of the record is what our copy said: only the partner's own record can tell that it is otherwise.
        """
        account, push, driver = self._account, self._push, self._account.driver
        stored = None
        if push.external_id is not None:
            stored = await account.store.records.get(push.integration, push.resource, push.external_id)
        live = stored.data if stored is not None and stored.deleted_at is None else None
        copy = live
        try:
            async with self._handled():
                by_state = driver.by_state(self._resource, self._change)
                expects = driver.expects(self._resource, self._change)
                if by_state and (expects or driver.look_first(self._resource, self._change)):
                    copy, live = live, None  # it is read anyway
                driver.check(self._resource, self._change, live)
                unknown = by_state and live is None and push.external_id is not None
        except RejectedError as error:
            if error.code != STATE or stored is None:
                raise
            fields = await self._read_anew(stored.external_id)
            if fields is None:
                raise
            async with self._handled():
                driver.check(self._resource, self._change, fields)
        else:
            if unknown and push.external_id is not None:
                await self._check_unknown(push.external_id, copy, expects)

    async def _check_again(self) -> None:
        """Before another try of a change that expects something: what was so then may be otherwise by now."""
        async with self._handled():
            expects = self._account.driver.expects(self._resource, self._change)
        if not expects:
            return
        try:
            await self._check()
        except RejectedError as error:
            if error.code == STATE and self._push.unsure_since is not None:
                error.args = (f"{error}; perhaps by this very push, whose answer was lost: look at the partner",)
            raise

    async def _check_unknown(self, external_id: str, copy: dict[str, Any] | None, expects: bool) -> None:
        """Held against the state the partner has it in now. Where its records cannot be read, that is left to the partner;
        what is expected of the record is then held against our `copy`, for want of anything better."""
        driver = self._account.driver
        async with self._handled():
            readable = driver.one(self._resource, external_id) is not None
            if not readable and expects and copy is not None:
                driver.check(self._resource, self._change, copy)
        if not readable:
            if expects and copy is None:
                what = f"{self._change.kind} says how the record was, which is neither stored here nor can be read"
                raise RejectedError(what, hint="push it without that, or once the record is stored", code=STATE)
            return
        fields = await self._read_anew(external_id)
        if fields is None:
            what = f"{self._change.kind} goes by the record's state, and {self._account.partner} has no such record"
            hint = "is the id right? where the record appears later: syncd dlq replay sends it then"
            raise RejectedError(what, hint=hint, code=STATE, resource=self._resource.name)
        async with self._handled():
            driver.check(self._resource, self._change, fields)

    async def _read_anew(self, external_id: str) -> dict[str, Any] | None:
        """The record's fields as the partner has them now, and stored so; None where it cannot be read."""
        account, driver = self._account, self._account.driver
        async with self._handled():
            request = driver.one(self._resource, external_id)
        if request is None:
            return None
        response = await self._ask(request)
        if response is None:
            return None
        self._seen = request, response
        async with self._handled():
            item = driver.item(self._resource, response)
            fields = driver.fields(self._resource, item.raw, self._plan.adapter) if item.raw is not None else None
            page, read = await brought(account, self._push, self._resource, response, item, external_id)
        if page is not None and read is not None:
            account.count(self._push.resource, read, await account.store.pages.commit_one(page))
        return fields

    async def _may_repeat(self) -> bool:
        async with self._handled():
            return self._idempotent()

    def _idempotent(self) -> bool:
        push = self._push
        unsure = (self._account.clock.now() - push.unsure_since).total_seconds() if push.unsure_since else 0.0
        return self._account.driver.idempotent(self._resource, self._change, unsure)

    async def _ask(self, request: Request) -> Response | None:
        """What the partner says of it; None where it says that there is no such thing."""
        judging = self._handled if self._push.suspect else None
        try:
            return await self._account.session.call(request, lane=Lane.HIGH, judging=judging)
        except GoneError:
            return None

    def _can_be_told(self) -> bool:
        """Is there a way to find out whether a try has arrived?"""
        return self._idempotent() or self._account.driver.look_up(self._resource, self._change) is not None

    def _nobody_knows(self, why: str) -> UnknownOutcomeError:
        push = self._push
        at = push.sent_at or push.unsure_since or self._account.clock.now()
        return UnknownOutcomeError(
            f"nobody knows whether it arrived: sent at {at:%Y-%m-%d %H:%M:%SZ}, no answer ({why}); "
            "look at the partner first, a replay sends it again",
            hint=f"{self._account.partner} honours no idempotency key for {push.operation} of {push.resource} and has "
            "nothing to look it up by: look at the partner whether it is there; then replay the letter (it is sent again) "
            "or discard it",
            partner=self._account.partner,
            integration=push.integration,
            resource=push.resource,
            unknown=True,
        )
