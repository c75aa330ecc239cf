"""A content-addressed directory: a file is found by what is in it, so the same photo of forty listings is there once.

A file is complete or it is not there: it grows under a name of its own and is renamed to its digest when all of it is on
the disk. Which records it belongs to says table `media`.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from syncd.errors import PayloadError, StoreError

UNFINISHED = ".part"
_FANS = 2


class Growing:
    """A file that is coming in. A second try begins it anew."""

    def __init__(self, directory: Path, most: int) -> None:
        self._directory = directory
        self._most = most
        self._descriptor, name = tempfile.mkstemp(suffix=UNFINISHED, dir=directory)
        self._path = Path(name)
        self._digest = sha256()
        self.size = 0

    def begin(self) -> None:
        """Forget what came: it is sent again."""
        if self.size:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            self._digest = sha256()
            self.size = 0

    def write(self, data: bytes) -> None:
        """Raises PayloadError for more than is kept, StoreError where the disk takes no more."""
        self.size += len(data)
        if self.size > self._most:
            raise PayloadError(
                f"the file is larger than {self._most} bytes", hint="raise `media.largest`, or leave this one out"
            )
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _refused(self._directory, error) from None

    def keep(self) -> str:
        """Put it where its content says; returns the digest. It is on the disk when this returns."""
        digest = self._digest.hexdigest()
        place = place_of(self._directory, digest)
        try:
            os.fsync(self._descriptor)
            place.parent.mkdir(exist_ok=True)
            self._path.rename(place)
            directory = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise _refused(self._directory, error) from None
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink()


class Depot:
    """Where the files of one integration are kept. Made when the first one comes."""

    def __init__(self, directory: Path, most: int) -> None:
        self.directory = directory
        self.most = most

    def grow(self) -> Growing:
        """A new file. Raises StoreError where none can be made."""
        try:
            self.directory.mkdir(mode=0o750, exist_ok=True)
            return Growing(self.directory, self.most)
        except OSError as error:
            raise _refused(self.directory, error) from None

    def holds(self, digest: str) -> bool:
        """Is this content there?"""
        return place_of(self.directory, digest).is_file()

    def digests(self, before: float) -> Iterator[str]:
        """Files untouched since that moment (seconds since 1970); what never became one is removed on the way."""
        if not self.directory.is_dir():
            return
        for entry in os.scandir(self.directory):
            if entry.name.endswith(UNFINISHED) and _old(entry, before):
                with suppress(OSError):
                    Path(entry.path).unlink()
            elif entry.is_dir(follow_symlinks=False) and len(entry.name) == _FANS:
                for one in os.scandir(entry.path):
                    if _old(one, before):
                        yield one.name

    def drop(self, digest: str) -> None:
        """Remove one file."""
        with suppress(FileNotFoundError):
            place_of(self.directory, digest).unlink()


def place_of(directory: Path, digest: str) -> Path:
    """Where content lies: below the first two letters of its SHA-256, under all of it."""
    return directory / digest[:_FANS] / digest


def _old(entry: os.DirEntry[str], before: float) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_mtime < before


def _refused(directory: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the media directory {directory} takes nothing: {error.strerror or error}",
        hint="make room, or let the daemon's user write there; what waits is fetched then",
    )
