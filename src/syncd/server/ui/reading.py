"""What is read: changes on one time line, and the runbooks, which are part of the program."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Final

from anyio import to_thread

from syncd.server.desks import RefusedError, target_of
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Shown, Visit, Way

KINDS: Final = (
    "deploy", "reload", "pause", "resume", "hold", "release", "rotation", "maintenance", "replay", "sync", "settings", "other"
)  # fmt: skip
SINCE: Final = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "all": None}
MOST: Final = 200


class Reading:
    """The time line and the runbooks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def ways(self) -> Sequence[Way]:
        return [
            Way("GET", "/changes", self.changes),
            Way("GET", "/runbooks", self.runbooks),
            Way("GET", "/runbooks/{name}", self.runbook),
        ]

    async def changes(self, visit: Visit) -> Shown:
        names = self._sources.status.names()
        integration, kind, since = visit.asked("integration"), visit.asked("kind"), visit.asked("since") or "7d"
        if integration:
            target_of(names, {"integration": integration})
        span = SINCE.get(since, SINCE["7d"])
        found = await self._sources.changes.list(
            integration or None, since=visit.now - span if span is not None else None, limit=MOST
        )
        rows = [each for each in found["changes"] if not kind or each["kind"] == kind]
        said: dict[str, Any] = {"title": "changes · syncd", "changes": rows, "more": found.get("more"), "most": MOST}
        return "changes", {
            **said, "integration": integration, "kind": kind, "since": since, "names": sorted(names), "kinds": KINDS,
            "spans": list(SINCE),
        }  # fmt: skip

    async def runbooks(self, visit: Visit) -> Shown:
        pages = self._sources.runbooks()
        told = {name: self._sources.meaning(text) for name, text in pages.items()}
        return "runbooks", {"title": "runbooks · syncd", "pages": told}

    async def runbook(self, visit: Visit) -> Shown:
        name = visit.request.match_info["name"]
        text = self._sources.runbooks().get(name)
        if text is None:
            raise RefusedError(404, "unknown-runbook", f"there is no runbook {name[:60]!r}", "syncd runbook")
        said = {"title": f"{name} · syncd", "runbook": name, "html": await to_thread.run_sync(rendered, text)}
        return "runbook", {**said, "live": False}


@cache
def rendered(text: str) -> Any:
    """Markdown as HTML. Tags in it are text: whoever writes a page cannot put a script into it."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))  # noqa: S704 - escaped there
