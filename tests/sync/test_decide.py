"""Error and attempt in, outcome out."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    GoneError,
    OwnershipError,
    PayloadError,
    RateLimitError,
    RejectedError,
    StaleWorkError,
    StoreError,
    TransientError,
)
from syncd.sync.decide import Bury, Done, Drop, Later, RetryPolicy, decide

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=40)
POLICY = RetryPolicy(attempts=4)


def outcome(error: BaseException, attempt: int = 1):
    return decide(error, attempt, NOW, POLICY, 0.5)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RateLimitError("slow down", retry_at=SOON), Later(SOON, counts=False)),
        (GoneError("404"), Done(gone=True)),
        (StaleWorkError("newer stored"), Drop("newer stored")),
        (OwnershipError("another owns it"), Drop("another owns it")),
        (AuthError("revoked"), Later(NOW + timedelta(seconds=POLICY.auth_pause_seconds), counts=False)),
        (StoreError("away"), Later(NOW + timedelta(seconds=POLICY.store_pause_seconds), counts=False)),
        (RejectedError("400"), Bury("RejectedError: 400")),
        (PayloadError("a list was due"), Bury("PayloadError: a list was due")),
        (KeyError("oops"), Bury("KeyError: 'oops'")),
        (RateLimitError("too expensive", hopeless=True), Bury("too expensive")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_class_has_its_outcome(error: BaseException, expected: object):
    assert outcome(error) == expected


def test_work_refused_by_an_open_breaker_comes_back_spread_behind_the_next_probe():
    error = BreakerOpenError("open", retry_at=SOON)
    for chance in (0.0, 0.5, 0.999):
        decided = decide(error, 1, NOW, POLICY, chance)
        assert isinstance(decided, Later)
        assert not decided.counts
        assert SOON < decided.at < SOON + timedelta(seconds=31)
    later = BreakerOpenError("open", retry_at=NOW + timedelta(seconds=2))
    assert decide(later, 1, NOW, POLICY, 0.999).at < NOW + timedelta(seconds=4.1), "as long again as the wait at most"


def test_work_that_happened_to_be_the_probe_is_not_to_blame_and_is_not_the_next_one():
    error = TransientError("503", retry_at=SOON)
    error.blameless = True
    decided = outcome(error, attempt=100)
    assert isinstance(decided, Later)
    assert not decided.counts
    assert decided.at > SOON


def test_work_for_which_no_token_was_to_be_had_is_never_buried_for_it():
    error = TransientError("the token endpoint answered 503", breaks=False)
    error.blameless = True
    decided = outcome(error, attempt=100)
    assert isinstance(decided, Later)
    assert not decided.counts
    assert decided.at > NOW


def test_transient_trouble_is_tried_again_until_the_attempts_are_spent():
    assert isinstance(outcome(TransientError("502"), POLICY.attempts - 1), Later)
    assert isinstance(outcome(TransientError("502"), POLICY.attempts), Bury)


def test_a_time_the_partner_named_is_never_undercut():
    far = NOW + timedelta(hours=2)
    assert outcome(TransientError("503", retry_at=far)) == Later(far)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_grows_to_its_bound_and_never_beyond(attempt: int, chance: float):
    span = POLICY.backoff(attempt, chance).total_seconds()
    assert POLICY.first_seconds / 2 <= span <= POLICY.longest_seconds


def test_a_wait_that_is_nobodys_failure_costs_no_attempt():
    for error in (RateLimitError("x"), BreakerOpenError("x", retry_at=SOON), AuthError("x"), StoreError("x")):
        decided = outcome(error)
        assert isinstance(decided, Later)
        assert not decided.counts
