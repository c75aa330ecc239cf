"""The tables of `make conformance` are its results file; it names each tool as locked, and says of us what tests assert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.ours import measured
from conformance.rows import Row, rows
from conformance.run import TOOLS
from conformance.tables import DOCUMENTS, OURS, cell_text, filled, load, verdict

ROOT = Path(__file__).resolve().parent.parent
TABLE, RESULTS = rows(), load()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_shows_is_what_was_measured(document: Path) -> None:
    text = document.read_text("utf-8")
    assert "<!-- waits: " in text
    assert filled(text, RESULTS, TABLE) == text, "run `make conformance`"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_our_column_says_what_a_session_does(row: Row) -> None:
    cell = RESULTS["rows"][row.name][OURS]
    now = {"seconds": round((await measured(row)).seconds, 1), "calls": 2, "error": None}
    assert verdict(row, now) == verdict(row, cell), "run `make conformance`"
    assert verdict(row, cell) in ("asked", "waits") or row.name == "day"


def test_every_answer_was_given_to_every_tool() -> None:
    assert list(RESULTS["rows"]) == [row.name for row in TABLE]
    assert list(RESULTS["tools"]) == [OURS, *TOOLS]
    for row in TABLE:
        assert set(RESULTS["rows"][row.name]) == {OURS, *TOOLS}, f"{row.name}: run `make conformance`"


def test_the_tools_were_those_that_are_locked() -> None:
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements" / "conformance.txt").read_text("utf-8"), re.M))
    for tool, told in RESULTS["tools"].items():
        name = "urllib3" if tool == "requests + urllib3" else tool.partition(",")[0]
        assert tool == OURS or locked[name] == told["version"], f"{tool}: run `make conformance`"


@pytest.mark.parametrize(
    ("seconds", "calls", "error", "told"),
    [
        (19.2, 2, None, "✓"),
        (20.9, 2, None, "✓"),
        (18.0, 2, None, "early: 18 s"),
        (0.0, 2, None, "early: at once"),
        (10827.0, 2, None, "late: 3 h"),
        (0.0, 1, "HTTPError", "gives up"),
        (0.0, 1, "InvalidHeader", "gives up (InvalidHeader)"),
    ],
)
def test_a_cell_says_when_the_next_call_came(seconds: float, calls: int, error: str | None, told: str) -> None:
    date = next(row for row in TABLE if row.name == "date")
    assert cell_text(date, {"seconds": seconds, "calls": calls, "error": error}) == told
    assert cell_text(date, None) == "not run"


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "at once"), (0.4, "0.4 s"), (11.0, "11 s"), (86400.0, "24 h")])
def test_where_nothing_was_asked_a_cell_is_the_tools_own_wait(seconds: float, told: str) -> None:
    nothing = next(row for row in TABLE if row.name == "nothing")
    assert cell_text(nothing, {"seconds": seconds, "calls": 2, "error": None}) == told
