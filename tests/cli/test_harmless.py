"""What partners send is shown as text: a terminal obeys none of it."""

from __future__ import annotations

import json

import click
import pytest

from syncd.cli import output
from syncd.cli.output import harmless, result_json


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


def test_whatever_a_command_prints_keeps_our_colours_and_no_other_codes(capsys: pytest.CaptureFixture[str]):
    for write in (output.result, output.say):
        write("\x1b[31m✗\x1b[0m the partner said \x1b]0;hello\x07 and \x1b[2J")
    out, err = capsys.readouterr()
    for text in (out, err):
        assert click.unstyle(text) == "✗ the partner said \\x1b]0;hello\\x07 and \\x1b[2J\n"


def test_a_document_spells_out_what_a_terminal_would_obey_and_means_the_same(capsys: pytest.CaptureFixture[str]):
    value = {"id": "c1\x9b31m \u202e\x7f", "name": "é ☃"}
    result_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "é ☃" in printed
    assert not {"\x9b", "\u202e", "\x7f"} & set(printed)
