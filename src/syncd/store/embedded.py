"""A private PostgreSQL under a state directory: for `syncd run --embedded`, the demo and the tests.

Everything the wheel's own starter would do is done here, because that one widens the permissions of every folder above it
and creates a system user. Nothing here needs the network: the server listens on a Unix socket in a folder only its owner may
enter. Nothing outside the state directory is created or changed, except a socket folder under the temporary directory where
the state directory's name is too long for a Unix socket. `installation` says which PostgreSQL runs, and as whom.

The blocking calls here belong before the event loop or into a thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from syncd.errors import StoreError
from syncd.store.installation import ENVIRONMENT, Binaries, Runner, choose_runner, find_binaries

DATABASE = "syncd"
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_LIMIT = 103
"""Bytes a Unix socket's name may have on every system we run on (Linux: 107, others 103)."""
_START_SECONDS = 60
_SAID = re.compile(r"^.*? (?=(LOG|FATAL|PANIC|ERROR|HINT|DETAIL):)")
"""What stands before the words in a line of the server's log."""

DURABLE: Mapping[str, str] = {
    "max_connections": "60",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "log_min_messages": "warning",
}
"""Server settings for data that is to stay."""

DISPOSABLE: Mapping[str, str] = {
    **DURABLE,
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "5s",
}
"""Server settings for tests: a power cut may take everything."""


class EmbeddedServer:
    """A running private server. `url` is for the Store; `stop()` ends it where this process started (or adopted) it."""

    def __init__(self, home: Path, sockets: Path, lock: IO[str] | None, settings: Mapping[str, str] = DURABLE) -> None:
        self._home = home
        self._sockets = sockets
        self._lock = lock
        self._settings = settings
        self._guardian: subprocess.Popen[bytes] | None = None
        self._doomed: Path | None = None
        self.url = _url(sockets, DATABASE)

    @property
    def owned(self) -> bool:
        """False where another living process started it: then `stop` only lets go."""
        return self._lock is not None

    @property
    def pid(self) -> int | None:
        """The server's process id, or None once it is gone."""
        return _postmaster(self._home / "data")

    def url_of(self, database: str) -> str:
        """The URL of another database on the same server."""
        return _url(self._sockets, database)

    def revive(self) -> bool:
        """Start the server again if it has died, as after any crash: what was committed is there. False: it lives, or is
        another process's to start. Raises StoreError, with the end of the server's log, when it does not come up."""
        if self._lock is None or self.pid is not None:
            return False
        _bring_up(self._home, self._settings)
        if self._guardian is not None:
            self._dismiss()
            self.guard(self._doomed)
        return True

    def stop(self) -> None:
        """Stop the server, rolling open transactions back. Twice is as good as once."""
        if self._lock is None:
            return
        try:
            _stop(self._home / "data")
        finally:
            self._dismiss()
            if not self._sockets.is_relative_to(self._home):
                shutil.rmtree(self._sockets, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def guard(self, remove: Path | None = None) -> None:
        """See that the server, and a disposable directory with it, go even if this process is killed outright.

        A small shell waits at the end of a pipe that only we hold open, and the pipe closes however we end. For
        disposable data only: the server is not given time to write a checkpoint.
        """
        self._doomed = remove
        doomed = [str(remove)] if remove is not None else []
        if not self._sockets.is_relative_to(self._home):
            doomed.append(str(self._sockets))
        self._guardian = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARD, "guard", str(self.pid), *doomed],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=ENVIRONMENT,
            cwd="/",
        )

    def _dismiss(self) -> None:
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


_GUARD = """
cat >/dev/null
server=$1; shift
kill -QUIT "$server" 2>/dev/null
while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
for each; do rm -rf -- "$each"; done
"""


def is_kept(state_directory: Path) -> bool:
    """Is there a database of an embedded server under this directory, running or not? False where we may not look."""
    return os.path.exists(state_directory / "postgres" / "data" / "PG_VERSION")  # noqa: PTH110 - no error for a closed door


def is_running(state_directory: Path) -> bool:
    """Does the embedded server of this directory run right now, whoever started it? False where we may not look."""
    return _postmaster(state_directory.resolve() / "postgres" / "data") is not None


