"""A person allows our calls in a browser: the page's address, the loopback address it comes back to, and what it brings.

Only 127.0.0.1 listens, on a port that the system chooses, for one good answer or until the time is up. What comes back is
believed only with the state that was sent along.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import anyio
from aiohttp import web

from syncd.errors import AskedWrongError, AuthError
from syncd.kit.consent import Login
from syncd.secrets import Secret

PATH = "/callback"
_LONGEST = 8192


def _random() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Asked:
    """One consent that is being asked for."""

    page: Login
    authorize: str
    """The page's whole address, without what is asked."""
    client_id: str
    state: str = field(default_factory=_random, repr=False)
    verifier: str = field(default_factory=_random, repr=False)

    def url(self, redirect: str) -> str:
        """Where the browser goes. Raises nothing; holds no secret."""
        parts = urlsplit(self.authorize)
        asked = (
            dict(parse_qsl(parts.query)) | self.page.params | {"client_id": self.client_id, "redirect_uri": redirect}
        )
        if self.page.response_type:
            asked["response_type"] = "code"
        if self.page.scope:
            asked["scope"] = self.page.scope
        asked["state"] = self.state
        if self.page.pkce == "S256":
            hashed = hashlib.sha256(self.verifier.encode()).digest()
            asked |= {
                "code_challenge": base64.urlsafe_b64encode(hashed).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(asked), ""))

    @property
    def proof(self) -> Secret | None:
        """What the exchange shows where the page was shown its hash."""
        return Secret(self.verifier) if self.page.pkce == "S256" else None

    def code_in(self, brought: Mapping[str, str]) -> Secret:
        """The code that the page sent back. Raises AuthError where it was not allowed, AskedWrongError."""
        if not hmac.compare_digest(brought.get("state", "").encode(), self.state.encode()):
            raise AskedWrongError(
                "the answer belongs to another login: its state is not the one that was sent",
                hint="take the address of the page this login led to, whole; or begin anew",
            )
        if "error" in brought:
            said = " ".join(one for one in (brought["error"], brought.get("error_description", "")) if one)[:300]
            raise AuthError(f"it was not allowed: {said}", permanent=True)
        if not brought.get("code"):
            raise AskedWrongError("the answer has no code", hint="take the whole address of the page it ended on")
        return Secret(brought["code"])

    def code_pasted(self, text: str) -> Secret:
        """The same of what a person pasted: the address of the page it ended on, or the code alone.

        A code alone comes without a state: who pastes it says that it is theirs.
        """
        text = text.strip()
        query = urlsplit(text).query or text.partition("?")[2] or text
        brought = {name: values[0] for name, values in parse_qs(query).items()}
        if "?" in text or brought.keys() & {"code", "state", "error"}:
            return self.code_in(brought)
        if not text or len(text) > _LONGEST or not text.isascii() or " " in text:
            raise AskedWrongError(
                "that is neither an address nor a code", hint="paste the whole address of the last page"
            )
        return Secret(text)


class Callback:
    """`async with Callback(asked) as callback:` listens at `callback.redirect`."""

    def __init__(self, asked: Asked, *, integration: str) -> None:
        self._asked = asked
        self._integration = integration
        self._answered = anyio.Event()
        self._code: Secret | None = None
        self._refused: AuthError | None = None
        self._runner: web.AppRunner | None = None
        self.redirect = ""

    async def __aenter__(self) -> Callback:
        app = web.Application()
        app.router.add_get(PATH, self._come)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.redirect = f"http://127.0.0.1:{port}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def code(self) -> Secret:
        """What came back. Raises AuthError where it was not allowed."""
        await self._answered.wait()
        if self._refused is not None:
            raise self._refused
        assert self._code is not None
        return self._code

    async def _come(self, request: web.Request) -> web.Response:
        """One answer counts. One with a foreign state is nobody's, and the waiting goes on."""
        try:
            self._code = self._asked.code_in(request.query)
            told = f"{self._integration} is allowed: go back to the terminal. This page can be closed."
        except AskedWrongError as error:
            return _page(f"This is not the answer that is waited for: {error}", 400)
        except AuthError as error:
            self._refused, told = error, f"{self._integration}: {error}. Go back to the terminal."
        self._answered.set()
        return _page(told, 200)


def _page(text: str, status: int) -> web.Response:
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>syncd</title><p>{html.escape(text)}</p></html>'
    headers = {
        "Content-Security-Policy": "default-src 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return web.Response(text=body, status=status, content_type="text/html", headers=headers)
