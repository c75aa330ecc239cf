"""`syncd sim`: a partner to try things against, on this machine, with the partner's own limits enforced."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure


@click.command(short_help="Run a partner's simulator.")
@click.argument("driver", required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=9100, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the simulator; JSON values."
)
@common()
def sim(app: App, driver: str | None, port: int, host: str, options: tuple[str, ...]) -> Exit:
    """Run the simulator of DRIVER until Ctrl-C. Without DRIVER: list those there are.

    The JSON line on stdout says where it listens, and which credentials it takes. What to put into an integration's file, all
    of it, is said on stderr.
    """
    known = _simulated()
    if driver is None:
        for name in known:
            click.echo(name)
        return Exit.OK
    if driver not in known:
        from syncd.config import did_you_mean

        raise Failure(f"no simulator of {driver!r}", do=did_you_mean(driver, known), exit=Exit.USAGE)
    from syncd.testing.process import run

    try:
        run(driver, port, dict(_option(text) for text in options), host=host, files=True, told=_tell)
    except TypeError as error:
        raise Failure(f"the simulator of {driver} does not take that", str(error), exit=Exit.USAGE) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise Failure(f"cannot listen at {host}:{port}", why, "another port: --port 0", exit=Exit.TRY_LATER) from error
    return Exit.OK


def _tell(facts: dict[str, Any]) -> None:
    """The lines of a file that work with it."""
    import json

    from syncd.cli.output import say

    say(f"below an integration in config/partners/{facts['name']}.yaml, with the credentials of the line above:")
    say(f"    base_url: {facts['base_url']}")
    if facts["options"]:
        say("    options: {" + ", ".join(f"{key}: {json.dumps(one)}" for key, one in facts["options"].items()) + "}")


def _simulated() -> list[str]:
    """Drivers with a simulator beside them, ours and those of other packages."""
    from syncd import drivers

    found = {file.parent.name for file in Path(drivers.__file__).parent.glob("*/simulator.py")}
    for name in drivers.sources():
        with suppress(drivers.DriverError, ImportError):
            found |= {name} if (drivers.folder(name) / "simulator.py").is_file() else set()
    return sorted(found)


def _option(text: str) -> tuple[str, object]:
    import json

    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise click.UsageError(f"--option wants KEY=VALUE, not {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
