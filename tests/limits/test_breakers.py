"""The breakers of a scope: groups apart, holds over them, what is said and remembered; as a table and as a machine."""

import json
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from syncd.errors import BreakerOpenError
from syncd.limits.breaker import MANY, BreakerPolicy, BreakerState
from syncd.limits.breakers import Breakers, Hold
from syncd.testing.clock import FakeClock

POLICY = BreakerPolicy(failures=2, cooldown_seconds=30)


class Told:
    """A scope's breakers with what they said and how often they called for a ramp."""

    def __init__(self, clock, policy=POLICY):
        self.events = []
        self.returns = 0
        self.turns = 0
        self.it = Breakers("s", policy, clock, lambda event, **facts: self.events.append((event, facts)))
        self.it.returned = self.returned
        self.it.turned = self.turned
        self.clock = clock

    def returned(self):
        self.returns += 1

    def turned(self):
        self.turns += 1

    @property
    def now(self):
        return self.clock.monotonic()

    def judge(self, group="", *, good, why=""):
        return self.it.verdict(group, self.it.permit(group, self.now), self.now, good=good, why=why)

    def break_(self, group="", why="GET /things: answered 503"):
        while self.it.state(group) is BreakerState.CLOSED:
            self.judge(group, good=False, why=why)

    def said(self):
        return [event for event, _ in self.events]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def told(clock):
    return Told(clock)


async def test_it_is_said_once_when_it_breaks_and_once_when_it_heals(told, clock):
    told.break_()
    for _ in range(3):
        await clock.advance(told.it.of("").retry_in(told.now))
        told.judge(good=False, why="GET /things: answered 503")
    await clock.advance(told.it.of("").retry_in(told.now))
    told.judge(good=True)
    assert told.said() == ["breaker_opened", "breaker_closed"]
    opened, closed = (facts for _, facts in told.events)
    assert opened["reason"] == "GET /things: answered 503"
    assert opened["probe_in_seconds"] == 30
    assert closed["after_seconds"] == pytest.approx(30 + 60 + 120 + 240)


async def test_the_last_five_errors_are_kept_with_their_times(told, clock):
    for number in range(8):
        told.judge(good=False, why=f"error {number}")
        await clock.advance(told.it.of("").retry_in(told.now))
    view = told.it.view(told.now)[""]
    assert [error["error"] for error in view["errors"]] == [f"error {number}" for number in range(3, 8)]
    assert view["errors"][-1]["at"] < clock.now()
    assert view["since"] == clock.now() - timedelta(seconds=told.now - told.it.of("").broken_at)


async def test_a_hold_stops_calls_of_the_scope_and_its_end_leaves_the_breakers_as_they_were(told, clock):
    told.break_("reports")
    told.judge("orders", good=True)
    told.it.hold(Hold("migration", "ann", clock.now()), None)
    await clock.advance(3600)
    for group in ("orders", "reports", "never seen"):
        assert told.it.takes(group) == 0
        with pytest.raises(BreakerOpenError, match="held by ann: migration") as refused:
            told.it.permit(group, told.now)
        assert (refused.value.held, refused.value.group) == (True, "")
    told.it.release(None)
    assert told.it.takes("orders") == MANY
    assert told.it.takes("reports") == 1, "what was open asks by a probe first"
    assert told.returns == 1


async def test_a_hold_of_one_group_leaves_the_others_alone_and_says_which_it_is(told, clock):
    told.it.hold(Hold("reports cost too much", "ann", clock.now()), "reports")
    assert told.it.takes("orders") == MANY
    with pytest.raises(BreakerOpenError) as refused:
        told.it.permit("reports", told.now)
    assert (refused.value.held, refused.value.group) == (True, "reports")
    assert told.it.view(told.now)["reports"]["held"]["who"] == "ann"


async def test_a_hold_ends_by_itself_at_its_time(told, clock):
    until = clock.now() + timedelta(hours=2)
    told.it.hold(Hold("over night", "ann", clock.now(), until), None)
    await clock.advance(7199)
    with pytest.raises(BreakerOpenError) as refused:
        told.it.permit("", told.now)
    assert refused.value.retry_at == until, "never later than its end"
    await clock.advance(1)
    assert told.it.permit("", told.now) is not None
    assert told.said() == ["breaker_held", "breaker_released"]
    assert told.returns == 1


