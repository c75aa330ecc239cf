"""Do the histories see anything? The gate is broken in one place at a time, and a few hundred seeds must tell."""

import asyncio

import pytest

from syncd.limits.book import Book
from syncd.limits.bucket import Bucket
from syncd.limits.gate import Gate
from syncd.limits.recorder import Recorder
from syncd.limits.rings import Ring
from syncd.limits.waiting import WaitingRoom
from syncd.limits.windows import Window
from tests.limits.history.plan import draw
from tests.limits.history.world import World

MOST_SEEDS = 400


def drop_the_latency(patch):
    """A slot is free one window after the send, whenever the answer comes."""

    def answer(self, mark, weight, now, grace_seconds=0.0):
        self.flying = max(0.0, self.flying - weight)
        sent_at = mark.free_at - self.hold_seconds if mark is not None else now
        self.held.push(max(sent_at, now - 1e6) + self.hold_seconds, weight)

    patch.setattr(Window, "answer", answer)


def forget_a_tier_on_reload(patch):
    """A reload starts the first tier from nothing."""
    configure = Book.configure

    def forgetting(self, specs, **known):
        self.tiers = getattr(self, "tiers", [])[1:]
        configure(self, specs, **known)

    patch.setattr(Book, "configure", forgetting)


def skip_the_last_wake_up(patch):
    """Who looked out and goes tells nobody."""
    patch.setattr(
        "syncd.limits.waiting._tell", lambda call: call.on_change() if call.on_change and call.number else None
    )


def look_out_too_late(patch):
    """The lookout sleeps a second longer than it should."""
    dispatch = WaitingRoom.dispatch

    def late(self):
        dispatch(self)
        self._wake_at += 1.0

    patch.setattr(WaitingRoom, "dispatch", late)


def count_a_bucket_without_its_flight(patch):
    def admits(self, now, lane, weight, idle):
        self._drain(now)
        return self._held + weight <= self.ceiling and self._sent + min(weight, self.budget) <= self.budget

    patch.setattr(Bucket, "admits", admits)


def forget_the_grace(patch):
    """A call without an answer counts as if it had arrived when we gave it up."""
    answer = Book.answer
    patch.setattr(Book, "answer", lambda self, call, now, *, grace_seconds=0.0: answer(self, call, now))


def believe_a_kill_was_clean(patch):
    recall = Recorder.recall
    patch.setattr(Recorder, "recall", lambda self, state, *, clean: recall(self, state, clean=True))


def never_store_before_a_call(patch):
    patch.setattr(Recorder, "note", lambda self, call, *rest: False)


def lose_a_seat_now_and_then(patch):
    vacate = Book.vacate

    def losing(self, call):
        if call.number % 7 == 0:
            call.seated = False
        vacate(self, call)

    patch.setattr(Book, "vacate", losing)


def measure_by_the_wall_clock(patch):
    """Waits and windows follow a clock that jumps."""
    init = Gate.__init__

    def walled(self, *args, clock, **known):
        init(self, *args, clock=Wall(clock), **known)

    patch.setattr(Gate, "__init__", walled)


class Wall:
    def __init__(self, clock):
        self._clock = clock

    def monotonic(self):
        return self._clock.now().timestamp()

    def __getattr__(self, name):
        return getattr(self._clock, name)


def free_a_window_early(patch):
    """A twentieth of the window too early."""
    push = Ring.push

    def early(self, free_at, weight, *rest, **known):
        return push(self, free_at - 0.05, weight, *rest, **known)

    patch.setattr(Ring, "push", early)


def lend_nothing_back(patch):
    """What a cancelled call held is kept."""
    patch.setattr(Window, "undo", lambda self, mark, weight: None)


MUTATIONS = (
    drop_the_latency, forget_a_tier_on_reload, skip_the_last_wake_up, look_out_too_late, count_a_bucket_without_its_flight,
    forget_the_grace, believe_a_kill_was_clean, never_store_before_a_call, lose_a_seat_now_and_then,
    measure_by_the_wall_clock, free_a_window_early, lend_nothing_back,
)  # fmt: skip


async def caught_by(seeds):
    """The first seed that tells, and what it says; None if none does."""
    for seed in seeds:
        world = World(draw(seed))
        try:
            await world.live()
            said = (world.ledger.broken() + world.witness.wrongs)[:1]
        except Exception as error:  # a broken gate may fail in any way
            said = [repr(error)]
        if said:
            return seed, said[0]
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_broken_gate_is_found_out(mutation, monkeypatch):
    mutation(monkeypatch)
    assert asyncio.run(caught_by(range(MOST_SEEDS))) is not None
