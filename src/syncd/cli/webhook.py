"""`syncd webhook`: subscriptions at the partner, and the deliveries that come of them (`webhook_deliveries.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import paint, plural, result, result_json, say, table
from syncd.cli.webhook_deliveries import deliveries, replay, show, types
from syncd.cli.webhook_send import send

PATIENCE_SECONDS = 180.0
"""How long the daemon may take: some partners give the secret a minute after the subscription."""
_COLOURS = {"sound": "green", "pending": "yellow", "broken": "red", "foreign": None}


@click.group()
def webhook() -> None:
    """Subscriptions at partners, and the deliveries that come."""


for command in (deliveries, show, replay, types, send):
    webhook.add_command(command)


@webhook.command("list", short_help="The subscriptions at INTEGRATION's partner, sound or not.")
@click.argument("integration")
@common(json=True)
def listed(app: App, integration: str) -> Exit:
    """The subscriptions INTEGRATION's partner keeps: ours, whether they are sound, and those of others.

    Asks the partner. Nothing is changed. Exit code 1 where something is to be repaired.
    """
    found = app.link().get("webhooks/subscriptions", {"integration": integration}, seconds=PATIENCE_SECONDS)
    if app.as_json:
        result_json(found)
    else:
        _print_found(found)
        _print_steps(found)
    return Exit.FAILURES if found.get("steps") else Exit.OK


@webhook.command(short_help="Make the subscription that is missing at the partner.")
@click.argument("integration")
@click.option("--dry-run", is_flag=True, help="Say what would be done; ask the partner, change nothing.")
@common(json=True)
def register(app: App, integration: str, dry_run: bool) -> Exit:
    """Have INTEGRATION's partner send us what changes: makes the subscription that is missing.

    The secret the partner gives is sealed in the database and used by every instance at once; it is never shown. What is
    there already is left as it is; `syncd webhook repair` mends what is broken.
    """
    return _changed(app, integration, "register", dry_run=dry_run)


@webhook.command(short_help="Mend the subscriptions at the partner.")
@click.argument("integration")
@click.option("--dry-run", is_flag=True, help="Say what would be done; ask the partner, change nothing.")
@common(json=True)
def repair(app: App, integration: str, dry_run: bool) -> Exit:
    """Mend INTEGRATION's subscriptions: makes what is missing, re-enables what the partner switched off, adds events, and
    replaces one whose secret nobody has. Subscriptions that lead elsewhere are not touched.
    """
    return _changed(app, integration, "repair", dry_run=dry_run)


def _changed(app: App, integration: str, what: str, *, dry_run: bool) -> Exit:
    said = {"integration": integration, "dry_run": dry_run}
    found = app.link().post(f"webhooks/{what}", said, seconds=PATIENCE_SECONDS)
    if app.as_json:
        result_json(found)
        return Exit.FAILURES if found.get("left") and not dry_run else Exit.OK
    for step in found.get("done") or []:
        result(f"{paint('✓', 'green')} {step['what']}")
    if dry_run:
        _print_steps(found)
    if not any(found.get(part) for part in ("steps" if dry_run else "done", "left")):
        result(f"nothing to do: {plural(_ours(found), 'subscription')} of {integration} sound")
    for step in found.get("left") or []:
        result(f"left as it is: {step['what']}")
    if found.get("left"):
        say(f"to mend that: syncd webhook repair {integration}")
    return Exit.FAILURES if found.get("left") and not dry_run else Exit.OK


def _print_found(found: Mapping[str, Any]) -> None:
    result(f"deliveries are wanted at {found['url']}")
    rows = list(_rows(found))
    if found.get("by_hand"):
        result(str(found["by_hand"]))
    elif rows:
        result(table(rows, ("SUBSCRIPTION", "STATE", "EVENTS", "SECRET", "LEADS TO", "")))
    else:
        result("the partner has no subscription")


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for one in found.get("subscriptions") or []:
        state = str(one["state"])
        yield (
            str(one["id"]),
            paint(state, _COLOURS.get(state)),
            str(one["events"][0] if len(one["events"]) == 1 else len(one["events"])),
            str(one["secret"]),
            str(one["url"]),
            "; ".join(one["troubles"]),
        )


def _print_steps(found: Mapping[str, Any]) -> None:
    for step in found.get("steps") or []:
        result(f"would {step['would']}")
    if found.get("steps"):
        say(f"to do that: syncd webhook {found['command']} {found['integration']}")


def _ours(found: Mapping[str, Any]) -> int:
    return sum(1 for one in found.get("subscriptions") or [] if one["state"] == "sound")
