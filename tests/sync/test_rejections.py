"""When rejects degrade a resource, what is said, and when that is over."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from syncd.explain import Explanation
from syncd.sync.health import Health
from syncd.sync.rejections import Rejections

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PRICE = "field price: expected a decimal number, got text"


def of(seen: int, rejected: int, *, standing: int = 0, live: int = 1_000, **more: object) -> Rejections:
    reasons = Counter({("rooms", PRICE): rejected, ("rooms", "id: expected text"): 1} if rejected else {})
    return Rejections(seen, rejected, reasons, standing, live, **more)  # type: ignore[arg-type]


def told(found: Rejections, before: Explanation | None = None) -> Explanation | None:
    return found.explanation("acme", "rooms", before, NOW)


@pytest.mark.parametrize(
    ("found", "much"),
    [
        (of(1_000, 49, standing=49), False),  # below the share
        (of(1_000, 50, standing=50), True),
        (of(20, 9, standing=9), False),  # below the count
        (of(20, 10, standing=10), True),  # many of a small run
        (of(0, 0, standing=60), True),  # and of all there is, whatever the run saw
        (of(100, 0, standing=40), False),
        (of(20, 4, standing=4, least=3), True),
        (of(100, 10, standing=10, share=0.2), False),
    ],
)
def test_both_bounds_have_to_be_reached(found: Rejections, much: bool) -> None:
    assert found.is_much is much
    assert (told(found) is not None) is much


def test_the_reason_that_is_most_frequent_is_named_with_the_counts_and_the_command() -> None:
    found = told(of(1_000, 120, standing=130))
    assert found is not None
    assert found.reason == (
        f"rooms: schema changed: {PRICE} (120 of 1,000 records of the last run failed validation and were set aside, "
        "130 in all)"
    )
    assert (found.code, found.action, found.since) == ("schema-changed", "syncd dlq list acme", NOW)


def test_what_a_feed_brings_is_another_resource_and_that_is_the_one_to_be_accepted() -> None:
    frozen = Counter({("rooms", "schema frozen: " + PRICE): 30})
    found = Rejections(90, 30, frozen).explanation("acme", "events", None, NOW)
    assert found is not None and found.action == "syncd schema accept acme/rooms"
    assert found.reason.startswith(f"events: schema changed: rooms: schema frozen: {PRICE} (30 of 90")


def test_it_keeps_its_beginning_and_its_words_while_runs_see_nothing_of_it() -> None:
    begun = Explanation("schema-changed", "rooms: schema changed: " + PRICE, NOW - timedelta(hours=1))
    again = told(of(1_000, 200, standing=300), begun)
    assert again is not None and again.since == begun.since and "200 of 1,000" in again.reason
    assert told(of(0, 0, standing=12), begun) is begun, "a run that saw nothing has nothing to say"
    assert told(of(5, 0, standing=12, live=100_000), begun) is None, "one that saw sound ones has"
    assert told(of(0, 0, standing=0), begun) is None
    other = Explanation("partner-down", "away", NOW)
    assert told(of(0, 0, standing=12), other) is None


def test_what_a_frozen_resource_keeps_out_is_let_in_by_accepting_it() -> None:
    reasons = Counter({("rooms", "schema frozen: field x: unknown (text)"): 20})
    found = Rejections(20, 20, reasons, 20, 0).explanation("acme", "rooms", None, NOW)
    assert found is not None and found.action == "syncd schema accept acme/rooms"


def test_a_trouble_of_rejects_heals_once() -> None:
    health = Health("acme")
    assert not health.succeeded("rooms", NOW, of(100, 50, standing=50, live=50))
    trouble = health.of("rooms").trouble
    assert trouble is not None and PRICE in trouble.reason
    assert health.succeeded("rooms", NOW, of(100, 0, standing=0))
    assert health.of("rooms").trouble is None
    assert not health.succeeded("rooms", NOW, of(100, 0, standing=0))


def test_a_resource_that_is_switched_off_troubles_nobody() -> None:
    health = Health("acme")
    health.succeeded("rooms", NOW, of(100, 50, standing=50, live=50))
    health.of("rates")
    assert health.only(["rates", "guests"]) == ["rooms"]
    assert list(health.resources) == ["rates"] and health.of("rooms").trouble is None
