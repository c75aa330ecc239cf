"""What strangers ask for again and again takes a bounded part of the one thread."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.server.kept import LONGEST_SECONDS, SHARE, Kept


class Costly:
    """A clock, and an answer whose making takes so many of its seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.made, self.at, self.turns = seconds, 0, 0.0, 0
        clock: Any = self
        self.kept = Kept(self.make, clock, lambda: self.turns)

    def monotonic(self) -> float:
        return self.at

    def make(self) -> int:
        self.at += self.seconds
        self.made += 1
        return self.made


@pytest.mark.parametrize("seconds", [0.002, 0.1])
def test_what_takes_long_is_made_seldom_however_often_it_is_asked_for(seconds: float):
    costly = Costly(seconds)
    for _ in range(20_000):
        costly.kept()
        costly.at += 0.001
    assert costly.made > 5, "and made anew all the same"
    assert costly.made * costly.seconds <= costly.at / SHARE + costly.seconds


def test_what_takes_no_time_is_always_fresh_and_nothing_is_ever_old():
    costly = Costly(0.0)
    assert [costly.kept() for _ in range(3)] == [1, 2, 3]
    costly.seconds = 60.0  # the machine slept meanwhile
    assert costly.kept() == 4
    costly.at += LONGEST_SECONDS
    assert costly.kept() == 5


def test_what_begins_or_ends_is_told_at_once():
    costly = Costly(0.1)
    assert [costly.kept(), costly.kept()] == [1, 1]
    costly.turns += 1
    assert [costly.kept(), costly.kept()] == [2, 2]
