"""What a command works on: which database, where none is configured."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.cli.app import App
from syncd.cli.load import database_url, is_embedded
from syncd.cli.output import Failure
from syncd.config import load
from tests.cli.conftest import Run, partner


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


@contextmanager
def powerless() -> Iterator[None]:
    """As somebody who is not the super-user."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("place", ["syncd.yaml", "partners", ""])
def test_what_this_user_may_not_read_is_said_and_is_never_taken_for_nothing(run: Run, place: str) -> None:
    """A folder of partners that looks empty would have a reload stop them all."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "config"
        (directory / "partners").mkdir(parents=True)
        (directory / "syncd.yaml").write_text("mode: production\n")
        (directory / "partners" / "plain.yaml").write_text(partner("{file: shop/key}"))
        for known in (Path(name), directory, directory / "partners"):
            known.chmod(0o755)
        run("check", "--config", directory)  # whatever it imports is there from here on
        (directory / place).chmod(0o700 if os.geteuid() == 0 else 0)
        with powerless():
            done = run("check", "--config", directory)
            loaded = load(directory, drivers=None, env={})
        (directory / place).chmod(0o700)
        assert done.exit_code == 78, done.output
        assert "Permission denied" in done.output
        assert "report it" not in done.output
        assert loaded.config is None, "a reload keeps what it has"
        if place != "syncd.yaml" or os.geteuid():
            assert "sudo -u syncd syncd" in done.output


def test_an_address_that_no_file_tells_has_a_reason(run: Run, tmp_path: Path) -> None:
    done = run("status", "--config", tmp_path / "nowhere")
    assert (done.exit_code, "--config DIR or SYNCD_CONFIG" in done.stderr) == (69, True), done.output
    (tmp_path / "syncd.yaml").write_text("server: [")
    assert "is no YAML at present: syncd check" in run("status", "--config", tmp_path).stderr
