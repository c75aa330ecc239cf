"""`syncd breaker`: why nothing is sent to a partner, and a person's word about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from syncd.cli.app import App, Lasting, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, ago, clock_time, lasting, moment_of, paint, plural, result, result_json, say

ACTIONS = ("show", "hold", "release", "reset")
COLOURS = {"open": "red", "half_open": "yellow", "closed": "green"}


class Action(click.Choice):  # type: ignore[type-arg]
    """One of ACTIONS, which follows the integration's name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        first = ctx.params.get("integration") if ctx is not None else None
        if first in ACTIONS and value not in ACTIONS:
            self.fail(f"name an integration first: syncd breaker {value} {first}", param, ctx)
        return super().convert(value, param, ctx)


@click.command(short_help="Why calls stop, and holding them by hand.")
@click.argument("integration", required=False)
@click.argument("action", required=False, type=Action(ACTIONS))
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; a hold needs one, and it is shown wherever it matters."
)
@click.option("--for", "lasts", type=Lasting(), default=None, help="A hold ends by itself after this. Default: never.")
@click.option("--group", default=None, metavar="GROUP", help="One endpoint group alone, such as token.")
@common(json=True)
def breaker(
    app: App, integration: str | None, action: str | None, reason: str, lasts: float | None, group: str | None
) -> Exit:
    """Why calls to a partner stop, and holding them by hand.

    Without an action: each scope's breakers with state, failures, the next probe, holds and the last errors.

    hold: let nothing be sent, until released or for a while. Survives a restart. release: end that. reset: close an
    open breaker now instead of waiting for its next probe.

    A breaker belongs to what the partner counts (an account, a client id); integrations that share it are named.
    """
    if action is None and integration in ACTIONS:
        do = "syncd breaker" if integration == "show" else f"syncd breaker INTEGRATION {integration}"
        raise Failure(f"name an integration first: {integration!r} is what to do with it", do=do, exit=Exit.USAGE)
    if action != "hold" and (reason or lasts is not None):
        do = f'syncd breaker {integration or "INTEGRATION"} hold --reason "..."'
        raise Failure(f"--reason and --for belong to hold, not to {action or 'show'}", do=do, exit=Exit.USAGE)
    if action in (None, "show"):
        return _show(app, integration, group)
    assert integration is not None
    assert action is not None
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
    scopes = found.get("scopes") or []
    if group is not None:
        scopes = _only(group, scopes, integration)
    if app.as_json:
        result_json({**found, "scopes": scopes})
        return Exit.OK
    now = app.clock.now()
    for scope in scopes:
        for line in _scope(scope, now, verbose=integration is not None):
            result(line)
    if not scopes:
        result("nothing runs here")
    return Exit.OK


def _only(group: str, scopes: Sequence[Mapping[str, Any]], integration: str | None) -> list[dict[str, Any]]:
    """Of the scopes those that have such a group, with nothing else. A Failure with the known ones where none has."""
    known = {str(one.get("group")) for scope in scopes for one in scope.get("groups") or [] if one.get("group")}
    if group not in known:
        from syncd.config import did_you_mean

        whose = f"{integration} has no" if integration else "there is no"
        do = did_you_mean(group, known) or "leave --group out: there are no endpoint groups here"
        raise Failure(f"{whose} endpoint group {group!r}", do=do, exit=Exit.USAGE)
    chosen = [
        {**scope, "groups": [one for one in scope.get("groups") or [] if one.get("group") == group]} for scope in scopes
    ]
    return [scope for scope in chosen if scope["groups"]]


def _scope(scope: Mapping[str, Any], now: datetime, *, verbose: bool) -> Iterator[str]:
    names = [str(name) for name in scope.get("integrations") or []]
    head = f"{scope.get('scope')} ({', '.join(names)})"
    if not scope.get("owned"):
        yield f"{head}: another instance calls for it and knows its breakers; holds are the same everywhere"
    else:
        yield head
    groups = scope.get("groups") or []
    unnamed = "all calls" if len(groups) == 1 else "all other calls"
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
