from __future__ import annotations

import pytest

from syncd.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
