"""docs/partners.md says what the drivers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd import drivers
from syncd.testing.partners_page import written

PAGE = Path(__file__).resolve().parents[2] / "docs" / "partners.md"


def test_the_page_of_partners_is_what_the_drivers_are():
    text = PAGE.read_text("utf-8")
    assert written(text) == text, "run: python -m syncd.testing.partners_page"


@pytest.mark.parametrize("name", [name for name in drivers.names() if not drivers.kind(name).needs_spec])
def test_every_driver_has_its_table(name: str):
    assert f"### {name}\n" in PAGE.read_text("utf-8")
