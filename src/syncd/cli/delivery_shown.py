"""One delivery as lines: what it is, what it says, and all it caused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from syncd.cli.output import ago, clock_time, harmless, lasting, paint, plural, result, table

COLOURS = {"done": "green", "dropped": "yellow", "buried": "red", "waiting": "cyan"}


def print_delivery(found: dict[str, Any], now: datetime) -> None:
    """What it is and what it caused, line by line."""
    size = "" if found["bytes"] is None else f", {plural(found['bytes'], 'byte')}"
    state = paint(found["state"], COLOURS.get(found["state"]))
    if found["seconds"] is not None:
        state += f", {lasting(found['seconds']) if found['seconds'] >= 1 else 'within a second'} after it came"
    rows = [
        ("delivery", f"{found['id']} of {found['integration']}"),
        ("event id", harmless(found["event_id"])),
        ("type", harmless(found["type"] or "-")),
        ("received", f"{clock_time(found['received_at'])} ({ago(found['received_at'], now)} ago){size}"),
        ("verdict", "accepted: " + ("rightly signed" if not found["route"] else f"at /{_hidden_route(found)}")),
        ("state", state),
    ]
    if found["reason"]:
        rows.append(("why", harmless(found["reason"])))
    if found["not_before"] and found["state"] == "waiting":
        rows.append(("not before", clock_time(found["not_before"])))
    if found["lost"]:
        rows.append(("lost", f"{plural(found['lost'], 'time')} in hand when the process died"))
    rows += [row for event in found["events"] for row in event_rows(event)]
    if found["more_events"]:
        rows.append(("", f"and {plural(found['more_events'], 'event')} more"))
    if found["unread"]:
        rows.append(("unread", harmless(found["unread"])))
    if found["letter"] is not None:
        letter = found["letter"]
        rows.append(
            ("dead letter", f"{letter['id']}, {letter['state']}: {letter['error']}: {harmless(letter['message'])}")
        )
    result(table(rows))


def event_rows(event: dict[str, Any]) -> list[tuple[str, str]]:
    """One event of a delivery: the record, the task under way, the row."""
    if event["revoked"]:
        return [("event", f"{event['type']}: the account took our access away")]
    says = " is gone" if event["deleted"] else ""
    rows = [("event", harmless(f"{event['type'] or 'record'}: {event['resource']} {event['id']}{says}"))]
    task, record = event["task"], event["record"]
    if task is not None:
        how = "is being worked on" if task["taken"] else "waits"
        if task["not_before"] and not task["taken"]:
            how += f" until {clock_time(task['not_before'])}"
        why = f": {task['reason']}" if task["reason"] else ""
        rows.append(("  task", f"{task['id']} {how}{why}"))
    if record is None:
        rows.append(("  row", "none"))
    else:
        end = f", deleted {clock_time(record['deleted_at'])}" if record["deleted_at"] else ""
        rows.append(
            (
                "  row",
                f"row_version {record['row_version']}, written {clock_time(record['synced_at'])} by {record['cause']}{end}",
            )
        )
    return rows


def _hidden_route(found: dict[str, Any]) -> str:
    """A route may be the secret itself."""
    return "•••" if found["type"] != found["route"] else str(found["route"])
