"""Every way a partner has been seen to say "come back later", and the ways it gets that wrong."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.limits.waits import WaitDialect, read_wait, retry_at
from syncd.model import Headers

NOW = datetime(2026, 3, 4, 9, 15, 0, tzinfo=UTC)


def seconds(headers, body=None, dialect=None):
    at = retry_at(Headers(headers), body, NOW, dialect)
    return None if at is None else (at - NOW).total_seconds()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": " 30 "}, 30),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=28), usegmt=True)}, 28),
        ({"Retry-After": str(int(NOW.timestamp()) + 40)}, 40),
        ({"Retry-After": str(int(NOW.timestamp() * 1000) + 2500)}, 2.5),
        ({"Retry-After": "2026-03-04T09:16:00Z"}, 60),
        ({"Retry-After": "2026-03-04T10:15:30+01:00"}, 30),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 12)}, 12),
        ({"X-RateLimit-Reset": "12"}, 12),
        ({"RateLimit-Reset": "50"}, 50),
        ({"RateLimit": '"minute";r=0;t=31'}, 31),
        ({"RateLimit": '"second";r=3;t=1, "minute";r=0;t=44'}, 44),
        ({"RateLimit": '"second";r=0;t=1, "day";r=900;t=40000'}, 1),
        ({"RateLimit": '"second";r=2;t=1, "day";r=900;t=40000'}, 1),
        ({"RateLimit": "limit=100, remaining=0, reset=5"}, 5),
        ({"Retry-After": "Wednesday, 04-Mar-26 09:15:28 GMT"}, 28),
        ({"Retry-After": "Wed Mar  4 09:15:28 2026"}, 28),
        ({"Retry-After": "Wed, 04 Mar 2026 04:15:28 EST"}, 28),
        ({"Retry-After": "Wed, 04 Mar 2026 09:15:05 GMT, Wed, 04 Mar 2026 09:15:09 GMT"}, 9),
        ({"Retry-After": "Wed, 04 Mar 2026 09:15:60 GMT"}, 59),
        ({"Retry-After": ".5"}, 0.5),
        ({"Retry-After": "30s"}, 30),
        ({"Retry-After": "1m30s"}, 90),
        ({"Retry-After": "2 minutes"}, 120),
        ({"Retry-After-Ms": "1500", "Retry-After": "2"}, 1.5),
        ({"X-RateLimit-Reset": "30", "X-RateLimit-Remaining": "0"}, 30),
        ({"X-RateLimit-Reset": "1, 1419704", "X-RateLimit-Remaining": "0, 14320"}, 1),
        ({"Retry-After": "5, 9"}, 9),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "4"}, 4),
        ({"Retry-After": "0"}, 0.25),
    ],
)
def test_each_dialect_is_read(headers, expected):
    assert seconds(headers) == pytest.approx(expected)


def test_a_date_is_measured_against_the_partners_own_clock():
    theirs = NOW + timedelta(hours=3, seconds=7)  # its clock is wrong, or ours is
    headers = {
        "Date": format_datetime(theirs, usegmt=True),
        "Retry-After": format_datetime(theirs + timedelta(seconds=20), usegmt=True),
    }
    assert seconds(headers) == pytest.approx(20)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-5", "nan", "inf", "1e9", "99999999999999999999", "Tue, 32 Foo 2026 99:99:99 GMT", "null", "[]",
     "0x10", "2020-01-01T00:00:00Z", "Mon, 01 Jan 1990 00:00:00 GMT", "9999-12-31T23:59:59-14:00", "5" * 300,
     "Wed, 04 Mar 2026 09:15:28 CET", "12pm", "30s ago", "1m30", "true", "12 parsecs", "::", "-", "0000-00-00", "٣"],
)  # fmt: skip
def test_nonsense_means_that_nothing_was_said(value):
    assert read_wait(Headers({"Retry-After": value}), None, NOW) is None


def test_a_moment_just_past_means_now_and_is_raised_to_the_floor():
    assert seconds({"Retry-After": format_datetime(NOW - timedelta(seconds=2), usegmt=True)}) == 0.25


def test_a_huge_wait_is_cut_and_flagged():
    found = read_wait(Headers({"Retry-After": "86400"}), None, NOW)
    assert found.capped
    assert found.asked_seconds == 86400
    assert (found.until - NOW).total_seconds() == 3600
    longer = read_wait(Headers({"Retry-After": "86400"}), None, NOW, {"cap_seconds": 100_000})
    assert not longer.capped


def test_the_body_is_asked_where_the_dialect_says_so():
    body = {"error": {"details": [{"retry_in_ms": 1500}]}}
    dialect = {"body": "error.details.0.retry_in_ms", "millis": True}
    assert seconds({}, body, dialect) == 1.5
    assert seconds({"Retry-After": "9"}, body, dialect) == 9
    for odd in (None, [], "text", {"error": None}, {"error": {"details": []}}, {"error": {"details": [{}]}}):
        assert seconds({}, odd, dialect) is None
    assert seconds({}, {"w": True}, {"body": "w"}) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"retry_after": 2.5}, 2.5),
        ({"error": {"retry_after": "3"}}, 3),
        ({"parameters": {"retry_after": 35}}, 35),
        ({"retry_after_ms": 1500}, 1.5),
        ({"error": "Too many requests. Please retry in 10 seconds"}, 10),
        ({"detail": "Request was throttled. Expected available in 37 seconds."}, 37),
        ({"message": "Slow down: try again after 1m30s"}, 90),
        ({"error": {"message": "wait 250 ms"}}, 0.25),
        ({"error": "Please retry in a while, at most 10 seconds"}, 10),
        ({"error": "429"}, None),
        ({"error": 20429}, None),
        ({"message": "only 100 calls in 60 seconds are allowed"}, None),
        ({"message": "retry 3 times in 20 seconds"}, None),
        ({"message": "try again later"}, None),
    ],
)
def test_a_body_is_understood_where_it_says_it_in_the_usual_places(body, expected):
    assert seconds({}, body) == expected
    assert seconds({"Retry-After": "7"}, body) == 7
    assert seconds({}, body, {"body": "", "words": ""}) is None


def test_the_reset_of_a_limit_with_calls_left_is_not_waited_for():
    headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "3000"}
    assert seconds(headers) is None
    assert seconds({**headers, "Retry-After": "9"}) == 9
    assert seconds({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset-After": "3000"}) is None


def test_an_answer_that_is_no_refusal_waits_for_no_limit():
    headers = Headers({"X-RateLimit-Reset": "3000", "RateLimit": '"a";r=0;t=40'})
    assert read_wait(headers, {"error": "retry in 5 seconds"}, NOW, {"missing_seconds": 60}, limited=False) is None
    assert read_wait(Headers({"Retry-After": "5"}), None, NOW, limited=False).asked_seconds == 5


def test_a_dialect_says_how_long_a_refusal_without_a_word_lasts_and_what_is_added():
    found = read_wait(Headers({}), None, NOW, {"missing_seconds": 60})
    assert (found.asked_seconds, found.source) == (60, "missing")
    assert seconds({"Retry-After": "soon"}, None, {"missing_seconds": 60}) == 60
    assert seconds({"X-Rate-Limit-Reset": "37"}, None, {"buffer_seconds": 1}) == 38


@pytest.mark.parametrize(
    ("dialect", "told"),
    [
        ({"headers": 5}, "`headers` is one name or a list"),
        ({"body": [1]}, "`body` is one name or a list"),
        ({"millis": "yes"}, "`millis` is true or false"),
        ({"cap_seconds": "1h"}, "`cap_seconds` is a number of seconds"),
        ({"floor_seconds": -1}, "`floor_seconds` is a number of seconds"),
        ({"missing_seconds": float("nan")}, "`missing_seconds` is a number of seconds"),
    ],
)
def test_a_dialect_with_a_wrong_value_is_refused_in_words(dialect, told):
    with pytest.raises(ValueError, match=told):
        WaitDialect.parse(dialect)


def test_a_dialect_names_its_own_headers_and_refuses_unknown_keys():
    assert seconds({"X-Wait": "3", "Retry-After": "9"}, None, {"headers": "X-Wait"}) == 3
    with pytest.raises(ValueError, match="colour"):
        WaitDialect.parse({"colour": "red"})


@given(
    st.dictionaries(
        st.sampled_from(
            (
                "Retry-After",
                "Date",
                "RateLimit",
                "X-RateLimit-Reset",
                "RateLimit-Reset",
                "X-RateLimit-Remaining",
                "Retry-After-Ms",
            )
        ),
        st.one_of(
            st.text(max_size=40),
            st.integers().map(str),
            st.floats().map(str),
            st.datetimes().map(lambda at: format_datetime(at)),
            st.datetimes().map(datetime.isoformat),
        ),
    ),
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8), st.lists, max_leaves=3),
)
def test_no_answer_however_odd_raises_or_leaves_floor_and_cap(headers, value):
    found = read_wait(headers, {"w": value, "error": value}, NOW, {"body": "w"})
    assert found is None or 0.25 <= (found.until - NOW).total_seconds() <= 3600
