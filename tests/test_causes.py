"""How a person names a cause: by its name, the first letters of that, or words of it; never by a guess."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from syncd import causes
from syncd.errors import ConfigError
from syncd.store import Trouble

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def trouble(integration: str, resource: str, fingerprint: str, message: str = "", count: int = 1) -> Trouble:
    return Trouble(integration, resource, fingerprint, message or fingerprint, count, NOON, NOON, ())


EVERY = [
    (causes.LETTER, trouble("booking", "reservations", "reservations · RejectedError 403 · no scope", "answered 403")),
    (causes.LETTER, trouble("booking", "rooms", "rooms · RejectedError 422 · address is required", "answered 422")),
    (causes.LETTER, trouble("guesty", "rooms", "rooms · RejectedError 403 · no scope", "answered 403")),
]


def test_a_cause_is_named_by_its_name_or_the_first_letters_of_it():
    for pair in EVERY:
        assert causes.chosen(causes.name_of(*pair), EVERY) == pair
        assert causes.chosen(causes.name_of(*pair)[:6].upper(), EVERY) == pair


@pytest.mark.parametrize(
    ("words", "place"),
    [("booking · 403", 0), ("booking 422", 1), ("Address Required", 1), ("guesty", 2), ("rooms scope", 2)],
)
def test_words_name_a_cause_where_they_fit_one_only(words: str, place: int):
    assert causes.chosen(words, EVERY) == EVERY[place]


@pytest.mark.parametrize("words", ["403", "rooms", "booking", "rejectederror"])
def test_words_that_fit_several_name_none_and_the_error_tells_them_apart(words: str):
    with pytest.raises(ConfigError, match="names no cause alone") as caught:
        causes.chosen(words, EVERY)
    assert causes.name_of(*EVERY[0]) in str(caught.value) or causes.name_of(*EVERY[2]) in str(caught.value)
    assert caught.value.hint == "syncd dlq list"


@pytest.mark.parametrize("words", ["", "   ", "·", "nonsense", "booking guesty"])
def test_what_fits_nothing_names_nothing(words: str):
    with pytest.raises(ConfigError, match="names no cause"):
        causes.chosen(words, EVERY)


def test_the_name_depends_on_everything_that_makes_a_cause():
    names = {causes.name_of(kind, each) for kind in (causes.LETTER, causes.REJECT) for _, each in EVERY}
    assert len(names) == 6
