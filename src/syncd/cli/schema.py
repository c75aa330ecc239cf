"""`syncd schema`: JSON Schema of the YAML files; and the shape of what partners send, with what is new about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from syncd.cli.app import App, Target, common
from syncd.cli.output import ago, number, plural, result, result_json, say

KINDS = ("syncd", "partner", "driver")


@click.group(invoke_without_command=True, short_help="JSON Schema of files; the shape of what partners send.")
@click.pass_context
def schema(context: click.Context) -> None:
    """Print the JSON Schema of a file: `syncd` (syncd.yaml), `partner` (partners/*.yaml, the default) or `driver`
    (driver.yaml). Or look at the shape of what partners send: `show`, `accept`.

    In a file: # yaml-language-server: $schema=PATH
    """
    if context.invoked_subcommand is None:
        _print("partner")


def _printing(kind: str) -> click.Command:
    @click.command(kind, short_help=f"Print the JSON Schema of a {kind} file.")
    @common()
    def command(app: App) -> None:
        """Print the JSON Schema of a file."""
        _print(kind)

    return command


def _print(kind: str) -> None:
    import json

    if kind == "driver":
        from syncd.kit import DriverSpec

        found = DriverSpec.model_json_schema(by_alias=True)
    else:
        from syncd.config.schema import json_schema

        found = json_schema("syncd" if kind == "syncd" else "partner")
    result(json.dumps(found, indent=2, ensure_ascii=False))


@schema.command(short_help="What is known of a partner's fields, and what is new.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--fields", is_flag=True, help="Every field that is known, with its kinds and how often it comes.")
@common(json=True)
def show(app: App, target: tuple[str, str | None], fields: bool) -> None:
    """The shape of what a partner sends, mapped or not: names and kinds of fields, and what is new about them."""
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    found = app.link().get("shapes", {**named, **({"fields": "true"} if fields else {})})
    if app.as_json:
        result_json(found)
        return
    for one in found["resources"]:
        for line in lines_of(app, target[0], one):
            result(line)


@schema.command(short_help="Say that what is new is meant.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@common(json=True)
def accept(app: App, target: tuple[str, str | None]) -> None:
    """What is new in what a partner sends is meant: from now on it is known. Records that `schema: freeze` has kept out
    come in, without a call."""
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    found = app.link().post("shapes/accept", named)
    if app.as_json:
        result_json(found)
        return
    for one in found["accepted"]:
        result(f"{one['resource']}: {plural(len(one['news']), 'change')} accepted")
        for news in one["news"]:
            say(f"  {_news(news)}")
    if not found["accepted"]:
        result("nothing new to accept")


def lines_of(app: App, integration: str, one: Mapping[str, Any]) -> list[str]:
    """One resource."""
    learned = f"learned {ago(one['learned_at'], app.clock.now())} ago" if one["learned_at"] else "still learning"
    looked = f"{plural(one['fields'], 'field')} in {plural(one['records'], 'record')} looked at"
    lines = [f"{one['name']}  schema: {one['policy']}  {looked}, {learned}"]
    lines += [f"  {_news(news)}, for {ago(news['since'], app.clock.now())}" for news in one["news"]]
    if one["news"]:
        lines.append(f"  do: syncd schema accept {integration}/{one['name']}")
    for field in one.get("known", []):
        kinds = ", ".join(f"{kind} {number(count)}" for kind, count in field["kinds"].items()) or "null"
        lines.append(f"    {field['path']}: {kinds}; in {number(field['present'])} of {number(field['of'])}")
    return lines


def _news(news: Mapping[str, Any]) -> str:
    if news["what"] == "retyped":
        return f"field {news['path']}: expected {news['expected']}, got {news['got']}, in {number(news['count'])}"
    got = f" ({news['got']})" if news["got"] else ""
    return f"field {news['path']}: {news['what']}{got}, in {number(news['count'])}"


for _kind in KINDS:
    schema.add_command(_printing(_kind))
