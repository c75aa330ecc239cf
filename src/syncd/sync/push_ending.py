"""How a try of a push ends: done, its record gone, settled, unknown, later, dropped or buried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from syncd import metrics
from syncd.errors import GoneError, PayloadError, RejectedError, StoreError, TransientError
from syncd.kit import Headers, Identity, Item, Response
from syncd.store.database import DataRefusedError
from syncd.store.queues import OUTBOX
from syncd.sync.push_asking import Asking
from syncd.sync.push_outcomes import answer_of, brought, buried, told, written

log = structlog.get_logger()


class Ending(Asking):
    """One taken push, and what is written of it."""

    async def _done(
        self, response: Response, item: Item | None, made_id: str | None, *, looked_up: bool = False
    ) -> None:
        account, push = self._account, self._push
        external_id = made_id or push.external_id
        answer = answer_of(response, external_id, item, told=self._readable and not looked_up)
        if looked_up:
            answer["looked_up"] = True

        async def write() -> None:
            async with self._handled():
                page, read = await brought(account, push, self._resource, response, item, external_id)
            result = await account.store.outbox.done(push, answer=answer, external_id=external_id, page=page)
            if result is not None and read is not None:
                account.count(push.resource, read, result)
            if page is not None and page.tasks:
                account.tasks_added()

        try:
            await self._written(write)
        except DataRefusedError as error:
            # It was made, whatever the database thinks of the answer.
            log.warning("push_answer_not_kept", **self._told(external_id), reason=str(error))
            bare = {"status": response.status_code}
            await self._written(lambda: account.store.outbox.done(push, answer=bare))
        self._count("done")
        log.info(
            "push_done",
            **self._told(external_id),
            attempt=push.attempts,
            status=response.status_code,
            **({"looked_up": True} if looked_up else {}),
        )

    async def _deleted(self, answer: dict[str, Any]) -> None:
        """It is done, and its record gone."""
        push, at = self._push, self._account.clock.now()

        async def write() -> None:
            async with self._handled():
                response, item = Response(404, Headers(), b"", requested_at=at), self._tombstone()
                page, read = await brought(self._account, push, self._resource, response, item, push.external_id)
            result = await self._account.store.outbox.done(push, answer=answer, page=page)
            if result is not None and read is not None:
                self._account.count(push.resource, read, result)

        await self._written(write)
        self._count("done")
        log.info("push_settled", **self._told(), status=answer["status"], reason="there is no such record any more")

    def _tombstone(self) -> Item | None:
        """What a push that deletes brings."""
        push = self._push
        return Item(push.resource, None, Identity(push.external_id, deleted=True)) if push.external_id else None

    def _item(self, response: Response) -> Item | None:
        """The record in the answer. One that came in pieces is no answer while asking once more is harmless."""
        driver = self._account.driver
        try:
            item = driver.pushed(self._resource, self._change, response)
            if item is not None and item.raw is not None:
                driver.identify(self._resource, item.raw, self._plan.adapter)
            return item
        except Exception as error:
            self._readable = False
            log.warning("push_answer_unreadable", **self._told(), reason=str(error))
            if not _is_whole(response) and self._push.tries < self._policy.attempts - 1 and self._can_be_told():
                raise TransientError(f"its answer cannot be read: {error}", status=response.status_code) from error
            return None  # it was made all the same, and the record is read anew where it is known

    def _id_of(self, item: Item | None) -> str | None:
        if item is None or item.raw is None:
            return None
        return self._account.driver.identify(self._resource, item.raw, self._plan.adapter).external_id

    def _made_id(self, response: Response) -> str | None:
        try:
            return self._account.driver.made_id(self._resource, self._change, response)
        except PayloadError as error:  # it was made, whatever its answer looks like
            log.warning("push_answer_unreadable", **self._told(), reason=str(error))
            return None

    async def _unsure(self, error: Exception) -> None:
        """It left, and no answer tells what came of it."""
        push = self._push
        can_be_told = await self._told_by_driver(self._can_be_told)
        if can_be_told is None:
            await self._bury(error, unsure=True)
        elif not can_be_told:
            # It says when the try left, which the row as it was taken does not.
            self._push = replace(push, sent_at=self._account.clock.now())
            await self._bury(self._nobody_knows(str(error)), unsure=False)
        elif push.tries >= self._policy.attempts:
            await self._bury(error, unsure=True)
        else:
            told = error.retry_at if isinstance(error, TransientError) else None
            at = max(self._soon(), told) if told is not None else self._soon()
            await self._written(lambda: self._account.store.outbox.unknown(push, at, reason=str(error)))
            self._count("unknown")
            log.warning("push_unknown", **self._told(), attempt=push.attempts, reason=str(error))

    def _settles(self, error: RejectedError | GoneError) -> bool:
        """Does this refusal say that nothing is left to do? At the first try a record that is not there may be a wrong id."""
        driver, again = self._account.driver, self._push.unsure_since is not None
        if again and isinstance(error, GoneError) and driver.deletes(self._resource, self._change):
            return True
        return driver.settled(self._resource, self._change, error)

    async def _settled(self, error: RejectedError | GoneError) -> None:
        """The partner says that nothing is left to do."""
        answer = {"status": error.status, "settled": str(error)}
        if await self._told_by_driver(lambda: self._account.driver.deletes(self._resource, self._change)):
            await self._deleted(answer)
            return
        await self._written(lambda: self._account.store.outbox.done(self._push, answer=answer))
        self._count("done")
        log.info("push_settled", **self._told(), status=error.status, reason=str(error))

    def _soon(self) -> datetime:
        return self._account.clock.now() + self._policy.backoff(self._push.tries, self._account.clock.random())

    async def _cut_short(self) -> None:
        """The process stops. What has not left goes back untouched."""
        store = self._account.store.outbox
        try:
            if self._left:
                await store.unknown(self._push, None, reason="the process stopped before its answer came")
            else:
                await store.later(self._push, self._push.not_before, counts=False, reason=self._push.reason or "")
        except StoreError as error:
            # Whoever owns the scope next finds it taken under an older fence.
            log.warning("push_not_given_back", **self._told(), reason=str(error))

    async def _later(self, at: datetime, *, counts: bool, reason: str) -> None:
        await self._written(lambda: self._account.store.outbox.later(self._push, at, counts=counts, reason=reason))
        self._count("later")

    async def _drop(self, why: str) -> None:
        await self._written(lambda: self._account.store.outbox.drop(self._push, why))
        self._count("dropped")
        log.info("push_dropped", **self._told(), reason=why)

    async def _bury(self, error: Exception, *, unsure: bool) -> None:
        # What the driver cannot say is taken for something that no newer push makes moot.
        replaces = await self._told_by_driver(lambda: self._account.driver.replaces(self._resource, self._change))
        await buried(self._account, self._push, error, unsure=unsure, replaces=bool(replaces))

    async def _written(self, write: Callable[[], Awaitable[object]]) -> None:
        await written(self._account, self._push, write)

    def _count(self, outcome: str) -> None:
        if outcome in ("done", "dropped"):
            self._account.flow.ended[OUTBOX] += 1
        metrics.PUSHES.labels(self._push.integration, self._push.resource, outcome).inc()

    def _told(self, external_id: str | None = None) -> dict[str, Any]:
        return told(self._account, self._push, external_id)


def _is_whole(response: Response) -> bool:
    """Is its body JSON from beginning to end? What is not what the driver expects is another matter, and no repeat helps."""
    try:
        response.json()
    except PayloadError:
        return False
    return True
