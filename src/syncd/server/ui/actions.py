"""What the page's buttons do: a sentence comes back, and the audit log says who did it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from syncd.server.desks import RefusedError, target_of
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Visit
from syncd.wording import clock_time, plural

Act = Callable[[Visit], Awaitable[str]]
PAUSES: Final[Mapping[str, float | None]] = {
    "15m": 900, "1h": 3_600, "2h": 7_200, "8h": 28_800, "1d": 86_400, "3d": 259_200, "until resumed": None
}  # fmt: skip
USUAL_PAUSE: Final = "2h"


class Actions:
    """One method a button."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def every(self) -> Mapping[str, Act]:
        return {"sync": self.sync, "test": self.test, "pause": self.pause, "resume": self.resume}

    async def sync(self, visit: Visit) -> str:
        integration, resource = self._target(visit)
        external_id = visit.said("integration").partition("/")[2].partition("/")[2] or None
        wishes = await self._sources.status.sync(integration, resource, external_id, who=visit.who)
        where = "/".join(each for each in (integration, resource, external_id) if each)
        return f"{where}: {plural(len(wishes), 'run')} asked for; they go ahead of scheduled work"

    async def test(self, visit: Visit) -> str:
        integration, _ = self._target(visit)
        report = await self._sources.status.test(integration)
        told = {"ok": report.ok, "status": report.status}
        await self._sources.changes.note(visit.who, "credential_tested", integration=integration, after=told)
        if report.ok:
            took = f" in {report.latency_ms:.0f} ms" if report.latency_ms is not None else ""
            return f"{integration}: the credential works, the partner answered {report.status}{took}"
        why = report.explanation
        words = "no answer" if why is None else f"{why.reason}. Do: {why.action}" if why.action else why.reason
        return f"{integration}: the test call failed. {words}"

    async def pause(self, visit: Visit) -> str:
        integration, resource = self._target(visit)
        reason, lasting = visit.said("reason"), visit.said("for") or USUAL_PAUSE
        if not reason:
            raise RefusedError(400, "usage", "a pause from the page needs a reason", "say why: others will read it")
        if lasting not in PAUSES:
            raise RefusedError(400, "usage", "for how long?", f"one of {', '.join(PAUSES)}")
        seconds = PAUSES[lasting]
        until = visit.now + timedelta(seconds=seconds) if seconds is not None else None
        await self._sources.status.pause(integration, resource, who=visit.who, reason=reason[:500], until=until)
        end = f"until {clock_time(until)}" if until is not None else "until somebody resumes it"
        return f"{integration} is paused {end}: {reason[:100]}"

    async def resume(self, visit: Visit) -> str:
        integration, resource = self._target(visit)
        was = await self._sources.status.resume(integration, resource, who=visit.who)
        return f"{integration} goes on" if was else f"{integration} was not paused"

    # -- inside ----------------------------------------------------------------------------------------------------

    def _target(self, visit: Visit) -> tuple[str, str | None]:
        """`acme`, `acme/listings` or `acme/listings/64af`, as a button says it; the resource may stand beside it."""
        integration, resource, *_ = [*visit.said("integration").split("/", 2), "", ""]
        said = {"integration": integration, "resource": resource or visit.said("resource")}
        return target_of(self._sources.status.names(), {key: text for key, text in said.items() if text})
