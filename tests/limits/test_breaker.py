"""The breaker, as a table and as a machine that hypothesis drives."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from syncd.limits.breaker import MANY, Breaker, BreakerPolicy, BreakerState


def opened(policy=None, at=0.0):
    breaker = Breaker(policy or BreakerPolicy(failures=2, cooldown_seconds=30))
    for _ in range(breaker.policy.failures):
        breaker.failure(breaker.permit(at), at)
    return breaker


def test_failures_in_a_row_open_it_and_one_success_between_does_not_let_them_add_up():
    breaker = Breaker(BreakerPolicy(failures=3))
    for _ in range(5):
        breaker.failure(breaker.permit(0), 0)
        breaker.failure(breaker.permit(0), 0)
        breaker.success(breaker.permit(0), 0)
    assert breaker.state(0) is BreakerState.CLOSED
    for _ in range(3):
        breaker.failure(breaker.permit(0), 0)
    assert breaker.state(0) is BreakerState.OPEN


def test_a_ratio_of_failures_opens_it_though_no_row_is_long():
    breaker = Breaker(BreakerPolicy(failures=100, ratio=0.5, calls=10))
    for n in range(9):
        (breaker.failure if n % 2 else breaker.success)(breaker.permit(0), 0)
    assert breaker.state(0) is BreakerState.CLOSED
    breaker.failure(breaker.permit(0), 0)
    assert breaker.state(0) is BreakerState.OPEN


def test_half_open_lets_one_probe_go_and_no_other():
    breaker = opened()
    assert breaker.permit(29.9) is None
    assert breaker.state(30) is BreakerState.HALF_OPEN
    probe = breaker.permit(30)
    assert probe.probe
    assert breaker.permit(31) is None
    assert breaker.success(probe, 32)
    assert breaker.state(32) is BreakerState.CLOSED


def test_each_failed_probe_doubles_the_cooldown_up_to_its_bound():
    breaker = opened(BreakerPolicy(failures=2, cooldown_seconds=30, longest_seconds=200))
    now = 0.0
    for wait in (30, 60, 120, 200, 200):
        assert breaker.retry_in(now) == wait
        now += wait
        assert breaker.state(now - 0.1) is BreakerState.OPEN
        assert breaker.state(now) is BreakerState.HALF_OPEN
        assert breaker.failure(breaker.permit(now), now)
    assert breaker.broken_at == 0
    assert (breaker.failures, breaker.failed_probes) == (7, 5)


def test_the_cooldown_begins_when_the_probe_failed_not_when_it_was_sent():
    breaker = opened()
    breaker.failure(breaker.permit(30), 35)
    assert breaker.state(94.9) is BreakerState.OPEN
    assert breaker.state(95) is BreakerState.HALF_OPEN


def test_a_bound_below_the_cooldown_never_shortens_it():
    assert BreakerPolicy(cooldown_seconds=900, longest_seconds=300).cooldown(4) == 900


def test_once_closed_the_cooldown_is_the_short_one_again():
    breaker = opened()
    breaker.failure(breaker.permit(30), 30)
    breaker.success(breaker.permit(90), 91)
    for _ in range(2):
        breaker.failure(breaker.permit(100), 100)
    assert breaker.retry_in(100) == 30


def test_takes_says_how_many_calls_would_be_let_go():
    breaker = Breaker(BreakerPolicy(failures=2, cooldown_seconds=30))
    assert breaker.takes(0) == MANY
    breaker = opened()
    assert breaker.takes(29) == 0
    assert breaker.takes(30) == 1
    probe = breaker.permit(30)
    assert breaker.takes(31) == 0
    breaker.abandon(probe)
    assert breaker.takes(31) == 1


def test_a_reset_closes_it_and_verdicts_of_before_count_for_nothing():
    breaker = opened()
    probe = breaker.permit(30)
    assert breaker.reset()
    assert not breaker.reset()
    assert breaker.state(31) is BreakerState.CLOSED
    assert not breaker.failure(probe, 32)
    assert (breaker.state(32), breaker.failures) == (BreakerState.CLOSED, 0)


def test_a_shorter_cooldown_counts_for_the_one_that_runs():
    breaker = opened(BreakerPolicy(failures=2, cooldown_seconds=600))
    breaker.configure(BreakerPolicy(failures=2, cooldown_seconds=10), 5)
    assert breaker.retry_in(5) == 10
    breaker.configure(BreakerPolicy(failures=2, cooldown_seconds=600), 6)
    assert breaker.retry_in(6) == 9


def test_cancelled_probe_leaves_the_breaker_half_open():
    breaker = opened()
    breaker.abandon(breaker.permit(30))
    assert breaker.state(31) is BreakerState.HALF_OPEN
    assert breaker.permit(31).probe


def test_verdicts_on_calls_sent_before_it_opened_count_for_nothing():
    breaker = Breaker(BreakerPolicy(failures=2, cooldown_seconds=30))
    late = [breaker.permit(0) for _ in range(4)]
    breaker.failure(late[0], 1)
    breaker.failure(late[1], 1)
    assert not breaker.success(late[2], 2)
    assert not breaker.failure(late[3], 20)
    assert breaker.state(20) is BreakerState.OPEN
    assert breaker.state(31) is BreakerState.HALF_OPEN


def test_a_verdict_counts_once():
    breaker = Breaker(BreakerPolicy(failures=2))
    leave = breaker.permit(0)
    breaker.failure(leave, 0)
    breaker.failure(leave, 0)
    assert breaker.state(0) is BreakerState.CLOSED


@pytest.mark.parametrize("bad", [{"failures": 0}, {"cooldown_seconds": -1}, {"ratio": 0}, {"ratio": 2}, {"calls": 0}])
def test_a_policy_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**bad)


class Machine(RuleBasedStateMachine):
    """Any order of calls, verdicts, cancellations, resets, restarts and time; checked against the rules stated in words."""

    passes = Bundle("passes")

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(BreakerPolicy(failures=3, cooldown_seconds=10, longest_seconds=35))
        self.now = 0.0
        self.probes = set()

    @rule(target=passes)
    def ask(self):
        state, takes = self.breaker.state(self.now), self.breaker.takes(self.now)
        leave = self.breaker.permit(self.now)
        assert (leave is not None) == (takes > 0)
        if state is BreakerState.OPEN:
            assert leave is None
        elif state is BreakerState.CLOSED:
            assert leave is not None
            assert not leave.probe
        elif leave is not None:
            assert leave.probe
            self.probes.add(leave)
        return self.breaker, leave

    @rule(given=consumes(passes), good=st.booleans())
    def judge(self, given, good):
        breaker, leave = given
        if leave is None or breaker is not self.breaker:  # a process that ended judges nothing
            return
        before, counts = self.breaker.state(self.now), self.breaker.valid(leave)
        row, broken_at = self.breaker.failures, self.breaker.broken_at
        (self.breaker.success if good else self.breaker.failure)(leave, self.now)
        self.probes.discard(leave)
        after = self.breaker.state(self.now)
        if not counts:
            assert (after, self.breaker.failures) == (before, row)
        elif leave.probe:
            assert after is (BreakerState.CLOSED if good else BreakerState.OPEN)
            assert good or self.breaker.broken_at == broken_at
        elif good:
            assert (after, self.breaker.failures) == (BreakerState.CLOSED, 0)
        else:
            assert after is (BreakerState.OPEN if row == 2 else BreakerState.CLOSED)

    @rule(given=consumes(passes))
    def cancel(self, given):
        breaker, leave = given
        if leave is None or breaker is not self.breaker:
            return
        before = self.breaker.state(self.now)
        self.breaker.abandon(leave)
        self.probes.discard(leave)
        assert self.breaker.state(self.now) is before

    @rule(seconds=st.sampled_from((0.125, 3, 9, 10, 30)))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def reset(self):
        was = self.breaker.broken_at is not None
        assert self.breaker.reset() == was
        self.probes.clear()
        assert self.breaker.state(self.now) is BreakerState.CLOSED

    @rule(cooldown=st.sampled_from((5, 10)))
    def configure(self, cooldown):
        before = self.breaker.state(self.now)
        self.breaker.configure(BreakerPolicy(failures=3, cooldown_seconds=cooldown, longest_seconds=35), self.now)
        assert self.breaker.state(self.now) is before

    @rule(away=st.sampled_from((0.0, 4.0, 128.0)))
    def restart(self, away):
        old = self.breaker
        self.now += away
        self.breaker = Breaker(old.policy)
        open_for = None if old.broken_at is None else self.now - old.broken_at
        self.breaker.resume(old.failures, old.failed_probes, open_for, old.probe_at - self.now, self.now)
        self.probes.clear()
        assert self.breaker.state(self.now) is old.state(self.now)
        assert (self.breaker.failures, self.breaker.broken_at) == (old.failures, pytest.approx(old.broken_at))

    @invariant()
    def one_probe_at_most_and_a_stuck_state_never(self):
        alive = [probe for probe in self.probes if self.breaker.valid(probe)]
        assert len(alive) <= 1
        assert self.breaker.retry_in(self.now) <= 35.001
        if self.breaker.state(self.now) is BreakerState.HALF_OPEN and not alive:
            assert self.breaker.retry_in(self.now) == 0
            assert self.breaker.takes(self.now) == 1


Machine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestBreakerMachine = Machine.TestCase
