"""A log level that is set for a while, of everything or of one integration, and its end."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta

import pytest
import structlog

from syncd import log
from syncd.history import Changes
from syncd.levels import EVERYTHING, Levels
from syncd.log_levels import LogLevels
from syncd.store import Store
from syncd.testing.clock import FakeClock


@pytest.mark.parametrize(
    ("for_a_while", "lowest", "acme", "other"),
    [
        ({}, 20, 20, 20),
        ({"acme": 10}, 10, 10, 20),
        ({EVERYTHING: 10}, 10, 10, 10),
        ({EVERYTHING: 40, "acme": 10}, 10, 10, 40),
        ({"acme": 40}, 20, 40, 20),
    ],
)
def test_of_what_a_line_is_logged(for_a_while: dict[str, int], lowest: int, acme: int, other: int):
    levels = Levels()
    levels.for_a_while.update(for_a_while)
    assert (levels.lowest, levels.of("acme"), levels.of("other"), levels.of("")) == (lowest, acme, other, other)


async def test_one_integration_is_logged_in_full_until_its_time_is_over(store: Store):
    out, clock = io.StringIO(), FakeClock()
    log.configure("info", "json", out, clock=clock, env={})
    say = structlog.get_logger()
    levels = LogLevels(Changes(lambda: store, clock), clock)
    keeping = asyncio.create_task(levels.run())
    try:
        await levels.set("acme", "debug", until=clock.now() + timedelta(seconds=60), who="ann")
        await levels.set("loud", "error", until=clock.now() + timedelta(seconds=600), who="ann")
        for name in ("acme", "loud", "other"):
            say.bind(integration=name).debug("call_answered")
            say.bind(integration=name).info("page_stored")
        lines = [line for line in out.getvalue().splitlines() if "log_level_set" not in line]
        assert ["acme" in line for line in lines] == [True, True, False]
        assert levels.view()["level"] == "info"
        await clock.advance(62)
        say.bind(integration="acme").debug("call_missed")
        assert "call_missed" not in out.getvalue()
        assert [one["integration"] for one in levels.view()["for_a_while"]] == ["loud"]
    finally:
        keeping.cancel()
        log.set_level_for_a_while("loud", None)
        log.set_level_for_a_while("acme", None)
    noted = [(one.action, one.integration, one.actor) for one in reversed(await store.audit.list())]
    assert noted == [
        ("log_level_set", "acme", "ann"),
        ("log_level_set", "loud", "ann"),
        ("log_level_ended", "acme", "syncd"),
    ]


async def test_a_level_set_anew_while_the_end_of_others_is_written_down_stays():
    clock, writing, go_on = FakeClock(), asyncio.Event(), asyncio.Event()

    class Slow:
        async def note(self, who: str, action: str, **more: object) -> None:
            if action == "log_level_ended":
                writing.set()
                await go_on.wait()

    levels = LogLevels(Slow(), clock)  # type: ignore[arg-type]
    keeping = asyncio.create_task(levels.run())
    try:
        for name in ("acme", "beta"):
            await levels.set(name, "debug", until=clock.now() + timedelta(seconds=10), who="ann")
        await clock.advance(11)
        await writing.wait()
        await levels.set("beta", "debug", until=clock.now() + timedelta(seconds=600), who="ann")
        go_on.set()
        await clock.advance(5)
        assert [one["integration"] for one in levels.view()["for_a_while"]] == ["beta"]
    finally:
        keeping.cancel()
        log.set_level_for_a_while("acme", None)
        log.set_level_for_a_while("beta", None)
