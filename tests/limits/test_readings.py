"""What an answer says of the limit: every dialect understood unasked, and nothing hostile passed on."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.limits.dialects import SILENT, STANDARD, LimitDialect
from syncd.limits.readings import LARGEST, LONGEST_SECONDS, MOST, Reading, read_limits
from syncd.model import Headers

NOW = datetime(2026, 3, 4, 9, 15, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


def read(headers, body=None, dialect=None):
    """(limit, remaining, reset, window) of each reading."""
    found = read_limits(Headers(headers), body, NOW, dialect)
    return [(one.limit, one.remaining, one.reset_seconds, one.window_seconds) for one in found]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # Guesty's documentation of its rate limits, in the partner facts of 2026-11.
        (
            {
                "X-RateLimit-Limit-Second": "15", "X-RateLimit-Limit-Minute": "120", "X-RateLimit-Limit-Hour": "5000",
                "X-RateLimit-Remaining-Second": "14", "X-RateLimit-Remaining-Minute": "117",
            },
            [(15, 14, None, 1), (120, 117, None, 60), (5000, None, None, 3600)],
        ),
        ({"X-RateLimit-Limit-Day": "9000", "X-RateLimit-Remaining-Day": "1"}, [(9000, 1, None, 86400)]),
        # MaintainX's reference of July 2026: the reset is a duration.
        (
            {"X-Rate-Limit-Limit": "100", "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "37"},
            [(100, 0, 37, None)],
        ),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": str(EPOCH + 30)},
         [(60, 59, 30, None)]),
        ({"X-RateLimit-Remaining": "59", "X-RateLimit-Reset": str(EPOCH * 1000 + 1500)}, [(None, 59, 1.5, None)]),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "2026-03-04T09:15:09Z"}, [(None, 3, 9, None)]),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "Wed, 04 Mar 2026 09:16:00 GMT"}, [(None, 3, 60, None)]),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset-After": "1.25"}, [(None, 3, 1.25, None)]),
        ({"X-RateLimit-Limit-Requests": "60", "X-RateLimit-Remaining-Requests": "9", "X-RateLimit-Reset-Requests": "1m2s"},
         [(60, 9, 62, None)]),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Used": "20"}, [(60, 40, None, None)]),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Used": "90"}, [(60, 0, None, None)]),
        ({"X-RateLimit-Max": "60", "X-RateLimit-Interval-Milliseconds": "10000"}, [(60, None, None, 10)]),
        ({"X-RateLimit-Limit": "1,000", "X-RateLimit-Remaining": "1,000"}, [(1000, 1000, None, None)]),
        ({"X-RateLimit-Limit": "100/min"}, [(100, None, None, 60)]),
        ({"X-RateLimit-Limit": "1, 15000", "X-RateLimit-Policy": "1;w=1, 15000;w=2592000",
          "X-RateLimit-Remaining": "1, 14320", "X-RateLimit-Reset": "1, 1419704"},
         [(1, 1, 1, 1), (15000, 14320, 1419704, 2592000)]),
        # The IETF draft, from its first form to its last.
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"}, [(100, 50, 30, None)]),
        ({"RateLimit-Limit": "100;w=60, 1000;w=3600", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
         [(100, 50, 30, 60), (1000, None, None, 3600)]),
        ({"RateLimit-Limit": "1000, 100;w=60, 1000;w=3600", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
         [(1000, 50, 30, 3600), (100, None, None, 60)]),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "50", "RateLimit-Reset": "5", "RateLimit-Policy": "100;w=10"},
         [(100, 50, 5, 10)]),
        ({"RateLimit": "limit=100, remaining=50, reset=5", "RateLimit-Policy": "100;w=10"}, [(100, 50, 5, 10)]),
        ({"RateLimit-Policy": '"burst";q=100;w=60', "RateLimit": '"burst";r=50;t=30'}, [(100, 50, 30, 60)]),
        ({"RateLimit-Policy": '"burst";q=100;w=60, "day";q=1000;w=86400', "RateLimit": '"day";r=7;t=300'},
         [(1000, 7, 300, 86400), (100, None, None, 60)]),
        ({"RateLimit-Policy": '"a";q=100;w=60;pk=:cHNlc3Rv, c=:,"b";q=5;w=1;qu="requests"', "RateLimit": '"b";r=4;t=1'},
         [(5, 4, 1, 1), (100, None, None, 60)]),
        ({"RateLimit-Policy": '"a";q=100;w=60'}, [(100, None, None, 60)]),
        ({"RateLimit-Policy": '"a";q=65535;qu="content-bytes"', "RateLimit": '"a";r=50;t=30'}, []),
        ({"RateLimit-Policy": '"a";q=5;qu="concurrent-requests"'}, []),
        ({"RateLimit-Policy": '"a";q=5;qu="concurrency", "b";q=9;w=1;qu="request"'}, [(9, None, None, 1)]),
        ({"RateLimit": '"default";r=50;t=30'}, [(None, 50, 30, None)]),
        ({"RateLimit": 'default;r=50;t=30', "RateLimit-Policy": "default;q=100;w=60"}, [(100, 50, 30, 60)]),
        ({"RateLimit-Policy": "default;l=100;w=60", "RateLimit": "default;l=100;r=50;t=30"}, [(100, 50, 30, 60)]),
        # A gateway that says it in two families says one thing twice, and the book takes the tighter.
        ({"X-RateLimit-Limit-Minute": "5", "RateLimit-Limit": "5", "RateLimit-Remaining": "4", "RateLimit-Reset": "12"},
         [(5, None, None, 60), (5, 4, 12, None)]),
    ],
)  # fmt: skip
def test_each_dialect_is_understood_without_being_configured(headers, expected):
    assert read(headers) == expected
    assert read_limits(httpx.Headers(headers), None, NOW) == read_limits(Headers(headers), None, NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json", "Date": "Wed, 04 Mar 2026 09:15:00 GMT", "Content-Length": "12"},
        {"X-RateLimit-Reset": "30"},
        {"X-RateLimit-Limit-Tokens": "40000", "X-RateLimit-Remaining-Tokens": "39000"},
        {"X-Attio-Record-Query-Score": "84"},
        {"Stripe-Rate-Limited-Reason": "endpoint-rate"},
        {"X-Upload-Limit": "10", "Limit": "3"},
        {"X-RateLimit-Limit": "0"},
        {"X-RateLimit-Limit": "-1", "X-RateLimit-Remaining": "-1"},
        {"X-RateLimit-Limit": "nan", "X-RateLimit-Remaining": "inf"},
        {"X-RateLimit-Limit": "9" * 400, "X-RateLimit-Remaining": "unlimited"},
        {"X-RateLimit-Limit": "5" + " " * 10_000},
        {"RateLimit": '"' * 1999},
        {"RateLimit": "limit=, remaining=x"},
        {"RateLimit-Policy": ";;;,,,===,\x00"},
        {"X-RateLimit-Limit-" + "x" * 5000: "5"},
    ],
)
def test_an_answer_that_says_nothing_of_a_limit_of_calls_gives_no_reading(headers):
    assert read(headers) == []


def test_a_moment_is_measured_against_the_partners_own_clock():
    theirs = NOW - timedelta(hours=5)
    headers = {
        "Date": format_datetime(theirs, usegmt=True),
        "X-RateLimit-Remaining": "1",
        "X-RateLimit-Reset": str(int(theirs.timestamp()) + 20),
    }
    assert read(headers) == [(None, 1, 20, None)]


def test_more_left_than_there_is_means_all_of_it():
    assert read({"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "500"}) == [(10, 10, None, None)]


def test_a_prefix_narrows_what_is_read_to_one_family():
    headers = {"X-Acme-Limit-Minute": "9", "X-Acme-Remaining-Minute": "2", "X-RateLimit-Limit": "100"}
    assert read(headers, dialect="X-Acme") == [(9, 2, None, 60)]
    assert read(headers) == [(100, None, None, None)]
    assert read({"X-Acmeville-Limit": "9"}, dialect="x-acme") == []


def test_what_the_names_do_not_tell_the_dialect_does():
    dialect = {"prefix": "x-rate-limit", "window": "60s", "budget": "read", "millis": True}
    headers = {"X-Rate-Limit-Limit": "100", "X-Rate-Limit-Remaining": "40", "X-Rate-Limit-Reset": "2500"}
    assert read_limits(Headers(headers), None, NOW, dialect) == (
        Reading(100, 40, 2.5, 60, "read", "x-rate-limit-limit"),
    )


def test_figures_may_stand_under_other_names_and_in_the_body():
    dialect = LimitDialect.parse({"limit": "header:X-Cap", "remaining": "quota.left", "reset": "quota.0.again"})
    assert dialect.wants_body
    assert read({"X-Cap": "50"}, {"quota": {"left": 3}}, dialect) == [(50, 3, None, None)]
    assert read({}, {"quota": {"left": "3", "0": {"again": 9}}}, dialect) == [(None, 3, 9, None)]
    for odd in (None, [], "text", {"quota": None}, {"quota": {"left": True}}, {"quota": {"left": 10**400}}):
        assert read({}, odd, dialect) == []


def test_a_partner_known_to_send_nothing_is_not_read():
    assert LimitDialect.parse("none") is SILENT
    assert read({"X-RateLimit-Limit": "1"}, dialect="none") == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x ratelimit", "begins no header's name"),
        ({"prefix": ""}, "begins no header's name"),
        ({"prefx": "x-ratelimit"}, "there is no key 'prefx' here: did you mean prefix"),
        ({"colour": "red"}, "there is no key 'colour' here: use prefix, window"),
        ({"window": 60}, "`window` is a time such as 60s"),
        ({"window": "soon"}, "`window` is a time such as 60s"),
        ({"window": "0s"}, "`window` is a time such as 60s"),
        ({"millis": "yes"}, "`millis` is true or false"),
        ({"budget": 3}, "`budget` is the name"),
        ({"limit": "header:"}, "header:NAME or a dotted path"),
        ({"remaining": "a..b"}, "header:NAME or a dotted path"),
        ({"reset": 5}, "header:NAME or a dotted path"),
    ],
)
def test_a_dialect_that_cannot_be_read_is_refused_in_words(value, told):
    with pytest.raises(ValueError, match=told):
        LimitDialect.parse(value)


NAMES = st.sampled_from(
    ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Limit-Minute", "X-RateLimit-Used",
     "X-Rate-Limit-Limit", "X-Rate-Limit-Reset", "RateLimit", "RateLimit-Policy", "RateLimit-Limit", "Date",
     "RateLimit-Remaining", "RateLimit-Reset", "X-RateLimit-Policy", "X-RateLimit-Window", "X-RateLimit-Reset-After")
)  # fmt: skip
FIGURES = st.integers().map(str) | st.floats().map(str) | st.integers(-5, 5000).map(str)
POLICIES = st.lists(st.builds("{};w={}".format, FIGURES, FIGURES), max_size=40).map(", ".join)
NAMED = st.lists(
    st.builds('"{}";q={};w={};r={};t={}'.format, st.text(max_size=5), FIGURES, FIGURES, FIGURES, FIGURES), max_size=30
).map(", ".join)
VALUES = st.one_of(
    FIGURES, POLICIES, NAMED, st.text(max_size=60), st.text(alphabet='";,=\\:a1 w', max_size=60),
    st.datetimes().map(datetime.isoformat), st.text(max_size=3).map(lambda text: text * 4000),
)  # fmt: skip
BODIES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("lr0"), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(NAMES, VALUES, max_size=8), BODIES, st.booleans())
def test_no_answer_however_hostile_raises_or_passes_a_figure_out_of_bounds(headers, body, millis):
    places = {"limit": "l", "remaining": "r", "reset": "r.0", "millis": millis}
    for dialect in (STANDARD, LimitDialect.parse(places)):
        found = read_limits(Headers(headers), body, NOW, dialect)
        assert len(found) <= MOST
        for one in found:
            assert one.limit is not None or one.remaining is not None
            assert one.limit is None or 1 <= one.limit <= LARGEST
            assert one.remaining is None or 0 <= one.remaining <= (one.limit or LARGEST)
            assert one.reset_seconds is None or 0 <= one.reset_seconds <= LONGEST_SECONDS
            assert one.window_seconds is None or 0 < one.window_seconds <= LONGEST_SECONDS
            assert len(one.source) < 200


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(1, 86400 * 366))
def test_what_is_written_in_any_form_of_the_draft_reads_the_same(limit, left, window):
    left = min(left, limit)
    expected = [(limit, left, 1, window)]
    assert read({"RateLimit": f'"p";r={left};t=1', "RateLimit-Policy": f'"p";q={limit};w={window}'}) == expected
    assert (
        read({"RateLimit": f"limit={limit}, remaining={left}, reset=1", "RateLimit-Policy": f"{limit};w={window}"})
        == expected
    )
    figures = {"RateLimit-Remaining": f"{left}", "RateLimit-Reset": "1"}
    assert read({**figures, "RateLimit-Limit": f"{limit};w={window}"}) == expected
    assert read({**figures, "RateLimit-Limit": f"{limit}", "RateLimit-Policy": f"{limit};w={window}"}) == expected
