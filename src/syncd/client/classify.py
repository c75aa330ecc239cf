"""What an answer means where the driver says nothing else: status, content type and Retry-After become our errors.

Drivers call this for everything but their partner's oddities. The messages are completed by the client, which knows
method and route; what is quoted of the partner's own words is short, masked and free of control characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd.codec import loads
from syncd.errors import (
    AuthError,
    GoneError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    SyncdError,
    TransientError,
)
from syncd.limits.moments import date
from syncd.limits.waits import DEFAULT, Wait, WaitDialect, read_wait, retry_at
from syncd.model import Response
from syncd.redaction import KNOWN, without_persons

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-requestid",
    "x-correlation-id",
    "x-amzn-requestid",
    "x-trace-id",
    "cf-ray",
)
_MARKUP = ("text/html", "application/xhtml+xml")
_PAGE = re.compile(rb"\s{0,200}(?:<\?xml[^>]{0,200}>\s{0,200})?<(?:!doctype|html)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WORDS = 200
_LARGEST_QUOTED = 64 * 1024


def classify(response: Response, now: datetime, *, dialect: WaitDialect = DEFAULT) -> PartnerError | None:
    """The error an answer stands for, or None for a good one. `dialect` is how the partner says when to return."""
    status = response.status_code
    if status < 300:
        return _markup(response) if response.content else None
    if status == 304:
        return None
    words, code = said(response)
    known: dict[str, Any] = {"status": status, "code": code, "request_id": request_id(response)}
    told = f"answered {status}" + (f" ({words})" if words else "")
    match status:
        case 401:
            return AuthError(f"{told}: the credential was refused", **known)
        case 403:
            hint = "the credential may lack a scope or permission for this call; give it one at the partner"
            return RejectedError(told, hint=hint, **known)
        case 404 | 410:
            return GoneError(told, **known)
        case 408 | 423 | 425:
            return TransientError(told, breaks=False, **known)
        case 429:
            wait = read_wait(response.headers, _body(response), now, dialect)
            at, by = (None, "") if wait is None else (wait.until, _place(response, wait))
            return RateLimitError(told, retry_at=at, told_by=by, **known)
        case _ if status >= 500:
            at = retry_at(response.headers, _body(response), now, dialect, limited=False)
            return TransientError(told, retry_at=at, **known)
        case _ if status < 400:
            return RejectedError(f"{told}, a redirect that names no place", **known)
        case _:
            return RejectedError(told, **known)


def _markup(response: Response) -> PartnerError | None:
    """A page for people where data was due: a proxy, a maintenance page or a login form spoke instead of the API."""
    if not is_page(response):
        return None
    return TransientError(
        f"answered {response.status_code} with an HTML page where data was due",
        status=response.status_code,
        request_id=request_id(response),
    )


def is_page(response: Response) -> bool:
    """Is it a page for people?"""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.reads is not None:  # XML looks like a page, and partners call it many things: only its beginning tells
        kind = ""
    return kind in _MARKUP or (not kind and _PAGE.match(response.content) is not None)


def _place(response: Response, wait: Wait) -> str:
    """What said when to come back, for a person; and what it said, where that was cut."""
    place = wait.source
    if place.lower() == "retry-after":
        place = "Retry-After as a date" if date(response.headers.get(place, "")) is not None else "Retry-After"
    elif place == "missing":
        return ""
    return f"{place}, {wait.asked_seconds:,.0f} s asked" if wait.capped else place


def request_id(response: Response) -> str | None:
    """What the partner's support asks for, under whichever name it is sent."""
    headers = response.headers
    for name in _REQUEST_IDS:
        if name in headers:
            return _CONTROL.sub(" ", headers[name])[:_WORDS]
    return None


def _body(response: Response) -> Any:
    if not response.content or len(response.content) > _LARGEST_QUOTED or response.content[:1] not in (b"{", b"["):
        return None
    try:
        return loads(response.content)
    except (SyncdError, ValueError):
        return None


def said(response: Response) -> tuple[str, str | None]:
    """The partner's own message and error code, where they stand at one of the usual places; else `("", None)`."""
    body = _body(response)
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping):
        return "", None
    inner = body.get("error")
    errors = body.get("errors")
    places: list[Mapping[Any, Any]] = [one for one in (inner, body) if isinstance(one, Mapping)]
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        places.append(errors[0])
    words = next(
        (
            place[key]
            for place in places
            for key in ("message", "error_description", "detail", "title")
            if isinstance(place.get(key), str)
        ),
        inner if isinstance(inner, str) else "",
    )
    code = next(
        (str(place[key]) for place in places for key in ("code", "type") if isinstance(place.get(key), str | int)),
        inner if isinstance(inner, str) else None,
    )
    return quoted(words), quoted(code) if code else None


def quoted(text: str) -> str:
    """Somebody else's words made fit for a message, which ends in logs, alerts and the public /health: one line, short,
    without credentials, mail addresses and telephone numbers. The evidence beside the error has them as they came."""
    text = without_persons(KNOWN.mask(_CONTROL.sub(" ", text[: 4 * _WORDS]))).strip()
    return text if len(text) <= _WORDS else text[: _WORDS - 1] + "…"


def unreadable(error: Exception) -> PayloadError:
    """For a driver's `classify` that itself stumbled over the answer."""
    return PayloadError(f"the answer could not be read ({type(error).__name__})")
