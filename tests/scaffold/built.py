"""A new driver written into a folder, and found there as if its package were installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from syncd import drivers
from syncd.scaffold import Choices, Written, find_place, write

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
Build = Callable[[Choices], Written]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Write the driver as a package below the test's folder, and register it."""
    before = set(sys.modules)
    drivers._class_and_spec.cache_clear()

    def make(choices: Choices) -> Written:
        place = find_place(choices.name, directory=tmp_path, here=tmp_path)
        written = write(choices, place, NOW)
        monkeypatch.syspath_prepend(str(place.root))
        entry = EntryPoint(choices.name, place.module, drivers.GROUP)
        monkeypatch.setattr(drivers, "entry_points", lambda group: [entry])
        return written

    yield make
    drivers._class_and_spec.cache_clear()
    for name in set(sys.modules) - before:
        if name.partition(".")[0].endswith("_syncd"):
            del sys.modules[name]
