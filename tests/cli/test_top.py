"""What `syncd top` shows, without a terminal: never wider or higher than the screen, and nothing a terminal would obey."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.cli.top_screen import screen
from syncd.cli.top_seen import Seen
from syncd.cli.top_terminal import _length
from tests.cli.test_status import NOW, overview

CONDITIONS = [
    {"integration": "", "severity": "ticket", "state": "degraded", "code": "memory-high", "reason": "much " * 30,
     "since": "2026-11-21T11:50:00Z", "action": "syncd memory --trace 60s"},
    {"integration": "booking", "severity": "page", "state": "auth_required", "code": "auth-failed",
     "reason": "401 invalid_grant", "since": "2026-11-21T06:00:00Z", "action": "syncd credential test booking"},
]  # fmt: skip


def lines(seen: Seen, width: int = 80, height: int = 24) -> list[str]:
    found = screen(seen, NOW, width, height)
    assert len(found) == height and all(line.cell_len <= width for line in found)
    return [line.plain for line in found]


def shown(**changes: Any) -> dict[str, Any]:
    return overview(conditions=CONDITIONS, **changes)


def test_what_is_wrong_stands_on_top_with_its_command_and_the_worst_integration_first():
    found = "\n".join(lines(Seen(found=shown())))
    assert found.index("much much") < found.index("do: syncd memory --trace 60s") < found.index("booking: 401")
    assert found.index("› booking") < found.index("  airbnb") < found.index("  guesty")
    assert "12 dead letters in 2 causes" in found and "? help" in found


def test_the_chosen_one_stays_chosen_wherever_it_moves_to():
    seen = Seen(found=shown())
    seen.move(1)
    chosen = seen.chosen()
    assert chosen is not None and chosen["name"] == "airbnb"
    again = shown()
    again["integrations"].append({**again["integrations"][0], "name": "aaa", "state": "down"})
    seen.found = again
    assert seen.chosen()["name"] == "airbnb" and seen.row == 2  # type: ignore[index]


def test_the_filter_looks_at_names_partners_states_and_reasons():
    seen = Seen(found=shown(), filter="INVALID_grant")
    assert [one["name"] for one in seen.rows()] == ["booking"]
    assert any("nothing fits" in line for line in lines(Seen(found=shown(), filter="zzz")))


def test_what_partners_wrote_is_spelt_out_and_not_obeyed():
    found = shown()
    found["conditions"][0]["reason"] = "\x1b]0;owned\x07 \x1b[2J\nsecond line"
    found["integrations"][0]["explanation"] = {"reason": "\x1b[2J", "code": "x"}
    for view in ("all", "details", "letters"):
        assert "\x1b" not in "".join(lines(Seen(found=found, view=view)))
    found["conditions"][0]["reason"] = "much " * 30


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 200), st.integers(1, 60), st.sampled_from(["all", "details", "letters", "help", "runbook"]),
    st.integers(-5, 50), st.integers(0, 40),
)  # fmt: skip
def test_no_screen_is_too_small(width: int, height: int, view: str, first: int, many: int):
    found = shown()
    found["integrations"] += [
        {**found["integrations"][0], "name": f"a rather long name 日本 {at}"} for at in range(many)
    ]
    seen = Seen(found=found, view=view, first=first, page=["words " * 50], away="nobody answers", at=NOW)
    seen.move(many)
    lines(seen, width, height)


def test_the_figures_stay_beside_long_names_which_are_told_apart():
    found = shown()
    for at in range(2):
        found["integrations"].append({**found["integrations"][0], "name": f"{'portfolio_' * 5}north_{at:02d}"})
    for width in (40, 60, 72, 80, 100, 110, 120, 200):
        table = [line for line in lines(Seen(found=found), width, 30) if "_00 " in line or "_01 " in line]
        assert len(set(table)) == 2, table
        (head,) = [line for line in lines(Seen(found=found), width, 30) if "INTEGRATION" in line]
        assert "…" not in head and ("OK" in head) == (width >= 80)


def test_the_end_of_a_long_line_that_is_typed_is_seen():
    seen = Seen(found=shown(), typing="pause guesty for 2h, because (escape: no):", typed="a " * 60 + "the end")
    assert lines(seen)[-1].endswith("the end▏")


@pytest.mark.parametrize(
    ("text", "length"), [("a", 1), ("\x1b", 0), ("\x1b[", 0), ("\x1b[5~x", 4), ("\x1bOAx", 3), ("\x1bq", 1)]
)
def test_a_key_ends_where_it_ends(text: str, length: int):
    assert _length(text) == length
