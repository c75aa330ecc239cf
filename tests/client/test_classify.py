"""What an answer means, and for a refusal what said when to come back: told to a person who wonders why nothing is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.client.classify import classify
from syncd.errors import RateLimitError
from syncd.kit import Headers, Response
from syncd.kit.classify import error_for
from syncd.limits.waits import WaitDialect

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SLOW = {"Date": "Sat, 21 Nov 2026 11:53:00 GMT", "Retry-After": "Sat, 21 Nov 2026 11:53:06 GMT"}


@pytest.mark.parametrize(
    ("headers", "body", "words", "seconds"),
    [
        ({"Retry-After": "6"}, b"", "Retry-After", 6),
        (SLOW, b"", "Retry-After as a date", 6),
        ({"Retry-After": "864000"}, b"", "Retry-After, 864,000 s asked", 3600),
        ({"X-RateLimit-Reset": "12"}, b"", "x-ratelimit-reset", 12),
        ({}, b'{"retry_after": 7}', "retry_after", 7),
        ({}, b"", "", None),
    ],
)
def test_a_429_names_the_place_that_told_the_time(headers, body, words, seconds):
    error = classify(Response(429, Headers(headers), body), NOW)
    assert isinstance(error, RateLimitError)
    assert error.told_by.lower() == words.lower()
    assert error.retry_at == (None if seconds is None else NOW + timedelta(seconds=seconds))


def test_a_drivers_word_for_too_many_calls_names_it_too():
    error = error_for("crowded", Response(400, Headers(SLOW), b""), NOW)
    assert isinstance(error, RateLimitError)
    assert (error.about, error.told_by) == ("seats", "Retry-After as a date")


def test_a_wait_that_the_dialect_assumes_was_told_by_nobody():
    error = classify(Response(429, Headers(), b""), NOW, dialect=WaitDialect(missing_seconds=5.0))
    assert isinstance(error, RateLimitError)
    assert (error.told_by, error.retry_at) == ("", NOW + timedelta(seconds=5))


def test_what_a_partner_says_of_a_person_is_not_said_to_everybody():
    body = (
        b'{"message": "guest ada@example.com (+44 20 7946 0958) of 442079460958 has no key rk_test_4eC39HqLyjWDarjt"}'
    )
    found = classify(Response(422, Headers({}), body), NOW)
    assert str(found) == "answered 422 (guest ••• (•••) of 442079460958 has no key ****)"
