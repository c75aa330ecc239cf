"""How failed work is buried: what a person needs to understand it, and what it takes to do it again."""

from __future__ import annotations

import re
import traceback

from syncd.errors import PartnerError, SyncdError
from syncd.redaction import KNOWN
from syncd.store import NewDeadLetter, Task

_VARYING = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b\w*\d[\w.-]*\b|'[^']*'|\"[^\"]*\"")


def fingerprint(error: BaseException, resource: str) -> str:
    """Equal for troubles of one cause: class, status, resource and the words without ids and numbers."""
    status = getattr(error, "status", None) or ""
    words = _VARYING.sub("…", str(error)).strip()[:120]
    return f"{resource} · {type(error).__name__} {status} · {words}".replace("  ", " ")


def letter_of_task(task: Task, error: BaseException) -> NewDeadLetter:
    """The dead letter of a task; its payload is enough to make the task again."""
    return NewDeadLetter(
        integration=task.integration,
        origin="task",
        origin_id=str(task.id),
        resource=task.resource,
        external_id=task.external_id or task.parent_id,
        error_class=type(error).__name__,
        message=KNOWN.mask(str(error)),
        fingerprint=fingerprint(error, task.resource),
        request={"kind": task.kind, "resource": task.resource},
        response=_response(error),
        traceback=_traceback(error),
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
    )


def letter_of_run(
    integration: str, resource: str, run_id: int | None, error: BaseException, attempts: int
) -> NewDeadLetter:
    """The dead letter of a run; to replay it is to sync the resource now."""
    return NewDeadLetter(
        integration=integration,
        origin="run",
        origin_id=str(run_id or ""),
        resource=resource,
        error_class=type(error).__name__,
        message=KNOWN.mask(str(error)),
        fingerprint=fingerprint(error, resource),
        response=_response(error),
        traceback=_traceback(error),
        payload={"kind": "sync", "resource": resource},
        attempts=attempts,
    )


def _response(error: BaseException) -> dict[str, object] | None:
    if not isinstance(error, PartnerError):
        return None
    return {"status": error.status, "code": error.code, "request_id": error.request_id}


def _traceback(error: BaseException) -> str | None:
    """Only for what is a fault of ours: an expected refusal needs no stack."""
    if isinstance(error, SyncdError):
        return None
    return KNOWN.mask("".join(traceback.format_exception(error)))[-8000:]
