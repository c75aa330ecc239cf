"""`syncd adapters`: which version of the mapping is in force and in use, and what one in shadow would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from syncd.cli.app import App, Target, common
from syncd.cli.output import ago, number, plural, result, result_json
from syncd.cli.renormalize import SHOWN, example_lines


@click.command(short_help="Versions of the mapping: in force, in use, in shadow.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--forget", is_flag=True, help="Begin what is counted of a shadow anew.")
@common(json=True)
def adapters(app: App, target: tuple[str, str | None], forget: bool) -> None:
    """Which adapters there are, which the file has in force, which made the stored records, and what one in shadow would
    have made of them otherwise."""
    link = app.link()
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    if forget:
        found = link.post("adapters/forget", named)
        if app.as_json:
            result_json(found)
        else:
            result(f"{plural(found['forgotten'], 'report')} begun anew")
        return
    found = link.get("adapters", named)
    if app.as_json:
        result_json(found)
        return
    for one in found["resources"]:
        for line in lines_of(app, target[0], one):
            result(line)


def lines_of(app: App, integration: str, one: Mapping[str, Any]) -> list[str]:
    """One resource."""
    in_force, in_use = one["in_force"], one["in_use"]
    shares = [name if share == 100 else f"{name} {share:g} %" for name, share in in_force.items()]
    made = ", ".join(f"{name} made {number(count)}" for name, count in in_use.items()) or "nothing stored"
    lines = [f"{one['name']}  in force: {', '.join(shares)}  of {', '.join(one['known'])}; {made}"]
    if set(in_use) - set(in_force):
        lines.append(f"  do: syncd renormalize {integration}/{one['name']}")
    if one["shadow"] is None:
        return lines
    trial = one["trial"]
    if trial is None:
        return [*lines, f"  shadow {one['shadow']}: nothing compared yet"]
    since = ago(trial["since"], app.clock.now())
    told = f"{number(trial['differing'])} of {plural(trial['compared'], 'reading')} differ from {trial['against']}"
    refused = f", {number(trial['refused'])} it could not read" if trial["refused"] else ""
    lines.append(f"  shadow {trial['adapter']}, begun {since} ago: {told}{refused}")
    fields = sorted(trial["fields"].items(), key=lambda each: (-each[1], each[0]))
    lines += [f"    {name}: {plural(count, 'reading')}" for name, count in fields[:20]]
    for example in trial["examples"][-SHOWN:]:
        lines += [f"  {line}" for line in example_lines(example)]
    return lines
