"""`syncd status`: what is wrong, since when, why, and which command helps. Worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from syncd.cli import backfill, limits, queues, troubles
from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import (
    ago,
    lasting,
    moment_of,
    number,
    paint,
    plural,
    result,
    result_json,
    say,
    screen,
    wrapped,
)

ORDER = ["down", "auth_required", "degraded", "waiting", "paused", "healthy"]
TROUBLED = frozenset({"down", "auth_required", "degraded"})
WATCH_SECONDS = 2.0
CAUSE_COLUMNS = 90


@click.command(short_help="How everything is, worst first.")
@click.argument("name", required=False, metavar="[INTEGRATION|PARTNER]")
@click.option("--watch", is_flag=True, help="Show it anew every two seconds until Ctrl-C.")
@click.option(
    "--exit-code", is_flag=True, help="Exit 1 when anything is down, degraded, not ready or wants a credential."
)
@click.option("--verbose", "-v", is_flag=True, help="Also the resources of healthy integrations, and unused limits.")
@common(json=True)
def status(app: App, name: str | None, watch: bool, exit_code: bool, verbose: bool) -> Exit:
    """How everything is, worst first, each trouble with its cause and the command that helps."""
    link = app.link()
    if watch:
        _watch(app, name, verbose)
        return Exit.OK
    found = _narrowed(link.get("status"), name)
    if app.as_json:
        result_json(found)
    else:
        columns, _ = screen()
        for line in render(found, app.clock.now(), verbose=verbose or name is not None, columns=columns):
            result(line)
    own = any(one.get("severity") != "note" for one in troubles.own(found))
    bad = (
        own
        or bool(found.get("stuck") or found.get("ready"))
        or any(item.get("state") in TROUBLED for item in found.get("integrations", []))
    )
    return Exit.FAILURES if exit_code and bad else Exit.OK


def _narrowed(found: dict[str, Any], name: str | None) -> dict[str, Any]:
    if name is None:
        return found
    every = found.get("integrations", [])
    chosen = [item for item in every if name in {item.get("name"), item.get("partner")}]
    if not chosen:
        from syncd.cli.output import Failure
        from syncd.config import did_you_mean

        known = {text for item in every for text in (item.get("name"), item.get("partner")) if text}
        raise Failure(f"no integration or partner {name!r}", do=did_you_mean(name, known), exit=Exit.USAGE)
    names = {item.get("name") for item in chosen}
    scopes = [scope for scope in found.get("scopes", []) if names & set(scope.get("integrations", []))]
    conditions = [one for one in found.get("conditions") or [] if one.get("integration") in {*names, ""}]
    found = {**found, "conditions": conditions}
    return {**found, "integrations": chosen, **({"scopes": scopes} if "scopes" in found else {})}


def _watch(app: App, name: str | None, verbose: bool) -> None:
    from syncd.cli.app import arun
    from syncd.cli.link import Unreachable

    async def loop() -> None:
        while True:
            columns, rows = screen()
            try:
                found = _narrowed(app.link().get("status"), name)
                lines = _fitting(render(found, app.clock.now(), verbose=verbose, columns=columns), rows)
            except Unreachable as error:
                lines = [f"{paint('error:', 'red')} {error.what}: {error.why}", "asking again every two seconds"]
            click.clear()
            for line in lines:
                result(line)
            await app.clock.sleep(WATCH_SECONDS)

    try:
        arun(loop())
    except KeyboardInterrupt:
        say("")


def _fitting(lines: list[str], rows: int) -> list[str]:
    """As much as the screen holds: the worst is above, and what scrolls away is not seen."""
    if not rows or len(lines) < rows:
        return lines
    left = len(lines) - rows + 2
    return [*lines[: rows - 2], f"… {left} more lines; less with: syncd status NAME --watch"]


def render(found: Mapping[str, Any], now: datetime, *, verbose: bool = False, columns: int = 0) -> list[str]:
    """The whole page as lines, of at most so many columns (0: as long as they are)."""
    integrations = sorted(found.get("integrations", []), key=lambda item: (_rank(item), item.get("name", "")))
    lines = [_headline(found, integrations), ""]
    own = troubles.own(found)
    names = [item.get("name", "") for item in integrations] + ([troubles.DAEMON] if own else [])
    width = max(map(len, names), default=0)
    worst = [one for one in own if _rank(one) == 0]
    lines += troubles.render(worst, now, width)
    if found.get("unread"):
        said = any(one["code"] in troubles.DATABASE for one in own)
        why = "" if said else f"{found['unread']}; "
        do = "" if said else "; do: syncd check --env"
        label = "✗ rows unread" if any(one["code"] == "database-slow" for one in own) else "✗ no database"
        lines.append(f"{paint(label, 'red')}  {why}what follows is what the process knows by itself{do}")
    shown = [(_rank(one), troubles.render([one], now, width)) for one in own if one not in worst]
    for item in integrations:
        besides = troubles.besides(found, item, now, " " * (width + 4))
        shown.append((_rank(item), _integration(item, now, width, verbose, besides)))
    lines += [line for _, part in sorted(shown, key=lambda pair: pair[0]) for line in part]
    if not integrations:
        lines.append("no integrations: put a file into partners/ beside syncd.yaml, then `syncd reload --wait`")
    told = limits.render(found.get("scopes", []), now, verbose=verbose, width=columns or limits.WIDE)
    lines += ["", *told] if told else []
    foot = _footer(found, now)
    lines += ["", *foot] if foot else []
    return [part for line in lines for part in wrapped(line, columns)]


def _rank(item: Mapping[str, Any]) -> int:
    state = item.get("state", "")
    return ORDER.index(state) if state in ORDER else 0


def _headline(found: Mapping[str, Any], integrations: Sequence[Mapping[str, Any]]) -> str:
    counts = {state: sum(item.get("state") == state for item in integrations) for state in reversed(ORDER)}
    parts = [f"{count} {state.replace('_', ' ')}" for state, count in counts.items() if count]
    text = plural(len(integrations), "integration") + (f": {', '.join(parts)}" if parts else "")
    workers = found.get("workers") or {}
    if workers:
        text += f"    workers {workers.get('alive', '?')}/{workers.get('total', '?')}"
    oldest = max((queue.get("oldest_seconds") or 0.0 for queue in found.get("queues", [])), default=0.0)
    if oldest:
        text += f"    oldest work {lasting(oldest)}"
    not_ready = found.get("ready") or []
    if not_ready:
        said = any(one["code"] in troubles.DATABASE for one in troubles.own(found))
        text += f"    {paint('not ready', 'yellow')}" + ("" if said else f": {'; '.join(not_ready)}")
    return text


def _integration(
    item: Mapping[str, Any], now: datetime, width: int, verbose: bool, besides: Sequence[str]
) -> list[str]:
    """`besides`: lines on what else is wrong with it."""
    state = item.get("state", "?")
    name = item.get("name", "?")
    why = item.get("explanation") or {}
    since = ago(why.get("since"), now)
    details = [since] if since and state != "healthy" else []
    noted = state == "healthy" and why.get("reason")  # it goes well: a remark beside what there is, and no alarm
    if why.get("reason") and not noted:
        details.append(why["reason"])
    elif item.get("enabled") is False:
        details.append("disabled in the configuration")
    else:
        details += _healthy(item, now)
    lines = [troubles.headed(name, state, details, width, loud=state in TROUBLED)]
    indent = " " * (width + 4)
    if noted:
        lines.append(f"{indent}note: {why['reason']}{f', {since} ago' if since else ''}")
    elif why.get("cause"):
        lines.append(f"{indent}likely: {why['cause']}")
    paused = item.get("paused")
    if paused and why.get("code") not in ("paused", "maintenance"):
        until = moment_of(paused.get("until"))
        end = f"for another {lasting((until - now).total_seconds())}" if until else "until `syncd resume`"
        by = " ".join(
            part for part in (paused.get("who", ""), f'"{paused["reason"]}"' if paused.get("reason") else "") if part
        )
        lines.append(f"{indent}paused {end}" + (f" by {by}" if by else ""))
    if why.get("action") and not noted:
        lines.append(troubles.advice(why, indent))
    lines += besides
    for resource in item.get("resources", []):
        shown = verbose or state != "healthy"
        lines += _resource(name, resource, now, indent, shown=shown, said=str(why.get("reason") or ""))
    return lines


def _healthy(item: Mapping[str, Any], now: datetime) -> list[str]:
    parts = []
    succeeded = [
        moment for resource in item.get("resources", []) if (moment := moment_of(resource.get("last_success_at")))
    ]
    if succeeded:
        parts.append(f"last run {ago(max(succeeded), now)} ago")
    fullest = limits.fullest(item.get("limits") or {})
    parts += [fullest] if fullest else []
    parts += _hour(item.get("hour") or {}) or _latency(item.get("latency_ms"))
    return parts


def _hour(found: Mapping[str, Any]) -> list[str]:
    """How its calls of the last hour went: `p95 0.8s p99 1.2s`, the share that went well, and what the others met."""
    success = found.get("success")
    if success is None:
        return []
    slow = [f"p{share} {_took(found[f'p{share}_ms'])}" for share in (95, 99) if found.get(f"p{share}_ms") is not None]
    failed = ", ".join(f"{name}: {number(count)}" for name, count in (found.get("errors") or {}).items() if count)
    share = min(round(100 * success, 1), 99.9) if failed else 100.0  # one of a million is not none
    return [*([" ".join(slow)] if slow else []), f"{share:.1f} %" + (f" ({failed} in 1h)" if failed else "")]


def _took(milliseconds: float) -> str:
    return f"{milliseconds:.0f}ms" if milliseconds < 100 else f"{milliseconds / 1000:.1f}s"


def _latency(latency: float | None) -> list[str]:
    if latency is None:
        return []
    return [f"{latency:.0f} ms a call" if latency < 1000 else f"{latency / 1000:.1f} s a call"]


def _resource(
    integration: str, item: Mapping[str, Any], now: datetime, indent: str, *, shown: bool, said: str
) -> list[str]:
    """`said` is the reason given for the integration already: not said again."""
    lines = []
    why = item.get("explanation") or {}
    if why.get("reason") == said:
        why = {}
    held = item.get("held_deletions") or 0
    remarks = item.get("remarks") or []
    if shown or why or held or item.get("hint") or remarks:
        text = f"{indent}{item.get('name', '?')}: "
        parts = []
        if item.get("records") is not None:
            parts.append(plural(item["records"], "record"))
        stale = ago(item.get("stale_since"), now)
        if stale:
            parts.append(f"stale for {stale}")
        if item.get("running"):
            parts.append("running")
        last = item.get("last_run") or {}
        if last.get("outcome"):
            changed = [
                f"{sign}{number(last[key])}"
                for sign, key in (("+", "added"), ("~", "updated"), ("-", "deleted"))
                if last.get(key)
            ]
            ended = ago(last.get("ended_at"), now)
            parts.append(
                " ".join(
                    [f"last {last.get('mode', 'run')} {last['outcome']}", *changed]
                    + ([f"{ended} ago"] if ended else [])
                )
            )
        upcoming = moment_of(item.get("next_run_at"))
        if upcoming is not None:
            parts.append(f"next in {lasting((upcoming - now).total_seconds())}" if upcoming > now else "next now")
        lines.append(text + (", ".join(parts) or "never run"))
    if why.get("reason"):
        lines.append(f"{indent}  {why['reason']}" + (f"; do: {why['action']}" if why.get("action") else ""))
    elif held and not said:
        command = f"syncd reconcile {integration}/{item.get('name')} --confirm"
        lines.append(f"{indent}  {plural(held, 'deletion')} held by the guard; look, then: {command}")
    if item.get("hint"):
        lines.append(f"{indent}  {item['hint']}; see syncd plan {integration}")
    lines += [f"{indent}  {told}" for told in remarks]
    return lines


def _pushes(found: Mapping[str, Any], now: datetime | None) -> str:
    """One integration's pushes that are not over."""
    parts = [f"{number(found[state])} {state}" for state in ("waiting", "taken", "unknown") if found.get(state)]
    oldest = moment_of(found.get("oldest_at"))
    age = f", the oldest {lasting((now - oldest).total_seconds())} old" if now and oldest else ""
    line = f"pushes to {found['integration']}: {', '.join(parts)}{age} → syncd push list {found['integration']}"
    if not found.get("configured", True):
        return paint(f"{line}; no such integration is configured", "yellow")
    return line


