"""A small REST API of nobody in particular: offset pages, `updated_since`, an API key in a header, nested children.

Written as such an API would document itself, not from the driver. Its rows are plain dictionaries the test changes; it
counts what it was asked.

    api = Boatyard(); api.add_boat(...); url = await api.start(); ...; await api.stop()
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

KEY = "boatyard-key-5f1c2e77"
MOST_ROWS = 50
"""Rows a page; a larger `limit` is cut to it, as such APIs do."""


class Boatyard:
    """The API and its rows. Every change moves the row's `changed` by its own clock, a second at a time."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.now = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
        self.boats: dict[str, dict[str, Any]] = {}
        self.bookings: dict[str, dict[str, dict[str, Any]]] = {}
        self.calls: Counter[str] = Counter()
        """Calls by route."""
        self.refused = 0
        """Calls without the right key."""
        self._runner: web.AppRunner | None = None

    def _tick(self) -> str:
        self.now += timedelta(seconds=1)
        return self.now.isoformat().replace("+00:00", "Z")

    def add_boat(self, number: int, **fields: Any) -> str:
        """Add a boat; its id is returned."""
        identifier = f"bt-{number:05d}"
        self.boats[identifier] = {
            "id": identifier,
            "name": f"Boat {number}",
            "berth": {"harbour": ("Nord", "Ost", "West")[number % 3], "place": number},
            "length": 6 + number % 9 + 0.5,
            "launched": f"20{number % 20 + 4:02d}-05-17",
            "hire": bool(number % 2),
            "changed": self._tick(),
            **fields,
        }
        self.bookings.setdefault(identifier, {})
        return identifier

    def add_booking(self, boat: str, number: int, **fields: Any) -> str:
        """Add a booking below a boat. As in many such APIs the boat counts as changed by it."""
        reference = f"{boat}/{number}"
        self.bookings[boat][reference] = {
            "ref": reference,
            "guest": {"name": f"Guest {number}"},
            "starts_on": f"2027-06-{number % 28 + 1:02d}",
            "price": {"amount": f"{80 + number}.50", "currency": "EUR"},
            "changed": self._tick(),
            **fields,
        }
        self.boats[boat]["changed"] = self._tick()
        return reference

    def fill(self, boats: int, bookings: int = 2) -> None:
        """So many boats, each with so many bookings."""
        for number in range(boats):
            identifier = self.add_boat(number)
            for booking in range(bookings):
                self.add_booking(identifier, booking)

    def change_boat(self, identifier: str, **fields: Any) -> None:
        """Change fields of a boat."""
        self.boats[identifier] |= {**fields, "changed": self._tick()}

    def remove_boat(self, identifier: str) -> None:
        """The boat and its bookings are gone: no longer listed, 404 on its own URL."""
        del self.boats[identifier]
        del self.bookings[identifier]

    def app(self) -> web.Application:
        """The API as an application, for whoever wants to serve it otherwise."""
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/v1/me", self._me)
        app.router.add_get("/v1/boats", self._list_boats)
        app.router.add_get("/v1/boats/{boat}", self._one_boat)
        app.router.add_get("/v1/boats/{boat}/bookings", self._list_bookings)
        return app

    async def start(self) -> str:
        """Serve on a free port of loopback; returns the base URL."""
        self._runner = web.AppRunner(self.app(), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        """Stop serving; rows and counters stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("X-Api-Key") != self.key:
            self.refused += 1
            return _error(401, "bad_key", "the key is not known here")
        resource = request.match_info.route.resource
        self.calls[resource.canonical if resource is not None else request.path] += 1
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"yard": "Nordhavn Boats", "boats": len(self.boats)})

    async def _list_boats(self, request: web.Request) -> web.Response:
        rows = list(self.boats.values())
        since = request.query.get("updated_since")
        if since is not None:
            try:
                moment = datetime.fromisoformat(since)
            except ValueError:
                return _error(422, "bad_since", "updated_since is no ISO 8601 time")
            rows = [row for row in rows if datetime.fromisoformat(row["changed"]) >= moment]
        if request.query.get("sort") == "changed":
            rows.sort(key=lambda row: str(row["changed"]))
        return _page(request, rows)

    async def _one_boat(self, request: web.Request) -> web.Response:
        boat = self.boats.get(request.match_info["boat"])
        return _error(404, "no_boat", "there is no such boat") if boat is None else web.json_response(boat)

    async def _list_bookings(self, request: web.Request) -> web.Response:
        bookings = self.bookings.get(request.match_info["boat"])
        if bookings is None:
            return _error(404, "no_boat", "there is no such boat")
        return _page(request, list(bookings.values()))


def _page(request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
    try:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "20"))
    except ValueError:
        return _error(422, "bad_page", "offset and limit are whole numbers")
    return web.json_response({"items": rows[offset : offset + min(limit, MOST_ROWS)], "total": len(rows)})


def _error(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": {"code": code, "text": text}}, status=status)
