"""Who may speak to a site: size and time of bodies everywhere; token, Host and origin at the admin site."""

from __future__ import annotations

import hmac
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from syncd.clock import Clock
from syncd.config import Address
from syncd.metrics import HTTP_CUT
from syncd.secrets import Secret
from syncd.server.address import is_local, names_this_machine
from syncd.server.answers import refusal
from syncd.server.door import Phase
from syncd.server.doors import Doors
from syncd.server.ui.sessions import LOGIN, Sessions, is_page

_QUESTIONS = frozenset({"GET", "HEAD"})


def bodies(doors: Doors, *, clock: Clock, body_seconds: float) -> Middleware:
    """Read every body here, whole, within its cap and its time, so that no handler can forget; tell the door."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        door = doors.of(request)
        try:
            if request.can_read_body:
                if door is not None and not request.content.is_eof():
                    door.read(request.content)
                refused = await _take(request)
                if refused is not None:
                    if door is not None:
                        door.refuse()
                    return refused
            if door is not None:
                door.turn(Phase.BUSY)
            return await handler(request)
        finally:
            if door is not None:
                door.turn(Phase.SENDING)

    async def _take(request: web.Request) -> web.Response | None:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            HTTP_CUT.labels(doors.site, "compressed").inc()
            return refusal(415, "encoding", "bodies must not be compressed", close=True)
        if request.content_length is not None and request.content_length > request.client_max_size:
            return _too_large(request, doors.site)
        try:
            if request.content.is_eof():  # all there: no need of a deadline
                await request.read()
            else:
                async with clock.timeout(body_seconds):
                    await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _too_large(request, doors.site)
        except HttpProcessingError:  # a chunk that is none
            return refusal(400, "malformed", "the body cannot be read", close=True)
        except ConnectionError:  # gone, or shown out: nobody reads this
            return refusal(400, "cut", "the body was cut off", close=True)
        except TimeoutError:
            HTTP_CUT.labels(doors.site, "slow_body").inc()
            return refusal(408, "slow", f"the body did not arrive within {body_seconds:g} s", close=True)
        return None

    return read


def _too_large(request: web.Request, site: str) -> web.Response:
    HTTP_CUT.labels(site, "too_large").inc()
    return refusal(413, "too-large", f"the body is larger than {request.client_max_size} bytes", close=True)


def admins_only(address: Address, token: Secret | None, sessions: Sessions | None = None) -> Middleware:
    """The Unix socket is guarded by its file mode, TCP by the token where one is set; of the page by a session of whoever
    typed it. At loopback a browser may be made to call us by any page it shows, hence the rules on Host, origin and content
    type."""

    @web.middleware
    async def judge(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Also of the Unix socket: `ssh -L` puts it at a port of somebody's own machine, and a browser there.
        if is_local(address) and not names_this_machine(request.headers.get("Host", "")):
            return refusal(403, "host", "this site answers to a loopback name only", close=True)
        known = address.path is not None or token is None or _holds(request, token)
        if not known and not (sessions and sessions.admits(request)):
            if sessions is not None and _by_a_person(request):
                return _to_login(request)
            response = refusal(401, "token", "the admin API wants its token", "Authorization: Bearer ...")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if request.method not in _QUESTIONS:
            why = _foreign(request)
            if why:
                return refusal(403, "origin", why, close=True)
        return await handler(request)

    return judge


def _holds(request: web.Request, token: Secret) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.reveal().encode())


def _by_a_person(request: web.Request) -> bool:
    """Does a person's browser ask for a page?"""
    return is_page(request.path) and request.method in _QUESTIONS and "text/html" in request.headers.get("Accept", "")


def _to_login(request: web.Request) -> web.Response:
    where = quote(request.path_qs, safe="/")
    return web.Response(status=303, headers={"Location": f"{LOGIN}?to={where}"})


def _foreign(request: web.Request) -> str:
    """Why this POST may be the work of another site's page; empty if it cannot be."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in {"none", "same-origin"}:
        return "a page of another site may not ask for this"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return "a page of another origin may not ask for this"
    if is_page(request.path):
        return ""  # a form of the page's own: it carries a token, which the page looks at
    if request.content_type != "application/json" and "X-Syncd" not in request.headers:
        return "send application/json, or a header X-Syncd"
    return ""
