"""Maintenance windows in force: what is held, that nothing leaves, and that begin and end are noted once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import maintaining, metrics
from syncd.config.maintenance import MaintenanceConfig
from syncd.store import MAINTENANCE, PAUSE, Control, Store
from syncd.testing.clock import FakeClock

SUNDAY = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
"""Half an hour before two o'clock in Berlin, in the night in which there is none."""
HOUR = timedelta(hours=1)


def configured(**windows: list[dict[str, Any]]) -> Any:
    found = {
        name: tuple(MaintenanceConfig.model_validate(each) for each in each_of) for name, each_of in windows.items()
    }
    partner = SimpleNamespace(maintenance_of=lambda name: found[name], integrations=found)
    return SimpleNamespace(integrations=dict.fromkeys(found, (partner, None)), partners={"plain": partner})


WEEKLY = {"cron": "0 2 * * SUN", "for": "2h", "time_zone": "Europe/Berlin", "reason": "weekly update"}


def account(name: str, *, held: bool = True) -> Any:
    return SimpleNamespace(
        name=name, partner="plain", session=SimpleNamespace(shut=None), ownership=SimpleNamespace(held=held)
    )


def test_what_is_open_is_a_control_until_its_end():
    config = configured(acme=[WEEKLY], beta=[])
    assert maintaining.in_force(config, SUNDAY) == {}
    assert maintaining.next_turn(config, SUNDAY) == SUNDAY + HOUR / 2
    [window] = maintaining.in_force(config, SUNDAY + HOUR).values()
    assert (window.integration, window.kind, window.why) == ("acme", MAINTENANCE, "weekly update")
    assert (window.set_at, window.until) == (SUNDAY + HOUR / 2, SUNDAY + 2.5 * HOUR)
    assert maintaining.in_force(config, SUNDAY + 2.5 * HOUR) == {}


@pytest.mark.parametrize(("hours", "kind"), [(1, MAINTENANCE), (9, PAUSE), (None, PAUSE)])
def test_of_a_window_and_a_persons_pause_the_one_that_lasts_longer_is_told(hours: float | None, kind: str):
    until = SUNDAY + hours * HOUR if hours is not None else None
    pause = Control("acme", "", PAUSE, "ann", "x", {}, SUNDAY, until)
    part = Control("acme", "orders", PAUSE, "ann", "x", {}, SUNDAY, None)
    windows = maintaining.in_force(configured(acme=[WEEKLY]), SUNDAY + HOUR)
    held = maintaining.pauses([pause, part], windows)
    assert (held["acme"].kind, held["acme/orders"]) == (kind, part)


def test_nothing_of_it_leaves_and_of_others_all_does():
    accounts = [account("acme"), account("beta")]
    maintaining.shut(accounts, maintaining.in_force(configured(acme=[WEEKLY], beta=[]), SUNDAY + HOUR))
    shut = accounts[0].session.shut
    assert shut.until == SUNDAY + 2.5 * HOUR
    assert shut.reason == "acme is in maintenance until 03:00 UTC: weekly update"
    assert accounts[1].session.shut is None
    maintaining.shut(accounts, {})
    assert accounts[0].session.shut is None


async def test_begin_and_end_are_noted_once_by_who_owns_it_however_often_it_is_looked_at(store: Store):
    clock = FakeClock(SUNDAY)
    store.controls._database.clock = clock
    config, accounts = configured(acme=[WEEKLY], beta=[WEEKLY]), [account("acme"), account("beta", held=False)]
    for _ in range(18):
        windows = maintaining.in_force(config, clock.now())
        await maintaining.note(store, accounts, await store.controls.active(), windows)
        await clock.advance(600)
    noted = [(one.action, one.integration, one.at) for one in reversed(await store.audit.list())]
    assert noted == [
        ("maintenance_began", "acme", SUNDAY + HOUR / 2),
        ("maintenance_ended", "acme", SUNDAY + 2.5 * HOUR),
    ]


async def test_a_window_that_is_taken_out_of_the_file_ends_and_one_that_is_made_longer_goes_on(store: Store):
    clock = FakeClock(SUNDAY + HOUR)
    store.controls._database.clock = clock
    accounts = [account("acme")]
    for windows in ([WEEKLY], [{**WEEKLY, "for": "3h"}], [], []):
        open_ones = maintaining.in_force(configured(acme=windows), clock.now())
        await maintaining.note(store, accounts, await store.controls.active(), open_ones)
    assert [one.action for one in reversed(await store.audit.list())] == ["maintenance_began", "maintenance_ended"]


def test_the_gauges_tell_of_pauses_and_of_maintenance_and_forget_both():
    accounts = [account("acme"), account("beta")]
    windows = maintaining.in_force(configured(acme=[WEEKLY], beta=[]), SUNDAY + HOUR)
    pause = Control("beta", "", PAUSE, "ann", "x", {}, SUNDAY, SUNDAY + HOUR)
    maintaining.measure(accounts, maintaining.pauses([pause], windows), windows)
    shown = metrics.exposition().decode()
    assert 'syncd_maintenance{integration="acme"} 1.0' in shown
    assert 'syncd_maintenance{integration="beta"} 0.0' in shown
    assert 'syncd_paused{integration="beta",resource=""} 1.0' in shown
    assert 'syncd_paused{integration="acme"' not in shown
    maintaining.measure([], {}, {})
    assert 'integration="beta"' not in "\n".join(
        line for line in metrics.exposition().decode().splitlines() if "syncd_paused" in line
    )
