"""What a command works on: which database, where none is configured."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.cli.app import App
from syncd.cli.load import database_url, is_embedded
from syncd.cli.output import Failure


@pytest.fixture
def without(directory: Path) -> Path:
    """A configuration that names no database."""
    file = directory / "syncd.yaml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("database")]
    file.write_text("\n".join(lines) + "\n")
    return directory


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with an embedded database; which of them are started is the URL."""
    data = tmp_path / "state" / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    monkeypatch.setattr("syncd.store.embedded.start", lambda state: nullcontext(SimpleNamespace(url=str(state))))
    return tmp_path / "state"


def test_where_none_is_configured_the_one_that_the_daemon_keeps_is_used_without_being_asked_for(
    without: Path, kept: Path
) -> None:
    app = App(config=str(without), state_dir=str(kept))
    with database_url(app, app.config()) as url:
        assert url == str(kept)


def test_where_none_is_kept_either_it_is_said_where_it_was_looked_for(without: Path, kept: Path) -> None:
    app = App(config=str(without), state_dir=str(kept.parent))
    with pytest.raises(Failure, match="no database is configured") as caught, database_url(app, app.config()):
        pass
    assert str(kept.parent) in str(caught.value.why) and "syncd run --embedded" in str(caught.value.do)


def test_a_database_of_the_file_comes_before_one_that_is_kept(directory: Path, kept: Path) -> None:
    app = App(config=str(directory), state_dir=str(kept))
    assert not is_embedded(app, app.config())
    app.embedded = True
    assert is_embedded(app, app.config())


def test_one_that_runs_is_meant_where_the_variable_of_the_file_is_not_set(
    directory: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(config=str(directory), state_dir=str(kept))
    monkeypatch.delenv("SYNCD_TEST_CLI_DATABASE", raising=False)
    assert not is_embedded(app, app.config()), "it was tried once, and does not run"
    data = kept / "postgres" / "data"
    with subprocess.Popen(["/bin/sh", "-c", "read line", "postgres", str(data)], stdin=subprocess.PIPE) as server:
        (data / "postmaster.pid").write_text(f"{server.pid}\n")
        assert is_embedded(app, app.config())
        monkeypatch.setenv("SYNCD_TEST_CLI_DATABASE", "postgresql://elsewhere/syncd")
        assert not is_embedded(app, app.config())
