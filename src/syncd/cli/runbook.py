"""`syncd runbook`: what to do about a trouble, from a page that is part of the program. Needs neither daemon nor database."""

from __future__ import annotations

import re

import click

from syncd.cli.app import App, common
from syncd.cli.output import paint, result, result_json, table
from syncd.runbooks import meaning, pages


@click.command(short_help="What to do about a trouble.")
@click.argument("name", required=False, metavar="[NAME]")
@common(json=True)
def runbook(app: App, name: str | None) -> None:
    """What to do about a trouble that `syncd status` or an alert names; without a NAME the names there are.

    The text is part of the program: it needs neither daemon nor network.
    """
    known = pages()
    if name is None:
        if app.as_json:
            result_json({"schema": "syncd.runbooks/1", "names": list(known)})
        else:
            result(table([(each, meaning(body)) for each, body in known.items()]))
        return
    called, name = name, _code(name)
    if name not in known:
        import difflib

        close = difflib.get_close_matches(called, [*known, *_alerts()], n=1)
        raise click.UsageError(
            f"there is no runbook {called!r}." + (f" Did you mean {close[0]!r}?" if close else " All: syncd runbook")
        )
    if app.as_json:
        result_json({"schema": "syncd.runbook/1", "name": name, "text": known[name]})
    else:
        text = re.sub(r"\*\*(.+?)\*\*", lambda part: paint(part[1], "cyan", bold=True), known[name])
        result(f"{name}\n\n{text}")


def _code(name: str) -> str:
    """The code of an alert that is named, else the name."""
    return _alerts().get(name, name) if name.startswith("Syncd") else name


def _alerts() -> dict[str, str]:
    """Codes by alert; without those that pass on conditions, which have many."""
    from syncd.alerts import ALERTS

    return {alert.name: alert.code for alert in ALERTS if alert.code}
