"""The first page, as parts: each rendered once for everybody who looks, and sent to a listener only when it changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import anyio

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.explain import State
from syncd.server.ui import rows, shown
from syncd.server.ui.paper import Paper
from syncd.server.ui.sources import Sources
from syncd.store.received import ALL
from syncd.wording import lasting, plural

PACE_SECONDS: Final = 1.0
"""Younger boards are shown again, to whomever."""
SLOW_SECONDS: Final = 5.0
"""What the database is asked for, beside the overview."""
PATIENCE_SECONDS: Final = 2.0
KEPT: Final = 16
"""Boards remembered, so that a listener is sent what changed since the page it has."""
LATEST: Final = 8
CAUSES: Final = 6
LONG: Final = 5_000
"""A queue without a bound fills its bar with so many: the alerts call it too long then."""


@dataclass(frozen=True, slots=True)
class Board:
    """The first page at one moment."""

    id: int
    state: str
    """The worst there is: what the icon shows."""
    title: str
    parts: Mapping[str, str]
    """Rendered, by name; `row:NAME` is one integration."""
    rows: Sequence[Mapping[str, Any]]
    """What the rows were made from, in their order."""
    at: datetime
    overview: Mapping[str, Any]
    """What it was made from."""


class Front:
    """Makes boards."""

    def __init__(self, sources: Sources, paper: Paper, clock: Clock) -> None:
        self._sources = sources
        self._paper = paper
        self._clock = clock
        self._making = anyio.Lock()
        self._made = float("-inf")
        self._boards: deque[Board] = deque(maxlen=KEPT)
        self._asked: dict[str, tuple[float, Any]] = {}
        self._lines: Lines | None = None

    async def board(self) -> Board:
        """The latest; a new one where that is older than a second."""
        async with self._making:
            if self._clock.monotonic() - self._made >= PACE_SECONDS:
                self._boards.append(await self._make())
                self._made = self._clock.monotonic()
            return self._boards[-1]

    def forget(self) -> None:
        """Somebody did something: the next look shows it."""
        self._made = float("-inf")
        self._asked.clear()

    def earlier(self, number: str) -> Mapping[str, str]:
        """The parts of a board somebody has; nothing where it is forgotten."""
        return next((board.parts for board in self._boards if str(board.id) == number), {})

    async def _make(self) -> Board:
        await self._paper.ready()
        sources = self._sources
        overview = await sources.status.overview()
        async with anyio.create_task_group() as asking:
            asking.start_soon(self._slow, "letters", lambda: sources.letters.causes(None))
            asking.start_soon(self._slow, "deliveries", lambda: sources.deliveries.latest(None, ALL, limit=LATEST))
            asking.start_soon(self._slow, "changes", lambda: sources.changes.list(limit=LATEST))
        letters, deliveries, changes = (self._asked[name][1] for name in ("letters", "deliveries", "changes"))
        return self.render(overview, self.figures(), letters, deliveries, changes)

    def figures(self) -> dict[str, Any]:
        """Of the last hour: the calls of each integration only where its line has to be drawn anew."""
        found = self._sources.figures.view("1h", series=())
        if self._lines is not None and self._lines.drawn_from == _sample(found):
            return found
        return self._sources.figures.view("1h", series=("calls",))

    def lines(self, figures: Mapping[str, Any]) -> Lines:
        if self._lines is None or self._lines.drawn_from != _sample(figures):
            self._lines = Lines(figures)
        return self._lines

    async def _slow(self, name: str, ask: Callable[[], Awaitable[Any]]) -> None:
        """Ask the database, now and then; None is kept while it cannot be asked."""
        asked, found = self._asked.get(name, (float("-inf"), None))
        now = self._clock.monotonic()
        if now - asked >= SLOW_SECONDS:
            try:
                async with self._clock.timeout(PATIENCE_SECONDS):
                    found = await ask()
            except (StoreError, TimeoutError):
                found = None
            self._asked[name] = now, found

    def render(
        self,
        overview: Mapping[str, Any],
        figures: Mapping[str, Any],
        letters: Mapping[str, Any] | None,
        deliveries: Sequence[Mapping[str, Any]] | None,
        changes: Mapping[str, Any] | None,
    ) -> Board:
        """Everything at once, without a question to anybody."""
        now = self._clock.now()
        measured = figures["integrations"]
        lines = self.lines(figures)
        found = [rows.row(item, now, lines.of(item["name"])) for item in overview["integrations"]]
        conditions = [dict(each) | rows.trouble(each, now) for each in overview.get("conditions") or ()]
        said = {
            "now": now,
            "overview": overview,
            "needs": needs(found, conditions, overview),
            "counts": counts(found),
            "oldest": oldest(overview),
            "daemon": [each for each in conditions if each.get("subject") == "daemon"],
            "gauges": [gauge(each) for each in overview["queues"] if each.get("kind") != "pool"],
            "pools": [each for each in overview["queues"] if each.get("kind") == "pool"],
            "errors": figures["errors"],
            "calls": sum(((each.get("hour") or {}).get("calls") or 0) for each in measured.values()),
            "letters": None if letters is None else letters["causes"],
            "most": CAUSES,
            "deliveries": deliveries,
            "changes": None if changes is None else changes["changes"],
        }
        one = self._paper.renderer("parts/row")
        parts = {f"row:{each['name']}": one(each) for each in found}
        for name in ("sentence", "daemon", "queues", "errors", "letters", "webhooks", "changes"):
            parts[name] = self._paper.render(f"parts/{name}", said)
        state = worst(found, overview)
        number = self._boards[-1].id + 1 if self._boards else int(now.timestamp() * 1000)
        return Board(number, state, title(found, overview), parts, found, now, overview)


class Lines:
    """The little lines of one sample of the figures, each drawn when it is first asked for.

    Changes of one integration are marked on its own, those of the whole daemon on all.
    """

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self.drawn_from = _sample(figures)
        self._figures = figures
        self._drawn: dict[str, dict[str, str]] = {}
        self._changed: dict[str, list[float]] = {}
        for change in figures["changes"]:
            self._changed.setdefault(change["integration"], []).append(change["at"].timestamp())

    def of(self, name: str) -> dict[str, str]:
        found = self._drawn.get(name)
        if found is None:
            calls = (self._figures["integrations"].get(name) or {}).get("calls") or ()
            moments = [*self._changed.get(name, ()), *self._changed.get("", ())]
            marks = shown.strokes(self._figures["times"], moments)
            found = self._drawn[name] = {"spark": shown.spark(calls), "marks": marks}
        return found


def _sample(figures: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is another one once something was measured or changed."""
    changes = figures["changes"]
    return figures["times"][-1:], len(changes), changes[-1]["at"] if changes else None


