"""Which adapter reads which record: the same always, and never back while a share grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.sync.rollout import Rollout, principal

IDS = [f"{n:x}" for n in range(4_000)]


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_record_that_has_moved_stays_moved_while_the_share_grows(one: int, other: int) -> None:
    less, more = sorted((one, other))
    before, after = Rollout.of({"v1": 100 - less, "v2": less}), Rollout.of({"v1": 100 - more, "v2": more})
    assert all(after.adapter_of(each) == "v2" for each in IDS[:500] if before.adapter_of(each) == "v2")


@pytest.mark.parametrize("share", [1, 10, 33.3, 50, 99])
def test_the_shares_are_kept_to(share: float) -> None:
    rollout = Rollout.of({"v1": 100 - share, "v2": share})
    found = sum(rollout.adapter_of(each) == "v2" for each in IDS) / len(IDS) * 100
    assert found == pytest.approx(share, abs=2.5)
    assert rollout.shares == pytest.approx({"v1": 100 - share, "v2": share})


def test_ids_that_follow_each_other_are_spread() -> None:
    rollout = Rollout.of({"v1": 90, "v2": 10})
    for first in range(0, 100_000, 10_000):
        found = sum(rollout.adapter_of(str(number)) == "v2" for number in range(first, first + 1_000))
        assert 50 < found < 160


def test_an_adapter_of_none_reads_nothing_and_the_last_reads_to_the_end() -> None:
    assert Rollout.of({"v1": 0, "v2": 100}).names == ("v2",)
    third = Rollout.of({"v1": 33.33, "v2": 33.33, "v3": 33.34})
    assert third.names == ("v3", "v2", "v1")
    assert {third.adapter_of(each) for each in IDS} == {"v1", "v2", "v3"}
    assert Rollout.of({"v9": 50, "v10": 50}).names == ("v10", "v9"), "ten comes after nine"


@given(st.text())
def test_any_id_is_read_by_one(external_id: str) -> None:
    assert Rollout.of({"v1": 50, "v2": 50}).adapter_of(external_id) in {"v1", "v2"}


def test_the_adapter_of_most_records_says_who_a_record_is() -> None:
    assert principal({"v1": 90, "v2": 10}) == "v1"
    assert principal({"v1": 50, "v2": 50}) == "v2"
