"""Wishes to the running daemon: `reconcile`, `pause`, `resume`, `reload`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from syncd.cli.app import App, Lasting, Target, common
from syncd.cli.exits import Exit
from syncd.cli.output import clock_time, paint, plural, result, result_json, say

RELOAD_SECONDS = 300.0


def _named(target: tuple[str, str | None]) -> dict[str, Any]:
    integration, resource = target
    return {"integration": integration} if resource is None else {"integration": integration, "resource": resource}


def _of_partner(target: tuple[str, str | None]) -> dict[str, Any]:
    if target[1] is not None:
        raise click.UsageError("--partner takes a partner's name alone: a resource is one integration's")
    return {"partner": target[0]}


def _paused_names(found: dict[str, Any], target: tuple[str, str | None]) -> str:
    """What it was done to: of a partner the integrations that it has."""
    names = found.get("integrations") or []
    return _text(target) if names in ([], [target[0]]) else f"{_text(target)} ({', '.join(names)})"


def _text(target: tuple[str, str | None]) -> str:
    return "/".join(part for part in target if part)


@click.command(short_help="Compare everything with the partner.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--confirm", is_flag=True, help="Let the deletions go that the guard holds, instead of a new pass.")
@common(json=True)
def reconcile(app: App, target: tuple[str, str | None], confirm: bool) -> None:
    """Compare everything with the partner: a complete pass now, deletions believed as usual.

    A record is deleted here once two complete passes missed it. When suspiciously many are missing the guard holds the
    deletions; look at them with `syncd status`, then let them go with --confirm.
    """
    found = app.link().post("reconcile", {**_named(target), "confirm": confirm})
    if app.as_json:
        result_json(found)
        return
    held: dict[str, int] = found.get("held") or {}
    if confirm:
        result(f"{plural(found.get('confirmed', 0), 'held deletion')} of {_text(target)} confirmed")
    else:
        result(f"complete pass of {_text(target)} wished for: {plural(len(found.get('wish_ids', [])), 'run')}")
    for resource, count in held.items() if not confirm else ():
        say(
            f"{resource}: {plural(count, 'deletion')} held; look, then: syncd reconcile {target[0]}/{resource} --confirm"
        )


@click.command(short_help="Stop calling a partner for a while.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--for", "lasting", type=Lasting(), default="2h", show_default=True, help="Ends by itself after this.")
@click.option("--until-resumed", is_flag=True, help="Does not end by itself.")
@click.option("--reason", default="", metavar="TEXT", help="Shown wherever the pause is shown.")
@click.option("--partner", is_flag=True, help="The name is a partner's: all of its integrations.")
@common(json=True)
def pause(
    app: App, target: tuple[str, str | None], lasting: float, until_resumed: bool, reason: str, partner: bool
) -> None:
    """Stop calling a partner for an integration, or for one resource of it. Survives a restart; ends by itself."""
    said: dict[str, Any] = _of_partner(target) if partner else {**_named(target)}
    if reason:
        said["reason"] = reason
    if not until_resumed:
        said["until"] = (app.clock.now() + timedelta(seconds=lasting)).isoformat()
    found = app.link().post("pause", said)
    if app.as_json:
        result_json(found)
        return
    end = "until `syncd resume`" if until_resumed else f"until {clock_time(found.get('until') or said['until'])}"
    again = " (it was paused already; this replaces it)" if found.get("already_paused") else ""
    result(f"{_paused_names(found, target)} paused {end}{again}")
    if not reason:
        say("nobody will know why: next time add --reason")


@click.command()
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--partner", is_flag=True, help="The name is a partner's: all of its integrations.")
@common(json=True)
def resume(app: App, target: tuple[str, str | None], partner: bool) -> None:
    """End a pause."""
    found = app.link().post("resume", _of_partner(target) if partner else _named(target))
    if app.as_json:
        result_json(found)
    elif found.get("already_running"):
        result(f"{_text(target)} was not paused")
    else:
        result(f"{_paused_names(found, target)} resumed")


@click.command(short_help="Have the daemon read its configuration anew.")
@click.option(
    "--wait", is_flag=True, help="Return when it is over, with what changed; exit 1 or 78 if not all applied."
)
@common(json=True)
def reload(app: App, wait: bool) -> Exit:
    """Have the daemon read its configuration anew, as SIGHUP does. A broken file never harms what runs."""
    link = app.link()
    if not wait:
        link.tell("reload", {})
        say("reload asked for; --wait shows what came of it")
        return Exit.OK
    found = link.post("reload", {}, seconds=RELOAD_SECONDS)
    if app.as_json:
        result_json(found)
    else:
        _print_reload(found)
    if found.get("ok"):
        return Exit.OK
    return Exit.CONFIG if found.get("problems") else Exit.FAILURES


def _print_reload(found: dict[str, Any]) -> None:
    for line in found.get("changes") or []:
        result(f"  {line}")
    kept: dict[str, list[str]] = found.get("kept") or {}
    for partner, problems in kept.items():
        left = "nothing of it runs" if partner in found.get("idle", ()) else "what ran of it goes on as it was"
        say(f"{paint('not applied', 'yellow', err=True)} {partner}: {left}")
        for problem in problems:
            say(problem)
    for problem in [*(found.get("problems") or []), *(found.get("warnings") or [])]:
        say(problem)
    applied = found.get("applied") or []
    if found.get("problems"):
        result("nothing applied: the running configuration stays")
    elif applied:
        result(f"applied: {', '.join(applied)}")
    elif not kept:
        result("configuration unchanged")
