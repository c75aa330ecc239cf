"""What an answer means: by HTTP (`client/classify.py`), but first by the few words a driver's `errors:` adds.

Pure. A driver with a failure no word fits overrides `classify` and calls this for the rest.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from syncd.client.classify import classify as by_status
from syncd.client.classify import quoted, request_id, said
from syncd.errors import (
    About,
    AuthError,
    GoneError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from syncd.kit import coerce
from syncd.kit.adapter import answer_getter
from syncd.kit.failures import Errors, Word
from syncd.limits.waits import DEFAULT, WaitDialect
from syncd.model import Response

_LOOKED_AT: Final = 64 * 1024
_ABOUT: Final[dict[str, About]] = {"limited": "calls", "crowded": "seats", "locked": "object"}
_LATER: Final[frozenset[Word]] = frozenset({"transient", "busy"})
_DECIDED: Final[dict[int, frozenset[Word]]] = {
    401: frozenset({"auth", "denied"}),
    408: _LATER,
    429: frozenset({"limited", "crowded", "locked"}),
}
"""What is left for words to say where the status says already what kind of failure it is."""


def classify(
    response: Response, now: datetime, errors: Errors | None = None, *, dialect: WaitDialect = DEFAULT
) -> PartnerError | None:
    """None for a sound answer, else what went wrong. `dialect` names how the partner says when to come back.

    A 404 or 410 is GoneError here, since an answer alone does not tell what was asked: on a listing the engine takes it
    as rejected.
    """
    if errors is None:
        return by_status(response, now, dialect=dialect)
    status = response.status_code
    failed = status < 300 and (
        (errors.success is not None and _denies(response, errors.success)) or _holds(response, errors.failure)
    )
    word: Word | None = _unsaid(response, errors) if failed else errors.statuses.get(status)
    if status in errors.firewall and not _is_json(response):
        return error_for(
            "transient", response, now, dialect=dialect, hint="a firewall before the partner refused the call"
        )
    if errors.messages and (failed or status >= 300):
        told = _told(response, errors.message) or said(response)[0]
        word = next(
            (
                means
                for words, means in errors.messages.items()
                if _may_mean(status, means) and re.search(words, told, re.IGNORECASE)
            ),
            word,
        )
    if errors.codes and (status >= 300 or errors.code is not None):
        word = errors.codes.get(_code(response, errors) or "", word)
    if word is not None:
        return error_for(word, response, now, errors, dialect=dialect)
    error = by_status(response, now, dialect=dialect)
    if error is not None:
        _complete(error, response, errors)
    return error


def error_for(
    word: Word,
    response: Response,
    now: datetime,
    errors: Errors | None = None,
    *,
    hint: str = "",
    dialect: WaitDialect = DEFAULT,
) -> PartnerError:
    """The error a word stands for, with what this answer tells about it."""
    words, code = said(response)
    if errors is not None:
        words = _told(response, errors.message) or words
        code = _code(response, errors) or code
    text = f"answered {response.status_code}" + (f" ({quoted(words)})" if words else "")
    known: dict[str, Any] = {
        "status": response.status_code,
        "code": code,
        "request_id": request_id(response) or _request_id(response, errors),
        "hint": hint,
    }
    match word:
        case "limited" | "crowded" | "locked":
            # What a refusal without a word lasts is said of calls, not of one object that is busy for a moment.
            at, by = _until(response, now, replace(dialect, missing_seconds=None) if word == "locked" else dialect)
            return RateLimitError(text, retry_at=at, told_by=by, about=_ABOUT[word], **known)
        case "transient" | "busy":
            at, _ = _until(response, now, dialect, status=503)
            return TransientError(text, breaks=word == "transient", retry_at=at, **known)
        case "auth":
            return AuthError(text, **known)
        case "denied":
            return AuthError(text, permanent=True, **known)
        case "gone":
            return GoneError(text, **known)
        case "payload":
            return PayloadError(text, **known)
    return RejectedError(text, **known)


def _complete(error: PartnerError, response: Response, errors: Errors) -> None:
    """Add the partner's own words and code where only the description knows the place."""
    error.code = _told(response, errors.code) or error.code
    error.request_id = error.request_id or _request_id(response, errors)
    words = quoted(_told(response, errors.message) or "")
    if words and words not in str(error):
        error.args = (f"{error} ({words})",)


def _may_mean(status: int, word: Word) -> bool:
    """Can a failure of this status be this? Words are searched anywhere, and a partner's trouble may name anything of ours:
    taken for a refusal, a 429 would be no reason to pause, and a push that a 500 may have made would count as not made.
    """
    if 300 <= status < 400:
        return False
    return word in (_LATER if status >= 500 else _DECIDED.get(status, (word,)))


def _unsaid(response: Response, errors: Errors) -> Word:
    """What a failure inside a 2xx is where neither code nor words say it."""
    method = response.url.partition("?")[0].rpartition("/")[2]
    return "busy" if errors.reads and method.startswith(errors.reads) else "rejected"


def _denies(response: Response, path: str) -> bool:
    """Does a 2xx say at this path that it is a failure? One that says nothing there is judged by what was asked."""
    try:
        return coerce.boolean(answer_getter(path)(response)) is False
    except PayloadError:
        return False


def succeeded(response: Response, errors: Errors | None) -> bool:
    """Does the answer to a write say that it was made? Silence is no yes where answers are to say whether they are ones."""
    if errors is None or errors.success is None:
        return True
    try:
        return coerce.boolean(answer_getter(errors.success)(response)) is True
    except PayloadError:
        return False


def _is_json(response: Response) -> bool:
    try:
        response.json()
    except PayloadError:
        return False
    return bool(response.content)


def _holds(response: Response, places: tuple[str, ...]) -> bool:
    """Does one of these places hold something?"""
    try:
        return any(answer_getter(place)(response) for place in places)
    except PayloadError:
        return False


def _request_id(response: Response, errors: Errors | None) -> str | None:
    """What the body says of itself for support."""
    if errors is None or errors.request_id is None:
        return None
    found = re.search(errors.request_id, response.text[:_LOOKED_AT])
    return quoted(next((one for one in found.groups() if one), "")) or None if found else None


def _until(
    response: Response, now: datetime, dialect: WaitDialect, *, status: int = 429
) -> tuple[datetime | None, str]:
    """When the partner said to come back, and where: read as of a 429 (or a 503), whatever status it put on the answer."""
    told = by_status(Response(status, response.headers, response.content), now, dialect=dialect)
    at = told.retry_at if isinstance(told, RateLimitError | TransientError) else None
    return at, told.told_by if isinstance(told, RateLimitError) else ""


def _code(response: Response, errors: Errors) -> str | None:
    return _told(response, errors.code) if errors.code is not None else said(response)[1]


def _told(response: Response, path: str | None) -> str | None:
    """What the answer has at a path, as text; None where it has nothing readable."""
    if path is None:
        return None
    try:
        value = answer_getter(path)(response)
    except PayloadError:
        return None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
