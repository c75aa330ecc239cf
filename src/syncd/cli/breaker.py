"""`syncd breaker`: why nothing is sent to a partner, and a person's word about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from syncd.cli.app import App, Lasting, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, ago, clock_time, lasting, moment_of, paint, plural, result, result_json, say

ACTIONS = ("show", "hold", "release", "reset")
COLOURS = {"open": "red", "half_open": "yellow", "closed": "green"}


@click.command(short_help="Why calls stop, and holding them by hand.")
@click.argument("integration", required=False)
@click.argument("action", required=False, type=click.Choice(ACTIONS), default="show")
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; a hold needs one, and it is shown wherever it matters."
)
@click.option("--for", "lasts", type=Lasting(), default=None, help="A hold ends by itself after this. Default: never.")
@click.option("--group", default=None, metavar="GROUP", help="One endpoint group alone, such as token.")
@common(json=True)
def breaker(
    app: App, integration: str | None, action: str, reason: str, lasts: float | None, group: str | None
) -> Exit:
    """Why calls to a partner stop, and holding them by hand.

    Without an action: each scope's breakers with state, failures, the next probe, holds and the last errors.

    hold: let nothing be sent, until released or for a while. Survives a restart. release: end that. reset: close an
    open breaker now instead of waiting for its next probe.

    A breaker belongs to what the partner counts (an account, a client id); integrations that share it are named.
    """
    if action == "show":
        return _show(app, integration, group)
    assert integration is not None
    said: dict[str, Any] = {"integration": integration}
    if group is not None:
        said["group"] = group
    if action == "hold":
        if not reason.strip():
            do = f'syncd breaker {integration} hold --reason "..."'
            raise Failure("a hold needs a reason", "whoever is called at night wants to know why", do, exit=Exit.USAGE)
        said["reason"] = reason
        if lasts is not None:
            said["until"] = (app.clock.now() + timedelta(seconds=lasts)).isoformat()
    elif reason or lasts is not None:
        raise Failure(f"--reason and --for belong to hold, not to {action}", exit=Exit.USAGE)
    found = app.link().post(f"breaker/{action}", said)
    if app.as_json:
        result_json(found)
    else:
        _print(action, integration, group, said, found)
    return Exit.OK


def _print(action: str, integration: str, group: str | None, said: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    scope = str(found.get("scope", integration)) + (f" ({group})" if group else "")
    again = f" --group {group}" if group else ""
    if action == "hold":
        until = found.get("until") or said.get("until")
        end = f"until {clock_time(until)}" if until else f"until `syncd breaker {integration} release{again}`"
        replaced = " (it was held already; this replaces it)" if found.get("already_held") else ""
        result(f"{scope} held {end}{replaced}")
    elif action == "release":
        result(f"{scope} released" if found.get("released") else f"{scope} was not held")
    elif found.get("closed") is None:
        result(f"{scope} will be reset by the instance that calls for it")
    elif found["closed"]:
        names = [name for name in found["closed"] if name]
        goes = "" if found.get("still_held") else ": calls go again, few at first"
        result(f"{scope} closed{goes}" + (f" ({', '.join(names)})" if names and not group else ""))
    else:
        result(f"{scope} was not open")
    others = [name for name in found.get("integrations") or [] if name != integration]
    if others:
        say(f"it is shared with {', '.join(others)}")
    for held in found.get("still_held") or []:
        command = f"syncd breaker {integration} release" + (f" --group {held}" if held else "")
        say(f"{held or 'all of it'} is still held; to end that: {command}")


def _show(app: App, integration: str | None, group: str | None) -> Exit:
    found = app.link().get("breakers", {"integration": integration} if integration else None)
    if app.as_json:
        result_json(found)
        return Exit.OK
    scopes = found.get("scopes") or []
    now = app.clock.now()
    for scope in scopes:
        for line in _scope(scope, now, group, verbose=integration is not None):
            result(line)
    if not scopes:
        result("nothing runs here")
    return Exit.OK


def _scope(scope: Mapping[str, Any], now: datetime, group: str | None, *, verbose: bool) -> Iterator[str]:
    names = [str(name) for name in scope.get("integrations") or []]
    head = f"{scope.get('scope')} ({', '.join(names)})"
    if not scope.get("owned"):
        yield f"{head}: another instance calls for it and knows its breakers; holds are the same everywhere"
    else:
        yield head
    known = scope.get("groups") or []
    unnamed = "all calls" if len(known) == 1 else "all other calls"
    groups = [one for one in known if group in (None, one.get("group"))]
    width = max((len(one.get("group") or unnamed) for one in groups), default=0)
    for one in groups:
        yield f"  {one.get('group') or unnamed:<{width}}  {_line(one, now)}".rstrip()
        if verbose or one.get("state") != "closed":
            for error in one.get("errors") or []:
                yield f"      {ago(error.get('at'), now) or '?'} ago: {error.get('error')}"
        action = (one.get("explanation") or {}).get("action")
        if action:
            yield f"      do: {action}"


def _line(group: Mapping[str, Any], now: datetime) -> str:
    state = str(group.get("state"))
    hold = group.get("held")
    if hold:
        until = moment_of(hold.get("until"))
        end = f"for another {lasting((until - now).total_seconds())}" if until else "until released"
        by = f" by {hold['who']}" if hold.get("who") else ""
        since = ago(hold.get("since"), now)
        return f"{paint('HELD', 'blue')}{by}{f' {since} ago' if since else ''}, {end}: {hold.get('why')}"
    parts = [paint(state.replace("_", "-"), COLOURS.get(state))]
    since = ago(group.get("since"), now)
    if since:
        parts.append(f"for {since}")
    if group.get("failures"):
        parts.append(f"{plural(group['failures'], 'failure')} in a row")
    if group.get("failed_probes"):
        parts.append(f"{plural(group['failed_probes'], 'probe')} failed")
    upcoming = moment_of(group.get("next_probe_at"))
    if upcoming is not None:
        left = (upcoming - now).total_seconds()
        parts.append(f"next probe in {lasting(left)}" if left > 0 else "the next call is the probe")
    return ", ".join(parts)
