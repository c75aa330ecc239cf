"""A row of `audit_log` in words. What no sentence is written for is told by its own name, so that nothing is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from syncd.store.audit import AuditEntry
from syncd.wording import moment_of, number, plural

LONGEST = 400
_KINDS = {
    **dict.fromkeys(("config_reloaded", "config_reload_failed"), "reload"),
    "paused": "pause",
    "schema_migrated": "deploy",
    **dict.fromkeys(("resumed", "pause_ended"), "resume"),
    "breaker_held": "hold",
    **dict.fromkeys(("breaker_released", "breaker_hold_ended", "breaker_reset"), "release"),
    **dict.fromkeys(("maintenance_began", "maintenance_ended"), "maintenance"),
    **dict.fromkeys(("dead_letters_replayed", "webhooks_replayed", "replay_cancelled"), "replay"),
    **dict.fromkeys(("sync_asked", "reconcile_asked", "backfill_asked", "backfill_stopped"), "sync"),
    **dict.fromkeys(("schema_accepted", "webhooks_registered", "log_level_set", "log_level_ended"), "settings"),
}
MOST_NAMED = 3


def kind_of(entry: AuditEntry) -> str:
    """Its mark: reload, deploy, pause, resume, rotation, hold, release, maintenance, replay, sync, settings or other."""
    if entry.action == "daemon_started":
        was = (entry.before or {}).get("version")
        return "deploy" if was != (entry.after or {}).get("version") else "other"
    if entry.action.startswith(("credential", "key_", "secret_of_webhook")) and entry.action != "credential_tested":
        return "rotation"
    return _KINDS.get(entry.action, "other")


def text_of(entry: AuditEntry) -> str:
    """One line, without its time and its integration, with who did it: `paused by ann: they move house, until 14:00 UTC`."""
    told = _TOLD.get(entry.action, _plainly)
    try:
        text = told(entry, entry.before or {}, entry.after or {})
    except (KeyError, TypeError, ValueError, AttributeError):  # a row of another release, or one altered by hand
        text = _plainly(entry, entry.before or {}, entry.after or {})
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


Values = Mapping[str, Any]


def _plainly(entry: AuditEntry, before: Values, after: Values) -> str:
    return f"{entry.action.replace('_', ' ')} by {entry.actor}{_where(after or before)}"


def _where(values: Values) -> str:
    resource = values.get("resource")
    return f" ({resource})" if resource else ""


def _until(values: Values, at: datetime) -> str:
    until = values.get("until")
    if not until:
        return ""
    moment = moment_of(until)
    assert moment is not None
    return f"until {moment:%H:%M} UTC" if moment.date() == at.date() else f"until {moment:%Y-%m-%d %H:%M} UTC"


def _said(*parts: Any) -> str:
    """`: they move house, until 14:00 UTC`, of those parts that there are."""
    there = [str(part) for part in parts if part]
    return f": {', '.join(there)}" if there else ""


def _ordered(verb: str) -> Callable[[AuditEntry, Values, Values], str]:
    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        what = after.get("resource") or after.get("group")
        former = f" (replaces {before['who']}'s{_said(before.get('reason'))})" if before.get("who") else ""
        end = _until(after, entry.at) or "until somebody ends it"
        return f"{f'{what} ' if what else ''}{verb} by {entry.actor}{_said(after.get('reason'), end)}{former}"

    return told


def _ended(verb: str, *, by_itself: bool = False) -> Callable[[AuditEntry, Values, Values], str]:
    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        what = before.get("resource") or before.get("group")
        who = "" if by_itself else f" by {entry.actor}"
        of = f"; was {before['who']}'s{_said(before.get('reason'))}" if before.get("who") else ""
        return f"{f'{what} ' if what else ''}{verb}{who}{of}"

    return told


def _reloaded(entry: AuditEntry, before: Values, after: Values) -> str:
    lines = [*after.get("changes", ())]
    kept = after.get("kept") or {}
    told = "; ".join(lines[:MOST_NAMED]) + (f"; and {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else "")
    text = f"reloaded by {entry.actor}: {told or 'configuration is unchanged'}"
    if kept:
        text = f"reloaded in part by {entry.actor}{_said(told)}"
        idle = {name for name in after.get("idle") or () if name in kept}
        for what, names in (("kept as before", kept.keys() - idle), ("not running", idle)):
            if names:
                text += f"; {what}: " + "; ".join(f"{name} ({_first(kept[name])})" for name in kept if name in names)
    return text


def _refused(entry: AuditEntry, before: Values, after: Values) -> str:
    if after.get("kept") and not after.get("problems"):
        return _reloaded(entry, before, after)
    return f"reload by {entry.actor} refused, nothing applied: {_first(after.get('problems') or [])}"


def _first(lines: Any) -> str:
    """The first line of the first problem: the others stand in the row, and in the log."""
    texts = [lines] if isinstance(lines, str) else list(lines)
    first = texts[0].strip().splitlines()[0] if texts else "no reason is known"
    return first + (f" and {len(texts) - 1} more" if len(texts) > 1 else "")


def _started(entry: AuditEntry, before: Values, after: Values) -> str:
    was, now = before.get("version"), after["version"]
    on = f" on {after['host']}" if after.get("host") else ""
    if was is None:
        return f"syncd {now} started for the first time{on}"
    return f"syncd {was} → {now}{on}" if was != now else f"syncd {now} started again{on}"


def _stopped(entry: AuditEntry, before: Values, after: Values) -> str:
    on = f" on {before['host']}" if before.get("host") else ""
    return f"syncd {before.get('version', '')} stopped{on}{_said(after.get('why'))}"


def _migrated(entry: AuditEntry, before: Values, after: Values) -> str:
    return f"schema {int(after['schema']):04} ({after['name'].replace('_', ' ')}) applied by {entry.actor}"


def _sync(entry: AuditEntry, before: Values, after: Values) -> str:
    what = after.get("resource") or ", ".join(after.get("resources") or ()) or "everything"
    one = f" {after['id']}" if after.get("id") else ""
    return f"sync of {what}{one} asked for by {entry.actor}"


def _reconcile(entry: AuditEntry, before: Values, after: Values) -> str:
    return f"complete pass of {after.get('resource') or 'everything'} asked for by {entry.actor}"


def _confirmed(entry: AuditEntry, before: Values, after: Values) -> str:
    held = after.get("held") or {}
    parts = ", ".join(f"{name} {number(count)}" for name, count in held.items())
    return f"{plural(sum(held.values()), 'held deletion')} confirmed by {entry.actor}{_said(parts)}"


def _letters(verb: str) -> Callable[[AuditEntry, Values, Values], str]:
    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        return f"{plural(int(after['letters']), 'dead letter')} {verb} by {entry.actor}{_said(after.get('reason'))}"

    return told


def _deliveries(entry: AuditEntry, before: Values, after: Values) -> str:
    return f"{plural(int(after['deliveries']), 'delivery', 'deliveries')} replayed by {entry.actor}"


def _registered(entry: AuditEntry, before: Values, after: Values) -> str:
    steps = [str(one.get("what") or one.get("action")) for one in after.get("done", ())]
    done = ", ".join(steps[:1]) + (f" and {len(steps) - 1} more" if len(steps) > 1 else "")
    failed = f"; then it failed: {after['failed']}" if after.get("failed") else ""
    return f"webhooks registered by {entry.actor}{_said(done)}{failed}"


def _range(verb: str) -> Callable[[AuditEntry, Values, Values], str]:
    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        values = after or before
        span = f" {_day(values['since'])} to {_day(values['until'])}" if values.get("since") else ""
        return f"{verb} of {values.get('resource') or 'everything'}{span} by {entry.actor}"

    return told


def _day(text: Any) -> str:
    return str(text)[:16].replace("T", " ")


def _secrets(verb: str) -> Callable[[AuditEntry, Values, Values], str]:
    """Short hashes are told, by name: which secret it was, and that it is another one now."""

    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        names = [name for name in after if name != "reason" and isinstance(after[name], str)]
        turned = ", ".join(f"{name} {_print(before.get(name))} → {_print(after[name])}" for name in names[:MOST_NAMED])
        return f"{verb} by {entry.actor}{_said(turned, after.get('reason'))}"

    return told


def _print(known: Any) -> str:
    """A short hash as the files' own changes show it."""
    return f"#{known}" if known else "(not set)"


