"""What gates tell becomes a log line each: trouble as a warning, its end as information, and where a line belongs."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from syncd.limits import BreakerPolicy
from syncd.scopes import GateSettings, Scopes
from syncd.store import Store
from syncd.testing.clock import FakeClock

STORE = cast(Store, SimpleNamespace(limit_state=None))
LINE = "limits: {tiers: [3/s]}"


@pytest.mark.parametrize(
    ("event", "facts", "level", "shown"),
    [
        ("limit_learned", {"yaml": LINE}, "warning", {"yaml": LINE, "file": "partners/guesty.yaml"}),
        (
            "scope_paused",
            {"until": datetime(2026, 11, 21, tzinfo=UTC)},
            "warning",
            {"until": "2026-11-21T00:00:00+00:00"},
        ),
        ("limit_near", {"remaining": 3}, "warning", {"remaining": 3}),
        ("limit_relaxed", {"remaining": 30}, "info", {"remaining": 30}),
        ("breaker_closed", {"after_seconds": 9.0}, "info", {"after_seconds": 9.0}),
    ],
)
def test_each_word_of_a_gate_is_one_line(event: str, facts: dict[str, Any], level: str, shown: dict[str, Any]) -> None:
    scopes = Scopes(STORE, "me", FakeClock(), lambda state: None)
    with capture_logs() as lines:
        scopes._told("guesty/acme")(event, scope="guesty/acme", **facts)
    assert lines == [{"event": event, "log_level": level, "scope": "guesty/acme", **shown}]


def test_a_reload_changes_how_long_a_call_of_a_killed_process_may_keep_its_partner_busy() -> None:
    scopes = Scopes(STORE, "me", FakeClock(), lambda state: None)
    before, after = (
        GateSettings((), None, 0.7, None, BreakerPolicy(), {"acme": 1.0}, deadline_seconds=seconds)
        for seconds in (30, 5)
    )
    state = scopes.get("guesty/acme", before)
    assert state.gate.deadline_seconds == 30
    state.gate.reconfigure(after.tiers, **after.rest())
    assert state.gate.deadline_seconds == 5
