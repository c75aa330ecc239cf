"""How failed work is buried: what a person needs to understand it, and what it takes to do it again.

Request and answer are what the client left on the error (`client/evidence.py`), masked and bounded there. Of deliveries and
pushes the row stays where it is, buried, with its body: the letter only names it. What was tried before, and the letter whose
replay this was, is known to the row; `store.dead_letters.insert_letter` reads it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any

from syncd.client.evidence import body_text
from syncd.errors import PartnerError, SyncdError
from syncd.redaction import KNOWN, redact
from syncd.store import NewDeadLetter, PushRow, Task
from syncd.store.inbox import Taken

_VARYING = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b\w*\d[\w.-]*\b|'[^']*'|\"[^\"]*\"")
_LONGEST_TRACE = 8000
"""Characters; the end is kept."""
_LONGEST_MESSAGE = 4000


def fingerprint(error: BaseException, resource: str) -> str:
    """Equal for troubles of one cause: class, status, resource and the words without ids and numbers."""
    status = getattr(error, "status", None) or ""
    words = _VARYING.sub("…", KNOWN.mask(str(error))).strip()[:120]
    return f"{resource} · {type(error).__name__} {status} · {words}".replace("  ", " ")


def letter_of_task(task: Task, error: BaseException) -> NewDeadLetter:
    """The dead letter of a task; its payload is enough to make the task again."""
    return _letter(
        task.integration,
        "task",
        error,
        {"work": task.kind, "resource": task.resource},
        origin_id=str(task.id),
        resource=task.resource,
        external_id=task.external_id or task.parent_id,
        payload={
            "kind": task.kind,
            "resource": task.resource,
            "external_id": task.external_id,
            "parent_id": task.parent_id,
            "payload": dict(task.payload),
            "lane": int(task.lane),
            "dedupe_key": task.dedupe_key,
        },
        attempts=task.attempts,
        former_id=task.letter_id,
        history=task.history,
    )


def letter_of_run(
    integration: str,
    resource: str,
    run_id: int | None,
    error: BaseException,
    attempts: int,
    *,
    former_id: int | None = None,
) -> NewDeadLetter:
    """The dead letter of a run; to replay it is to sync the resource now. `former_id`: the letter that asked for the run."""
    return _letter(
        integration,
        "run",
        error,
        {"work": "run", "resource": resource},
        origin_id=str(run_id or ""),
        resource=resource,
        payload={"kind": "sync", "resource": resource},
        attempts=attempts,
        former_id=former_id,
    )


def letter_of_delivery(integration: str, delivery: Taken, error: BaseException) -> NewDeadLetter:
    """The dead letter of a delivery that could not be worked on; to replay it is to work on it once more."""
    said: dict[str, Any] = {
        "work": "delivery",
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "received_at": delivery.received_at.isoformat(),
        "headers": redact(dict(delivery.headers)),
        "body": body_text(delivery.body or b"", delivery.headers.get("content-type", "")),
    }
    if delivery.route:
        said["route"] = delivery.route
    return _letter(
        integration,
        "inbox",
        error,
        said,
        origin_id=str(delivery.id),
        payload={"event_id": delivery.event_id, "event_type": delivery.event_type},
        attempts=delivery.attempts + 1,
    )


def letter_of_push(push: PushRow, error: BaseException) -> NewDeadLetter:
    """The dead letter of a push; to replay it is to send it under its own idempotency key."""
    return _letter(
        push.integration,
        "outbox",
        error,
        {"work": "push", "operation": push.operation, "data": redact(dict(push.payload))},
        origin_id=str(push.id),
        resource=push.resource,
        external_id=push.external_id,
        payload={"operation": push.operation, "idempotency_key": push.idempotency_key},
        attempts=push.attempts,
    )


def _letter(
    integration: str, origin: str, error: BaseException, said: Mapping[str, Any], **known: Any
) -> NewDeadLetter:
    evidence = getattr(error, "evidence", None)
    call = evidence if isinstance(evidence, Mapping) else {}
    return NewDeadLetter(
        integration=integration,
        origin=origin,
        error_class=type(error).__name__,
        message=KNOWN.mask(str(error) or type(error).__name__)[:_LONGEST_MESSAGE],
        fingerprint=fingerprint(error, known.get("resource", "")),
        request={**said, **(call.get("request") or {})},
        response=_response(error, call.get("response")),
        traceback=_traceback(error),
        **known,
    )


def _response(error: BaseException, answered: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not isinstance(error, PartnerError):
        return dict(answered) if answered is not None else None
    return {"status": error.status, "code": error.code, "request_id": error.request_id, **(answered or {})}


def _traceback(error: BaseException) -> str | None:
    """Only for what is a fault of ours: an expected refusal needs no stack."""
    if isinstance(error, SyncdError):
        return None
    return KNOWN.mask("".join(traceback.format_exception(error)))[-_LONGEST_TRACE:]
