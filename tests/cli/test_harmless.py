"""What partners send is shown as text: a terminal obeys none of it."""

from __future__ import annotations

import pytest

from syncd.cli.output import harmless


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b1m", r"\x9b1m"),
        ("txt.\u202eexe", r"txt.\u202eexe"),
        ("a\rb\x00c", r"a\rb\x00c"),
        ("Straße\t東京 🧾\nnext", "Straße\t東京 🧾\nnext"),
    ],
)
def test_control_characters_are_spelt_out_and_letters_stay(sent: str, shown: str):
    assert harmless(sent) == shown
