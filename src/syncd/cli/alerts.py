"""`syncd alerts` and `syncd dashboards`: what Prometheus, Alertmanager and Grafana read, as it fits this version."""

from __future__ import annotations

import os

import click

from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, result, result_json, say


@click.group(invoke_without_command=True, short_help="Print the alerting rules for Prometheus.")
@click.option("--runbook-url", metavar="BASE", help="Where runbooks are found: their names are appended to it.")
@click.option("--job", default="syncd", show_default=True, metavar="NAME", help="The name of the scrape job.")
@click.option("--alertmanager", is_flag=True, help="Print an example of routes and inhibit rules instead.")
@common(json=True)
@click.pass_context
def alerts(context: click.Context, app: App, runbook_url: str | None, job: str, alertmanager: bool) -> None:
    """Print a Prometheus rules file; with --json the table it is made from.

    \b
    syncd alerts > /etc/prometheus/rules/syncd.yml && promtool check rules /etc/prometheus/rules/syncd.yml
    """
    if context.invoked_subcommand is not None:
        return
    from syncd.alerts import ALERTS
    from syncd.alerts.routing import EXAMPLE
    from syncd.alerts.rules import PAGES, rules_file

    if '"' in job or "\\" in job:
        raise click.BadParameter("is no name of a scrape job", param_hint="--job")
    if alertmanager:
        result(EXAMPLE.rstrip())
    elif app.as_json:
        result_json({"schema": "syncd.alerts/1", "alerts": [alert.as_dict() for alert in ALERTS]})
    else:
        result(rules_file(ALERTS, runbooks=runbook_url or PAGES, job=job).rstrip())


@alerts.command("test", short_help="Post a sample to the address under `alerts`.")
@common()
def test(app: App) -> None:
    """Post a sample to the address under `alerts` in syncd.yaml, as the daemon would, and say what became of it.

    Needs no daemon: files and environment have to say the same here as there.
    """
    from syncd.alerts.delivery import Receiver, UndeliveredError
    from syncd.alerts.message import sample
    from syncd.secrets import Vault

    config = app.config()
    receiver = Receiver.of(config.alerts, Vault(config.secrets.directory, os.environ))
    if receiver is None:
        raise Failure(
            "no address is configured: nothing was sent",
            do="set alerts.url in syncd.yaml, such as: alerts: {url: {file: alerts/url}}",
            exit=Exit.CONFIG,
        )
    at = app.clock.now()
    identifier = f"alert_{at:%Y%m%dT%H%M%S}_sample"
    try:
        arun(receiver.post(sample(receiver.format, identifier, at), identifier, at, app.clock))
    except UndeliveredError as error:
        raise Failure("the sample was not delivered", str(error), "mend alerts.url or its receiver") from error
    signed = "signed" if receiver.secret is not None else "not signed: alerts.secret is not set"
    say(f"delivered, {signed}")


@click.command(short_help="Print a dashboard for Grafana.")
@click.argument("name", type=click.Choice(["overview", "partner"]), default="overview", metavar="[overview|partner]")
@common()
def dashboards(app: App, name: str) -> None:
    """Print a dashboard as Grafana imports it: of everything, or of one partner. Its data source is chosen there.

    \b
    syncd dashboards overview > syncd-overview.json
    """
    from syncd.alerts.dashboards import DASHBOARDS

    result_json(DASHBOARDS[name]())
