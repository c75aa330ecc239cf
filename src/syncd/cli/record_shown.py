"""A record's story on a terminal: who wrote it, in what order things happened, what was refused, what is still open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from syncd.cli.output import clock_time, harmless, moment_of, paint, plural, table, wrapped

_PAD = 14
_VALUE = 60
_AS_JSON = frozenset({"data", "raw", "old", "new"})


def plain(value: Any) -> Any:
    """A story without what a terminal would obey, no text of it longer than its line: ids, causes and reasons are partners'
    words. Values stay, which are shown as JSON."""
    if isinstance(value, str):
        return harmless(value).replace("\n", "\\n").replace("\t", "\\t")
    if isinstance(value, Mapping):
        return {key: item if key in _AS_JSON else plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def render(whole: Mapping[str, Any], *, raw: bool, columns: int = 0) -> list[str]:
    """The lines of one that is there."""
    told = plain(whole)
    lines = [f"{told['integration']}/{told['resource']} {told['external_id']}"]
    gone = told["deleted"]
    if gone is not None:
        lines.append(paint(f"deleted {clock_time(gone['at'])}: {gone['why']}", "yellow"))
    lines.append("")
    for name, text in _facts(told):
        first, *others = wrapped(text, columns - _PAD if columns > 2 * _PAD else 0)
        lines.append(f"{name:<{_PAD}}{first}")
        lines += [" " * _PAD + other.lstrip() for other in others]
    for why in told["why"]:
        lines += ["", paint(f"it is not brought up to date now: {why['text']}", "yellow"), f"  do: {why['do']}"]
    lines += list(open_about(told, columns))
    if told["changes"]:
        lines += ["", "last changes"]
        rows = [
            (
                clock_time(each["changed_at"]),
                each["field"] or f"({each['kind']})",
                f"{_short(each['old'], 40)} → {_short(each['new'], 40)}",
                each["cause"],
            )
            for each in told["changes"]
        ]
        lines += table(rows).splitlines()
    lines += ["", "values (whole: --json)"]
    head = ("field", "from", "value")
    names = [one["name"] for one in whole["fields"]]
    shown = [
        (one["name"], one["from"] or "-", _short(told["data"].get(name), _VALUE))
        for name, one in zip(names, told["fields"], strict=True)
    ]
    lines += table(shown, head).splitlines()
    if raw:
        lines += ["", "raw " + json.dumps(told["raw"], indent=2, ensure_ascii=False, default=str)]
    return lines


def _facts(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    written, confirmed = told["written"], told["confirmed"]
    yield "written by", written["text"]
    for command in written["commands"]:
        yield "", command
    yield from _call(written)
    yield "cause", told["cause"]
    if confirmed is not None:
        yield "confirmed by", confirmed["text"] + "; its content was the same"
        yield from _call(confirmed)
    yield "order", told["order"]
    for name in ("source_updated_at", "fetched_at", "synced_at"):
        yield name.replace("source_", ""), clock_time(told[name])
    version = f", the partner's version {told['source_version']}" if told["source_version"] is not None else ""
    yield "row version", f"{told['row_version']}{version}"
    yield "adapter", told["adapter"]
    if told["parent_id"] is not None:
        yield "below", told["parent_id"]
    for name, count in told["children"].items():
        buried = f", {plural(count['buried'], 'tombstone')}" if count["buried"] else ""
        yield "above", f"{count['live']:,} {name}{buried}"


def _call(writer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if (call := writer.get("request")) is not None:
        number = f", request id {call['request_id']}" if call.get("request_id") else ""
        yield "", f"call: {call['method']} {call['route']} {call['status']} {clock_time(call['at'])}{number}"


def open_about(told: Mapping[str, Any], columns: int = 0) -> Iterator[str]:
    """What was refused of it, what lies open about it, and the latest deliveries; for one that is not there too."""
    name = told["integration"]
    if (refused := told["refused"]) is not None:
        yield ""
        yield f"refused as older: {plural(refused['times'], 'time')}, last {clock_time(refused['last_at'])}"
        for each in refused["latest"]:
            yield from wrapped(f"  {clock_time(moment_of(each['at']))}  {each['by']}", columns)
            yield from wrapped(f"    {each['why']}", columns)
    rows = []
    if (reject := told["reject"]) is not None:
        rows.append((f"reject, {plural(reject['times'], 'time')}", reject["reason"], f"syncd dlq list {name}"))
    rows += [(f"dead letter {one['id']}", one["message"], f"syncd dlq show {one['id']}") for one in told["letters"]]
    for task in told["tasks"]:
        when = f"not before {clock_time(task['not_before'])}" if task["not_before"] is not None else task["state"]
        rows.append((f"task {task['id']}", f"{task['kind']}, {when}", f"syncd status {name}"))
    for push in told["pushes"]:
        if push["state"] not in ("done", "dropped"):
            text = f"{push['operation']}, {push['state']}"
            rows.append((f"push {push['id']}", text, f"syncd push show {name} {push['id']}"))
    if rows:
        yield ""
        yield "open about it"
        for what, text, command in rows:
            yield from wrapped(f"  {what}: {text}", columns)
            yield f"    {command}"
    if told["deliveries"]:
        yield ""
        yield "deliveries about it, the latest first"
        found = [
            (
                clock_time(each["received_at"]),
                f"{each['id']}",
                each["type"] or "-",
                each["state"] + (f": {each['reason']}" if each["reason"] else ""),
            )
            for each in told["deliveries"][:5]
        ]
        yield from ("  " + line for line in table(found).splitlines())


def _short(value: Any, most: int) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 1] + "…"
