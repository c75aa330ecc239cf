"""The page where a person allows an application (OAuth 2, authorization code), as simulated partners have it.

A visit is taken for the person's yes, unless told otherwise: the browser is sent back with a code. A code is good once, for a
while, for the address it was sent to, and where the partner knows it only for who can prove to have asked (RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from syncd.clock import Clock
from syncd.testing.call import Call
from syncd.testing.dice import Dice

CODE_SECONDS = 600.0


@dataclass
class _Code:
    redirect: str
    challenge: str
    until: float


class Consents:
    """Of one simulated partner."""

    def __init__(
        self,
        clock: Clock,
        dice: Dice,
        *,
        client_id: str,
        pkce: bool = False,
        typed: bool = True,
        seconds: float = CODE_SECONDS,
    ) -> None:
        """`typed`: the page wants `response_type=code`; `pkce`: and a challenge."""
        self._clock = clock
        self._dice = dice
        self._client_id = client_id
        self._pkce = pkce
        self._typed = typed
        self._seconds = seconds
        self._codes: dict[str, _Code] = {}
        self.denies = False
        """The person says no."""
        self.asked: list[dict[str, str]] = []
        """What the page was asked with."""

    def page(self, call: Call) -> web.Response:
        """The browser's visit. A wrong client or address is told here and never sent back (RFC 6749, 4.1.2.1)."""
        asked = dict(call.query)
        self.asked.append(asked)
        redirect = asked.get("redirect_uri", "")
        if asked.get("client_id") != self._client_id or not redirect.startswith(("http://127.0.0.1:", "https://")):
            return web.Response(status=400, text="unknown client, or an address that is not registered")
        back = {"state": asked["state"]} if "state" in asked else {}
        if self._typed and asked.get("response_type") != "code":
            return _sent(redirect, {"error": "unsupported_response_type", **back})
        challenge = asked.get("code_challenge", "")
        if self._pkce and (not challenge or asked.get("code_challenge_method") != "S256"):
            return _sent(
                redirect, {"error": "invalid_request", "error_description": "code_challenge is missing", **back}
            )
        if self.denies:
            return _sent(redirect, {"error": "access_denied", **back})
        code = f"code-{self._dice.code(24)}"
        self._codes[code] = _Code(redirect, challenge, self._clock.monotonic() + self._seconds)
        return _sent(redirect, {"code": code, **({"scope": asked["scope"]} if "scope" in asked else {}), **back})

    def spend(self, given: Mapping[str, str], *, redirect: bool = True) -> bool:
        """Is what an exchange shows good? It is not any more. `redirect`: the address has to be shown too."""
        known = self._codes.pop(given.get("code", ""), None)
        if known is None or self._clock.monotonic() > known.until:
            return False
        if (redirect or "redirect_uri" in given) and given.get("redirect_uri") != known.redirect:
            return False
        if not known.challenge:
            return True
        hashed = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode() == known.challenge


def _sent(redirect: str, said: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=302, headers={"Location": f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(said)}"}
    )
