"""A partner that meters: endless listings, a journal of every call (when, who, what, how long), scores, slow answers.

What the tests of the quota measure is taken from its journal alone. Options: `page` (records a page where none is asked),
`tail` ([share, min, max]: so many answers take so many seconds more), `scores` ([min, max] points of a call, told in
`X-Cost` and counted in the tier named `points`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from syncd.testing.base import Call, Simulator
from syncd.testing.collection import Raw, World
from syncd.testing.control import Control
from syncd.testing.dice import Dice, iso
from syncd.testing.limits_server import Refusal, Tier, never, rate
from tests.whole.daemon import Rows

POINTS = "points"


class Metered(Simulator):
    name = "metered"
    routes = (
        ("GET", "/v1/me", "me"),
        ("GET", "/v1/lists/{list}", "pages"),
        ("POST", "/v1/search/{list}", "pages"),
        ("GET", "/v1/lists/{list}/{id}", "record"),
    )

    def __init__(self, **options: Any) -> None:
        self.journal: list[list[Any]] = []
        super().__init__(**options)
        tail = self.options["tail"]
        if tail is not None:  # before the usual delay: the first rule that applies decides
            share, low, high = tail
            self.misbehaviour.add("latency", share=share, min=low, max=high)
            self.misbehaviour.rules.insert(0, self.misbehaviour.rules.pop())

    def defaults(self) -> dict[str, Any]:
        return {"page": 2, "tail": None, "scores": None, "points": None}

    def limits(self) -> tuple[list[Tier], list[Any]]:
        points = self.options["points"]
        return ([Tier(POINTS, *rate(points), key=never)] if points else []), []

    def make_world(self, dice: Dice) -> World:
        return World([])

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        raise KeyError(resource)

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        raise KeyError(resource)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        began = self.clock.monotonic()
        line = [
            began - self.started_at,
            time.time(),
            request.headers.get("X-Api-Key", ""),
            request.method,
            request.path,
            None,
            0,
            1.0,
        ]
        self.journal.append(line)
        request["line"] = line
        try:
            response = await super()._handle(request)
            line[6] = response.status
            return response
        finally:
            line[5] = self.clock.monotonic() - began

    def action(self, name: str, params: dict[str, Any]) -> Any:
        if name != "journal":
            return None
        return {"now": self.clock.monotonic() - self.started_at, "lines": self.journal[int(params.get("after", 0)) :]}

    def authorise(self, call: Call) -> web.Response | None:
        return None if call.request.headers.get("X-Api-Key", "").startswith("key") else self.reply({}, 401)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        points = call.data.get("points")
        if points is not None:
            response.headers["X-Cost"] = f"{points:g}"

    def _charge(self, call: Call) -> web.Response | None:
        """Points are known once the question is: counted before the answer is waited for."""
        scores = self.options["scores"]
        if scores is None:
            return None
        low, high = scores
        points = low + self.dice.below(int(high - low) + 1)
        call.data["points"] = points
        call.request["line"][7] = points
        refusal = self.enforcer.spend(POINTS, points, call.arrived_at)
        return self.refuse(refusal, call) if refusal is not None else None

    async def _answer(self, call: Call, handler: Any) -> web.Response:
        return self._charge(call) or await super()._answer(call, handler)

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        wait = f"{refusal.wait_seconds + 0.5:.0f}"
        return self.reply({"error": "too many"}, 429, {"Retry-After": wait})

    def me(self, call: Call) -> web.Response:
        return self.reply({"ok": True})

    def pages(self, call: Call) -> web.Response:
        """Cursor paging without an end."""
        told = call.json() if call.method == "POST" else call.query
        at, size = int(told.get("after") or 0), int(told.get("limit") or self.options["page"])
        items = [self._record(call.args["list"], number) for number in range(at, at + size)]
        return self.reply({"items": items, "next": str(at + size)})

    def record(self, call: Call) -> web.Response:
        number = call.args["id"].rpartition("-")[2]
        return self.reply(self._record(call.args["list"], int(number)))

    def _record(self, name: str, number: int) -> dict[str, Any]:
        return {"id": f"{name}-{number}", "n": number, "at": iso(1_700_000_000 + number, 3)}


@dataclass(frozen=True, slots=True)
class Line:
    """One call as the partner saw it. Times: seconds since it started; `wall` is the epoch."""

    at: float
    wall: float
    key: str
    method: str
    path: str
    seconds: float | None
    status: int
    points: float


async def journal(control: Control) -> tuple[float, list[Line]]:
    """The partner's clock now, and every call so far."""
    told = await control.do("journal")
    return float(told["now"]), [Line(*line) for line in told["lines"]]


NOTE_TASKS = """
CREATE TABLE noted (id bigserial, integration text, resource text, external_id text, at double precision);
CREATE FUNCTION note_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO noted (integration, resource, external_id, at)
    VALUES (NEW.integration, NEW.resource, NEW.external_id, extract(epoch FROM clock_timestamp()));
    RETURN NULL;
END $$;
CREATE TRIGGER note_task AFTER INSERT ON syncd.tasks FOR EACH ROW EXECUTE FUNCTION note_task();
"""
"""Every row of `syncd.tasks` is noted with the moment it was written, since a task done is a row deleted."""


async def waits(rows: Rows, *controls: Control) -> dict[str, float]:
    """By record: seconds from the row of a wished fetch to the arrival of its call at any of the partners."""
    arrived: dict[str, float] = {}
    for control in controls:
        _, lines = await journal(control)
        arrived |= {line.path.rpartition("/")[2]: line.wall for line in reversed(lines) if line.path.count("/") == 4}
    noted = await rows.connection.fetch(
        "SELECT external_id, at FROM noted WHERE external_id IS NOT NULL ORDER BY id DESC"
    )
    return {
        row["external_id"]: arrived[row["external_id"]] - row["at"] for row in noted if row["external_id"] in arrived
    }


def described(lists: int, *, searches: int = 0, weight: float = 1.0, **limits: Any) -> dict[str, Any]:
    """The partner for `driver: rest`: so many endless listings `l0…`, and listings `s0…` asked by POST (writes)."""
    one = {"records": "items", "fields": {"n": {"from": "n", "as": "integer"}}, "strategy": "full", "weight": weight}
    pages = {"kind": "cursor", "param": "after", "next": "next", "size": "limit"}
    resources = {
        f"l{number}": {**one, "path": f"/lists/l{number}", "one": f"/lists/l{number}/{{id}}", "pages": pages}
        for number in range(lists)
    }
    resources |= {
        f"s{number}": {
            **one,
            "path": f"/search/s{number}",
            "method": "POST",
            "budget": "write",
            "pages": {**pages, "in": "body"},
        }
        for number in range(searches)
    }
    return {
        "auth": {"kind": "api_key", "header": "X-Api-Key"},
        "test": {"path": "/me", "every": "1h"},
        "limits": {"share": 1.0, **limits},
        "page_size": 2,
        "resources": resources,
    }


def create(**options: Any) -> Simulator:
    """The simulator, as every simulator module makes it."""
    return Metered(**options)


__all__ = ["NOTE_TASKS", "Line", "Metered", "create", "described", "journal", "waits"]
