"""The manual page: every verb with every option of its own, and nothing that man(1) stumbles over."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from syncd.cli.man import _text, page


def test_every_verb_and_option_is_in_it():
    from syncd.cli.root import cli

    text = "\n".join(page()).replace("\\-", "-")

    def look(command: click.Command, path: str) -> None:
        if isinstance(command, click.Group):
            for name, below in command.commands.items():
                look(below, f"{path} {name}")
            return
        assert re.search(rf'^\.SS "{path}[ "]', text, re.MULTILINE), path
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.opts[-1] in text, (path, param.opts)

    ctx = click.Context(cli)
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        assert command is not None
        look(command, f"syncd {verb}")


def test_every_exit_code_is_in_it():
    text = "\n".join(page())
    section = text[text.index(".SH EXIT STATUS") : text.index(".SH SIGNALS")]
    for code in ("0", "1", "2", "69", "75", "77", "78", "130"):
        assert f".B {code}\n" in section


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (".hidden and 'quoted'", "\\&.hidden and 'quoted'"),
        ("'tis", "\\&'tis"),
        ("a\\b --c", "a\\eb \\-\\-c"),
        ("two\n  lines", "two lines"),
    ],
)
def test_text_is_never_taken_for_a_request(text: str, line: str):
    assert _text(text) == line


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_say(run, tmp_path: Path):
    file = tmp_path / "syncd.1"
    file.write_text(run("man").stdout)
    words = ["groff", "-man", "-Tutf8", "-ww", "-Wbreak", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in re.sub(".\b", "", done.stdout)
