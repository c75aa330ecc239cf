"""Webhooks: the last deliveries with what was made of each, how many were refused, one with all it caused, and once more."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from prometheus_client import Counter

from syncd import metrics
from syncd.server.desks import RefusedError, target_of
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Shown, Visit, Way, leads
from syncd.store.received import Which

MOST: Final = 200
LONGEST_CURL: Final = 100_000
"""Bytes of a body that fit into a command line."""
STATES: Final = ("waiting", "done", "dropped", "buried")


class Deliveries:
    """Reads rows; never a partner."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def ways(self) -> Sequence[Way]:
        return [
            Way("GET", "/webhooks", self.latest),
            Way("GET", "/webhooks/{name}/{id}", self.show),
            Way("POST", "/webhooks/replay", self.replay),
        ]

    async def latest(self, visit: Visit) -> Shown:
        names = self._sources.status.names()
        integration, state, kind = visit.asked("integration"), visit.asked("state"), visit.asked("type")
        if integration:
            target_of(names, {"integration": integration})
        which = Which(state=state if state in STATES else None, event_type=kind or None)
        found = await self._sources.deliveries.latest(integration or None, which, limit=MOST)
        return "deliveries", {
            "title": "webhooks · syncd",
            "deliveries": found,
            "verdicts": verdicts(),
            "integration": integration,
            "state": state,
            "type": kind,
            "names": sorted(names),
            "stands": STATES,
            "most": MOST,
        }

    async def show(self, visit: Visit) -> Shown:
        integration = target_of(self._sources.status.names(), {"integration": visit.request.match_info["name"]})[0]
        wanted = visit.request.match_info["id"][:200]
        found = await self._sources.deliveries.delivery(integration, wanted, body=visit.show)
        if found is None:
            hint = "what was refused is not stored, and what is done goes after retention.inbox"
            raise RefusedError(404, "unknown-delivery", f"{integration} has no delivery {wanted[:60]!r}", hint)
        curl = as_curl(found) if visit.show else ""
        return "delivery", {"title": f"delivery {found['id']} · syncd", "one": found, "curl": curl}

    async def replay(self, visit: Visit) -> web.StreamResponse:
        said = {"integration": visit.said("integration")}
        integration = target_of(self._sources.status.names(), said)[0]
        number = visit.said("id")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise RefusedError(400, "usage", "which delivery?")
        done = await self._sources.deliveries.replay(integration, [int(number)], who=visit.who)
        told = "it waits to be worked on once more" if done else "it waits already, or its body is no longer kept"
        return leads(f"/ui/webhooks/{integration}/{number}", told)


def as_curl(delivery: Mapping[str, Any]) -> str:
    """A shell's command that sends it to `$URL` as it is shown, known secrets as dots; empty where no shell could take it."""
    body = delivery["body"]
    if body is None or len(body.encode()) > LONGEST_CURL or "\0" in body:
        return ""
    headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in sorted(delivery["headers"].items())]
    return " \\\n  ".join(['curl -X POST "$URL"', *headers, f"--data-raw {shlex.quote(body)}"])


def verdicts() -> list[tuple[str, int]]:
    """What became of everything that came since the start, refused and known deliveries among them."""
    accepted, known = _sum(metrics.WEBHOOKS_RECEIVED), _sum(metrics.WEBHOOK_DUPLICATES)
    refused: dict[str, int] = {}
    for family in metrics.WEBHOOK_FAILURES.collect():
        for sample in family.samples:
            if sample.name.endswith("_total") and sample.value:
                why = sample.labels["error_type"].replace("_", " ")
                refused[why] = refused.get(why, 0) + int(sample.value)
    return [("verified", accepted), ("known already", known), *sorted(refused.items(), key=lambda pair: -pair[1])]


def _sum(counter: Counter) -> int:
    samples = (sample for family in counter.collect() for sample in family.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))
