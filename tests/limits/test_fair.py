"""Turns among members."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.limits.fair import FairQueue, Turns


def test_members_alternate_whatever_the_length_of_their_lines():
    queue = FairQueue()
    for n in range(6):
        queue.push("long", ("long", n))
    for n in range(2):
        queue.push("short", ("short", n))
    assert [queue.pop()[0] for _ in range(5)] == ["long", "short", "long", "short", "long"]


def test_who_was_idle_starts_level_and_earns_no_credit_by_silence():
    queue = FairQueue()
    for n in range(50):
        queue.push("busy", n)
    for _ in range(40):
        queue.pop()
    for n in range(50):
        queue.push("late", 100 + n)
    first = [queue.pop() for _ in range(10)]
    assert 4 <= sum(item >= 100 for item in first) <= 6


def test_costs_and_shares_count():
    queue = FairQueue(Turns({"double": 2.0}))
    for _ in range(300):
        queue.push("double", "d")
        queue.push("heavy", "h", cost=3.0)
        queue.push("plain", "p")
    taken = [queue.pop() for _ in range(200)]
    assert abs(taken.count("d") - 2 * taken.count("p")) <= 3
    assert abs(taken.count("p") - 3 * taken.count("h")) <= 4


def test_queues_that_share_turns_are_fair_over_all_of_them():
    turns = Turns()
    reads, writes = FairQueue(turns), FairQueue(turns)
    for n in range(40):
        reads.push("greedy", n)
        writes.push("greedy", n)
        writes.push("modest", n)
    served = []
    for _ in range(30):
        queue = min((reads, writes), key=lambda one: turns.of("modest" if one is writes else "greedy"))
        queue.peek()
        before = turns.of("greedy")
        queue.pop()
        served.append("greedy" if turns.of("greedy") > before else "modest")
    assert abs(served.count("greedy") - served.count("modest")) <= 2


@given(st.lists(st.tuples(st.sampled_from(("push", "pop", "discard")), st.integers(0, 3), st.integers(0, 30))))
def test_it_holds_exactly_what_was_pushed_and_neither_popped_nor_discarded(steps):
    queue, inside, tickets = FairQueue(), {}, {}
    for n, (step, member, choice) in enumerate(steps):
        if step == "push":
            tickets[n] = queue.push(str(member), n)
            inside[n] = str(member)
        elif step == "pop" and inside:
            expected = queue.peek()
            item = queue.pop()
            assert item == expected
            own = [known for known, name in inside.items() if name == inside[item]]
            assert item == min(own)  # first come, first served within a member
            del inside[item]
        elif step == "discard" and tickets:
            item = sorted(tickets)[choice % len(tickets)]
            assert queue.discard(tickets[item]) == (item in inside)
            inside.pop(item, None)
        assert len(queue) == len(inside)
        assert set(queue) == set(inside)
        for member in map(str, range(4)):
            count = sum(name == member for name in inside.values())
            assert queue.ahead(member) == (count, float(count))
    assert (queue.peek() is None) == (not inside)
