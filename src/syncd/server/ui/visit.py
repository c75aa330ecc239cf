"""One request for a page: whose it is, what it asks, and the answer dressed as every answer of the page is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from aiohttp import web

from syncd.server.desks import RefusedError
from syncd.server.ui.sessions import PREFIX, SAID, Session

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
DRESS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of everything below /ui, beside those of both sites."""
EVERY: Final = (2, 5, 15, 60, 0)
"""Seconds between two looks, to choose from; 0: none."""
USUAL: Final = 5
MOST_FIELDS, LONGEST_SAID, LONGEST_WHERE = 50, 300, 1000


@dataclass(slots=True)
class Visit:
    """What a handler is given."""

    request: web.Request
    session: Session
    now: datetime
    form: Mapping[str, str] = field(default_factory=dict)
    """Of a POST; its token was looked at."""

    @property
    def who(self) -> str:
        return self.session.who

    @property
    def every(self) -> int:
        text = self.request.query.get("every", "")
        return int(text) if text in {str(each) for each in EVERY} else USUAL

    @property
    def show(self) -> bool:
        """Was it asked to see values?"""
        return self.request.query.get("show") == "1"

    def asked(self, key: str) -> str:
        """One filter of the URL, empty where it is not set."""
        return self.request.query.get(key, "")[:LONGEST_WHERE].strip()

    def said(self, key: str) -> str:
        """One field of the form."""
        return self.form.get(key, "").strip()

    @property
    def here(self) -> str:
        return self.request.path_qs

    def with_(self, **changes: str | int | None) -> str:
        """This URL with some filters otherwise; None takes one away."""
        query = {**self.request.query, **{key: str(value) for key, value in changes.items() if value is not None}}
        kept = [f"{quote(key)}={quote(value)}" for key, value in query.items() if changes.get(key, "") is not None]
        return self.request.path + (f"?{'&'.join(kept)}" if kept else "")


def back(to: str, otherwise: str = PREFIX) -> str:
    """Where a form leads: a page of ours, whatever the form says."""
    inside = to == PREFIX or to.startswith((f"{PREFIX}/", f"{PREFIX}?"))
    sound = len(to) <= LONGEST_WHERE and "\\" not in to and to.isprintable()
    return to if inside and sound else otherwise


def form_of(body: bytes) -> dict[str, str]:
    """Raises RefusedError for what no form of ours sends."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise RefusedError(400, "usage", "this is no form of the page's") from None
    return dict(pairs)


def leads(to: str, said: str = "") -> web.Response:
    """Go there; `said` is shown on top of it, once."""
    response = web.Response(status=303, headers={"Location": to})
    if said:
        response.set_cookie(SAID, quote(said[:LONGEST_SAID]), path=PREFIX, max_age=30, httponly=True, samesite="Strict")
    return response


def said_before(request: web.Request) -> str:
    """What the last form came to."""
    return unquote(request.cookies.get(SAID, ""))[:LONGEST_SAID]


Said = dict[str, Any]
"""What is put into a template."""
Shown = tuple[str, Said]
"""A template and what is put into it."""
Handler = Callable[[Visit], Awaitable[Shown | web.StreamResponse]]


class Way(NamedTuple):
    """One route: a POST's form carries the session's token."""

    method: str
    path: str
    """Below /ui."""
    handler: Handler
