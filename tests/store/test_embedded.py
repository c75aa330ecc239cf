"""The private server: starts anywhere, keeps its data, is adopted after a crash, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from syncd.errors import StoreError
from syncd.store import embedded, installation

SOURCE = Path(__file__).parents[2] / "src"
ROOT = os.geteuid() == 0


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a short name that an unprivileged user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="syncd-e-"))
    directory.chmod(0o755)
    yield directory
    left = embedded._postmaster(directory / "postgres" / "data")
    if left is not None:
        os.kill(left, signal.SIGQUIT)
    shutil.rmtree(directory)


def start(directory: Path) -> embedded.EmbeddedServer:
    return embedded.start(directory, settings=embedded.DISPOSABLE)


def ask(url: str, sql: str) -> object:
    async def once() -> object:
        connection = await asyncpg.connect(url, timeout=20)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(once())


def gone(pid: int | None) -> bool:
    deadline = time.monotonic() + 20
    while pid is not None and Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return pid is not None and time.monotonic() < deadline


def test_data_survive_a_stop_and_stop_leaves_no_process(state: Path):
    with start(state) as server:
        assert server.owned
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        pid = server.pid
    assert gone(pid)
    server.stop()
    with start(state) as server:
        assert ask(server.url, "SELECT n FROM kept") == 7


def test_a_second_one_joins_the_first_and_does_not_stop_it(state: Path):
    with start(state) as first:
        with start(state) as second:
            assert not second.owned
            assert second.url == first.url
        assert ask(first.url, "SELECT 1") == 1


def test_only_its_owner_may_enter(state: Path):
    with start(state) as server:
        home = state / "postgres"
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
        assert ask(server.url, "SHOW listen_addresses") == ""


def test_a_server_left_by_a_killed_parent_is_adopted_and_then_stopped(state: Path):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from syncd.store import embedded\n"
        "server = embedded.start(Path(sys.argv[1]), settings=embedded.DISPOSABLE)\n"
        "print(server.pid, flush=True); time.sleep(99)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(state), str(SOURCE)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with start(state) as server:
        assert server.owned
        assert server.pid == pid
        assert ask(server.url, "SELECT 1") == 1
    assert gone(pid)


def test_a_guarded_server_goes_with_its_killed_parent_and_takes_the_directory_along():
    directory = Path(tempfile.mkdtemp(prefix="syncd-e-"))
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from syncd.store import embedded\n"
        "server = embedded.start(Path(sys.argv[1]), settings=embedded.DISPOSABLE); server.guard(remove=Path(sys.argv[1]))\n"
        "print(server.pid, flush=True); time.sleep(99)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(directory), str(SOURCE)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
    deadline = time.monotonic() + 20
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not directory.exists()


@pytest.mark.parametrize("claimed", [1, os.getpid(), 2**22 - 1], ids=["init", "ours", "nobody"])
def test_a_stale_pid_file_is_cleared_even_if_the_number_is_in_use_again(state: Path, claimed: int):
    with start(state) as server:
        pid = server.pid
        assert pid is not None
        pid_file = state / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        pid_file.write_text("\n".join([str(claimed), *lines[1:]]) + "\n")
        server.stop()
    with start(state) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_an_initialization_that_was_cut_off_is_begun_anew(state: Path):
    for leftover in ("data.new", "data"):
        (state / "postgres" / leftover / "base").mkdir(parents=True)
    with start(state) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_long_state_directory_gets_its_socket_elsewhere_and_removes_it(state: Path):
    deep = state / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    with start(deep) as server:
        assert ask(server.url, "SELECT 1") == 1
        sockets = server._sockets
        assert not sockets.is_relative_to(deep)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


def test_a_server_that_died_is_started_again_with_what_was_committed(state: Path):
    with start(state) as server, start(state) as joined:
        ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        ask(server.url, "CHECKPOINT")
        assert not server.revive(), "it lives"
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        assert gone(before)
        assert not joined.revive(), "that is for the process that started it"
        assert server.revive()
        assert server.pid not in (None, before)
        assert ask(joined.url, "SELECT n FROM kept") == 7


def test_a_server_that_cannot_be_started_again_says_why_in_the_same_words_each_time(state: Path):
    with start(state) as server:
        pid = server.pid
        assert pid is not None
        with (state / "postgres/data/postgresql.conf").open("a") as file:
            file.write("nonsense = 1\n")
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        said = set()
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                server.revive()
            said.add(str(caught.value))
        [words] = said
        assert 'did not start: LOG:  unrecognized configuration parameter "nonsense"' in words
        assert "FATAL:  configuration file" in words


def test_a_server_that_cannot_start_says_why(state: Path):
    with pytest.raises(StoreError, match="shared_buffers") as caught:
        embedded.start(state, settings={"shared_buffers": "nonsense"})
    assert "postgres.log" in caught.value.hint
    with start(state) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_missing_binaries_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "_places", lambda: [Path("/nonexistent")])
    with pytest.raises(StoreError) as caught:
        installation.find_binaries()
    assert "syncd[demo]" in caught.value.hint
    with pytest.raises(StoreError, match="PostgreSQL 3"):
        installation.find_binaries(3)


@pytest.mark.skipif(not ROOT, reason="only root has other users to choose from")
@pytest.mark.parametrize("reachable", [True, False])
def test_root_starts_it_as_somebody_else_or_in_a_namespace(reachable: bool):
    directory = Path(tempfile.mkdtemp(prefix="syncd-e-"))
    directory.chmod(0o755 if reachable else 0o700)
    try:
        with start(directory) as server:
            assert ask(server.url, "SELECT 1") == 1
            owner = (directory / "postgres" / "data").stat().st_uid
            assert (owner != 0) == reachable
        # The other way round with the data that is there.
        directory.chmod(0o700 if reachable else 0o755)
        with start(directory) as server:
            assert ask(server.url, "SELECT 1") == 1
    except StoreError as error:
        assert not reachable, error  # no user namespaces here: said with a hint
        assert error.hint
    finally:
        shutil.rmtree(directory)


@pytest.mark.skipif(not ROOT, reason="needs root to hide the binaries from the server's user")
def test_binaries_its_user_cannot_reach_are_copied(monkeypatch: pytest.MonkeyPatch, state: Path):
    found = installation.find_binaries()
    monkeypatch.setattr(embedded, "find_binaries", lambda _: found)
    real = installation.reaches
    monkeypatch.setattr(installation, "reaches", lambda user, path: path != found.directory and real(user, path))
    with start(state) as server:
        assert ask(server.url, "SELECT 1") == 1
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert os.fsencode(state) in command.split(b"\0")[0]


@pytest.mark.skipif(not ROOT, reason="an ordinary user runs all of these tests as one")
def test_an_ordinary_user_starts_it_as_themselves():
    directory = Path(tempfile.mkdtemp(prefix="syncd-e-"))
    os.chown(directory, 65534, 65534)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; from syncd.store import embedded\n"
        "with embedded.start(Path(sys.argv[1]), settings=embedded.DISPOSABLE) as server: print(server.owned, server.url)"
    )
    interpreter = Path(sys.executable)
    if not all(parent.stat().st_mode & 0o001 for parent in interpreter.resolve().parents):
        shutil.rmtree(directory)
        pytest.skip("this interpreter is hidden from other users")
    try:
        done = subprocess.run(
            [str(interpreter), "-c", script, str(directory), str(SOURCE)],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env={"PATH": os.environ["PATH"]},
        )
        assert done.stdout.startswith("True postgresql://"), done.stderr
    finally:
        shutil.rmtree(directory)
