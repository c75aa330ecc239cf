"""`syncd doctor`: the founding checklists, line by line, held against this installation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, plural, result, result_json, say, screen, wrapped

if TYPE_CHECKING:
    from syncd.config import Config, Loaded
    from syncd.doctor import Result
    from syncd.doctor.facts import Subject

WIDTH = 80
INDENT = 8
MARKS = {
    "pass": ("✓", "green"),
    "fail": ("✗", "red"),
    "warn": ("!", "yellow"),
    "manual": ("manual", "cyan"),
    "later": ("later", "yellow"),
    "none": ("-", None),
}
WORDS = {
    "pass": "pass",
    "fail": "fail",
    "warn": "with a warning",
    "manual": "manual",
    "later": "not to be seen now",
    "none": "do not apply",
}
"""Of the summary, in its order."""


@click.command(short_help="The go-live checklists, held against this installation.")
@click.argument("name", required=False, default="", metavar="[INTEGRATION|PARTNER]")
@click.option("--failed", "only_open", is_flag=True, help="Only what is not a pass.")
@click.option("--offline", is_flag=True, help="Ask nothing of the network: no DNS, no certificates.")
@click.option("--live", is_flag=True, help="One cheap authenticated call an integration.")
@click.option("--strict", is_flag=True, help="Exit 1 also for what only a person can see and nobody has acknowledged.")
@click.option("--ack", "acks", multiple=True, metavar="ID", help="You looked at this line: attio-1.1, or attio-6.*.")
@click.option("--reason", metavar="TEXT", help="What you saw; stands beside it from now on.")
@common(json=True, database=True)
def doctor(
    app: App,
    name: str,
    only_open: bool,
    offline: bool,
    live: bool,
    strict: bool,
    acks: tuple[str, ...],
    reason: str | None,
) -> Exit:
    """The production checklists of Attio and MaintainX, what they ask of any partner, and this machine: each line with
    what was seen, and how to mend it.

    Changes nothing. Works without a daemon; what only a running one can tell is `later` then. Exit 1 if a line fails.
    """
    from syncd.doctor import acknowledging, examined, in_scope
    from syncd.doctor.examining import ids

    if acks or reason is not None:
        return _acknowledged(app, acks, reason, ids())
    loaded, config = _config(app)
    found, asked = _subjects(config, name)
    from syncd.cli.doctor_facts import gathered

    facts = arun(gathered(app, config, loaded.problems, found, asked, offline=offline, live=live))
    results = examined(facts, in_scope(facts.subjects, name), acknowledging.read(app.config_directory))
    shown = [one for one in results if one.is_open] if only_open else results
    if app.as_json:
        result_json(_as_json(app, results, shown))
    else:
        _print(shown)
        say("" if not shown else "\n" + _summary(results))
        if not shown:
            say(_summary(results))
    failed = any(one.verdict == "fail" for one in results) or (strict and any(one.is_open for one in results))
    return Exit.FAILURES if failed else Exit.OK


def _config(app: App) -> tuple[Loaded, Config]:
    from syncd.cli.load import read_config

    loaded = read_config(app.config_directory, forecast=True)
    return loaded, loaded.require()


def _subjects(config: Config, name: str) -> tuple[list[Subject], list[Subject]]:
    """All in use, and those that are asked for."""
    from syncd.config import did_you_mean
    from syncd.doctor import in_scope
    from syncd.doctor.subjects import subjects

    found = subjects(config)
    asked = in_scope(found, name)
    if name and not asked:
        if name in config.integrations or name in config.partners:
            raise Failure(
                f"{name} is switched off", do="enabled: true in its file, then: syncd reload --wait", exit=Exit.USAGE
            )
        known = [*config.integrations, *config.partners]
        raise Failure(f"no integration or partner {name!r}", do=did_you_mean(name, known), exit=Exit.USAGE)
    return found, asked


def _acknowledged(app: App, acks: Sequence[str], reason: str | None, known: set[str]) -> Exit:
    from syncd.cli.link import who
    from syncd.config import did_you_mean
    from syncd.doctor import acknowledging

    if not acks or not (reason or "").strip():
        raise click.UsageError("an acknowledgement names its lines and says what you saw: --ack ID --reason TEXT")
    assert reason is not None
    chosen: list[str] = []
    for pattern in acks:
        found = acknowledging.matching(pattern, known)
        if not found:
            raise Failure(
                f"no line {pattern!r}", do=did_you_mean(pattern, known) or "syncd doctor shows them", exit=Exit.USAGE
            )
        chosen += found
    path = acknowledging.add(app.config_directory, chosen, who=who(), reason=reason.strip(), now=app.clock.now())
    if app.as_json:
        result_json({"schema": "syncd.doctor-acknowledged/1", "ids": chosen, "file": str(path)})
    else:
        say(f"acknowledged {', '.join(chosen)} in {path}; it excuses what is manual or a warning, never a failure")
    return Exit.OK


def _print(results: Sequence[Result]) -> None:
    width = min(screen()[0] or WIDTH, 100) if screen()[0] else WIDTH
    checklist = group = ""
    for one in results:
        if one.checklist != checklist:
            names = f": {_some(one.integrations)}" if one.integrations else ""
            result(("\n" if checklist else "") + paint(f"{one.checklist}{names}", None, bold=True))
            checklist, group = one.checklist, ""
        if one.group != group:
            result(f"\n  {one.group}")
            group = one.group
        mark, colour = MARKS[one.verdict]
        head = f"{one.title}{f' ({one.priority})' if one.priority else ''}"
        result(f"{paint(f'{mark:<{INDENT - 2}}', colour)}  {head:<{width - INDENT - 16}} {one.id:>15}".rstrip())
        for line in wrapped(" " * INDENT + one.answer.detail, width):
            result(line)
        if one.is_open and one.answer.do:
            for line in wrapped(" " * INDENT + f"do: {one.answer.do}", width):
                result(line)
        if one.acknowledged is not None:
            said = one.acknowledged
            for line in wrapped(" " * INDENT + f"acknowledged {said.at} by {said.who}: {said.reason}", width):
                result(line)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _counts(results: Sequence[Result]) -> dict[str, int]:
    counted = Counter(str(one.verdict) for one in results)
    return {word: counted[word] for word in WORDS}


def _summary(results: Sequence[Result]) -> str:
    counts = _counts(results)
    parts = [f"{count} {WORDS[word]}" for word, count in counts.items() if count or word in {"pass", "fail", "manual"}]
    told = sum(
        one.acknowledged is not None and not one.is_open and one.verdict in {"manual", "warn"} for one in results
    )
    colour = "red" if counts["fail"] else "green"
    text = ", ".join(parts) + (f" ({told} acknowledged)" if told else "")
    todo = "" if not counts["fail"] else f"; {plural(counts['fail'], 'line')} to mend: syncd doctor --failed"
    return paint(text, colour, err=True) + todo


def _as_json(app: App, results: Sequence[Result], shown: Sequence[Result]) -> dict[str, Any]:
    return {
        "schema": "syncd.doctor/1",
        "at": app.clock.now(),
        "ok": not any(one.verdict == "fail" for one in results),
        "counts": _counts(results),
        "lines": [
            {
                "id": one.id,
                "checklist": one.checklist,
                "group": one.group,
                "title": one.title,
                "source": one.source or None,
                "priority": one.priority or None,
                "integrations": list(one.integrations),
                "verdict": str(one.verdict),
                "detail": one.answer.detail,
                "do": one.answer.do or None,
                "acknowledged": None
                if one.acknowledged is None
                else {"who": one.acknowledged.who, "at": one.acknowledged.at, "reason": one.acknowledged.reason},
            }
            for one in shown
        ],
    }
