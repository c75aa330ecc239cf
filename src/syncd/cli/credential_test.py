"""`syncd credential test`: does it work, what may it do, until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.credential_list import scopes_line
from syncd.cli.exits import Exit
from syncd.cli.output import clock_time, paint, result, result_json, screen, wrapped

if TYPE_CHECKING:
    from syncd.config import IntegrationConfig
    from syncd.server.ports import TestReport


@click.command(short_help="Make one cheap call: does the credential work?")
@click.argument("integration")
@common(json=True, database=True)
def test(app: App, integration: str) -> Exit:
    """Make one cheap call with the integration's credential, inside its limits: through the daemon where one runs.

    A second one where another call tells what the credential may do.
    """
    from syncd.cli.live import tested

    config = app.config()
    _, found = known_integration(config, integration)
    report = arun(tested(app, config, integration, make=True))
    if app.as_json:
        result_json(as_json(report, found))
    else:
        show(report)
        kept = ", ".join(f"{name} ({ref.text.strip('{}')})" for name, ref in found.credentials.items())
        result(f"  kept in: {kept or 'the database'}")
    return exit_for(report)


def as_json(report: TestReport, found: IntegrationConfig) -> dict[str, Any]:
    why = report.explanation
    told = {name: getattr(report, name) for name in report.__dataclass_fields__}
    source = {name: ref.text for name, ref in found.credentials.items()}
    return {"schema": "syncd.test/1", **told, "explanation": why.as_dict() if why else None, "source": source}


def show(report: TestReport, what: str = "") -> None:
    """Who was tested, how it went, what it may do, until when. `what`: which of several, such as `the new client_secret`."""
    name, why = report.integration, report.explanation
    took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
    about = f" with {what}" if what else ""
    if report.ok:
        result(f"{paint('✓', 'green')} {name}: authenticated{about}{took}")
    else:
        result(f"{paint('✗', 'red')} {name}: {why.reason if why else f'answered {report.status}'}{about}{took}")
        if why and why.cause:
            result(f"  likely: {why.cause}")
        if why and why.action and not what:
            result(f"  do: {why.action}")
    if report.scopes is not None:
        line = scopes_line(dict(report.scopes), name, whole=True)
        for piece in wrapped(f"  {line}", screen()[0]):
            result(piece)
        if report.scopes.get("missing"):
            result("  do: give it those at the partner, or switch off what needs them (enabled: false under resources)")
    if report.remark:
        result(f"  {report.remark}")
    if report.expires_at is not None:
        result(f"  ends: {clock_time(report.expires_at)}")


def exit_for(report: TestReport) -> Exit:
    if report.ok:
        return Exit.OK
    return Exit.REFUSED if report.refused else Exit.TRY_LATER
