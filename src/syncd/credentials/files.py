"""The files of a rotation: the secret, `NAME.new` beside it while it is tried, `NAME.previous` until the new one is verified.

Each step is one rename or one link, so a command that is killed anywhere leaves the old secret or the new one in force,
whole, and what lies beside it says how far it came. One rotation at a time in a directory.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from syncd.errors import ConfigError, OwnershipError
from syncd.secrets import Ref, SecretError, Vault

NEW = ".new"
PREVIOUS = ".previous"


class Left(Enum):
    """How far a rotation came."""

    NOTHING = "nothing"
    DRAFT = "draft"
    """A new one lies there; the old one is in the file."""
    REPLACED = "replaced"
    """The new one is in the file, and not verified."""
    BACK = "back"
    """The old one is in the file again; whoever runs may have the new one still."""

    def told(self, integration: str, name: str, *, webhook: bool = False) -> tuple[str, str]:
        """What that means, and what to run; empty where there is nothing to say."""
        command = f"syncd credential rotate {integration} {shlex.quote(name)}"
        if webhook and self is Left.REPLACED:
            return (
                "the one before it is valid too",
                f"once the partner signs with the new one alone: {command} --finish",
            )
        match self:
            case Left.NOTHING:
                return "", ""
            case Left.DRAFT:
                what = "a rotation was cut short before its new secret was in force; the old one is in use"
            case Left.REPLACED:
                what = "a rotation was cut short: the new secret is in its file and not verified"
            case Left.BACK:
                what = "a rotation was cut short while it was undone: the old secret is in its file again"
        return what, f"on with it: {command} --resume; back: {command} --undo"


def left_of(ref: Ref, vault: Vault) -> Left:
    """What lies beside the file of a `{file:}` reference."""
    if ref.file is None:
        return Left.NOTHING
    try:
        return Files(vault.path(ref)).left
    except ConfigError:
        return Left.NOTHING


def previous_of(ref: Ref, vault: Vault) -> Ref | None:
    """The reference to the secret that was in the file before, while it lies beside it."""
    if ref.file is None or left_of(ref, vault) is not Left.REPLACED:
        return None
    # Beside the target of a symbolic link, not beside the link.
    return Ref.model_validate({"file": str(Files(vault.path(ref)).previous)})


class Files:
    """Those of one secret. Raises OSError and SecretError."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve() if path.is_symlink() else path
        self.new = self.path.with_name(self.path.name + NEW)
        self.previous = self.path.with_name(self.path.name + PREVIOUS)

    @property
    def left(self) -> Left:
        if self.previous.exists():
            if not self._same():
                return Left.REPLACED
            return Left.DRAFT if self.new.exists() else Left.BACK
        return Left.DRAFT if self.new.exists() else Left.NOTHING

    def _same(self) -> bool:
        try:
            return self.path.samefile(self.previous)
        except FileNotFoundError:
            return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One rotation at a time in this directory; the lock goes with the process. Raises OwnershipError."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OwnershipError(
                    f"another rotation is under way in {self.path.parent}", hint="wait for it to end"
                ) from None
            yield
        finally:
            os.close(descriptor)

    def draft(self, value: bytes) -> None:
        """Put the new secret beside the old one, with its mode and owner. Not in force."""
        known = self.path.stat()
        self.new.unlink(missing_ok=True)
        descriptor = os.open(self.new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, stat.S_IMODE(known.st_mode) & 0o700)
            if os.geteuid() == 0:
                os.fchown(descriptor, known.st_uid, known.st_gid)
            file.write(value + b"\n")
            file.flush()
            os.fsync(descriptor)

    def replace(self) -> None:
        """The new secret in the place of the old one, which stays beside it. Asked again, it goes on where it was."""
        if not self.previous.exists():
            os.link(self.path, self.previous)
        self.new.replace(self.path)
        self._settle()

    def put_back(self) -> None:
        """The old secret in its place again, and still beside it: `forget` ends that. A draft is thrown away."""
        self.new.unlink(missing_ok=True)
        if self.previous.exists() and not self._same():
            os.link(self.previous, self.new)
            self.new.replace(self.path)
        self._settle()

    def forget(self) -> None:
        """What lies beside the secret is removed: the rotation is over."""
        self.new.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)
        self._settle()

    def _settle(self) -> None:
        """What was renamed is so after a power cut too."""
        with suppress(OSError):
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def files_of(ref: Ref, vault: Vault) -> Files:
    """Of a `{file:}` reference. Raises SecretError for another one."""
    if ref.file is None:
        raise SecretError(f"{ref.text} is no file", hint="only files can be replaced while the daemon runs")
    return Files(vault.path(ref))
