"""What a run says of itself."""

from __future__ import annotations

from datetime import UTC, datetime

from syncd.store import Sweep
from syncd.sync.tally import Tally

BEGAN = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_pass_has_shown_all_there_is_unless_a_part_was_refused_deletions_are_held_or_another_run_began_it() -> None:
    whole = Tally("acme", "things", started_at=BEGAN, sweep=Sweep())
    assert whole.whole_since == BEGAN
    whole.refused["b"] = "not available"
    assert whole.whole_since is None
    assert Tally("acme", "things", started_at=BEGAN, sweep=Sweep(held=40)).whole_since is None
    assert Tally("acme", "things", started_at=BEGAN, sweep=Sweep(), listing_began_at=BEGAN).whole_since is None
