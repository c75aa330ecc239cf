"""Retries: how long between, how many at most, and that a sick partner does not get more of them than a share."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import PartnerError, RejectedError, TransientError
from syncd.limits.backoff import BackoffPolicy, RetryBudget, retrying
from syncd.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


def worth(error):
    return isinstance(error, TransientError)


async def attempt_until(clock, outcomes, **known):
    tries = []

    async def run():
        async for attempt in retrying(known.pop("policy", BackoffPolicy()), clock=clock, worth=worth, **known):
            with attempt:
                tries.append(clock.monotonic())
                outcome = outcomes[len(tries) - 1]
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome
        raise AssertionError("the loop ended without a result")

    try:
        return await clock.run(run()), tries
    except PartnerError as error:
        return error, tries


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_between_zero_and_its_ceiling_and_the_ceiling_grows_to_the_cap(attempt, chance):
    policy = BackoffPolicy(base_seconds=0.5, cap_seconds=15)
    assert 0 <= policy.wait(attempt, chance) <= policy.ceiling(attempt) <= 15
    assert policy.ceiling(attempt) <= policy.ceiling(attempt + 1)


async def test_a_passing_trouble_is_ridden_out(clock):
    result, tries = await attempt_until(clock, [TransientError("a"), TransientError("b"), "fine"])
    assert (result, len(tries)) == ("fine", 3)


async def test_the_last_error_is_raised_as_it_was_after_the_last_attempt(clock):
    last = TransientError("last")
    result, tries = await attempt_until(
        clock, [TransientError("a"), TransientError("b"), last], policy=BackoffPolicy(attempts=3)
    )
    assert result is last
    assert len(tries) == 3


async def test_what_is_not_worth_it_is_tried_once(clock):
    refused = RejectedError("no")
    assert await attempt_until(clock, [refused]) == (refused, [clock.monotonic()])


async def test_a_time_the_partner_named_is_waited_for(clock):
    named = TransientError("busy", retry_at=clock.now() + timedelta(seconds=9))
    _, tries = await attempt_until(clock, [named, "fine"])
    assert tries[1] - tries[0] >= 9


async def test_no_retry_begins_that_the_deadline_would_cut(clock):
    named = TransientError("busy", retry_at=clock.now() + timedelta(seconds=9))
    result, tries = await attempt_until(clock, [named, "fine"], deadline_at=clock.monotonic() + 5)
    assert result is named
    assert len(tries) == 1


async def test_an_empty_budget_ends_the_tries_and_says_so(clock):
    told = []
    budget = RetryBudget(clock, floor=1)
    result, tries = await attempt_until(
        clock, [TransientError(str(n)) for n in range(4)], budget=budget, exhausted=lambda: told.append(1)
    )
    assert isinstance(result, TransientError)
    assert (len(tries), told) == (2, [1])


async def test_each_retry_is_told_before_it_waits(clock):
    told = []
    await attempt_until(
        clock, [TransientError("a"), TransientError("b"), 1], before=lambda n, error, wait: told.append((n, str(error)))
    )
    assert told == [(1, "a"), (2, "b")]


async def test_retries_stay_a_fifth_of_the_calls_when_everything_fails(clock):
    budget = RetryBudget(clock)
    retries = 0
    for _ in range(2000):
        budget.earn()
        retries += sum(budget.spend() for _ in range(3))
        await clock.advance(0.01)
    assert 0.19 * 2000 <= retries <= 0.2 * 2000 + 5 + 5 * 20 / 60 + 1


async def test_a_quiet_partner_keeps_a_few_retries_a_minute(clock):
    budget = RetryBudget(clock, floor=5)
    assert sum(budget.spend() for _ in range(20)) == 5
    await clock.advance(12.1)
    assert budget.spend()
    assert not budget.spend()
    await clock.advance(3600)
    assert budget.left == 5
