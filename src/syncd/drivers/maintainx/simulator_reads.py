"""The reads of the simulated MaintainX: lists by a true cursor or by an offset behind that name, and single records."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, ClassVar, Final

import orjson
from aiohttp import web

from syncd.drivers.maintainx.simulator_data import TIMED
from syncd.drivers.maintainx.simulator_shapes import EXPANDS, OF_THE_SINGLE, alone, listed
from syncd.drivers.maintainx.simulator_writes import MaintainXWrites
from syncd.testing.base import Answer, Call, Route
from syncd.testing.collection import Collection, Entry, Raw
from syncd.testing.dice import epoch, iso

LISTS: Final = {
    "workorders": ("work_orders", "workOrders", "workOrder"),
    "assets": ("assets", "assets", "asset"),
    "parts": ("parts", "parts", "part"),
    "purchaseorders": ("purchase_orders", "purchaseOrders", "purchaseOrder"),
    "workrequests": ("work_requests", "workRequests", "workRequest"),
    "locations": ("locations", "locations", "location"),
    "users": ("users", "users", "user"),
    "teams": ("teams", "teams", "team"),
    "vendors": ("vendors", "vendors", "vendor"),
    "categories": ("categories", "categories", "category"),
    "meters": ("meters", "meters", "meter"),
    "organizations": ("organizations", "organizations", "organization"),
}
"""By its path: the resource, its name in a list, its name alone."""
SORTS: Final = {
    "work_orders": ("updatedAt", "createdAt", "dueDate", "startedAt", "completedAt"),
    **dict.fromkeys(("assets", "parts", "purchase_orders"), ("id", "createdAt", "updatedAt")),
}
TIMES: Final = ("updatedAt[gte]", "updatedAt[lte]", "createdAt[gte]", "createdAt[lte]")
DETAILS: Final = {"purchase_order_details": "purchase_orders", "vendor_details": "vendors"}
"""What only single reads show, and of what."""


class MaintainXReads(MaintainXWrites):
    """Every read."""

    routes: ClassVar[tuple[Route, ...]] = (
        *MaintainXWrites.routes,
        *(("GET", f"/v1/{path}", "list_all") for path in LISTS),
        *(("GET", f"/v1/{path}/{{id}}", "read_one") for path in LISTS if path != "organizations"),
        ("GET", "/v1/workorders/{id}/comments", "comments"),
        ("GET", "/v1/teams/{id}/members", "members"),
        ("GET", "/v1/versions", "versions"),
    )

    def versions(self, call: Call) -> web.Response:
        return self.reply([{"version": "1"}])

    # Lists

    def list_all(self, call: Call) -> web.Response:
        resource, name, _ = LISTS[call.route.removeprefix("/v1/")]
        collection = self.listing(call, resource)
        expand = call.query.getall("expand", [])
        for one in expand:
            if one not in EXPANDS.get(resource, {}):
                raise Answer(self.invalid("expand", one))
        token, test = self._filter(call, resource)
        sort = call.query.get("sort", "createdAt" if resource == "work_orders" else "id")
        path = sort.lstrip("-")
        if "sort" in call.query and path not in SORTS.get(resource, ()):
            return self.invalid("sort", sort)

        def choose() -> list[Entry]:
            key: Callable[[Entry], tuple[Any, int]] = lambda entry: (_moment(entry.raw.get(path)), entry.raw["id"])  # noqa: E731
            rows = sorted((entry for entry in collection if test is None or test(entry.raw)), key=key)
            return rows[::-1] if sort.startswith("-") else rows

        rows = collection.chosen((sort, token), choose)
        encode: Callable[[Entry], bytes] = lambda entry: orjson.dumps(  # noqa: E731
            listed(self.state, resource, entry.raw, expand)
        )
        cursor = self._true_cursor(call, rows, path, sort) if resource == "work_orders" else self._offset(call)
        return self._page(call, name, rows, cursor, encode, true=path if resource == "work_orders" else "")

    def _filter(self, call: Call, resource: str) -> tuple[Any, Callable[[Raw], bool] | None]:
        tests: list[Callable[[Raw], bool]] = []
        if resource in TIMED:
            tests += [_bound(name, self._time(name, call.query[name])) for name in TIMES if name in call.query]
        if resource == "work_orders":
            if call.query.get("show_upcoming") != "true":
                today = iso(self.now())
                tests.append(lambda raw: not raw.get("startDate") or raw["startDate"] <= today)
            if "title" in call.query:
                wanted = call.query["title"].lower()
                tests.append(lambda raw: wanted in raw["title"].lower())
            if "statuses" in call.query:
                statuses = set(call.query.getall("statuses"))
                tests.append(lambda raw: raw["status"] in statuses)
        if resource == "users":
            tests.append(lambda raw: not raw.get("removedFromOrganization"))
        token = tuple(sorted((name, value) for name, value in call.query.items() if name not in ("cursor", "limit")))
        return token, (lambda raw: all(test(raw) for test in tests)) if tests else None

    def _time(self, name: str, text: str) -> str:
        try:
            return iso(epoch(text))
        except ValueError:
            raise Answer(self.invalid(name, text)) from None

    def _limit(self, call: Call) -> int:
        text = call.query.get("limit", "100")
        if not text.isdecimal() or not 1 <= int(text) <= 200:
            raise Answer(self.invalid("limit", text))
        return int(text)

    def _cursor(self, call: Call, kind: str) -> str | None:
        given = call.query.get("cursor")
        if given is None or self.looping(call):
            return None
        try:
            found, _, rest = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode().partition("-")
        except ValueError:
            found = rest = ""
        if found != kind:
            raise Answer(self.failure(400, call, "Invalid cursor"))
        return rest

    def _offset(self, call: Call) -> int:
        text = self._cursor(call, "offset")
        return int(text) if text and text.isdecimal() else 0

    def _true_cursor(self, call: Call, rows: list[Entry], path: str, sort: str) -> int:
        """Where the rows begin that come after the last one shown, whatever happened to that one."""
        text = self._cursor(call, "after")
        if text is None:
            return 0
        at, _, number = text.rpartition("|")
        after = (at, int(number))
        key: Callable[[Entry], tuple[str, int]] = lambda entry: (_moment(entry.raw.get(path)), entry.raw["id"])  # noqa: E731
        if sort.startswith("-"):
            return next((place for place, entry in enumerate(rows) if key(entry) < after), len(rows))
        return bisect_right(rows, after, key=key)

    def _page(
        self,
        call: Call,
        name: str,
        rows: list[Entry],
        start: int,
        encode: Callable[[Entry], bytes],
        *,
        true: str = "",
    ) -> web.Response:
        limit = self._limit(call)
        page = rows[start : start + limit]
        following = None
        if start + limit < len(rows) or (page and self.looping(call)):
            last = page[-1].raw
            text = f"after-{_moment(last.get(true))}|{last['id']}" if true else f"offset-{start + limit}"
            following = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        path = None if following is None else str(call.request.rel_url.update_query(cursor=following))
        told = {"nextCursor": following, "nextPageUrl": path}
        body = orjson.dumps({name: [], **told}).replace(b"[]", b"[" + self.page(call, page, encode) + b"]", 1)
        return self.reply(body)

    def _below(self, call: Call, parents: str, links: str, resource: str, name: str) -> web.Response:
        if call.args["id"] not in self.state[parents].entries:
            return self.failure(404, call, "Not Found")
        collection: Collection = self.listing(call, resource)
        ids = self.state.facts[links].get(call.args["id"], ())
        rows = [entry for external_id in ids if (entry := collection.get(external_id)) is not None]
        encode: Callable[[Entry], bytes] = lambda entry: orjson.dumps(listed(self.state, resource, entry.raw, ()))  # noqa: E731
        return self._page(call, name, rows, self._offset(call), encode)

    def comments(self, call: Call) -> web.Response:
        return self._below(call, "work_orders", "comments", "work_order_comments", "comments")

    def members(self, call: Call) -> web.Response:
        return self._below(call, "teams", "members", "team_members", "members")

    # Single records

    def read_one(self, call: Call) -> web.Response:
        resource, _, name = LISTS[call.route.removeprefix("/v1/").removesuffix("/{id}")]
        entry = self.state[resource].get(call.args["id"])
        if resource == "work_orders" and call.query.get("useSequentialId") == "true":
            entry = self.state[resource].get(str(int(call.args["id"]) + 7_300_000))
        if entry is None:
            return self.failure(404, call, f"{name[0].upper()}{name[1:]} Not Found")
        expand = call.query.getall("expand", [])
        allowed = OF_THE_SINGLE if resource == "work_orders" else EXPANDS.get(resource, {})
        for one in expand:
            if one not in allowed:
                return self.invalid("expand", one)
        return self.reply({name: alone(self.state, resource, entry.raw, expand)})

    def truth(self, resource: str) -> dict[str, Raw]:
        if resource in DETAILS:
            of = DETAILS[resource]
            return {entry.id: alone(self.state, of, entry.raw, ()) for entry in self.state[of]}
        if resource == "users":
            return {i: raw for i, raw in super().truth(resource).items() if not raw.get("removedFromOrganization")}
        return super().truth(resource)


def _moment(value: Any) -> Any:
    return value if value is not None else ""


def _bound(name: str, wanted: str) -> Callable[[Raw], bool]:
    field, _, operator = name.rstrip("]").partition("[")
    return (lambda raw: raw[field] >= wanted) if operator == "gte" else (lambda raw: raw[field] <= wanted)