def counts(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """How many are in each state, the best first: as the sentence has it."""
    told = [(str(state), sum(each["state"] == state for each in found)) for state in reversed(State)]
    return [pair for pair in told if pair[1]]


def worst(found: Sequence[Mapping[str, Any]], overview: Mapping[str, Any]) -> str:
    """What the icon of the page shows: `down`, `degraded` or `healthy`."""
    states = {each["state"] for each in found}
    if overview.get("stuck") or overview.get("unread") or states & {"down", "auth_required"}:
        return "down"
    severities = {each.get("severity") for each in overview.get("conditions") or ()}
    if "degraded" in states or overview.get("ready") or severities & {"page", "ticket"}:
        return "degraded"
    return "healthy"


def title(found: Sequence[Mapping[str, Any]], overview: Mapping[str, Any]) -> str:
    """The title tells the state in a tab nobody looks at."""
    if overview.get("stuck"):
        return "stuck · syncd"
    if overview.get("unread"):
        return "no database · syncd"
    told = [f"{count} {shown.WORDS[state]}" for state, count in reversed(counts(found)) if state in shown.TROUBLED]
    daemon = [each for each in overview.get("conditions") or () if each.get("subject") == "daemon"]
    told += [daemon[0]["code"].replace("-", " ")] if daemon and daemon[0].get("severity") != "note" else []
    return f"{', '.join(told) or 'all well'} · syncd"


def oldest(overview: Mapping[str, Any]) -> str:
    seconds = max((each.get("oldest_seconds") or 0.0 for each in overview["queues"]), default=0.0)
    return lasting(seconds) if seconds >= 1 else ""


def needs(
    found: Sequence[Mapping[str, Any]], conditions: Sequence[Mapping[str, Any]], overview: Mapping[str, Any]
) -> list[str]:
    """Who needs a person: names, and "The daemon" before them, since a sentence begins so."""
    daemon = any(each["subject"] == "daemon" and each.get("severity") in {"page", "ticket"} for each in conditions)
    own = ["The daemon"] if daemon or overview.get("stuck") or overview.get("unread") else []
    return own + [
        each["name"]
        for each in found
        if each["state"] in shown.TROUBLED and each["why"] and each["why"]["action"] and not each["why"]["idle"]
    ]


def gauge(queue: Mapping[str, Any]) -> dict[str, Any]:
    """One queue of the database."""
    capacity, waiting = queue.get("capacity"), queue.get("waiting") or 0
    drains, rate = queue.get("drains_in_seconds"), queue.get("rate_per_second")
    told = {"held": "held", "no_workers": "no workers", "full": "full"}.get(queue.get("state", ""), "")
    return {
        "name": queue["name"],
        "waiting": waiting,
        "capacity": capacity,
        "share": shown.percent(waiting / capacity) if capacity else "",
        **shown.gauge(waiting, 0.0, capacity or LONG),
        "oldest": lasting(queue["oldest_seconds"]) if (queue.get("oldest_seconds") or 0) >= 1 else "",
        "drains": ""
        if not waiting
        else f"drains in {lasting(drains)}"
        if drains
        else "nothing leaves it"
        if drains is None
        else "",
        "rate": f"{rate:.3g}/s" if rate and waiting else "",
        "bound": queue.get("bound_by") or "",
        "trouble": told,
        "held_for": plural(len(queue.get("integrations") or {}), "integration") if told == "held" else "",
    }
