"""`syncd runbook`: what to do about a trouble, from a page that is part of the program. Needs neither daemon nor database."""

from __future__ import annotations

import re
from importlib import resources

import click

from syncd.cli.app import App, common
from syncd.cli.output import result, result_json, table

_HEADING = re.compile(r"^## (\S+)\n+", re.MULTILINE)
_FIRST = re.compile(r"\.\s")
"""Where the first sentence ends."""


def pages() -> dict[str, str]:
    """What to do, by the name of the trouble."""
    text = resources.files("syncd").joinpath("runbooks.md").read_text("utf-8")
    _, *parts = _HEADING.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


@click.command(short_help="What to do about a trouble.")
@click.argument("name", required=False, metavar="[NAME]")
@common(json=True)
def runbook(app: App, name: str | None) -> None:
    """What to do about a trouble that `syncd status` names; without a NAME the names there are.

    The text is part of the program: it needs neither daemon nor network.
    """
    known = pages()
    if name is None:
        if app.as_json:
            result_json({"schema": "syncd.runbooks/1", "names": list(known)})
        else:
            result(
                table([(each, _FIRST.split(body, maxsplit=1)[0].replace("\n", " ")) for each, body in known.items()])
            )
        return
    if name not in known:
        import difflib

        close = difflib.get_close_matches(name, known, n=1)
        raise click.UsageError(
            f"there is no runbook {name!r}." + (f" Did you mean {close[0]!r}?" if close else " All: syncd runbook")
        )
    if app.as_json:
        result_json({"schema": "syncd.runbook/1", "name": name, "text": known[name]})
    else:
        result(f"{name}\n\n{known[name]}")
