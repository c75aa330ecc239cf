"""One record: why is this row so? Its values, who wrote them and when, its history, and what the partner sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from syncd.redaction import redact, veiled
from syncd.server.desks import RefusedError, target_of
from syncd.server.ui import shown
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import Shown, Visit, Way
from syncd.store.about import LOOKED_AT

LAST: Final = 50
"""Changes of a record that are shown."""


class Records:
    """Looks records up in the tables."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def ways(self) -> Sequence[Way]:
        return [Way("GET", "/record", self.show)]

    async def show(self, visit: Visit) -> Shown:
        names = self._sources.status.names()
        integration, resource, wanted = visit.asked("integration"), visit.asked("resource"), visit.asked("id")
        common = {
            "title": "a record · syncd",
            "integration": integration,
            "resource": resource,
            "id": wanted,
            "names": names,
            "resources": sorted({each for found in names.values() for each in found}),
        }
        if not (integration and resource and wanted):
            return "record", {**common, "one": None}
        target_of(names, {"integration": integration, "resource": resource})
        told = await self._sources.records.story(integration, resource, wanted, changes=LAST)
        if not told["found"]:
            why = "; ".join(each["text"] for each in told["why"])
            message = f"no record {wanted!r} in {integration}/{resource}" + (f": {why}" if why else "")
            raise RefusedError(404, "unknown-record", message, f"read it now: {told['read_it']}")
        data, raw, refused = redact(told["data"]), redact(told["raw"]), told["refused"]
        return "record", {
            **common,
            "title": f"{resource} {wanted[:40]} · syncd",
            "one": told,
            "written": {**source(integration, told["written"]["cause"]), "text": told["written"]["text"]},
            "open": [*_open(told, integration)],
            "data": shown.pretty(data if visit.show else veiled(data)),
            "raw": shown.pretty(raw if visit.show else veiled(raw)),
            "deliveries": told["deliveries"],
            "looked_at": LOOKED_AT,
            "refused": refused,
            "stale": [refusal(each, integration) for each in refused["latest"]] if refused is not None else [],
            "changes": [_change(each, integration, show=visit.show) for each in told["changes"]],
        }


def _open(told: Mapping[str, Any], integration: str) -> Iterator[tuple[str, str]]:
    """What lies open about it, each with the command that shows more."""
    if (reject := told["reject"]) is not None:
        yield f"refused as a record: {reject['reason']}", f"syncd dlq list {integration}"
    for each in told["letters"]:
        yield f"dead letter {each['id']}: {each['message']}", f"syncd dlq show {each['id']}"
    for each in told["tasks"]:
        yield f"task {each['id']} is to {each['kind']} it", f"syncd status {integration}"
    for each in told["pushes"]:
        if each["state"] not in ("done", "dropped"):
            text = f"push {each['id']} ({each['operation']}) is {each['state']}"
            yield text, f"syncd push show {integration} {each['id']}"


def _change(change: Mapping[str, Any], integration: str, *, show: bool) -> dict[str, Any]:
    old, new = redact(change["old"]), redact(change["new"])
    return {
        "at": change["changed_at"],
        "kind": change["kind"],
        "field": change["field"],
        "old": shown.compact(old if show else veiled(old)),
        "new": shown.compact(new if show else veiled(new)),
        "version": change["row_version"],
        "written": source(integration, change["cause"]),
    }


def refusal(told: Mapping[str, Any], integration: str) -> dict[str, Any]:
    """One version that came and was older than the stored one, and why that is so."""
    return {
        "at": told.get("at"),
        "written": {**source(integration, str(told.get("cause") or "")), "text": told["by"]},
        "why": told["why"],
    }


def source(integration: str, cause: str) -> dict[str, str]:
    """Who wrote it, with a link where it was a delivery."""
    kind, _, rest = cause.partition(" ")
    number = rest.split(" ")[0].removeprefix("#")
    is_delivery = kind.rstrip(":") == "webhook" and number
    return {"text": cause, "link": f"/ui/webhooks/{quote(integration)}/{quote(number, safe='')}" if is_delivery else ""}
