"""A credential that is taken again: what waited for it is due at once, and not all the time."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from syncd.errors import AuthError, TransientError
from syncd.sync.health import ACCEPTED_SECONDS, Health
from syncd.sync.returning import Returning
from syncd.testing.clock import FakeClock


async def test_the_probe_that_is_let_in_again_has_what_was_refused_tried_and_nothing_else():
    clock = FakeClock()
    health = Health("acme")
    later = clock.now() + timedelta(minutes=5)
    units: Any = {("acme", name): SimpleNamespace(due_at=later) for name in ("refused", "failing", "well")}
    returning = Returning({"acme": SimpleNamespace(health=health)}, units, SimpleNamespace(), clock)  # type: ignore[dict-item, arg-type]
    health.accepted = lambda: returning.accepted("acme")
    health.failed("refused", AuthError("401"), clock.now())
    health.failed("failing", TransientError("503"), clock.now())
    health.probed(None, clock.now())
    assert {name: unit.due_at <= clock.now() for (_, name), unit in units.items()} == {
        "refused": True, "failing": False, "well": False
    }  # fmt: skip


async def test_a_credential_that_may_do_one_thing_and_not_the_other_is_not_tried_with_every_probe():
    clock, health, tried = FakeClock(), Health("acme"), 0

    def accepted() -> None:
        nonlocal tried
        tried += 1

    health.accepted = accepted
    health.probed(None, clock.now())
    assert tried == 0, "it was not refused"
    for _ in range(4):
        health.failed("things", AuthError("401"), clock.now())
        health.probed(None, clock.now())
        await clock.advance(30)
    assert tried == 1
    await clock.advance(ACCEPTED_SECONDS)
    health.failed("things", AuthError("401"), clock.now())
    health.probed(None, clock.now())
    assert tried == 2
