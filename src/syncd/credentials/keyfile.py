"""The file of sealing keys, and how far a rotation of them came: the first line seals, all open, a comment marks the next.

Every change is one rename. A new key is known to all who run before anything is sealed with it, so each of them can open what
any other has sealed, whenever they were started.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from syncd.config import Config
from syncd.errors import OwnershipError, StoreError
from syncd.opening import KEY_CREDENTIAL, KEY_FILE
from syncd.secrets import SecretError, Vault
from syncd.store.sealing import KeyRing, new_key_line

NEXT: Final = "# next: "
"""Before the id of a key that is known and does not seal yet."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a key file holds."""

    lines: tuple[str, ...] = field(repr=False)
    """One a key, the sealing one first; each without its line end."""
    next: str = ""
    """The id of the key that is to seal; empty: none is on its way."""

    @property
    def ids(self) -> list[str]:
        return [line.partition(":")[0] for line in self.lines]

    @property
    def ring(self) -> KeyRing:
        return KeyRing.parse("\n".join(self.lines))

    @property
    def text(self) -> str:
        mark = [f"{NEXT}{self.next}"] if self.next else []
        return "\n".join([*mark, *self.lines]) + "\n"

    def with_new(self) -> Keys:
        """One more that does not seal yet."""
        line = new_key_line().strip()
        return Keys((*self.lines, line), line.partition(":")[0])

    def promoted(self) -> Keys:
        """The next one seals."""
        first = [line for line in self.lines if line.startswith(f"{self.next}:")]
        return Keys((*first, *(line for line in self.lines if line not in first)))

    def without(self, ids: list[str]) -> Keys:
        return Keys(tuple(line for line in self.lines if line.partition(":")[0] not in ids), self.next)


class KeyFile:
    """Raises OSError, StoreError for what is no key file, SecretError for one that others may read."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve() if path.is_symlink() else path

    def read(self) -> Keys:
        if self.path.stat().st_mode & 0o077:
            raise SecretError(f"{self.path} may be read by others", hint=f"chmod 600 {self.path}")
        text = self.path.read_text("ascii")
        KeyRing.parse(text)  # says which line is wrong
        stripped = [line.strip() for line in text.splitlines()]
        marked = [line.removeprefix(NEXT).strip() for line in stripped if line.startswith(NEXT)]
        found = Keys(tuple(line for line in stripped if line and not line.startswith("#")))
        wanted = marked[0] if marked and marked[0] in found.ids[1:] else ""
        return Keys(found.lines, wanted)

    def write(self, keys: Keys) -> None:
        """All or nothing, with the mode and owner it had."""
        known = self.path.stat()
        draft = self.path.with_name(f".{self.path.name}.draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, stat.S_IMODE(known.st_mode) & 0o700)
            if os.geteuid() == 0:
                os.fchown(descriptor, known.st_uid, known.st_gid)
            file.write(keys.text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One rotation at a time; the lock goes with the process."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise OwnershipError("another rotation of keys is under way", hint="wait for it to end") from None
        finally:
            os.close(descriptor)


def found(config: Config, vault: Vault, state: Path, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The file of keys that can be changed, and in words where the keys are kept; None: only a person can change it."""
    ref = config.secrets.key
    if ref is not None and ref.file is not None:
        return vault.path(ref), f"secrets.key, {vault.path(ref)}"
    if ref is not None:
        return None, f"secrets.key, {ref.text}"
    handed = environ.get("CREDENTIALS_DIRECTORY")
    if handed is not None and (Path(handed) / KEY_CREDENTIAL).exists():
        return None, f"{{credential: {KEY_CREDENTIAL}}}"
    path = state / KEY_FILE
    if not path.exists():
        raise StoreError(f"there is no key yet: {path} is made at the first start", hint="syncd run")
    return path, str(path)
