"""The breaker, as a table and as a machine that hypothesis drives."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from syncd.limits.breaker import Breaker, BreakerPolicy, BreakerState


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


def test_a_failed_probe_starts_the_cooldown_again():
    breaker = opened()
    breaker.failure(breaker.permit(30), 35)
    assert breaker.state(64.9) is BreakerState.OPEN
    assert breaker.state(65) is BreakerState.HALF_OPEN


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


def test_a_hold_outlives_every_cooldown_and_release_lets_calls_go_at_once():
    breaker = Breaker(BreakerPolicy(cooldown_seconds=1))
    before = breaker.permit(0)
    breaker.hold("audit")
    assert breaker.permit(1e6) is None
    breaker.success(before, 1)
    assert breaker.permit(1e6) is None
    breaker.release()
    assert not breaker.permit(1e6).probe


@pytest.mark.parametrize("bad", [{"failures": 0}, {"cooldown_seconds": -1}, {"ratio": 0}, {"ratio": 2}, {"calls": 0}])
def test_a_policy_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**bad)


class Machine(RuleBasedStateMachine):
    """Any order of calls, verdicts, cancellations, holds and time; checked against the rules stated in words."""

    passes = Bundle("passes")

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(BreakerPolicy(failures=3, cooldown_seconds=10))
        self.now = 0.0
        self.probes = set()

    @rule(target=passes)
    def ask(self):
        state = self.breaker.state(self.now)
        leave = self.breaker.permit(self.now)
        if state is BreakerState.OPEN:
            assert leave is None
        elif state is BreakerState.CLOSED:
            assert leave is not None
            assert not leave.probe
        elif leave is not None:
            assert leave.probe
            self.probes.add(leave)
        return leave

    @rule(leave=consumes(passes), good=st.booleans())
    def judge(self, leave, good):
        if leave is None:
            return
        before, counts = self.breaker.state(self.now), self.breaker.valid(leave)
        row = self.breaker.failures
        (self.breaker.success if good else self.breaker.failure)(leave, self.now)
        self.probes.discard(leave)
        after = self.breaker.state(self.now)
        if not counts:
            assert after is before
        elif leave.probe:
            assert after is (BreakerState.CLOSED if good else BreakerState.OPEN)
        elif good:
            assert (after, self.breaker.failures) == (BreakerState.CLOSED, 0)
        else:
            assert after is (BreakerState.OPEN if row == 2 else BreakerState.CLOSED)

    @rule(leave=consumes(passes))
    def cancel(self, leave):
        if leave is None:
            return
        before = self.breaker.state(self.now)
        self.breaker.abandon(leave)
        self.probes.discard(leave)
        assert self.breaker.state(self.now) is before

    @rule(seconds=st.sampled_from((0.1, 3, 9, 10, 30)))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def hold(self):
        self.breaker.hold("by hand")
        self.probes.clear()
        assert self.breaker.state(self.now) is BreakerState.OPEN

    @precondition(lambda self: self.breaker.held_reason is not None)
    @rule()
    def release(self):
        self.breaker.release()
        assert self.breaker.state(self.now) is BreakerState.CLOSED

    @invariant()
    def one_probe_at_most_and_a_stuck_state_never(self):
        alive = [probe for probe in self.probes if self.breaker.valid(probe)]
        assert len(alive) <= 1
        if self.breaker.held_reason is None:
            assert self.breaker.retry_in(self.now) <= 10.001
            if self.breaker.state(self.now) is BreakerState.HALF_OPEN and not alive:
                assert self.breaker.retry_in(self.now) == 0


Machine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestBreakerMachine = Machine.TestCase
