"""The cause of a row in words: which run, delivery, push, task or pass wrote it, and the command that shows more of that.

A cause is a chain, the nearest first: `task 4182: webhook evt_1`. Its last link is what started it all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd.store import Store
from syncd.store.erasing import ERASED
from syncd.store.received import Received
from syncd.store.runs import Run
from syncd.wording import clock_time, plural

_LINK = re.compile(r"(task|run|push|pass|backfill|renormalize) (\d+)(?: page (\d+))?(?:: |$)")
_LISTED = "listing below "
_GONE = ": gone at the partner"


async def writer(store: Store, integration: str, cause: str, *, deleted: bool = False) -> dict[str, Any]:
    """`kind`, `text` and `commands`, and `run`, `delivery` or `push` where the row of it is still kept.

    `deleted`: what it wrote is a tombstone. Raises StoreError."""
    told = told_of(cause)
    rest = cause.removeprefix(ERASED)
    task = None
    if (found := _LINK.match(rest)) is not None and found[1] == "task":
        task, rest = found[2], rest[found.end() :]
    await _first_cause(store, integration, rest, told, deleted=deleted and task is None)
    if task is not None:
        why = f", because of {told['text']}" if rest.removesuffix(_GONE) else ""
        what = "found it gone when it read it" if deleted else "read it by its id"
        told["text"] = f"task {task} {what}{why}"
        if told["kind"] == "other":
            told["kind"] = "task"
    if cause.startswith(ERASED):
        told["text"] += "; its old values were erased with the person's data"
    return told


def told_of(cause: str) -> dict[str, Any]:
    """What is said of a cause of which nothing is known."""
    found: dict[str, Any] = {"cause": cause, "kind": "other", "text": cause, "commands": [], "run": None}
    return found | {"delivery": None, "push": None}


async def _first_cause(store: Store, integration: str, rest: str, told: dict[str, Any], *, deleted: bool) -> None:
    if rest.startswith("webhook "):
        await _webhook(store, integration, rest.removeprefix("webhook "), told)
        return
    if rest.startswith("asked by "):
        told |= {"kind": "asked", "text": f"{rest.removeprefix('asked by ').removesuffix(_GONE)}, who asked for it"}
        return
    found = _LINK.match(rest)
    if found is None:
        told["text"] = f"a {rest}" if rest.startswith(_LISTED) else rest
        return
    kind, number = found[1], int(found[2])
    more = rest[found.end() :].removesuffix(_GONE.removeprefix(": "))
    told |= {"kind": kind, "text": f"{kind} {number}" + (f": {more}" if more and kind != "push" else "")}
    if kind == "run":
        run = await store.runs.get(integration, number)
        if run is not None:
            page = f"page {found[3]} of " if found[3] else ""
            told |= {"text": page + _run_text(run) + (f": {more}" if more else ""), "run": _run(run)}
        else:
            told["text"] = f"run {number}, whose row is not kept any more" + (f": {more}" if more else "")
    elif kind == "pass":
        way = "and the one before did not show it" if deleted else "did not show it"
        told["text"] = f"the complete pass {number} {way}" + ("; it went with its parent" if more == "parent" else "")
        run = await store.runs.get(integration, number)
        told["run"] = _run(run) if run is not None else None
    elif kind == "push":
        push = await store.about.push(integration, number)
        told["text"] = f"the answer to push {number}" + (f" ({push.operation})" if push is not None else "")
        told["text"] += f", which was sent because of: {more}" if more else ", which this system sent"
        told["commands"].append(f"syncd push show {integration} {number}")
        if push is not None:
            told["push"] = {"id": push.id, "kind": push.operation, "state": push.state, "created_at": push.created_at}
    elif kind == "backfill":
        told["commands"].append(f"syncd backfill list {integration}")
    elif kind == "renormalize":
        told["text"] = f"renormalization {number}, from the stored raw and without a call"


async def _webhook(store: Store, integration: str, said: str, told: dict[str, Any]) -> None:
    """An event id may hold anything, so what follows it is cut off only where nothing has that id."""
    event_id, found = said, None
    while found is None and event_id:
        found = await store.about.delivery(integration, event_id)
        if found is None:
            event_id = event_id.rpartition(": ")[0]
    told["kind"] = "webhook"
    if found is None:
        told["text"] = f"webhook {said.removesuffix(_GONE)}, whose row is not kept any more"
        return
    told["text"] = f"webhook {event_id} ({found.event_type or 'no type'}), received {clock_time(found.received_at)}"
    told["commands"].append(f"syncd webhook show {integration} {found.id}")
    told["delivery"] = delivery(found)


def delivery(found: Received) -> dict[str, Any]:
    """One delivery as JSON, without headers and body."""
    return {
        "id": found.id,
        "event_id": found.event_id,
        "type": found.event_type,
        "received_at": found.received_at,
        "state": found.state,
        "reason": found.reason,
    }


def _run(run: Run) -> dict[str, Any]:
    names = ("id", "mode", "trigger", "started_at", "ended_at", "outcome", "pages", "calls")
    return {name: getattr(run, name) for name in names}


def _run_text(run: Run) -> str:
    why = {"schedule": "on schedule", "wish": "asked for"}.get(run.trigger, run.trigger)
    ended = f", {run.outcome} {clock_time(run.ended_at)[11:]}" if run.ended_at is not None else ", still running"
    return f"run {run.id} ({run.mode}, {why}, begun {clock_time(run.started_at)}{ended}, {plural(run.pages, 'page')})"


def why_refused(one: Mapping[str, Any]) -> str:
    """Why a version was not stored, by the stamps it came with and those of the row that was kept."""
    held: Mapping[str, Any] = one.get("held") or {}
    fetched, missed = _at(one.get("fetched_at")), _at(held.get("missed_at"))
    if held.get("gone") and not one.get("gone") and missed is not None and fetched is not None and fetched <= missed:
        return f"it was asked for {clock_time(fetched)}, and known to be gone {clock_time(missed)}"
    version, kept_version = one.get("source_version"), held.get("source_version")
    if version is not None and kept_version is not None and version != kept_version:
        return f"it is version {version}, and version {kept_version} was stored"
    changed, kept_changed = _at(one.get("source_updated_at")), _at(held.get("source_updated_at"))
    if changed is not None and kept_changed is not None and changed != kept_changed:
        return f"the partner stamped it {_fine(changed)}, and what was stored {_fine(kept_changed)}"
    kept = _at(held.get("fetched_at"))
    return f"it was asked for {_fine(fetched)}, and what was stored {_fine(kept)}"


def _at(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))


def _fine(moment: datetime | None) -> str:
    """With its milliseconds where it has any: two moments that differ must not look alike."""
    if moment is None:
        return "-"
    text = clock_time(moment)
    return text if not moment.microsecond else f"{text[:-1]}.{moment.microsecond:06d}"[:23] + "Z"
