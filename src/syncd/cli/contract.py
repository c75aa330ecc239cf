"""`syncd contract`: is a partner still what its driver takes it for? One cheap read of each resource."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.config import Config

Row = Mapping[str, Any]
SECONDS = 1_800.0
"""Every resource waits for its limits, in the lowest lane."""


@click.command(short_help="Compare what a partner answers today with what its driver relies on.")
@click.argument("target", type=Target(), metavar="[INTEGRATION[/RESOURCE]]", required=False)
@click.option(
    "--spec", "specs", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
    help="Also compare the answers with this OpenAPI document, instead of the file's `contract.spec`; may come again, the "
    "newest last.",
)  # fmt: skip
@common(json=True, database=True)
def contract(app: App, target: tuple[str, str | None] | None, specs: tuple[Path, ...]) -> Exit:
    """Read a few records of each resource and compare them with the driver's mapping and samples. Nothing is written.

    Told are fields that are gone, or of another kind, and records that cannot be read; new fields are counted. Through the
    daemon where one runs, else by ourselves under its lease. Exit 1 where something is not as it was.
    """
    config = app.config()
    if target is None and specs:
        raise Failure("--spec is one partner's", do="syncd contract INTEGRATION --spec FILE", exit=Exit.USAGE)
    for spec in specs:
        if not spec.is_file():
            raise Failure(f"{spec} is not there", do="give the path of an OpenAPI document", exit=Exit.USAGE)
    names = [target[0]] if target is not None else [
        name for name, (partner, _) in config.integrations.items() if partner.is_enabled(name)
    ]  # fmt: skip
    found = []
    for name in names:
        known_integration(config, name)
        asked = {
            "integration": name,
            "resource": target[1] if target is not None else None,
            "spec": [str(spec.resolve()) for spec in specs],
        }
        told = dict(arun(_found(app, config, asked)))
        told.pop("schema", None)
        found.append(told)
        if not app.as_json:
            for line in render(told):
                result(line)
    if app.as_json:
        result_json({"schema": "syncd.contract/1", "integrations": found})
    elif not found:
        say("no integration is enabled")
    return Exit.OK if all(one["ok"] for one in found) else Exit.FAILURES


async def _found(app: App, config: Config, asked: dict[str, Any]) -> Row:
    from syncd.cli.link import Unreachable

    try:
        return app.link().post("contract", asked, seconds=SECONDS)
    except Unreachable:
        pass
    from syncd.cli.live import alone
    from syncd.contracts import Contracts

    name = asked["integration"]
    async with alone(app, config, name, make=True, do=f"syncd contract {name}") as account:
        desk = Contracts(
            config=lambda: config, directory=app.config_directory, accounts=lambda: [account], clock=app.clock,
            names=lambda: {name: list(account.plans)},
        )  # fmt: skip
        return await desk.contract(name, asked["resource"], asked["spec"])


def render(found: Row) -> list[str]:
    """One integration's findings, as lines."""
    resources = found["resources"]
    number = sum(len(one["drift"]) + one["more"] for one in resources)
    records, calls = sum(one["records"] for one in resources), sum(one["calls"] for one in resources)
    against = "".join(f" and {file}" for file in found["published"])
    said = "as its driver relies on" if number == 0 else f"{plural(number, 'difference')}"
    lines = [
        f"{found['integration']}: {plural(records, 'record')} of {plural(len(resources), 'resource')} in "
        f"{plural(calls, 'call')}, compared with mapping and samples{against}: {said}"
    ]
    for one in resources:
        lines += [
            paint(f"  ! {one['resource']}: {each['place']}: {each['told']} ({each['what']})", "red")
            for each in one["drift"]
        ]
        if one["more"]:
            lines.append(f"  ! {one['resource']}: and {one['more']} more")
        lines += [f"  ? {one['resource']}: {each['place']}: {each['told']}" for each in one["remarks"]]
        if one["note"]:
            lines.append(paint(f"  ? {one['resource']}: not looked at: {one['note']}", "yellow"))
    new = sum(len(one["unknown"]) for one in resources)
    if new:
        lines.append(f"  + {plural(new, 'field')} in no sample, on which nothing relies: --json names them")
    return lines
