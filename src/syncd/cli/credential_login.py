"""`syncd credential login`: a person allows our calls in a browser, here or on another machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from syncd.cli.app import App, Lasting, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, say

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.login import Asked
    from syncd.kit import Driver
    from syncd.secrets import Secret
    from syncd.server.ports import TestReport

PASTED_AT = "http://127.0.0.1:1/callback"
"""Where a browser elsewhere ends up: nobody answers there, and its address line has what is needed."""
LOGIN_SECONDS = 150.0


@click.command(short_help="Allow syncd to call for an account, in a browser.")
@click.argument("integration")
@click.option(
    "--paste", is_flag=True, help="No browser here: open the page anywhere, and paste the address it ends on."
)
@click.option(
    "--no-browser", is_flag=True, help="Only print the page's address; it still has to be opened on this machine."
)
@click.option(
    "--redirect", metavar="URL", help="With --paste: the address registered at the partner as where it comes back to."
)
@click.option(
    "--wait", "seconds", type=Lasting(), default="5m", show_default=True, help="How long the page is waited for."
)
@common(database=True)
def login(app: App, integration: str, paste: bool, no_browser: bool, redirect: str | None, seconds: float) -> Exit:
    """Allow syncd to call for an account, in a browser; the token is kept sealed in the database.

    For partners with an authorization code flow (OAuth 2): the driver says where the page is. The page comes back to a
    port of this machine; on a server without a browser use --paste, on any machine that has one.
    """
    from syncd.cli.credential_test import exit_for, show

    if redirect is not None and not paste:
        raise click.UsageError("--redirect goes with --paste: else the page comes back to a port of this machine")
    config = app.config()
    known_integration(config, integration)
    asked = _asked(config, integration)
    if paste:
        redirect = redirect or PASTED_AT
        code = _pasted(asked, redirect)
    else:
        redirect, code = arun(_browsed(app, asked, integration, seconds, browser=not no_browser))
    report = _exchanged(app, config, integration, code, asked.proof, redirect)
    show(report)
    if report.ok:
        say("the token is kept sealed in the database, and is renewed by itself where the partner gave what renews it")
    return exit_for(report)


def _asked(config: Config, integration: str) -> Asked:
    """What is asked of whom. Raises Failure where this partner has no such page."""
    from urllib.parse import urljoin

    from syncd import drivers
    from syncd.cli.load import vault_of
    from syncd.client.addresses import origin_of
    from syncd.credentials.login import Asked

    partner, settings = config.integrations[integration]
    driver = drivers.of_integration(
        partner, integration, drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    )
    options = partner.options_for(integration)
    auth = driver.auth(options)
    if auth.login is None:
        ways = [
            value for others in driver.spec.auth.when.values() for value, one in others.items() if one.login is not None
        ]
        do = f"options: {{auth: {ways[0]}}} has it" if ways else f"syncd credential set {integration} NAME < file"
        raise Failure(f"{integration} is not allowed in a browser", f"its credentials are of the kind {auth.kind}", do,
                      exit=Exit.USAGE)  # fmt: skip
    given = partner.base_url_for(integration)
    base = driver.base_url(options, given) or ""
    page = urljoin(base, auth.login.authorize)
    own = driver.spec.base_url
    moved = given is not None and own is not None and origin_of(given) != origin_of(own)
    if moved and _is_usual(driver, page):
        raise Failure(
            f"{integration} is at another base_url, and the page is the partner's own",
            f"a code from {page} would be shown to {origin_of(base)}",
            "say under options where its page is: authorize_url or oauth_url",
            exit=Exit.CONFIG,
        )
    name = auth.credentials.get("client_id", "client_id")
    ref = settings.credentials.get(name)
    if ref is None:
        raise Failure(f"{integration} has no {name}", do=f"add `{name}` under its credentials", exit=Exit.CONFIG)
    return Asked(auth.login, page, vault_of(config).resolve(ref).reveal())


def _is_usual(driver: Driver, page: str) -> bool:
    """Is it the partner's own page, as the driver says where no option says another?"""
    defaults = [str(one.default) for one in driver.spec.options.values() if one.default is not None]
    return any(page.startswith(value) for value in defaults if value.startswith("https://"))


def _pasted(asked: Asked, redirect: str) -> Secret:
    say("1. open this page in any browser, and allow it:")
    click.echo(asked.url(redirect))
    say(
        "2. the browser then ends on a page that cannot be opened, or shows a code: copy its whole address, or the code"
    )
    if sys.stdin.isatty():
        text: str = click.prompt("3. paste it here", hide_input=True, err=True)
    else:
        text = sys.stdin.readline(16_384)
    return asked.code_pasted(text)


async def _browsed(app: App, asked: Asked, integration: str, seconds: float, *, browser: bool) -> tuple[str, Secret]:
    """The redirect address and the code. Raises Failure when the time is up."""
    from syncd.credentials.login import Callback

    async with Callback(asked, integration=integration) as callback:
        page = asked.url(callback.redirect)
        opened = browser and _open(page)
        say(
            "allow it in the browser that was opened; or open:"
            if opened
            else "open this page on this machine, and allow it:"
        )
        click.echo(page)
        try:
            async with app.clock.timeout(seconds):
                return callback.redirect, await callback.code()
        except TimeoutError:
            raise Failure(
                "nobody allowed it in time",
                f"nothing came back to {callback.redirect} within {seconds:g} s",
                f"again; or where the browser is on another machine: syncd credential login {integration} --paste",
                exit=Exit.TRY_LATER,
            ) from None


def _open(page: str) -> bool:
    """Only where there is a screen: a text browser would take the terminal over."""
    import os
    import webbrowser

    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(page)
    except (webbrowser.Error, OSError):
        return False


def _exchanged(
    app: App, config: Config, integration: str, code: Secret, proof: Secret | None, redirect: str
) -> TestReport:
    from syncd.cli.link import Unreachable
    from syncd.cli.live import report_of

    said = {"integration": integration, "code": code.reveal(), "redirect": redirect}
    if proof is not None:
        said["verifier"] = proof.reveal()
    try:
        return report_of(app.link().post("credentials/login", said, seconds=LOGIN_SECONDS))
    except Unreachable:
        return arun(_alone(app, config, integration, code, proof, redirect))


async def _alone(
    app: App, config: Config, integration: str, code: Secret, proof: Secret | None, redirect: str
) -> TestReport:
    from syncd.cli.link import who
    from syncd.cli.live import alone
    from syncd.credentials.desk import login as exchange

    do = f"syncd credential login {integration}"
    async with alone(app, config, integration, make=True, do=do) as account:
        return await exchange(account, code, proof, redirect, who=who(), clock=app.clock)
