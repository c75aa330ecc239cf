"""What every driver asks for, and what its samples hold, is what its partner has published."""

from __future__ import annotations

import pytest

from syncd import drivers
from syncd.testing import published
from syncd.testing.samples import read_samples

HERE = [name for name in published.FILES if name in drivers.names()]


@pytest.fixture(autouse=True)
def at_hand(request: pytest.FixtureRequest) -> None:
    missing = published.why_not(request.getfixturevalue("name"))
    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize("name", HERE)
def test_every_call_of_a_driver_is_documented(name: str) -> None:
    driver, samples = drivers.load(name), read_samples(name, drivers.folder(name))
    strange = list(published.strange_requests(name, driver, samples))
    assert not strange, "\n".join(strange)


@pytest.mark.parametrize("name", HERE)
def test_every_sample_of_a_driver_is_as_documented(name: str) -> None:
    driver, samples = drivers.load(name), read_samples(name, drivers.folder(name))
    strange = list(published.strange_samples(name, driver, samples))
    assert not strange, "\n".join(strange)
