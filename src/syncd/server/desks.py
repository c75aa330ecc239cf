"""What every part of the admin API shares: errors as answers, and what a request says, checked.

Names are checked here, once, so that every caller gets the same did-you-mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.config import did_you_mean
from syncd.errors import (
    AskedWrongError,
    AuthError,
    BreakerOpenError,
    ConfigError,
    OwnershipError,
    RateLimitError,
    StoreError,
    SyncdError,
    TransientError,
)
from syncd.explain import NOT_RUNNING, Explanation
from syncd.server.answers import refusal
from syncd.store.database import DataRefusedError

say = structlog.get_logger()

PREFIX = "/api/v1"
_MOST_IDS = 1000


class RefusedError(Exception):
    """Leaves a handler with a finished answer."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.told = Told(status, code, message, hint)

    @property
    def response(self) -> web.Response:
        return refusal(*self.told)


class Told(NamedTuple):
    """What is said of an error to whoever asked: by the API as JSON, by the page as a page."""

    status: int
    code: str
    message: str
    hint: str = ""


def told_of(error: Exception, path: str) -> Told:
    """The answer to an error of a handler. A fault of ours is logged with its traceback."""
    match error:
        case RefusedError():
            return error.told
        case OwnershipError():
            return Told(409, "conflict", str(error), error.hint)
        case DataRefusedError():
            return Told(400, "usage", str(error), error.hint)
        case StoreError():
            return Told(503, "database", str(error), error.hint)
        case AskedWrongError():
            return Told(400, "usage", str(error), error.hint)
        case ConfigError():
            return Told(422, "configuration", str(error), error.hint)
        case AuthError():
            return Told(409, "credential", str(error), error.hint or error.cause)
        case TransientError() | RateLimitError() | BreakerOpenError():
            return Told(503, "later", str(error), error.hint)
        case SyncdError():
            return Told(409, "refused", str(error), error.hint)
    say.error("desk_failed", path=path, exc_info=error)
    why = f"{type(error).__name__}: a fault of syncd's, please report it; the log has its traceback"
    return Told(500, "fault", why, "journalctl -u syncd | grep desk_failed")


def guarded(handler: Handler) -> Handler:
    """Turn the errors a handler may meet into answers."""

    async def run(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise  # an answer of the library's own; whoever asked is gone
        except Exception as error:
            return refusal(*told_of(error, request.path))

    return run


def target_of(names: Mapping[str, Sequence[str]], said: Mapping[str, Any]) -> tuple[str, str | None]:
    """The integration a request names, and the resource if it names one; both are known. `names`: `Status.names()`."""
    integration, resource = text_of(said, "integration"), text_of(said, "resource")
    if integration is None:
        raise RefusedError(400, "usage", "name an integration")
    if integration not in names:
        hint = did_you_mean(integration, names)
        raise RefusedError(404, "unknown-integration", f"no integration {integration!r}", hint)
    if resource is not None and not names[integration]:
        raise RefusedError(503, "not-running", f"{integration} does not run here now", NOT_RUNNING)
    if resource is not None and resource not in names[integration]:
        hint = did_you_mean(resource, names[integration])
        raise RefusedError(404, "unknown-resource", f"{integration} has no resource {resource!r}", hint)
    return integration, resource


async def said_by(request: web.Request) -> dict[str, Any]:
    try:
        value = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError:
        raise RefusedError(400, "usage", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "usage", "the body must be a JSON object")
    return value


def text_of(said: Mapping[str, Any], key: str) -> str | None:
    value = said.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise RefusedError(400, "usage", f"{key} must be a text of 1 to 1000 characters")
    return value


def moment_of(said: Mapping[str, Any], key: str) -> datetime | None:
    text = text_of(said, key)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, "usage", f"{key} must be an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise RefusedError(400, "usage", f"{key} must carry its offset from UTC")
    return moment


def who_asks(request: web.Request) -> str:
    """Who asked, as they say: a name for the audit log, not a proof. Proof is the socket's or the token's business."""
    said = request.headers.get("X-Syncd-Actor", "")
    return "".join(character for character in said[:100] if character.isprintable()).strip() or "admin API"


def fields_of(report: Any) -> dict[str, Any]:
    """A report as JSON; an Explanation with its runbook, which is no field of it."""
    found = {name: getattr(report, name) for name in report.__dataclass_fields__}
    return {name: value.as_dict() if isinstance(value, Explanation) else value for name, value in found.items()}


def ids_of(request: web.Request, key: str) -> list[int]:
    """The numbers a question names under this key, which may come again and again. Raises RefusedError."""
    given = request.query.getall(key, [])
    if len(given) > _MOST_IDS or not all(text.isascii() and text.isdigit() and len(text) < 18 for text in given):
        raise RefusedError(400, "usage", f"{key} must be a number, at most a thousand of them")
    return [int(text) for text in given]
