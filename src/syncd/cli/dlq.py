"""`syncd dlq`: what needs a human, by cause: dead letters (work given up) and rejects (records that made no sense).

Looking, discarding and purging need the database alone; a replay is the daemon's work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.dlq_replay import replay
from syncd.cli.dlq_settle import discard, purge
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, ago, clock_time, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.store import Store
    from syncd.store.dead_letters import Trouble

MESSAGE_COLUMNS = 70
MOST_SHOWN = 1000
ORDER = ("work", "method", "route", "path", "params", "headers", "status", "code", "body", "kind", "resource")
"""How the parts of a request, an answer and a piece of work are shown; others follow."""


@click.group()
def dlq() -> None:
    """Dead letters and rejected records, by cause."""


dlq.add_command(replay)
dlq.add_command(discard)
dlq.add_command(purge)


@dlq.command("list", short_help="Causes, most frequent first: how many, and since when.")
@click.argument("integration", required=False)
@common(json=True, database=True)
def listed(app: App, integration: str | None) -> Exit:
    """Causes, most frequent first: how many, since when, and an example. `syncd dlq show CAUSE` has the details."""
    from syncd import causes

    found = arun(_grouped(app, integration))
    if app.as_json:
        result_json({"schema": "syncd.dlq/1", "causes": [causes.told(kind, trouble) for kind, trouble in found]})
        return Exit.OK
    if not found:
        result("nothing needs you: no dead letters, no rejected records")
        return Exit.OK
    now = app.clock.now()
    rows = [
        (
            causes.name_of(kind, trouble),
            kind,
            f"{trouble.integration}/{trouble.resource}".rstrip("/"),
            _clipped(trouble.message),
            f"{trouble.count:,}",
            f"{ago(trouble.first_at, now)} ago",
            f"{ago(trouble.last_at, now)} ago",
            _example(trouble),
        )
        for kind, trouble in found
    ]
    head = ("CAUSE", "KIND", "WHERE", "WHAT", "COUNT", "FIRST", "LAST", "EXAMPLE")
    result(table(rows, head, right=frozenset({4})))
    say("details: syncd dlq show CAUSE")
    first = next((trouble for kind, trouble in found if kind == causes.LETTER), None)
    if first is not None:
        say(f"once the cause is mended: syncd dlq replay --cause {causes.name_of(causes.LETTER, first)}")
    return Exit.OK


@dlq.command(short_help="One dead letter whole, or the latest of one cause.")
@click.argument("target", metavar="LETTER|CAUSE")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=5, show_default=True, help="At most so many.")
@click.option("--raw", is_flag=True, help="Of a cause: also what the partner sent, or the request and the answer.")
@common(json=True, database=True)
def show(app: App, target: str, limit: int, raw: bool) -> Exit:
    """One dead letter whole (by its number), or the latest of one cause.

    A letter: the request and its answer, masked, the traceback of a fault of ours, each attempt, earlier replays.
    A cause: as `dlq list` names it, its first letters, or words of what is shown of it.
    """
    if target.isdecimal() and len(target) < 19:
        letter = arun(_letter(app, int(target)))
        if letter is not None:
            return _show_letter(app, letter)
    return _show_cause(app, target, limit, raw)


def _show_letter(app: App, letter: Mapping[str, Any]) -> Exit:
    if app.as_json:
        result_json(letter)
        return Exit.OK
    where = f"{letter['integration']}/{letter['resource']}".rstrip("/")
    result(f"letter {letter['letter']}  {where}  {letter['state']}  cause {letter['cause']}")
    result(str(letter["message"]))
    result("")
    facts = {
        "record": letter["record"],
        "from": letter["from"],
        "push": letter["push"],
        "error": letter["error"],
        "attempts": letter["attempts"],
        "buried": letter["buried"],
        "last": letter["last"] if letter["times"] > 1 else None,
        "times": letter["times"] if letter["times"] > 1 else None,
        "waits for": letter["waits_for"],
        "settled": letter["settled"],
        "settled by": letter["settled_by"],
        "reason": letter["reason"],
    }
    result(table([(key, _text(value)) for key, value in facts.items() if value not in (None, "")]))
    for title, part in (("request", letter["request"]), ("answer", letter["response"]), ("work", letter["payload"])):
        keys = sorted(part or {}, key=lambda key: (ORDER.index(key) if key in ORDER else len(ORDER), key))
        shown = {key: part[key] for key in keys if part[key] not in (None, "", {}, [])}
        if shown:
            result("")
            result(f"{title}:")
            result(_indented(table([(key, _text(value)) for key, value in shown.items()])))
    if letter["history"]:
        result("")
        result("attempts:")
        rows = [
            (f"#{one.get('attempt')}", clock_time(one.get("at")), str(one.get("error"))) for one in letter["history"]
        ]
        result(_indented(table(rows)))
    if letter["traceback"]:
        result("")
        result("traceback:")
        result(_indented(str(letter["traceback"]).rstrip()))
    for former in letter["former"]:
        result("")
        result(f"replayed {clock_time(former['replayed'])} as letter {former['letter']}: {former['message']}")
    if letter["state"] == "open":
        say(f"once the cause is mended: syncd dlq replay {letter['letter']}")
    return Exit.OK


def _show_cause(app: App, cause: str, limit: int, raw: bool) -> Exit:
    from syncd import causes

    kind, trouble, entries = arun(_entries(app, cause, limit))
    told = [_entry(kind, entry, raw) for entry in entries]
    if app.as_json:
        result_json({"schema": "syncd.dlq-cause/1", **causes.told(kind, trouble), "entries": told})
        return Exit.OK
    result(f"{trouble.integration}/{trouble.resource}".rstrip("/") + f"  {plural(trouble.count, kind)}")
    result(trouble.message)
    for entry in told:
        result("")
        result(table([(key, _text(value)) for key, value in entry.items() if value not in (None, "", {})]))
    if trouble.count > len(told):
        say(f"{plural(trouble.count - len(told), 'other')} like these: --limit {min(trouble.count, MOST_SHOWN)}")
    if kind == causes.REJECT:
        say(
            f"a reject goes by itself when a sound version arrives: syncd sync {trouble.integration}/{trouble.resource}"
        )
    else:
        name = causes.name_of(kind, trouble)
        say("one of them whole: syncd dlq show LETTER")
        say(f"once the cause is mended: syncd dlq replay --cause {name}")
    return Exit.OK


async def _causes(store: Store, integration: str | None) -> list[tuple[str, Trouble]]:
    from syncd import causes

    found = [(causes.LETTER, trouble) for trouble in await store.dead_letters.grouped(integration)]
    found += [(causes.REJECT, trouble) for trouble in await store.rejects.grouped(integration)]
    return sorted(found, key=lambda pair: (-pair[1].count, pair[1].integration, pair[1].resource))


async def _grouped(app: App, integration: str | None) -> list[tuple[str, Trouble]]:
    config = app.config()
    async with app.store(config) as store:
        found = await _causes(store, integration)
    if integration is not None and not found:
        known_integration(config, integration)
    return found


async def _letter(app: App, letter_id: int) -> dict[str, Any] | None:
    from syncd.replaying import letter_of

    async with app.store() as store:
        return await letter_of(store, letter_id)


async def _entries(app: App, cause: str, limit: int) -> tuple[str, Trouble, Sequence[Any]]:
    from syncd import causes
    from syncd.errors import ConfigError

    async with app.store() as store:
        try:
            kind, trouble = causes.chosen(cause, await _causes(store, None))
        except ConfigError as error:
            if cause.isdecimal() and len(cause) < 19:
                what = f"there is no dead letter {cause}, nor a cause"
                raise Failure(what, str(error), error.hint, exit=Exit.USAGE) from None
            raise Failure(str(error), do=error.hint, exit=Exit.USAGE) from None
        entries: Sequence[Any]
        if kind == causes.REJECT:
            every_reject = await store.rejects.list(trouble.integration, trouble.resource, limit=MOST_SHOWN)
            entries = [each for each in every_reject if each.fingerprint == trouble.fingerprint][:limit]
        else:
            entries = await store.dead_letters.list(
                trouble.integration, fingerprint=trouble.fingerprint, resource=trouble.resource, limit=limit
            )
        return kind, trouble, entries


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
        "push": entry.origin_id if entry.origin == "outbox" else None,
        "error": entry.error_class,
        "message": entry.message,
        "attempts": entry.attempts,
        "replays": entry.replays or None,
        "buried": entry.buried_at,
    }
    if raw:
        from syncd.redaction import redact

        told |= {
            "request": redact(entry.request),
            "response": redact(entry.response),
            "traceback": entry.traceback,
        }
    return told


def _example(trouble: Trouble) -> str:
    """What `dlq show` takes, and the record: a letter by its number; of rejects the record alone."""
    record, letter = next(iter(trouble.examples), ""), next(iter(trouble.letters), None)
    if letter is None:
        return record
    return f"letter {letter}" + (f" ({record})" if record else "")


def _text(value: Any) -> str:
    if hasattr(value, "tzinfo"):
        return clock_time(value)
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_COLUMNS else line[: MESSAGE_COLUMNS - 1] + "…"
