"""A partner that tells everything it was given: in bodies, headers and redirects, in every form a secret may take."""

from __future__ import annotations

import base64
from collections import Counter
from urllib.parse import quote, quote_plus

from aiohttp import web


def forms_of(secret: str) -> list[str]:
    """The ways a secret may be written: as it is, percent-encoded, base64."""
    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ]


class Echo:
    """`mode`: ok, redirect-home, redirect-away, broken, markup, or a status. `revoked` refuses every token given so far."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.mode = "ok"
        self.away = ""
        """Where `redirect-away` leads."""
        self.calls: Counter[tuple[str, str]] = Counter()
        """By mode and integration."""
        self.port = 0
        self._tokens = tokens
        """Access and refresh token of each grant to come; the last again and again."""
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/{name}/oauth/token", self._token)
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get("/{name}/{tail:.*}", self._any)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        host, self.port = self._runner.addresses[0][:2]
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _given(self, request: web.Request, body: str = "") -> list[str]:
        """What of the request may be a secret."""
        found = [request.headers[name] for name in ("Authorization", "X-Key") if name in request.headers]
        found += [value.partition(" ")[2] for value in found if " " in value]
        for value in list(found):
            try:
                found.append(base64.b64decode(value, validate=True).decode())
            except ValueError:
                continue
        found += [part for value in list(found) for part in value.split(":") if len(value.split(":")) == 2]
        return [*found, *request.query.values(), *([body] if body else [])]

    def _echo(self, request: web.Request, status: int, body: str = "") -> web.Response:
        given = self._given(request, body)
        number = sum(self.calls.values())
        shown = [form for secret in given for form in forms_of(secret)]
        one = shown[number % len(shown)] if shown else ""
        return web.json_response(
            {
                "error": {"message": f"not with {one} and {request.path_qs}", "code": given[0] if given else "none"},
                "you_sent": shown,
            },
            status=status,
            headers={"X-Request-Id": quote(one)[:200], "WWW-Authenticate": f'Bearer realm="{quote(one)}"'},
        )

    async def _token(self, request: web.Request) -> web.Response:
        body = await request.text()
        if self.mode not in ("ok", "401"):
            return self._echo(request, 500, body)
        if self.mode == "401":
            return self._echo(request, 400, body)
        access, refresh = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        granted = {"access_token": access, "token_type": "Bearer", "expires_in": 3600}
        if "refresh_token" in body:
            granted["refresh_token"] = refresh
        return web.json_response(granted)

    async def _any(self, request: web.Request) -> web.Response:
        mode, name = self.mode, request.match_info["name"]
        self.calls[mode, name] += 1
        given = self._given(request)
        first = given[-1] if given else ""
        if mode == "redirect-home" and "again" not in request.query:
            return web.Response(
                status=302, headers={"Location": f"{request.path}?again=1&token={quote(first, safe='')}"}
            )
        if mode == "redirect-away":
            return web.Response(
                status=302,
                headers={"Location": f"{self.away}/stolen/{quote(first, safe='')}?key={quote(first, safe='')}"},
            )
        if mode == "broken":
            return web.Response(body=f'{{"items": [{{"id": "{first}", '.encode(), content_type="application/json")
        if mode == "markup":
            return web.Response(text=f"<html><body>{' '.join(given)}</body></html>", content_type="text/html")
        if mode.isdigit():
            return self._echo(request, int(mode))
        return web.json_response({"items": [{"id": "one", "n": 1}, {"id": "two", "n": 2}]})
