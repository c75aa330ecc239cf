"""`syncd credential list`: every secret, how old it is, until when it is good, and what it may do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import (
    Failure,
    clock_time,
    harmless,
    lasting,
    moment_of,
    paint,
    plural,
    result,
    result_json,
    say,
    table,
)

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.rows import Row


READ_ONCE = ("env", "credential")
"""What the daemon reads when it starts, and not again."""


@click.command("list", short_help="Every secret: where it is kept, how old it is, when it ends.")
@click.argument("integration", required=False)
@click.option(
    "--scopes", "ask", is_flag=True, help="Ask each partner that tells what a credential may do: a call or two each."
)
@common(json=True, database=True)
def listed(app: App, integration: str | None, ask: bool) -> Exit:
    """Every secret: where it is kept, whether it can be read, how old it is, when it ends, who put it there.

    And what each integration's credential may do and lacks, where its partner tells. Values are never shown.
    """
    from syncd.cli.load import vault_of
    from syncd.credentials import rows as shown

    config = app.config()
    if integration is not None:
        known_integration(config, integration)
    names = [integration] if integration is not None else list(config.integrations)
    now = app.clock.now()
    told = _told(app, config, names, integration)
    if ask:
        _ask(app, config, names, told)
    audit = {name: one["set"] for name, one in told.items()}
    rows = shown.configured(config, names, vault_of(config), audit, now)
    rows = [_aged(_in_use(row, told), told, now) for row in rows]
    rows += shown.sealed(config, [note for one in told.values() for note in one["sealed"]], now)
    scopes = {name: _scopes(config, name, told.get(name, {})) for name in names}
    if app.as_json:
        result_json({"schema": "syncd.credentials/1", "credentials": [row.as_dict() for row in rows], "scopes": scopes})
    else:
        _show(rows, scopes, now)
    return Exit.OK if all(row.ok for row in rows) else Exit.FAILURES


def _told(app: App, config: Config, names: list[str], one: str | None) -> dict[str, dict[str, Any]]:
    """What the daemon knows, else what the database does. The list is useful without both, so their absence is only said."""
    from syncd.cli.link import Unreachable
    from syncd.errors import SyncdError

    try:
        found = app.link().get("credentials", {"integration": one} if one is not None else None)["integrations"]
        return {name: _read(name, found[name]) for name in names if name in found}
    except Unreachable:
        pass
    except Failure as failure:
        say(f"the daemon does not tell what it works with: {failure.why or failure.what}")
    try:
        return arun(_stored(app, config, names))
    except SyncdError as error:
        say(f"tokens obtained at run time are not shown: {error}")
        return {}


def _read(name: str, told: dict[str, Any]) -> dict[str, Any]:
    from syncd.store.audit import AuditEntry
    from syncd.store.credentials import CredentialNote

    def moment(text: str | None) -> Any:
        return None if text is None else datetime.fromisoformat(text)

    return {
        **told,
        "running": True,
        "sealed": [
            CredentialNote(
                name,
                one["kind"],
                one["key_id"],
                one["version"],
                moment(one["expires_at"]),
                moment(one["stored_at"]),
                one.get("refreshes"),
            )
            for one in told["sealed"]
        ],
        "set": [
            AuditEntry(name, 0, moment(one["at"]), one["actor"], one["action"], None, one["after"])
            for one in told["set"]
        ],
    }


async def _stored(app: App, config: Config, names: list[str]) -> dict[str, dict[str, Any]]:
    """Raises SyncdError."""
    from syncd.cli.load import is_embedded
    from syncd.credentials.desk import AUDIT_ROWS
    from syncd.credentials.rows import SET

    if config.database.url is None and not is_embedded(app, config):
        return {}
    async with app.store(config) as store:
        notes = await store.credentials.list()
        entries = await store.audit.list(names[0] if len(names) == 1 else None, limit=AUDIT_ROWS, actions=SET)
        return {
            name: {
                "sealed": [note for note in notes if note.integration == name],
                "set": [entry for entry in entries if entry.integration == name],
            }
            for name in names
        }


def _ask(app: App, config: Config, names: list[str], told: dict[str, dict[str, Any]]) -> None:
    """Once more with what the partners say now."""
    from syncd.cli.live import tested
    from syncd.errors import SyncdError

    for name in names:
        if not config.integrations[name][0].is_enabled(name):
            continue
        try:
            report = arun(tested(app, config, name))
        except (SyncdError, Failure) as error:
            say(f"{name} was not asked: {error}")
            continue
        told.setdefault(name, {"sealed": [], "set": []})["scopes"] = report.scopes
        if not report.ok and report.explanation is not None:
            say(f"{name}: {report.explanation.reason}")


def _in_use(row: Row, told: dict[str, dict[str, Any]]) -> Row:
    """A row with what the running daemon works with instead."""
    known = told.get(row.integration, {}).get("in_force") or {}
    used = known.get(row.name)
    if row.use != "credential" or not row.ok or used is None or used == row.hash or row.left:
        return row
    return replace(row, state=f"not in force: the daemon works with #{used}. Do: syncd reload --wait")


def _aged(row: Row, told: dict[str, dict[str, Any]], now: datetime) -> Row:
    """A row whose age nobody tells, with how old it is at least: the daemon reads these once, when it starts."""
    known = told.get(row.integration, {})
    since = moment_of(known.get("running_since"))
    if since is None or row.source not in READ_ONCE or (known.get("in_force") or {}).get(row.name) != row.hash:
        return row
    least = lasting((now - since).total_seconds())
    return replace(row, age_by=f"{least} or more: not known, in use since the daemon's start at {clock_time(since)}")


def _scopes(config: Config, name: str, told: dict[str, Any]) -> dict[str, Any]:
    """What is held and missing; `how`: whether this partner tells at all."""
    from syncd import drivers

    partner, _ = config.integrations[name]
    known = told.get("scopes")
    if known is not None and (known["told_by"] or known["trouble"]):
        return {"how": "told", **known}
    if known is not None:
        return {"how": "not told", **known}
    driver = drivers.of_integration(
        partner, name, drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    )
    tells = driver.spec.scopes.told or driver.auth(partner.options_for(name)).kind.startswith("oauth2")
    return {"how": "not asked" if tells else "not told"}


def _show(rows: list[Row], scopes: dict[str, dict[str, Any]], now: datetime) -> None:
    cells = [
        (
            row.integration,
            row.name,
            row.kept.removeprefix("{").removesuffix("}"),
            f"{row.hash}{'  …' + row.ends_with if row.ends_with else ''}" if row.hash else "",
            _age(row),
            "" if row.expires_at is None else clock_time(row.expires_at) + (" (renewed)" if row.renews else ""),
            (row.set_by or "").partition("@")[0],
        )
        for row in rows
    ]
    result(table(cells, ("INTEGRATION", "NAME", "KEPT IN", "HASH", "AGE", "ENDS", "SET BY")))
    remarks = [
        paint(f"! {row.integration} {row.name}: {text}", "yellow" if row.ok else "red")
        for row in rows
        for text in _remarks(row)
    ]
    if remarks:
        result()
        result("\n".join(remarks))
    result()
    for name, one in scopes.items():
        result(f"{name}: {scopes_line(one, name)}")


def _remarks(row: Row) -> list[str]:
    found = [] if row.state in {"readable", "sealed"} or (row.ok and row.source == "database") else [row.state]
    if row.source == "database" and row.state.startswith(("expired", "nothing renews")):
        found.append(row.state)
    return found + ([row.left] if row.left else [])


def _age(row: Row) -> str:
    if row.age_seconds is None:
        return row.age_by.partition(":")[0]
    return lasting(row.age_seconds)


def scopes_line(told: dict[str, Any], integration: str, *, whole: bool = False) -> str:
    """What a credential may do, as the partner said it, or that it does not. `whole`: those it holds by name."""
    how = told.get("how", "told")
    if told.get("trouble"):
        return f"scopes could not be asked: {harmless(told['trouble'])}"
    if how == "not asked":
        return f"scopes not asked yet: syncd credential test {integration}"
    if how == "not told" or not told.get("told_by"):
        needed = ", ".join(told.get("needed") or [])
        return "scopes not told by this partner" + (f"; needed: {needed}" if needed else "")
    held = [harmless(one) for one in told["held"]]
    line = f"scopes held ({told['told_by']}): " if whole else f"{plural(len(held), 'scope')} held ({told['told_by']})"
    line += (", ".join(held) or "none") if whole else ""
    if told["missing"]:
        line += "; " + paint(f"missing: {', '.join(told['missing'])}", "red")
    elif told["needed"]:
        line += "; none missing"
    return line
