"""docs/partners.md says what the drivers do."""

from __future__ import annotations

import re
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


def row(name: str, resource: str) -> list[str]:
    part = PAGE.read_text("utf-8").partition(f"### {name}\n")[2].partition("\n### ")[0]
    return [cell.strip() for cell in re.search(rf"\| `{resource}`.*", part)[0].strip("| ").split(" | ")]


def test_the_page_tells_of_events_logs_queues_and_excuses():
    text = PAGE.read_text("utf-8")
    assert "| not yet |" in text, "an excused rule is none that was reached"
    assert "but for `checked`" in text
    assert not re.search(r"\d{4,}s\b|of 0 resources", text)
    assert row("attio", "people")[6] == "`record.created` and 3 more"
    assert row("stripe", "customers")[3] == "the log `events`"
    assert row("bookingcom", "reservations")[2:4] == ["until nothing is left", "a queue, acknowledged once stored"]
    assert row("guesty", "reservations_v3")[0].endswith("(by option)")
