"""The demo's screen: one line a partner at any width, in the daemon's words; and what of it is news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from syncd.demo.lines import Line, lines, screen
from syncd.explain import Explanation

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LEARNED = Explanation(
    "limit-learned", "stated 10/s, observed about 3/s", action="limits: {tiers: [3/s]} in partners/guesty.yaml"
)
LIMITED = Explanation(
    "rate-limited",
    "next call at 12:00:06 UTC: POST /objects/people/records/query answered 429 (Retry-After as a date): too many calls",
)


def overview(*told: tuple[str, str, Explanation | None]) -> dict[str, Any]:
    return {
        "integrations": [
            {
                "name": f"{partner}_account",
                "partner": partner,
                "state": state,
                "explanation": None if why is None else why.as_dict(),
                "resources": [{"records": 1200}, {"records": 34}],
            }
            for partner, state, why in told
        ],
        "scopes": [
            {
                "integrations": [f"{partner}_account"],
                "next_call": {"at": NOW + timedelta(seconds=6), "in_seconds": 6.0, "why": ""},
                "tiers": [{"label": "25/s", "used": 5, "budget": 20, "window_seconds": 1.0}],
            }
            for partner, _, _ in told
        ],
    }


ALL = overview(("stripe", "healthy", None), ("attio", "waiting", LIMITED), ("guesty", "healthy", LEARNED))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_partner_has_one_line_and_the_script_one_more(width):
    console = Console(width=width, record=True, file=StringIO())
    console.print(screen(lines(ALL), "attio answers 429 with a date, by a clock that is 7 minutes slow"))
    shown = [line for line in console.export_text().splitlines() if line.strip()]
    assert [line.split()[1] for line in shown] == ["attio", "guesty", "stripe", "attio"]
    assert [line.split()[0] for line in shown] == ["…", "✓", "✓", "»"]
    assert max(map(len, shown)) <= width


def test_in_eighty_columns_the_line_that_fixes_a_learned_limit_is_there_whole():
    guesty = next(line for line in lines(ALL) if line.partner == "guesty")
    assert guesty.text == "stated 10/s, observed about 3/s → limits: {tiers: [3/s]}"
    assert len(" ✓ guesty  healthy  " + guesty.text) <= 80


def test_who_has_nothing_to_explain_shows_what_it_has_and_spends():
    stripe = next(line for line in lines(ALL) if line.partner == "stripe")
    assert (stripe.state, stripe.text) == ("healthy", "1,234 records · 5/20 · 25 % of 25/s")


def one(text: str, *, state: str = "waiting", moment: datetime | None = NOW) -> Line:
    return Line("attio", state, text, (state, "rate-limited"), moment)


def test_the_same_said_again_is_no_news_but_another_state_or_another_time_is():
    before = one("next call at 12:00:06 UTC")
    assert one("anything").is_news_after(None)
    assert not one("next call at 12:00:07 UTC", moment=NOW + timedelta(seconds=1)).is_news_after(before), "rounding"
    assert one("next call at 12:00:16 UTC", moment=NOW + timedelta(seconds=10)).is_news_after(before)
    assert Line("attio", "healthy", "", ("healthy", ""), None).is_news_after(before)
