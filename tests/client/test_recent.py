"""What came of the latest calls is counted by class and by how long they took."""

from __future__ import annotations

import random

import pytest

from syncd.client.recent import BOUNDS, CLASSES, SPANS, STEP, Recent, percentiles
from syncd.client.teller import CUT, Teller
from syncd.errors import AuthError, PayloadError, RateLimitError, TransientError


@pytest.mark.parametrize(
    ("label", "error", "counted"),
    [
        ("200", None, None), ("304", None, None), ("302", None, None), ("401", AuthError(""), "401"), ("403", None, "403"),
        ("404", None, "404"), ("410", None, "4xx"), ("422", None, "4xx"), ("429", RateLimitError(""), "429"),
        ("500", None, "5xx"), ("503", RateLimitError(""), "429"), ("200", RateLimitError(""), "429"),
        ("200", AuthError(""), "401"), ("200", PayloadError(""), "other"), ("timeout", TransientError(""), "timeout"),
        ("refused", TransientError(""), "connect"), ("reset", None, "connect"), ("dns", None, "connect"),
        ("tls", None, "connect"), ("payload", None, "other"), ("999", None, None),
    ],
)  # fmt: skip
def test_each_end_of_a_call_has_its_class(label: str, error: Exception | None, counted: str | None):
    recent = Recent()
    recent.note(label, 0.1, error)
    assert dict(zip(CLASSES, recent.errors, strict=True)) == {name: int(name == counted) for name in CLASSES}
    assert recent.calls == 1


def test_what_was_cut_off_by_ourselves_is_no_call():
    teller = Teller("plain", "acme")
    teller.call("/orders", CUT, 3.0)
    assert teller.recent.calls == 0
    teller.call("/orders", "200", 3.0)
    assert teller.recent.calls == 1


def test_who_reached_nobody_says_nothing_of_how_long_answers_take():
    recent = Recent()
    recent.note("refused", 0.0001)
    assert percentiles(recent.seconds, [0.5, 0.95]) == [None, None]
    assert recent.calls == 1


def test_a_percentile_is_off_by_a_tenth_at_most():
    dice = random.Random(3)
    for _ in range(20):
        took = sorted(dice.lognormvariate(-1.0, 1.2) for _ in range(500))
        recent = Recent()
        for seconds in took:
            recent.note("200", seconds)
        shares = (0.5, 0.95, 0.99)
        for share, found in zip(shares, percentiles(recent.seconds, shares), strict=True):
            true = took[round(share * len(took)) - 1]
            assert found is not None
            if 0.01 < true < BOUNDS[-1]:
                assert abs(found - true) <= (STEP - 1) * true


def test_the_shortest_and_the_longest_have_their_spans_too():
    recent = Recent()
    recent.note("200", 0.0)
    recent.note("200", 10_000.0)
    assert recent.seconds[0] == recent.seconds[SPANS - 1] == 1
    assert percentiles(recent.seconds, [0.5, 1.0])[1] == pytest.approx(BOUNDS[-1])


def test_what_was_taken_is_gone():
    recent = Recent()
    recent.note("500", 0.2)
    taken = recent.take()
    assert (taken.calls, recent.calls) == (1, 0)
    assert (sum(taken.errors), sum(recent.errors)) == (1, 0)
