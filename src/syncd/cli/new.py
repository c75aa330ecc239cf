"""`syncd new driver`: a driver's folder to begin with, whose suite passes at once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, plural, result, say

AUTHS = ("none", "api_key", "basic", "bearer", "oauth2_client", "oauth2_refresh", "signer")
PAGINATIONS = ("cursor", "offset", "page", "next", "link", "none")
WEBHOOKS = ("none", "hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "unsigned")


@click.group(short_help="Begin a driver for a partner nobody has written one for.")
def new() -> None:
    """Begin something: a driver for a partner nobody has written one for."""


@new.command(short_help="Write a driver: description, samples, simulator, tests.")
@click.argument("name")
@click.option("--auth", type=click.Choice(AUTHS), help="What proves who calls.  [default: bearer]")
@click.option("--pagination", type=click.Choice(PAGINATIONS), help="How a listing goes on.  [default: cursor]")
@click.option(
    "--webhooks", type=click.Choice(WEBHOOKS), help="How deliveries are signed.  [default: none: there are none]"
)
@click.option(
    "--from-openapi", "openapi", metavar="FILE", help="Guess resources, pages, ids and auth from this document."
)
@click.option("--owner", metavar="WHO", help="Who looks after it.  [default: your login]")
@click.option("--directory", metavar="DIR", help="Write a package into DIR, even inside a checkout of syncd.")
@common()
def driver(
    app: App,
    name: str,
    auth: str | None,
    pagination: str | None,
    webhooks: str | None,
    openapi: str | None,
    owner: str | None,
    directory: str | None,
) -> Exit:
    """Write a driver called NAME: description, README, samples, simulator, tests.

    In a checkout of syncd among its drivers; elsewhere as a small package that registers it. The commands that try it are
    printed, one a line.
    """
    from syncd import drivers
    from syncd.cli.link import who
    from syncd.scaffold import find_place, guessed, plain_choices, read_document, to_free, write
    from syncd.scaffold.choices import over

    known = drivers.sources().get(name)
    if known is not None:
        raise Failure(f"there is a driver {known} already", do=to_free(known.package, Path.cwd()), exit=Exit.USAGE)
    place = find_place(name, directory=None if directory is None else Path(directory), here=Path.cwd())
    choices = plain_choices(name) if openapi is None else guessed(read_document(Path(openapi)), name)
    choices = over(choices, auth=auth, pagination=pagination, webhooks=webhooks, owner=owner or who().partition("@")[0])
    written = write(choices, place, app.clock.now())
    resources = len(written.choices.resources)
    say(f"wrote {plural(len(written.files), 'file')}, {plural(resources, 'resource')}:")
    for part in (place.root,) if place.package else (place.driver, place.tests.parent, place.example):
        say(f"  {part}")
    if not place.package and find_spec("pytest") is None:
        say("pytest is not installed here yet; `make .venv/.dev` sets up what tests need")
    say("now run:")
    for command in place.commands:
        result(command)
    say("then put what you know of the partner in the place of what is assumed: its README says what that is")
    return Exit.OK
