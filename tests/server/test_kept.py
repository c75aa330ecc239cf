"""What strangers ask for again and again takes a bounded part of the one thread."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.server.kept import AHEAD_SECONDS, LONGEST_SECONDS, SHARE, Kept


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
    for _ in range(100_000):
        costly.kept()
        costly.at += 0.001
    assert costly.made > 50, "and made anew all the same"
    assert costly.made * costly.seconds <= (costly.at + AHEAD_SECONDS) / SHARE + costly.seconds


def test_who_asks_now_and_then_has_a_fresh_one():
    costly = Costly(0.1)
    for number in range(1, 100):
        assert costly.kept() == number
        costly.at += 2.0


def test_nothing_is_ever_old():
    costly = Costly(60.0)  # the machine slept meanwhile
    assert [costly.kept(), costly.kept()] == [1, 1]
    costly.at += LONGEST_SECONDS
    assert costly.kept() == 2


def test_what_begins_or_ends_is_told_at_once():
    costly = Costly(1.0)
    assert [costly.kept(), costly.kept()] == [1, 1]
    costly.turns += 1
    assert [costly.kept(), costly.kept()] == [2, 2]
