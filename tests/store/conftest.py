from __future__ import annotations

import pytest

from syncd.store import Store

from .parts import Desk


@pytest.fixture
async def desk(store: Store) -> Desk:
    """An integration that owns its scope."""
    return await Desk.open(store)
