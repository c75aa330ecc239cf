"""A partner in the test's own loop that can be made sick, and remembers who called with which key on which connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

REST: dict[str, Any] = {
    "auth": {"kind": "api_key", "header": "X-Api-Key"},
    "test": "/me",
    "limits": {"tiers": ["1000/s", "100000/h"], "share": 1.0},
    "resources": {
        "items": {"path": "/items", "records": "items", "fields": {"n": "n"}},
        "extras": {"path": "/extras", "records": "items", "fields": {"n": "n"}},
    },
}


def growing_partner(base_url: str, integration: str, key: Any, **more: Any) -> dict[str, Any]:
    """A partner file for it: every second a complete pass over the items; the extras are switched off."""
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": REST,
        "resources": {"items": {"every": "1s", "strategy": "full"}, "extras": {"enabled": False}},
        "integrations": {integration: {"credentials": {"api_key": key}}},
        **more,
    }


class Growing:
    """`url = await partner.start()`; `add()` makes a record; `mode` says how it answers the listings."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.items: list[dict[str, Any]] = [{"id": f"first-{number}", "n": number} for number in range(5)]
        self.mode = "ok"
        """ok, hang, html, or a status such as 500 (with `body`)."""
        self.body: Any = {"error": "as told"}
        self.headers: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        """By path."""
        self.shown: Counter[tuple[str, str]] = Counter()
        """By path and key."""
        self.connections: set[tuple[str, int]] = set()
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._healing = asyncio.Event()

    def add(self) -> str:
        external_id = f"item-{len(self.items)}"
        self.items.append({"id": external_id, "n": len(self.items)})
        return external_id

    def be(self, mode: str) -> None:
        """From now on; whoever hangs is let go."""
        self.mode = mode
        self._healing.set()
        self._healing = asyncio.Event()

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/items", self._listing)
        app.router.add_get("/v1/extras", self._listing)
        app.router.add_get("/v1/me", self._me)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        host, self.port = self._runner.addresses[0][:2]
        return f"http://{host}:{self.port}/v1"

    async def stop(self) -> None:
        self._healing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _refused(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("X-Api-Key", "")
        self.calls[request.path] += 1
        self.shown[request.path, key] += 1
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername")[:2])
        return None if key in self.keys else web.json_response({"error": "unknown key"}, status=401)

    async def _me(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if self.mode == "hang":
            await self._healing.wait()
        return refused or web.json_response({"ok": True})

    async def _listing(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        mode = self.mode
        if mode == "hang":
            await self._healing.wait()
        if mode == "html":
            return web.Response(text="<html><body>Wartung</body></html>", content_type="text/html")
        if mode.isdigit():
            return web.json_response(self.body, status=int(mode), headers=self.headers)
        return web.json_response({"items": self.items})
