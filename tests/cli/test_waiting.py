"""Long work of the daemon that a command waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from syncd.cli.following import until_ended
from syncd.testing.clock import FakeClock


async def test_of_what_the_daemon_knows_nothing_any_more_nothing_is_waited_for() -> None:
    app: Any = SimpleNamespace(clock=FakeClock())
    link: Any = SimpleNamespace(get=lambda path, query: {"backfills": []})
    assert await until_ended(app, link, "backfills", [7], str, look_seconds=1.0) == []
