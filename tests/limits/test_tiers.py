"""What a rate may look like, and what is refused with which words."""

import pytest

from syncd.limits.tiers import TierSpec, parse_rate


@pytest.mark.parametrize(
    ("text", "limit", "window"),
    [
        ("7/s", 7, 1.0),
        ("80/min", 80, 60.0),
        ("300/120s", 300, 120.0),
        ("10/1 s", 10, 1.0),
        ("5/24h", 5, 86400.0),
        ("1_000/day", 1000, 86400.0),
        ("100 per minute", 100, 60.0),
        ("3/500ms", 3, 0.5),
        ("5 / 1.5h", 5, 5400.0),
    ],
)
def test_a_rate_is_read_in_the_ways_people_write_it(text, limit, window):
    assert parse_rate(text) == (limit, pytest.approx(window))


@pytest.mark.parametrize(
    ("text", "word"),
    [("fast", "no rate"), ("7", "no rate"), ("7/x", "unknown unit"), ("0/s", "nothing"), ("5/0s", "nothing"),
     ("-5/s", "no rate"), ("", "no rate"), ("7/s and more", "no rate")],
)  # fmt: skip
def test_what_is_no_rate_is_refused_in_words(text, word):
    with pytest.raises(ValueError, match=word):
        parse_rate(text)


def test_a_tier_reads_text_mapping_and_itself():
    assert TierSpec.parse("7/s") == TierSpec(7, 1.0)
    spec = TierSpec.parse({"rate": "60/min", "kind": "bucket", "burst": 10, "budget": "read", "stated": "80/min"})
    assert (spec.limit, spec.window_seconds, spec.kind, spec.burst, spec.stated) == (60, 60.0, "bucket", 10, 80)
    assert TierSpec.parse(spec) is spec
    assert spec.name == "read 60/60s"


@pytest.mark.parametrize(
    "value",
    [{"limit": 5}, {"rate": "5/s", "colour": "red"}, {"rate": "5/s", "share": 1.5}, {"rate": "5/s", "kind": "wave"},
     {"rate": "5/s", "burst": -1}],
)  # fmt: skip
def test_a_tier_with_a_mistake_is_refused(value):
    with pytest.raises(ValueError, match=r"\w"):
        TierSpec.parse(value)


def test_the_key_of_a_tier_survives_a_change_of_its_limit_and_nothing_else():
    assert TierSpec.parse("300/120s").key == TierSpec.parse("200/2min").key
    assert TierSpec.parse("300/120s").key != TierSpec.parse("300/60s").key
    assert TierSpec.parse("300/120s").key != TierSpec.parse({"rate": "300/120s", "budget": "write"}).key