def _footer(found: Mapping[str, Any], now: datetime) -> list[str]:
    known = {item.get("name", "") for item in found.get("integrations", [])}
    lines = queues.render(found.get("queues", []), found.get("workers") or {}, known)
    lines += [_pushes(one, moment_of(found.get("now"))) for one in found.get("pushes") or []]
    dead = found.get("dead_letters") or {}
    rejects = found.get("rejects") or {}
    if dead.get("total") or rejects.get("total"):
        causes = f" in {plural(dead['causes'], 'cause')}" if dead.get("causes") else ""
        lines.append(
            f"{plural(dead.get('total', 0), 'dead letter')}{causes}, {plural(rejects.get('total', 0), 'rejected record')}"
            " → syncd dlq list"
        )
        for cause in dead.get("top") or []:
            what = " ".join(str(cause.get("message", "")).split())
            what = what if len(what) <= CAUSE_COLUMNS else what[: CAUSE_COLUMNS - 1] + "…"
            lines.append(f"  {number(cause.get('count'))} × {cause.get('where')}: {what}; do: {cause.get('action')}")
    if dead.get("replays"):
        lines.append(f"{plural(dead['replays'], 'replay')} of dead letters under way")
    lines += [f"backfill  {backfill.line_of(one, now)}" for one in found.get("backfills", [])]
    return lines