async def test_the_same_holds_taken_over_again_are_no_news(told, clock):
    hold = Hold("over night", "ann", clock.now())
    assert told.it.set_holds({None: hold}) == [""]
    told.it.of("orders")
    assert told.it.set_holds({None: hold}) == []
    assert told.it.set_holds({None: hold, "orders": hold}) == ["orders"]
    assert told.said() == ["breaker_held", "breaker_held"]
    told.it.set_holds({})
    assert told.said()[2:] == ["breaker_released", "breaker_released"]
    assert told.it.held("orders") is None


async def test_a_hold_whose_time_is_over_already_is_never_taken_over(told, clock):
    past = Hold("yesterday", "ann", clock.now(), clock.now() - timedelta(seconds=1))
    told.it.set_holds({None: past})
    assert told.it.takes("") == MANY
    assert told.events == []


async def test_the_scope_ramps_up_when_its_breaker_closes_but_not_when_other_groups_were_served_meanwhile(told, clock):
    told.break_()
    await clock.advance(30)
    told.judge(good=True)
    assert told.returns == 1
    told.break_("reports")
    await clock.advance(10)
    told.judge(good=True)
    await clock.advance(20)
    told.judge("reports", good=True)
    assert told.said()[-1] == "breaker_closed"
    assert told.returns == 1


async def test_a_reset_closes_what_is_open_and_nothing_else(told, clock):
    told.break_("reports")
    told.judge("orders", good=True)
    assert told.it.reset("orders") == []
    assert told.it.reset("unheard of") == []
    assert told.it.reset() == ["reports"]
    assert told.it.takes("reports") == MANY
    assert told.returns == 1


@pytest.mark.parametrize(
    ("away", "state"),
    [(0, BreakerState.OPEN), (29, BreakerState.OPEN), (31, BreakerState.HALF_OPEN), (1e6, BreakerState.HALF_OPEN)],
)
async def test_an_open_breaker_comes_back_open_or_half_open_after_a_restart(told, clock, away, state):
    told.break_("reports", why="POST /reports: no complete answer within the deadline")
    kept = json.loads(json.dumps(told.it.export(told.now)))
    later = FakeClock(clock.now() + timedelta(seconds=away), monotonic=5.0)
    after = Told(later)
    after.it.absorb(kept, after.now, away_seconds=away)
    assert after.it.state("reports") is state
    assert after.it.takes("reports") <= 1, "no burst at a partner known to be sick"
    view = after.it.view(after.now)["reports"]
    assert view["failures"] == 2
    assert abs((view["since"] - clock.now()).total_seconds()) < 0.001
    assert view["errors"][-1]["error"] == "POST /reports: no complete answer within the deadline"
    assert after.events == [], "what was said before the restart is not said again"


async def test_failures_short_of_opening_are_remembered_too_and_a_healthy_scope_has_nothing_to_remember(told, clock):
    assert told.it.export(told.now) == {}
    told.judge(good=False)
    after = Told(clock)
    after.it.absorb(told.it.export(told.now), after.now, away_seconds=1)
    after.judge(good=False)
    assert after.it.state("") is BreakerState.OPEN
    after.it.absorb({}, after.now, away_seconds=1)
    assert after.it.state("") is BreakerState.CLOSED, "a later owner found the partner well"


async def test_what_changed_is_told_so_that_it_can_be_stored(told, clock):
    told.break_()
    assert told.turns == 1
    await clock.advance(30)
    told.judge(good=False)
    assert told.turns == 2
    await clock.advance(60)
    told.judge(good=True)
    assert told.turns == 3