def _level(entry: AuditEntry, before: Values, after: Values) -> str:
    return f"log level {after.get('level')} set by {entry.actor}{_said(_until(after, entry.at))}"


def _window(verb: str) -> Callable[[AuditEntry, Values, Values], str]:
    def told(entry: AuditEntry, before: Values, after: Values) -> str:
        values = after or before
        end = _until(values, entry.at) if verb == "began" else ""
        return f"maintenance {verb}{_said(values.get('reason'), end)}"

    return told


_TOLD: Mapping[str, Callable[[AuditEntry, Values, Values], str]] = {
    "daemon_started": _started,
    "daemon_stopped": _stopped,
    "schema_migrated": _migrated,
    "config_reloaded": _reloaded,
    "config_reload_failed": _refused,
    "paused": _ordered("paused"),
    "resumed": _ended("resumed"),
    "pause_ended": _ended("pause ended", by_itself=True),
    "breaker_held": _ordered("calls held back"),
    "breaker_released": _ended("hold released"),
    "breaker_hold_ended": _ended("hold ended", by_itself=True),
    "maintenance_began": _window("began"),
    "maintenance_ended": _window("ended"),
    "sync_asked": _sync,
    "reconcile_asked": _reconcile,
    "reconcile_confirmed": _confirmed,
    "dead_letters_replayed": _letters("replayed"),
    "dead_letters_discarded": _letters("discarded"),
    "dead_letters_purged": _letters("purged"),
    "webhooks_replayed": _deliveries,
    "webhooks_registered": _registered,
    "backfill_asked": _range("backfill"),
    "backfill_stopped": _range("backfill stopped"),
    "credential_rotated": _secrets("credentials rotated"),
    "credential_set": _secrets("credential set"),
    "credential_rotation_undone": _secrets("rotation undone"),
    "secret_of_webhook_added": _secrets("webhook's secret added"),
    "secret_of_webhook_undone": _secrets("webhook's secret put back"),
    "secret_of_webhook_ended": _secrets("webhook's secret before is valid no longer, ended"),
    "credential_rotation_refused": _secrets("announced credentials refused"),
    "credential_rotation_rolled_back": _secrets("announced credentials rolled back"),
    "log_level_set": _level,
}
