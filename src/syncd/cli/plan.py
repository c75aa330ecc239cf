"""`syncd plan`: what the schedules cost, how long a complete pass takes, whether it all fits, and what would make it fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, lasting, number, paint, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.config import Config

Row = Mapping[str, Any]

_WORTH_SAYING = 0.01
_LONG_SECONDS = 60.0
_MOST_TIERS = 3
"""Columns of tiers in the table; all of them are in the lines below it and in --json."""


class Assumed(click.ParamType):  # type: ignore[type-arg]
    """RESOURCE=RECORDS."""

    name = "resource=records"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        resource, _, count = str(value).partition("=")
        records = count.replace("_", "").replace(",", "")
        if not resource or not records.isascii() or not records.isdigit():
            self.fail(f"{value!r} is not RESOURCE=RECORDS, for example listings=12000", param, ctx)
        return resource, int(records)


@click.command(short_help="Whether schedules fit the limits; the time of a complete pass.")
@click.argument("target", required=False, type=Target(), metavar="[INTEGRATION[/RESOURCE]]")
@click.option("--files", "files_only", is_flag=True, help="From the configuration alone: no daemon, no database.")
@click.option("--assume", multiple=True, type=Assumed(), metavar="RESOURCE=RECORDS", help="As if there were so many.")
@common(json=True, database=True)
def plan(app: App, target: tuple[str, str | None] | None, files_only: bool, assume: Sequence[tuple[str, int]]) -> Exit:
    """What the configured schedules cost and whether they fit the limits: calls of a complete pass and of an incremental
    run, how long a complete pass takes, the share of each limit, and what would make it fit.

    Asks the daemon; without one the database and the files; calls no partner. Exit 1 when it does not fit.
    """
    found = _told(app, target, assume) if not files_only else None
    if found is None:
        found = _worked_out(app, target, files_only, dict(assume))
    if app.as_json:
        result_json(found)
    else:
        for line in render(found):
            result(line)
    return Exit.FAILURES if found["fits"] is False else Exit.OK


def _told(app: App, target: tuple[str, str | None] | None, assume: Sequence[tuple[str, int]]) -> dict[str, Any] | None:
    """The daemon's plan; None where none answers."""
    from syncd.cli.link import Unreachable

    named = zip(("integration", "resource"), target or (), strict=False)
    asked: list[tuple[str, Any]] = [(key, text) for key, text in named if text is not None]
    asked += [("assume", f"{resource}={records}") for resource, records in assume]
    try:
        return app.link().get("plan", asked)
    except Unreachable:
        return None


def _worked_out(
    app: App, target: tuple[str, str | None] | None, files_only: bool, assume: Mapping[str, int]
) -> dict[str, Any]:
    """The plan from the files, and from the database where one answers."""
    from syncd import planning

    config = app.config()
    integration, resource = target or (None, None)
    _check_names(config, integration, resource, assume)
    sight = planning.BLIND
    source: planning.Source = "files"
    if not files_only:
        seen = _seen(app, config)
        if seen is not None:
            sight, source = seen, "database"
    if assume:
        sight = planning.assuming(config, sight, assume)
    return planning.report(
        config, sight, source=source, now=app.clock.now(), integration=integration, resource=resource
    )


def _check_names(config: Config, integration: str | None, resource: str | None, assumed: Collection[str] = ()) -> None:
    if integration is None and not assumed:
        return
    from syncd import planning
    from syncd.cli.app import known_integration
    from syncd.config import did_you_mean

    if integration is None:
        scopes, _ = planning.all_scopes(config)
    else:
        scopes = planning.scopes_of(known_integration(config, integration)[0])
    known = {load.resource for scope in scopes for load in scope.loads if integration in (None, load.integration)}
    for name in (*([resource] if resource is not None else []), *assumed):
        if known and name not in known:
            whose = f"{integration} has no" if integration else "there is no"
            raise Failure(f"{whose} resource {name!r}", do=did_you_mean(name, known), exit=Exit.USAGE)


def _seen(app: App, config: Config) -> Any:
    """What the database tells; None where there is none, which is said."""
    from syncd import planning
    from syncd.errors import SyncdError

    async def look() -> Any:
        async with app.store(config) as store:
            return await planning.look(store, list(config.integrations))

    try:
        return arun(look())
    except (Failure, SyncdError) as error:
        say(f"from the files alone: no daemon answers, and no database ({getattr(error, 'what', None) or error})")
        return None


def render(found: Row) -> list[str]:
    """The whole plan as lines."""
    lines: list[str] = []
    for scope in found["scopes"]:
        lines += [*_scope(scope), ""]
    for partner, reason in found.get("broken", {}).items():
        lines.append(f"{partner}: {reason}")
    if not found["scopes"]:
        return lines or ["nothing to plan: no integration of that name is switched on"]
    verdict = {True: "it fits", False: "it does not fit", None: "nothing speaks against it; not all is known"}
    return [*lines, _legend(found), f"{_mark(found['fits'])} {verdict[found['fits']]}"]


def _scope(scope: Row) -> list[str]:
    answer = scope["response_seconds"]
    head = f"{scope['scope']}    response {_short(answer['value'])}" + (
        " assumed" if answer["known"] != "measured" else ""
    )
    if scope.get("seats"):
        head += f", {plural(scope['seats'], 'call')} at once"
    lines = [head, *(f"  {line}" for line in _table(scope).splitlines())]
    lines += [f"  {line}" for line in _tiers(scope)]
    for integration in scope["integrations"]:
        for resource in integration["resources"]:
            lines += [f"  {integration['name']}/{resource['name']}: {note}" for note in resource["notes"]]
    return lines + _advice(scope)


