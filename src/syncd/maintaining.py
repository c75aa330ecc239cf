"""Maintenance windows in force: which integrations are not called now, and that their beginning and end are noted once.

What a window does depends on the configuration alone. Its row in `controls` is only the note that it was told of, so that
neither a restart nor a second instance tells it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import structlog

from syncd import metrics
from syncd.client import Shut
from syncd.config import Config
from syncd.config.maintenance import MaintenanceConfig, Opening, next_opening, opening
from syncd.store import MAINTENANCE, PAUSE, Control, Store
from syncd.sync.account import Account

log = structlog.get_logger()

WHO = "the configuration"
FOREVER = float("inf")


def in_force(config: Config, now: datetime) -> dict[str, Control]:
    """By integration: the maintenance that it is in."""
    found = {}
    known: dict[tuple[MaintenanceConfig, ...], Opening | None] = {}
    for name, (partner, _) in config.integrations.items():
        windows = partner.maintenance_of(name)
        if windows not in known:  # mostly the partner's, the same of all its integrations
            known[windows] = opening(windows, now)
        window = known[windows]
        if window is not None:
            found[name] = Control(name, "", MAINTENANCE, WHO, window.reason, {}, window.began_at, window.until)
    return found


def next_turn(config: Config, now: datetime) -> datetime | None:
    """When the next window begins, of any integration."""
    windows = {each for name, (partner, _) in config.integrations.items() for each in partner.maintenance_of(name)}
    return next_opening(windows, now)


def pauses(active: Iterable[Control], windows: Mapping[str, Control]) -> dict[str, Control]:
    """Everything that is held, by `integration` or `integration/resource`. Of a window and a person's word the one that
    lasts longer is told."""
    found = {one.integration + (f"/{one.resource}" if one.resource else ""): one for one in active if one.kind == PAUSE}
    for name, window in windows.items():
        known = found.get(name)
        if known is None or (known.until is not None and window.until is not None and known.until < window.until):
            found[name] = window
    return found


def shut(accounts: Iterable[Account], windows: Mapping[str, Control]) -> None:
    """The last door: nothing of theirs leaves, whoever asks for it."""
    for account in accounts:
        window = windows.get(account.name)
        if window is None or window.until is None:
            account.session.shut = None
        else:
            why = f"{account.name} is in maintenance until {window.until:%H:%M} UTC" + (
                f": {window.why}" if window.why else ""
            )
            account.session.shut = Shut(window.until, why)


async def note(
    store: Store, accounts: Iterable[Account], active: Iterable[Control], windows: Mapping[str, Control]
) -> None:
    """Write down which windows began and ended, of what this instance owns. Raises StoreError."""
    await store.controls.end(MAINTENANCE, action="maintenance_ended")
    known = {one.integration: one for one in active if one.kind == MAINTENANCE}
    for account in accounts:
        if not account.ownership.held:
            continue
        told, window = known.get(account.name), windows.get(account.name)
        if window is not None and (told is None or told.until != window.until):
            action = "maintenance_began" if told is None else ""
            await store.controls.set(
                account.name, MAINTENANCE, who=WHO, why=window.why, until=window.until, action=action
            )
            if told is None:
                log.info("maintenance_began", partner=account.partner, integration=account.name, until=window.until)
        elif window is None and told is not None:  # taken out of the file while it was open
            await store.controls.clear(account.name, MAINTENANCE, who=WHO, action="maintenance_ended")


def measure(accounts: Iterable[Account], held: Mapping[str, Control], windows: Mapping[str, Control]) -> None:
    """The gauges: what is paused and until when, and which integration is in maintenance."""
    names = [account.name for account in accounts]
    paused = {
        (one.integration, one.resource): one for one in held.values() if one.integration in names and one.kind == PAUSE
    }
    for labels, one in paused.items():
        metrics.PAUSED.labels(*labels).set(1)
        metrics.PAUSED_UNTIL.labels(*labels).set(one.until.timestamp() if one.until is not None else FOREVER)
    metrics.keep_only(metrics.PAUSED, paused)
    metrics.keep_only(metrics.PAUSED_UNTIL, paused)
    for name in names:
        metrics.MAINTENANCE.labels(name).set(name in windows)
    metrics.keep_only(metrics.MAINTENANCE, [(name,) for name in names])