def start(state_directory: Path, *, settings: Mapping[str, str] = DURABLE) -> EmbeddedServer:
    """Start the server of this state directory, or join the one that runs there. Creates all it needs.

    A server left behind by a killed process is adopted; a stale pid file is cleared away. The data stays when the server
    stops. Raises StoreError, with the end of the server's log, when it does not come up.
    """
    home = state_directory.resolve() / "postgres"
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    lock = (home / "owner.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return _join(home)
    try:
        return EmbeddedServer(home, _bring_up(home, settings), lock, settings)
    except BaseException:
        lock.close()
        raise


def _join(home: Path) -> EmbeddedServer:
    """Wait until the process that holds the lock has its server up."""
    data = home / "data"
    with (home / "starting.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_SH)
    if _postmaster(data) is None:
        raise StoreError(
            f"another process holds {home}, but no server runs there",
            hint="wait a moment; where it lasts, its server has died: restart that process",
        )
    return EmbeddedServer(home, _socket_directory(home), None)


def _bring_up(home: Path, settings: Mapping[str, str]) -> Path:
    """Have a server on this home, which is ours by its lock; returns the folder of its socket."""
    with (home / "starting.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        data, sockets = home / "data", _socket_directory(home)
        if _postmaster(data) is None:
            version = data / "PG_VERSION"
            if data.exists() and not version.exists():
                shutil.rmtree(data)  # initdb was cut off before it had written anything
            binaries = find_binaries(int(version.read_text()) if version.exists() else None)
            runner, binaries = choose_runner(home, binaries)
            _prepare_sockets(sockets, runner)
            if not version.exists():
                _initialize(home, binaries, runner, lasting=settings.get("fsync") != "off")
            _launch(home, sockets, binaries, runner, settings)
        return sockets


def _initialize(home: Path, binaries: Binaries, runner: Runner, *, lasting: bool) -> None:
    """Create the cluster in a folder beside its place and move it there whole, so a cut-off attempt leaves nothing.

    One that is not to outlast a crash of the machine is not waited for until it is on the disk.
    """
    fresh = home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    runner.give(home)
    done = runner.run(
        [
            binaries.directory / "initdb",
            "-D",
            fresh,
            "-U",
            DATABASE,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            *(() if lasting else ("--no-sync",)),
        ],
        timeout=_START_SECONDS,
    )
    if done.returncode != 0:
        raise StoreError(f"initdb failed: {(done.stderr or done.stdout).strip()[-800:]}")
    fresh.rename(home / "data")


def _launch(home: Path, sockets: Path, binaries: Binaries, runner: Runner, settings: Mapping[str, str]) -> None:
    data, log = home / "data", home / "postgres.log"
    if log.exists() and log.stat().st_size > 10_000_000:
        log.replace(home / "postgres.log.1")
    log.touch(mode=0o600)
    before = log.stat().st_size
    runner.give(home)
    if _postmaster(data) is None:
        _clear_stale_locks(data, sockets)
    (data / "postgresql.auto.conf").write_text(
        "".join(
            f"{key} = '{value}'\n"
            for key, value in {
                **settings,
                "listen_addresses": "",
                "unix_socket_directories": str(sockets).replace("'", "''"),
                "unix_socket_permissions": "0700",
            }.items()
        )
    )
    done = runner.run(
        [binaries.directory / "pg_ctl", "start", "-w", "-t", str(_START_SECONDS), "-D", data, "-l", log],
        timeout=_START_SECONDS + 10,
    )
    if done.returncode != 0:
        told = _last_words(log, before)
        raise StoreError(f"the embedded PostgreSQL did not start: {told or done.stdout.strip()}", hint=f"see {log}")
    _create_database(binaries, runner, sockets)


def _last_words(log: Path, before: int) -> str:
    """What the server said of this start, without times and numbers: the same trouble reads the same at each try."""
    with log.open("rb") as file:
        file.seek(before)
        said = file.read().decode(errors="replace")
    return "; ".join(_SAID.sub("", line) for line in said.strip().splitlines())[-800:]


def _create_database(binaries: Binaries, runner: Runner, sockets: Path) -> None:
    done = runner.run(
        [binaries.directory / "createdb", "-h", sockets, "-U", DATABASE, "--maintenance-db=postgres", DATABASE],
        timeout=30,
    )
    if done.returncode != 0 and "already exists" not in done.stderr:
        raise StoreError(f"the embedded PostgreSQL made no database: {done.stderr.strip()}")


def _socket_directory(home: Path) -> Path:
    inside = home / "run"
    if len(os.fsencode(inside / _SOCKET_NAME)) <= _SOCKET_LIMIT:
        return inside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"syncd-pg-{os.geteuid()}-{name}"


def _prepare_sockets(sockets: Path, runner: Runner) -> None:
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    ours = {os.geteuid()} | ({runner.user.pw_uid} if runner.user is not None else set())
    private = sockets.parent.stat().st_mode & 0o077 == 0  # inside our own folder nobody else can have put anything
    if not stat.S_ISDIR(found.st_mode) or not (private or found.st_uid in ours):
        raise StoreError(f"{sockets} belongs to somebody else", hint="remove it, or choose a shorter state directory")
    sockets.chmod(0o700)
    runner.give(sockets)


def _postmaster(data: Path) -> int | None:
    """The pid of the server living on this data directory; None where the pid file is missing, stale or another's."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(data) in command and b"postgres" in command else None


def _clear_stale_locks(data: Path, sockets: Path) -> None:
    """Lock files outlive a killed server, and their number may be another process's by now: PostgreSQL would not start.

    The data's own file is kept but for the number, since it also names the shared memory by which PostgreSQL finds out
    whether a child of the killed server still works on the data. Such children end by themselves, at once or nearly so.
    """
    for each in sockets.glob(".s.PGSQL.*"):
        each.unlink()
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    ended = subprocess.Popen(["/bin/true"])  # its number is nobody's once it has ended
    ended.wait()
    rest = pid_file.read_text().partition("\n")[2]
    pid_file.write_text(f"{ended.pid}\n{rest}")
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "cwd").readlink() == data:
                _await_end(int(directory.name), 10)
        except OSError:
            continue  # another user's, or gone


def _await_end(pid: int, seconds: float) -> bool:
    """True once that process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([handle], [], [], seconds)
    finally:
        os.close(handle)
    return bool(ended)


def _stop(data: Path) -> None:
    """Fast shutdown, and a hard one where that takes longer than a minute (the log brings the data back)."""
    for sign, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 20), (signal.SIGKILL, 5)):
        pid = _postmaster(data)
        if pid is None:
            return
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        if _await_end(pid, seconds):
            return


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://{DATABASE}@/{quote(database)}?host={quote(str(sockets))}"