def _table(scope: Row) -> str:
    counting = {name for one in scope["integrations"] for each in one["resources"] for name in each["shares"]}
    fullest = sorted((tier for tier in scope["tiers"] if tier["name"] in counting), key=lambda tier: -tier["share"])
    tiers = [tier for tier in scope["tiers"] if tier in fullest[:_MOST_TIERS]]
    head = ["integration/resource", "schedule", "records", "calls: pass", "run", "a day", "complete pass"]
    head += [f"of {tier['written']}" for tier in tiers] + ["fits"]
    rows = []
    for integration in scope["integrations"]:
        for each in integration["resources"]:
            least = "≥" if each["at_least"] else ""
            name = f"{integration['name']}/{each['name']}"
            rows.append(
                [
                    f"{name} (below {each['parent']})" if each["parent"] else name,
                    each["schedule"]
                    + (f", full {lasting(each['full_every_seconds'])}" if each["full_every_seconds"] else ""),
                    figure(each["records"]) if each["strategy"] != "feed" else "-",
                    _pass(each),
                    figure(each["run_calls"]) if each["run_calls"] else "-",
                    least + number(round(each["calls_a_day"])),
                    _takes(each["full_calls"], each["full"], each["full_beside"]),
                    *(percent(each["shares"].get(tier["name"]), least) for tier in tiers),
                    _mark(each["fits"]),
                ]
            )
        if len(integration["resources"]) > 1:
            calls = integration["calls"]
            rows.append(
                [
                    f"{integration['name']}, all",
                    "",
                    "",
                    figure(calls),
                    "",
                    "",
                    _takes(calls, integration["backfill"], integration["backfill_beside"]),
                    *("" for _ in tiers),
                    _mark(integration["fits"]),
                ]
            )
    return table(rows, head, right=frozenset(range(2, len(head) - 1)))


def _tiers(scope: Row) -> list[str]:
    lines = []
    for tier in scope["tiers"]:
        if tier["share"] < _WORTH_SAYING and not tier["learned"]:
            continue
        text = f"{tier['written']}: {_count(tier['asked'])} of {_count(tier['yields'])} asked for ({percent(tier['share'])})"
        if tier["learned"]:
            text += ", as learned"
        if tier["fits"] and tier["most_in_window"] > tier["budget"]:
            text += "; runs that fall together wait"
        lines.append(text if tier["fits"] else paint(text, "red"))
    everything = scope["everything"]
    own = max((one["backfill"]["seconds"] for one in scope["integrations"]), default=0.0)
    if everything["seconds"] > max(_LONG_SECONDS, 1.1 * own):
        lines.append(f"all complete passes at once: {_short(everything['seconds'])} ({everything['binding']})")
    return lines or ["of every limit less than 1 % is asked for"][: len(scope["tiers"])]


def _advice(scope: Row) -> list[str]:
    advice = scope["advice"]
    if scope["fits"] is not False:
        return []
    lines = []
    if advice["lines"]:
        lines.append(f"this would fit, in {advice['file']}:")
        for line in advice["lines"]:
            lines += _placed(line)
    elif not advice["helps"]:
        lines.append("no schedule fits")
    for limit in advice["limits"]:
        said = "or a higher limit" if advice["lines"] else "a higher limit would do"
        if limit["stated"]:
            only = "within" if limit["allowed"] else "if the partner agrees: above"
            said += f", {only} the {_count(limit['stated'])} it states"
        lines += [f"{said}:", f"    {limit['yaml']}"]
    return [f"  {line}" for line in lines]


def _placed(line: Row) -> list[str]:
    """A YAML line below the keys it belongs under."""
    keys = line["below"].split(".") if line["below"] else []
    return ["    " + "  " * depth + f"{key}:" for depth, key in enumerate(keys)] + [
        "    " + "  " * len(keys) + line["yaml"]
    ]


def _legend(found: Row) -> str:
    sources = {"daemon": "the running daemon", "database": "the database and the files", "files": "the files alone"}
    text = f"from {sources.get(found['source'], found['source'])}: figures are measured, ~ assumed, * stated by the partner"
    thousands = {
        f"{each['name']} {_count(each['calls_a_thousand_records'])}"
        for scope in found["scopes"]
        for integration in scope["integrations"]
        for each in integration["resources"]
        if each["records"]["value"] is None and each["calls_a_thousand_records"] and each["full_calls"]
    }
    text += ", ? unknown until the first pass"
    return text + (f" (calls per 1,000 records: {', '.join(sorted(thousands))})" if thousands else "")


def figure(told: Row) -> str:
    """A number with its origin."""
    if told["value"] is None:
        return "?"
    text = _count(told["value"])
    return {"assumed": f"~{text}", "stated": f"{text}*"}.get(told["known"], text)


def percent(share: float | None, least: str = "") -> str:
    if share is None:
        return "-"
    return "<1 %" if 0 < share < 0.01 else f"{least}{share * 100:,.0f} %"


def _pass(each: Row) -> str:
    return figure(each["full_calls"]) if each["full_calls"] else "-"


def _takes(calls: Row | None, alone: Row, beside: Row) -> str:
    """How long a complete pass takes, what it waits for, and how long beside the rest where that is longer."""
    if calls is None:
        return "-"
    if calls["value"] is None:
        return "?"
    more = [] if alone["binding"] == "response time" else [alone["binding"]]
    if beside["seconds"] > 1.1 * alone["seconds"] + 1:
        more.append(f"{_short(beside['seconds'])} beside the rest")
    return _short(alone["seconds"]) + (f" ({'; '.join(more)})" if more else "")


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else lasting(seconds)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _mark(fits: bool | None) -> str:
    if fits is None:
        return "?"
    return paint("✓", "green") if fits else paint("✗", "red")
