"""What `syncd memory` prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.cli.memory import _print

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_how_long_ago_the_latest_slow_step_was_is_said(capsys: pytest.CaptureFixture[str]):
    step = {"at": (NOW - timedelta(hours=5)).isoformat(), "seconds": 0.4, "place": "syncd.codec:1 in x", "task": "seat"}
    _print(
        {
            "rss_bytes": 1 << 20, "highest_bytes": 2 << 20, "ceiling": {"bytes": None, "told_by": "a test"},
            "narrowing": {"level": 0}, "slow_step": step, "holds": [],
        },
        NOW,
    )  # fmt: skip
    assert "slow step  5h ago: 0.4 s in syncd.codec:1 in x (seat)" in capsys.readouterr().out
