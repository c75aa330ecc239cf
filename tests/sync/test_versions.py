"""Which of two versions is the later one, and which cannot be told apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.kit import Event, Identity, Item
from syncd.store.records import Stamps
from syncd.sync.page import PageIn
from syncd.sync.versions import Version, order, raises, read_since, tied

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def page(version: int | None, updated: float | None, fetched: float = 0) -> PageIn:
    identity = Identity("7", version, None if updated is None else at(updated))
    return PageIn([Item("things", {"id": "7"}, identity)], at(fetched), "test")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ((1, None), (1, None), True),
        ((1, None), (2, None), False),
        ((1, at(5)), (2, at(5)), False),
        ((None, at(5.5)), (None, at(5.5)), True),
        ((None, at(5.5)), (None, at(5.6)), False),
        ((None, at(5)), (None, at(5.9)), True),
        ((None, at(5)), (None, at(6)), False),
        ((None, None), (None, at(6)), False),
        ((1, None), (None, at(6)), False),
    ],
    ids=str,
)
def test_versions_are_alike_where_neither_says_it_is_later(one: Version, other: Version, alike: bool):
    assert tied(one, other) is tied(other, one) is alike


@pytest.mark.parametrize(
    ("stored", "came", "brings_back"),
    [
        (None, page(None, 5), False),
        (Stamps(at(5), None, at(9), b"1", False), page(None, 6), False),
        (Stamps(at(5), None, at(9), b"", True), page(None, 6), True),
        (Stamps(at(5), None, at(9), b"", True), page(None, 5), False),
        (Stamps(at(5), 3, at(9), b"", True), page(4, 4), True),
        (Stamps(at(5), 3, at(9), b"", True), page(3, 6), False),
        (Stamps(None, None, at(9), b"", True), page(None, 6), True),
    ],
    ids=str,
)
def test_only_what_is_not_surely_older_brings_a_dead_record_back(stored: Stamps, came: PageIn, brings_back: bool):
    assert raises(stored, came) is brings_back


def test_an_end_before_the_record_was_read_alive_is_doubted_only_where_its_versions_have_no_time():
    end = Event("things", "7", at=at(5), deleted=True)
    assert read_since(Stamps(None, None, at(9), b"1", False), end)
    assert not read_since(Stamps(None, None, at(4), b"1", False), end)
    assert not read_since(Stamps(at(3), None, at(9), b"1", False), end)
    assert not read_since(Stamps(None, None, at(9), b"", True), end)
    assert not read_since(None, end)


def test_the_latest_version_is_that_of_the_highest_number_then_of_the_latest_stamp():
    pages = [page(None, 9), page(1, 8), page(2, 3), page(2, 4)]
    assert max(pages, key=order) is pages[3]
    assert max([page(None, 3, 9), last := page(None, 4, 1)], key=order) is last
