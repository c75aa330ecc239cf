"""One integration's page: what is wrong with it, what it reads, its limits, what it did lately; and the form of a pause."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from syncd.errors import StoreError
from syncd.server.answers import answer
from syncd.server.desks import RefusedError, target_of
from syncd.server.ui import rows, shown
from syncd.server.ui.actions import PAUSES, USUAL_PAUSE
from syncd.server.ui.front import Front
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Shown, Visit, Way
from syncd.store.received import ALL
from syncd.wording import ago, lasting, moment_of

WINDOWS: Final = ("1h", "24h")
LATEST: Final = 10
UNMEASURED: Final[Mapping[str, Any]] = {
    "calls": 0,
    "success": None,
    "p50_ms": None,
    "p95_ms": None,
    "p99_ms": None,
    "errors": {},
}


class Integrations:
    """Asks the overview, and of one integration more."""

    def __init__(self, sources: Sources, front: Front) -> None:
        self._sources = sources
        self._front = front

    def ways(self) -> Sequence[Way]:
        return [
            Way("GET", "/integrations/{name}", self.show),
            Way("GET", "/integrations/{name}/pause", self.pause),
            Way("GET", "/integrations/{name}/figures.json", self.figures),
        ]

    async def show(self, visit: Visit) -> Shown:
        name = self._name(visit)
        board = await self._front.board()
        item = next((each for each in board.overview["integrations"] if each["name"] == name), None)
        if item is None:
            raise RefusedError(404, "unknown-integration", f"{name} is not there at the moment", "syncd status")
        scope: Mapping[str, Any] = next(
            (each for each in board.overview["scopes"] if name in each.get("integrations", ())), {}
        )
        conditions = [each for each in board.overview.get("conditions") or () if each.get("integration") == name]
        return "integration", {
            "title": f"{name} · syncd",
            "icon": board.state,
            "item": item,
            "row": rows.row(item, visit.now),
            "drawn": drawn(self._sources.figures.view(self._window(visit), name), name),
            "resources": [resource(each, visit) for each in item.get("resources") or ()],
            "hour": item.get("hour") or UNMEASURED,
            "scope": scope,
            "tiers": [rows.tier(each) for each in scope.get("tiers") or ()],
            "others": [rows.trouble(each, visit.now) | {"resource": each.get("resource")} for each in conditions
                       if each.get("code") != (item.get("explanation") or {}).get("code")],
            "window": self._window(visit),
            "windows": WINDOWS,
            "letters": await self._letters(name),
            "deliveries": await self._deliveries(name),
            "changes": await self._changes(name),
        }  # fmt: skip

    async def pause(self, visit: Visit) -> Shown:
        name = self._name(visit)
        known = self._sources.status.names()[name]
        said = {"title": f"pause {name} · syncd", "integration": name, "resources": known, "pauses": PAUSES}
        return "pause", {**said, "usual": USUAL_PAUSE, "to": f"/ui/integrations/{name}"}

    async def figures(self, visit: Visit) -> web.StreamResponse:
        return answer(self._sources.figures.view(self._window(visit), self._name(visit)))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _name(self, visit: Visit) -> str:
        return target_of(self._sources.status.names(), {"integration": visit.request.match_info["name"]})[0]

    @staticmethod
    def _window(visit: Visit) -> str:
        return visit.asked("window") if visit.asked("window") in WINDOWS else WINDOWS[0]

    async def _letters(self, name: str) -> Sequence[Mapping[str, Any]] | None:
        try:
            found: Sequence[Mapping[str, Any]] = (await self._sources.letters.causes(name))["causes"]
        except StoreError:
            return None
        return found

    async def _deliveries(self, name: str) -> Sequence[Mapping[str, Any]] | None:
        try:
            return await self._sources.deliveries.latest(name, ALL, limit=LATEST)
        except StoreError:
            return None

    async def _changes(self, name: str) -> Sequence[Mapping[str, Any]] | None:
        try:
            found: Sequence[Mapping[str, Any]] = (await self._sources.changes.list(name, limit=LATEST))["changes"]
        except StoreError:
            return None
        return found


DRAWN: Final[Sequence[tuple[str, str, Callable[[float], str]]]] = (
    ("calls a second", "calls", lambda value: f"{value:.2f}"),
    ("p95", "p95_ms", shown.milliseconds),
    ("p99", "p99_ms", shown.milliseconds),
    ("errors", "errors", lambda share: shown.percent(share, 1)),
    ("limit used", "limit_share", shown.percent),
    ("lag: how old the copy is", "lag_seconds", lasting),
)
"""The plots for who has no scripts: what each shows, its name among the figures, and how a value of it is written."""


def drawn(figures: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    """Those of which something was measured, as lines with their latest and their largest value."""
    found, times = figures["integrations"].get(name) or {}, figures["times"]
    marks = shown.strokes(times, [change["at"].timestamp() for change in figures["changes"]])
    lines = []
    for title, key, written in DRAWN:
        known = [value for value in found.get(key) or () if value is not None]
        path = shown.spark(found[key]) if known else ""
        if known:
            low = f"M0,{shown.SPARK_HEIGHT - 1}H{shown.SPARK_WIDTH}"  # it was measured, and was nothing all the time
            told = {"latest": written(known[-1]), "most": written(max(known))}
            lines.append({"title": title, "path": path or low, "marks": marks, **told})
    return lines


def resource(item: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """One resource, ready to be read."""
    why, last = item.get("explanation") or {}, item.get("last_run") or {}
    coming = moment_of(item.get("next_run_at"))
    changed = [
        f"{sign}{last[key]:,}" for sign, key in (("+", "added"), ("~", "updated"), ("-", "deleted")) if last.get(key)
    ]
    waited = last.get("waited_seconds") or 0.0
    return {
        "name": item["name"],
        "state": item["state"],
        "strategy": item.get("strategy") or "",
        "why": rows.trouble(why, visit.now) if why.get("reason") else None,
        "records": item.get("records"),
        "last": last,
        "ended": ago(last.get("ended_at"), visit.now),
        "changed": " ".join(changed) or ("nothing new" if last.get("outcome") == "done" else ""),
        "waited": lasting(waited) if waited >= 1 else "",
        "good": ago(item.get("last_success_at"), visit.now),
        "next": "running" if item.get("running") else rows.in_(coming, visit.now) if coming else "–",
        "held": item.get("held_deletions") or 0,
        "remarks": [*(item.get("remarks") or ()), *([item["hint"]] if item.get("hint") else [])],
    }
