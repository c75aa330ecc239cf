"""What becomes of a push: written to its row however long the database is away, with what its answer brought."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from syncd import metrics
from syncd.errors import (
    AuthError,
    BreakerOpenError,
    GoneError,
    OwnershipError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    StoreError,
    TransientError,
)
from syncd.kit import Item, Resource, Response
from syncd.model import Lane
from syncd.redaction import redact
from syncd.store import NewTask, PageWrite, PushRow
from syncd.store.database import DataRefusedError
from syncd.store.queues import OUTBOX
from syncd.sync.account import Account
from syncd.sync.letters import letter_of_push
from syncd.sync.page import PageIn, PageRead
from syncd.sync.reading import observed_at

log = structlog.get_logger()

MOST_ANSWER = 20_000
"""Bytes of an answer's body that are kept with the push."""


async def brought(
    account: Account,
    push: PushRow,
    resource: Resource,
    response: Response,
    item: Item | None,
    external_id: str | None,
) -> tuple[PageWrite | None, PageRead | None]:
    """What the answer brought, as R7 stores it; a task to read the record where it brought none."""
    cause = f"push {push.id}: {push.cause}" if push.cause else f"push {push.id}"
    read: PageRead | None = None
    found = PageRead()
    if item is not None:
        requested_at = response.requested_at or account.clock.now()
        source = PageIn([item], requested_at, cause, None, observed_at(response, requested_at))
        found = read = await account.processor.read(
            push.resource, source, rejected={(push.resource, external_id or "")}
        )
    elif external_id is not None and (resource.one is not None or resource.many is not None):
        found.tasks.append(NewTask.fetch(push.resource, external_id, lane=Lane.HIGH, cause=cause))
    if read is None and not found.tasks:
        return None, None
    # The database knows whether the fence it was taken under still holds.
    return account.write(push.resource, cause, found, fence=push.taken_fence), read


def told(account: Account, push: PushRow, external_id: str | None = None) -> dict[str, Any]:
    """What every log line of a push says."""
    return {
        "partner": account.partner,
        "integration": push.integration,
        "resource": push.resource,
        "record_id": external_id or push.external_id,
        "push_id": push.id,
        "kind": push.operation,
    }


async def written(account: Account, push: PushRow, write: Callable[[], Awaitable[object]]) -> None:
    """Write an outcome that is known, however long the database is away; until then the row says that it is taken.

    Raises OwnershipError when somebody else has the push by now, DataRefusedError for what no waiting helps.
    """
    said = False
    while True:
        try:
            await write()
            return
        except (OwnershipError, DataRefusedError):
            raise
        except StoreError as error:
            if not said:
                log.warning("push_outcome_waits", **told(account, push), reason=str(error))
            said = True
            await account.clock.sleep(1.0 + account.clock.random())


async def buried(
    account: Account,
    push: PushRow,
    error: Exception,
    *,
    unsure: bool,
    replaces: bool,
) -> None:
    letter = letter_of_push(push, error)
    await written(account, push, lambda: account.store.outbox.bury(push, letter, unsure=unsure, replaces=replaces))
    account.flow.ended[OUTBOX] += 1
    known = push.resource if push.resource in account.plans else "unknown"  # an application may write any name
    metrics.PUSHES.labels(push.integration, known, "buried").inc()
    log.warning(
        "push_buried",
        **told(account, push),
        attempt=push.attempts,
        reason=str(error),
        action=getattr(error, "hint", "") or "syncd dlq list",
    )


def may_have_arrived(error: Exception) -> bool:
    """After a try that left: may the partner have made the change in spite of this?

    A database that was away says nothing of the partner: its answer may have been a yes.
    """
    match error:
        case RejectedError(unknown=True):
            return True
        case RateLimitError() | AuthError() | RejectedError() | GoneError() | BreakerOpenError():
            return False
        case TransientError(status=None, unknown=unknown):
            return unknown
        case TransientError(status=int(status)):
            return not 400 <= status < 500 or status == 408
        case PartnerError() | PayloadError():
            return True
    return True


def answer_of(response: Response, external_id: str | None, item: Item | None, *, told: bool = True) -> dict[str, Any]:
    """Kept of an answer for whoever pushed: the record in it as the driver reads it, else all it says with secrets masked.

    `told`: False of an answer that was not one to the push, or that nobody could read: there may be anything in it.
    """
    found: dict[str, Any] = {"status": response.status_code, "record": external_id}
    if told and len(response.content) <= MOST_ANSWER:
        with suppress(PayloadError):
            found["body"] = redact(response.json()) if item is None or item.raw is None else item.raw
    return found
