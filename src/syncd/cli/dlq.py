"""`syncd dlq`: what needs a human, by cause: dead letters (work given up) and rejects (records that made no sense)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, ago, clock_time, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.store import Store
    from syncd.store.dead_letters import Trouble

MESSAGE_COLUMNS = 70
MOST_SHOWN = 1000


@click.group()
def dlq() -> None:
    """Dead letters and rejected records, by cause."""


@dlq.command("list")
@click.argument("integration", required=False)
@common(json=True, database=True)
def listed(app: App, integration: str | None) -> Exit:
    """Causes, most frequent first: how many, since when, and an example. `syncd dlq show CAUSE` has the details."""
    found = arun(_grouped(app, integration))
    if app.as_json:
        result_json({"schema": "syncd.dlq/1", "causes": [_told(kind, trouble) for kind, trouble in found]})
        return Exit.OK
    if not found:
        result("nothing needs you: no dead letters, no rejected records")
        return Exit.OK
    now = app.clock.now()
    rows = [
        (
            cause_of(kind, trouble),
            kind,
            f"{trouble.integration}/{trouble.resource}".rstrip("/"),
            _clipped(trouble.message),
            f"{trouble.count:,}",
            f"{ago(trouble.first_at, now)} ago",
            f"{ago(trouble.last_at, now)} ago",
            next(iter(trouble.examples), ""),
        )
        for kind, trouble in found
    ]
    head = ("CAUSE", "KIND", "WHERE", "WHAT", "COUNT", "FIRST", "LAST", "EXAMPLE")
    result(table(rows, head, right=frozenset({4})))
    say("details: syncd dlq show CAUSE")
    return Exit.OK


@dlq.command()
@click.argument("cause")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=5, show_default=True, help="At most so many.")
@click.option("--raw", is_flag=True, help="Also what the partner sent, or the request and the answer.")
@common(json=True, database=True)
def show(app: App, cause: str, limit: int, raw: bool) -> Exit:
    """The latest dead letters or rejects of one CAUSE (as `dlq list` names it; its first letters are enough)."""
    kind, trouble, entries = arun(_entries(app, cause, limit))
    told = [_entry(kind, entry, raw) for entry in entries]
    if app.as_json:
        result_json({"schema": "syncd.dlq-cause/1", **_told(kind, trouble), "entries": told})
        return Exit.OK
    result(f"{trouble.integration}/{trouble.resource}".rstrip("/") + f"  {plural(trouble.count, kind)}")
    result(trouble.message)
    for entry in told:
        result("")
        result(table([(key, _text(value)) for key, value in entry.items() if value not in (None, "", {})]))
    if trouble.count > len(told):
        say(f"{plural(trouble.count - len(told), 'other')} like these: --limit {min(trouble.count, MOST_SHOWN)}")
    if kind == "reject":
        say(
            f"a reject goes by itself when a sound version arrives: syncd sync {trouble.integration}/{trouble.resource}"
        )
    return Exit.OK


def cause_of(kind: str, trouble: Trouble) -> str:
    """Eight hex digits that stay the same as long as the trouble is the same."""
    whole = "\0".join((kind, trouble.integration, trouble.resource, trouble.fingerprint))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:8]


async def _causes(store: Store, integration: str | None) -> list[tuple[str, Trouble]]:
    found = [("dead letter", trouble) for trouble in await store.dead_letters.grouped(integration)]
    found += [("reject", trouble) for trouble in await store.rejects.grouped(integration)]
    return sorted(found, key=lambda pair: (-pair[1].count, pair[1].integration, pair[1].resource))


async def _grouped(app: App, integration: str | None) -> list[tuple[str, Trouble]]:
    config = app.config()
    async with app.store(config) as store:
        found = await _causes(store, integration)
    if integration is not None and not found:
        known_integration(config, integration)
    return found


async def _entries(app: App, cause: str, limit: int) -> tuple[str, Trouble, Sequence[Any]]:
    async with app.store() as store:
        every = await _causes(store, None)
        chosen = [(kind, trouble) for kind, trouble in every if cause_of(kind, trouble).startswith(cause.lower())]
        if len(chosen) != 1:
            why = (
                f"{len(chosen)} causes begin so" if chosen else "no cause begins so; it may have been settled meanwhile"
            )
            raise Failure(f"{cause!r} names no cause", why, "syncd dlq list", exit=Exit.USAGE)
        kind, trouble = chosen[0]
        entries: Sequence[Any]
        if kind == "reject":
            every_reject = await store.rejects.list(trouble.integration, trouble.resource, limit=MOST_SHOWN)
            entries = [each for each in every_reject if each.fingerprint == trouble.fingerprint][:limit]
        else:
            letters = await store.dead_letters.list(
                trouble.integration, fingerprint=trouble.fingerprint, limit=MOST_SHOWN
            )
            entries = [each for each in letters if each.resource == trouble.resource][:limit]
        return kind, trouble, entries


def _told(kind: str, trouble: Trouble) -> dict[str, Any]:
    return {
        "cause": cause_of(kind, trouble),
        "kind": kind.replace(" ", "_"),
        "integration": trouble.integration,
        "resource": trouble.resource,
        "message": trouble.message,
        "count": trouble.count,
        "first_at": trouble.first_at,
        "last_at": trouble.last_at,
        "examples": list(trouble.examples),
    }


def _entry(kind: str, entry: Any, raw: bool) -> dict[str, Any]:
    if kind == "reject":
        told = {
            "id": entry.external_id,
            "reason": entry.reason,
            "adapter": entry.adapter,
            "cause": entry.cause,
            "times": entry.times,
            "first": entry.first_at,
            "last": entry.last_at,
        }
        return {**told, "raw": entry.raw.decode("utf-8", "backslashreplace")} if raw else told
    told = {
        "letter": entry.id,
        "record": entry.external_id,
        "from": entry.origin,
        "error": entry.error_class,
        "message": entry.message,
        "attempts": entry.attempts,
        "buried": entry.buried_at,
    }
    if raw:
        told |= {"request": entry.request, "response": entry.response, "traceback": entry.traceback}
    return told


def _text(value: Any) -> str:
    if hasattr(value, "tzinfo"):
        return clock_time(value)
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict) else str(value)


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_COLUMNS else line[: MESSAGE_COLUMNS - 1] + "…"
