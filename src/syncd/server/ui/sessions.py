"""Who is at the page: a signed cookie, and the token that every form carries against other sites' pages.

With an admin token the cookie proves that its holder typed it, and is signed by a key made of it: another token ends all
sessions, a restart none; nothing is remembered but which ones were ended. Without one (loopback) the cookie only binds forms
to a browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from syncd.clock import Clock
from syncd.secrets import Secret
from syncd.server.ui.ended import Ended
from syncd.server.ui.tries import Tries, place_of

PREFIX = "/ui"
LOGIN = f"{PREFIX}/login"
OPEN = frozenset({LOGIN, f"{PREFIX}/static/page.css", f"{PREFIX}/static/favicon-healthy.svg"})
"""What the login form itself is made of: served to everybody."""
COOKIE, GUEST, SAID = "syncd_page", "syncd_guest", "syncd_said"
LASTS = timedelta(hours=12)
RENEWED = timedelta(hours=6)
"""A cookie with less than this left is replaced by a fresh one."""
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie says."""

    expires: int
    """Unix seconds."""
    nonce: str
    name: str = ""
    """How its owner wants to be called in the audit log; no proof of anything."""

    @property
    def who(self) -> str:
        return f"{self.name} (page)" if self.name else "page"


class Sessions:
    """Signs cookies and reads them."""

    def __init__(self, token: Secret | None, clock: Clock, directory: Callable[[], Path | None] = lambda: None) -> None:
        """`token`: the admin token; None where whoever reaches the site may use it. `directory` remembers what was ended."""
        self._token = token
        self._clock = clock
        key = token.reveal().encode() if token is not None else secrets.token_bytes(32)
        self._key = hashlib.sha256(b"syncd page\0" + key).digest()
        self._tries = Tries(clock)
        self._ended = Ended(clock, LASTS.total_seconds(), directory)

    @property
    def asks(self) -> bool:
        """Is there a token to be typed?"""
        return self._token is not None

    def begin(self, name: str = "") -> Session:
        return self.renewed(Session(0, secrets.token_urlsafe(18)), name)

    def renewed(self, session: Session, name: str) -> Session:
        """The same for as long again: forms of it that lie open in other tabs go on to fit."""
        expires = int((self._clock.now() + LASTS).timestamp())
        return Session(expires, session.nonce, tidy_name(name))

    def of(self, request: web.Request) -> Session | None:
        """What its cookie says; None where there is none of ours, or no longer."""
        expires, nonce, name, seal = [*request.cookies.get(COOKIE, "").split("."), "", "", "", ""][:4]
        said = f"{expires}.{nonce}.{name}"
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16 and self._sealed(f"c.{said}", seal)):
            return None
        known = Session(int(expires), nonce, base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())
        return known if self.lasts(known) else None

    def lasts(self, session: Session) -> bool:
        """Neither past its time nor ended by its owner?"""
        return session.expires > self._clock.now().timestamp() and not self._ended.has(session.nonce, session.expires)

    def end(self, session: Session) -> None:
        """Its owner leaves: no copy of its cookie opens anything any more."""
        self._ended.add(session.nonce)

    def keep(self, response: web.StreamResponse, session: Session, request: web.Request) -> None:
        """Hand the session to the browser."""
        name = base64.urlsafe_b64encode(session.name.encode()).decode().rstrip("=")
        said = f"{session.expires}.{session.nonce}.{name}"
        response.set_cookie(
            COOKIE,
            f"{said}.{self._seal(f'c.{said}')}",
            path=PREFIX,
            httponly=True,
            samesite="Strict",
            secure=request.headers.get("X-Forwarded-Proto") == "https",
            max_age=int(LASTS.total_seconds()),
        )

    def is_old(self, session: Session) -> bool:
        return session.expires - self._clock.now().timestamp() < RENEWED.total_seconds()

    def mark(self, session: Session) -> str:
        """What the forms of this session carry."""
        return self._seal(f"f.{session.nonce}")

    def fits(self, session: Session | None, given: str) -> bool:
        """Does a form come from a page of this session? In constant time."""
        return session is not None and self._sealed(f"f.{session.nonce}", given)

    def guest(self, request: web.Request) -> str:
        """Binds the login form to a browser that has no session yet."""
        known = request.cookies.get(GUEST, "")
        return known if known.isascii() and 20 <= len(known) <= 40 else secrets.token_urlsafe(18)

    def guest_mark(self, guest: str) -> str:
        return self._seal(f"g.{guest}")

    def fits_guest(self, guest: str, given: str) -> bool:
        return self._sealed(f"g.{guest}", given)

    def admits(self, request: web.Request) -> bool:
        """May this request go on without the token in its head?"""
        return request.path in OPEN or (is_page(request.path) and self.of(request) is not None)

    def accepts(self, given: str, request: web.Request) -> bool | None:
        """Is it the admin token? None: too many wrong ones came from there lately, this one was not looked at."""
        place = place_of(request)
        if not self._tries.may(place):
            return None
        expected = self._token.reveal() if self._token is not None else ""
        if hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), expected.encode()):
            return True
        self._tries.wrong(place)
        return False

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _sealed(self, text: str, given: str) -> bool:
        return hmac.compare_digest(self._seal(text).encode(), given.encode("utf-8", "surrogateescape"))


def is_page(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def tidy_name(name: str) -> str:
    return "".join(each for each in name[:LONGEST_NAME] if each.isprintable()).strip()
