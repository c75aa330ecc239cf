"""One push's way to the partner, and what becomes of it: done, later, unknown, dropped or buried.

What may have arrived is never sent again on a guess. It is sent again where the partner makes twice the same as once, it is
looked up where it does not, and where neither can be it becomes a dead letter that says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import anyio
import structlog

from syncd import spans
from syncd.errors import (
    AuthError,
    GoneError,
    OwnershipError,
    PayloadError,
    PoisonError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from syncd.kit import Item, Request, Response
from syncd.model import Lane
from syncd.store import POISON, PushRow
from syncd.sync.account import Account
from syncd.sync.decide import Later, RetryPolicy, decide
from syncd.sync.let_in import whose
from syncd.sync.push_asking import GIVE_BACK_SECONDS
from syncd.sync.push_ending import Ending
from syncd.sync.push_outcomes import buried, may_have_arrived, told

log = structlog.get_logger()

_STILL_AT_IT = frozenset({409, 425})
"""What partners answer to a key they are still working on."""
PATIENCE = RetryPolicy(attempts=12, first_seconds=1.0)
"""Somebody waits for a push: it is tried again sooner than other work."""


class Sender:
    """Sends taken pushes of one integration."""

    def __init__(self, account: Account, policy: RetryPolicy = PATIENCE) -> None:
        self._account = account
        self._policy = policy

    async def send(self, push: PushRow) -> None:
        """Bring it to its end or put it back; whatever happens, its row gets an outcome.

        Raises OwnershipError where it is not ours to write one, StoreError where none could be written.
        """
        plan = self._account.plans.get(push.resource)
        try:
            if plan is None:
                known = ", ".join(self._account.plans)
                raise RejectedError(
                    f"{push.integration} has no resource {push.resource!r}", hint=f"it has: {known}", code="invalid"
                )
            if push.suspicion >= POISON:
                raise PoisonError(
                    f"handling it has ended the process {max(push.lost, push.suspicion)} times",
                    hint=f"mend the driver, or what it stumbles over: syncd push show {push.integration} {push.id}",
                )
            traced = {
                "syncd.partner": self._account.partner,
                "syncd.integration": push.integration,
                "syncd.resource": push.resource,
                "syncd.push_id": push.id,
                "syncd.attempt": push.tries,
            }
            key = f"{push.integration}\0push\0{push.id}"
            with spans.span(f"push {push.resource}", "consumer", traced, trace=key, root=True):
                await _Try(self._account, self._policy, push, plan).run()
        except OwnershipError:
            raise
        except (RejectedError, PoisonError) as error:
            await buried(self._account, push, error, unsure=push.unsure_since is not None, replaces=False)
        except Exception as error:
            # Its outcome could not even be decided: a fault of ours, to be tried again seldom and not for ever.
            log.exception("push_crashed", **told(self._account, push))
            await self._crashed(push, error)
        self._account.moved()

    async def _crashed(self, push: PushRow, error: Exception) -> None:
        outbox, clock = self._account.store.outbox, self._account.clock
        if push.tries >= self._policy.attempts:
            row = await outbox.get(push.integration, push.id)
            unsure = row is None or row.unsure_since is not None
            await buried(self._account, push, error, unsure=unsure, replaces=False)
            return
        at = clock.now() + self._policy.backoff(push.attempts, clock.random())
        await outbox.put_back(push, at, f"a fault of syncd's: {error!r}")


class _Try(Ending):
    """One taken push."""

    async def run(self) -> None:
        try:
            await self._run()
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._cut_short()
            raise
        except OwnershipError as error:
            # Whoever owns it now finds it taken under another fence; where that are we ourselves, the caller frees it.
            log.info("push_lost", **self._told(), reason=str(error))
            raise
        except Exception as error:
            await self._ended_badly(error)

    async def _run(self) -> None:
        push, now = self._push, self._account.clock.now()
        expired = push.expires_at is not None and push.expires_at <= now
        if push.unsure_since is None:
            if expired:
                await self._drop("its time was over before it could go")
                return
            await self._check()
            if await self._is_so_already():
                return
        elif expired or not await self._may_repeat():
            arrived = await self._looked_up()
            if arrived is not False:
                return
            if expired:
                await self._drop("its time was over, and it had not arrived")
                return
            if not await self._account.store.outbox.settled(push):
                raise OwnershipError(f"push {push.id} of {push.integration} is no longer ours")
            self._push = replace(push, unsure_since=None)
            await self._check_again()
        else:  # it may be repeated, and need not be
            if await self._is_so_already():
                return
            await self._check_again()
        await self._send()

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        account, driver = self._account, self._account.driver
        async with self._handled():
            request = replace(driver.push(self._resource, self._change), repeatable=False)
        judging = self._handled if self._push.suspect else None
        response = await account.session.call(request, lane=Lane.HIGH, leaving=self._leaving, judging=judging)
        async with self._handled():
            confirmed = driver.confirms(self._resource, self._change, response)
            gone = confirmed and driver.deletes(self._resource, self._change)
            item = self._tombstone() if gone else self._item(response) if confirmed else None
            external_id = self._id_of(item) or (self._made_id(response) if confirmed else None)
        if not confirmed:
            raise TransientError("the partner's answer does not show the change", status=response.status_code)
        await self._done(response, item, external_id)

    async def _leaving(self) -> None:
        await self._account.store.outbox.leaving(self._push, self._account.scope)
        self._left = True

    async def _looked_up(self) -> bool | None:
        """Has it arrived? None: it is not to be gone on with; its outcome is written."""
        account, push, driver = self._account, self._push, self._account.driver
        async with self._handled():
            request = driver.look_up(self._resource, self._change)
            after = timedelta(seconds=driver.look_up_after(self._resource, self._change))
        if request is None:
            await self._bury(self._nobody_knows(push.reason or "its answer was lost"), unsure=False)
            return None
        sent_at, now = push.sent_at or push.unsure_since or push.created_at, account.clock.now()
        if now - after < sent_at <= now:  # what seems to have left in the future was sent by another clock
            await self._later(sent_at + after, counts=False, reason=push.reason or "waits before it is looked up")
            return None
        try:
            if await self._deletes():
                gone = await self._is_gone(request)
                if gone:
                    await self._deleted({"status": 404, "record": push.external_id, "looked_up": True})
                return gone
            if push.external_id is None:  # two pushes may say the same, and both are meant
                self._change = replace(self._change, others_made=await account.store.outbox.made_by_others(push))
            found = await self._shown(request)
        except UnknownOutcomeError as error:
            await self._bury(error, unsure=False)
            return None
        except (RejectedError, PayloadError) as error:
            raise TransientError(f"it could not be looked up: {error}", breaks=False) from error
        return await self._is_done(found)

    async def _deletes(self) -> bool:
        async with self._handled():
            return self._push.external_id is not None and self._account.driver.deletes(self._resource, self._change)

    async def _is_gone(self, request: Request) -> bool:
        """Of a push that deletes: has the partner no such record?"""
        response = await self._ask(request)
        if response is None:
            return True
        async with self._handled():
            try:
                return self._account.driver.already(self._resource, self._change, response)
            except GoneError:
                return True

    async def _is_so_already(self) -> bool:
        """Has the partner already what is to be sent? Asked only of what must not be repeated for nothing."""
        async with self._handled():
            first = self._account.driver.look_first(self._resource, self._change)
            request = self._account.driver.look_up(self._resource, self._change) if first else None
        if request is None:
            return False
        try:
            return await self._is_done(await self._shown(request))
        except (UnknownOutcomeError, RejectedError, PayloadError) as error:
            log.info("push_not_looked_up", **self._told(), reason=str(error))  # the partner says more when it is sent
            return False

    async def _is_done(self, found: tuple[Response, Item | None] | None) -> bool:
        if found is None:
            return False
        response, item = found
        await self._done(response, item, self._id_of(item), looked_up=True)
        return True

    async def _shown(self, request: Request) -> tuple[Response, Item | None] | None:
        """The answer that shows that it has arrived, with the record where that had to be read by itself."""
        driver, resource, change = self._account.driver, self._resource, self._change
        known = self._seen is not None and self._seen[0] == request
        response = self._seen[1] if self._seen is not None and known else await self._ask(request)
        if response is None:
            return None
        async with self._handled():
            each = driver.look_up_each(resource, change, response)
            there = each is None and driver.already(resource, change, response)
        if there:
            return response, None
        for candidate in each or ():
            one = await self._ask(candidate)
            if one is None:
                continue
            async with self._handled():
                if driver.already(resource, change, one):
                    return one, driver.item(resource, one)
        return None

    # -- outcomes --------------------------------------------------------------------------------------------------

    async def _ended_badly(self, error: Exception) -> None:
        account, push = self._account, self._push
        arrived = self._left and may_have_arrived(error)
        error = await self._whose(error)
        now = account.clock.now()
        account.health.task_failed(push.resource, error, now)
        if isinstance(error, AuthError):  # the next push would be refused as well
            account.health.auth_retry_at = now + timedelta(seconds=self._policy.auth_pause_seconds)
        if arrived:
            await self._unsure(error)
            return
        if isinstance(error, RejectedError | GoneError):
            if self._left and await self._told_by_driver(lambda: self._settles(error)):
                await self._settled(error)
            else:
                await self._refused(error)
            return
        outcome = decide(error, push.tries, now, self._policy, account.clock.random())
        if isinstance(outcome, Later):
            await self._later(outcome.at, counts=outcome.counts, reason=str(error))
        else:
            await self._bury(error, unsure=push.unsure_since is not None)

    async def _whose(self, error: Exception) -> Exception:
        """The error, or what it is where only one of several properties refuses the credential: the partner is asked."""
        try:
            told = await whose(self._account, self._push.resource, error, Lane.HIGH)
        except asyncio.CancelledError:
            self._left = False  # a refused credential changed nothing, whatever the question would have brought
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._cut_short()
            raise
        if isinstance(told, OwnershipError):
            raise told
        return told

    async def _refused(self, error: RejectedError | GoneError) -> None:
        """The partner will not have it. Where an earlier try may have arrived, that may be why."""
        driver, push = self._account.driver, self._push
        unsure = push.unsure_since is not None
        may_go_on = unsure and error.status in _STILL_AT_IT and push.tries < self._policy.attempts
        if may_go_on and await self._told_by_driver(self._idempotent):
            await self._later(self._soon(), counts=True, reason=str(error))
            return
        if unsure and await self._told_by_driver(lambda: driver.look_up(self._resource, self._change)) is not None:
            try:
                arrived = await self._looked_up()
            except Exception as trouble:
                if push.tries < self._policy.attempts:
                    await self._later(self._soon(), counts=True, reason=f"{error}; and {trouble}")
                    return
            else:
                if arrived is False:
                    await self._bury(error, unsure=False)
                return
        await self._bury(error, unsure=unsure)