class Machine(RuleBasedStateMachine):
    """Calls of two groups, holds, releases, resets, reloads, restarts and time in any order."""

    passes = Bundle("passes")
    groups = st.sampled_from(("", "reports"))
    whole = st.sampled_from((None, "", "reports"))

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.told = Told(self.clock)
        self.holds = {}
        self.now = 0.0

    @property
    def it(self):
        return self.told.it

    def held(self, group):
        return None in self.holds or group in self.holds

    @rule(target=passes, group=groups)
    def ask(self, group):
        takes, state = self.it.takes(group), self.it.state(group)
        try:
            leave = self.it.permit(group, self.told.now)
        except BreakerOpenError as refused:
            assert takes == 0
            assert state is not BreakerState.CLOSED
            assert refused.held == self.held(group)
            assert refused.retry_at > self.clock.now()
            return None
        assert takes > 0
        assert not self.held(group)
        assert leave.probe == (takes == 1)
        assert self.it.valid(group, leave)
        return self.told, group, leave

    @rule(given=consumes(passes), good=st.booleans())
    def judge(self, given, good):
        if given is not None and given[0] is self.told:  # a process that ended judges nothing
            _, group, leave = given
            before = self.it.of(group).broken_at
            opened = self.it.verdict(group, leave, self.told.now, good=good, why="answered 503")
            after = self.it.of(group).broken_at
            assert not (opened and after is None)
            if before is not None and after is None:
                assert leave.probe
                assert good

    @rule(given=consumes(passes))
    def cancel(self, given):
        if given is not None and given[0] is self.told:
            _, group, leave = given
            before = self.it.state(group)
            self.it.of(group).abandon(leave)
            assert self.it.state(group) is before

    @rule(group=whole, lasts=st.sampled_from((None, 20)))
    def hold(self, group, lasts):
        until = None if lasts is None else self.clock.now() + timedelta(seconds=lasts)
        self.holds[group] = Hold("audit", "ann", self.clock.now(), until)
        self.it.set_holds(self.holds)

    @rule(group=whole)
    def release(self, group):
        broken = {name: self.it.of(name).broken_at for name in ("", "reports")}
        self.holds.pop(group, None)
        self.it.set_holds(self.holds)
        assert broken == {name: self.it.of(name).broken_at for name in ("", "reports")}

    @rule(seconds=st.sampled_from((0.1, 10, 30, 60)))
    def wait(self, seconds):
        self.clock._monotonic += seconds
        now = self.clock.now()
        self.holds = {group: hold for group, hold in self.holds.items() if not hold.over(now)}

    @rule(group=whole)
    def reset(self, group):
        broken = [name for name in ("", "reports") if self.it.of(name).broken_at is not None and group in (None, name)]
        assert sorted(self.it.reset(group)) == sorted(broken)

    @rule(cooldown=st.sampled_from((5, 30)))
    def configure(self, cooldown):
        before = [self.it.state(name) for name in ("", "reports")]
        self.it.configure(BreakerPolicy(failures=2, cooldown_seconds=cooldown))
        assert before == [self.it.state(name) for name in ("", "reports")]

    @rule(away=st.sampled_from((0.0, 3.0, 400.0)))
    def restart(self, away):
        kept = json.loads(json.dumps(self.it.export(self.told.now)))
        broken = {name for name in ("", "reports") if self.it.of(name).broken_at is not None}
        self.clock = FakeClock(self.clock.now() + timedelta(seconds=away), monotonic=7.0)
        self.holds = {group: hold for group, hold in self.holds.items() if not hold.over(self.clock.now())}
        self.told = Told(self.clock)
        self.it.set_holds(self.holds)
        self.it.absorb(kept, self.told.now, away_seconds=away)
        assert broken == {name for name in ("", "reports") if self.it.of(name).broken_at is not None}

    @invariant()
    def held_means_nothing_goes_and_the_view_says_so(self):
        view = self.it.view(self.told.now)
        json.dumps(view, default=str)
        for group, said in view.items():
            assert (said["held"] is not None) == self.held(group)
            if self.held(group):
                assert (said["state"], self.it.takes(group)) == ("open", 0)
            assert said["retry_in_seconds"] <= 300
            assert (said["since"] is None) == (self.it.of(group).broken_at is None)


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakersMachine = Machine.TestCase
