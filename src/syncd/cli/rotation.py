"""What the rotations of all secrets in files have in common: the lock, and what one that was cut short has left."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli import credential_steps as steps
from syncd.cli.app import App
from syncd.cli.credential_set import reference
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, result, say

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.files import Files
    from syncd.secrets import Ref


@dataclass
class Rotation(ABC):
    """One secret's. The file's steps are in `credentials.files`, the calls' in the daemon."""

    app: App
    config: Config
    integration: str
    name: str

    def __post_init__(self) -> None:
        from syncd.cli.load import vault_of
        from syncd.credentials.files import files_of

        self.ref: Ref = reference(self.config, self.integration, self.name)
        self.files: Files = files_of(self.ref, vault_of(self.config))
        self.command = f"syncd credential rotate {self.integration} {shlex.quote(self.name)}"

    @property
    def partner(self) -> str:
        return self.config.integrations[self.integration][0].name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Under the lock. Whatever ends it in the middle, what is left and how to go on is said."""
        try:
            with self.files.alone():
                try:
                    yield
                except BaseException:
                    if told := self.left_over():
                        say(f"{paint('!', 'yellow', err=True)} {told}")
                    raise
        except OSError as error:
            told = error.strerror or str(error)
            do = f"as its owner: ls -ld {self.files.path.parent}"
            if isinstance(error, FileNotFoundError):
                do = f"put a first one there: syncd credential set {self.integration} {shlex.quote(self.name)}"
            raise Failure(f"{self.files.path} could not be rotated", told, do) from error

    def be_free(self) -> None:
        """Raises Failure where another rotation is not over."""
        from syncd.credentials.files import Left

        left = self.files.left
        if left in (Left.REPLACED, Left.BACK):
            told, do = left.told(self.integration, self.name, webhook=self.adds)
            raise Failure(f"a rotation of {self.integration}.{self.name} is not over", told, do)

    def begin(self, value: bytes) -> Exit:
        """A new secret is there."""
        from syncd.credentials.files import Left

        self.be_free()
        if self.files.left is Left.DRAFT:
            say(f"a new secret that a rotation had left (#{hashed(self.files.new)}), never in force, is thrown away")
            self.drop()
        if hashed(self.files.path) == _short(value):
            raise Failure("that is the secret in force already", f"#{_short(value)}", "get a new one from the partner",
                          exit=Exit.USAGE)  # fmt: skip
        self.files.draft(value)
        return self.drafted()

    def resume(self) -> Exit:
        """Go on where one was cut short."""
        from syncd.credentials.files import Left

        match self.files.left:
            case Left.DRAFT:
                return self.drafted()
            case Left.REPLACED:
                return self.replaced()
            case Left.BACK:
                return self.undo()
        result(f"nothing to resume: no rotation of {self.integration}.{self.name} is under way")
        return Exit.OK

    def undo(self) -> Exit:
        """End one that was cut short with the old secret."""
        from syncd.credentials.files import Left

        left = self.files.left
        if left is Left.NOTHING:
            result(f"nothing to undo: no rotation of {self.integration}.{self.name} is under way")
            return Exit.OK
        if left is Left.DRAFT:
            self.drop()
            result(f"{self.integration}: the new {self.name}, never in force, was thrown away")
            return Exit.OK
        return self.back()

    def drop(self) -> None:
        """The draft is forgotten; the old secret stays."""
        self.files.put_back()
        self.files.forget()

    def noted(self, action: str, before: str | None, after: str | None, reason: str = "") -> None:
        """Into the audit log, by short hashes."""
        was, now = ({} if short is None else {self.name: short} for short in (before, after))
        steps.noted(self.app, self.config, self.integration, action, was, now, reason)

    # -- what each does its own way

    adds = False
    """Is the old secret valid beside the new one, until somebody ends that?"""

    def left_over(self) -> str:
        """What an end in the middle has left, and how to go on; empty where nothing is."""
        told, do = self.files.left.told(self.integration, self.name)
        return f"{told}. {do}" if told else ""

    @abstractmethod
    def drafted(self) -> Exit:
        """The new one lies beside the old one."""

    @abstractmethod
    def replaced(self) -> Exit:
        """It is in its file."""

    @abstractmethod
    def back(self) -> Exit:
        """The old one is to be in force again: a person says so."""

    def finish(self) -> Exit:
        """Raises Failure: only what adds is finished by a person."""
        raise Failure(
            f"--finish is for what deliveries are verified with, and {self.name} is a credential",
            "its rotation ends by itself",
            f"one that was cut short: {self.command} --resume",
            exit=Exit.USAGE,
        )


def hashed(path: Path) -> str | None:
    """The short hash of a secret in a file; None where it cannot be read."""
    from syncd.errors import ConfigError
    from syncd.secrets import Ref, Vault, fingerprint

    try:
        return fingerprint(Vault(None, {}).resolve(Ref.model_validate({"file": str(path)})))
    except ConfigError:
        return None


def _short(value: bytes) -> str:
    from syncd.secrets import Secret, fingerprint

    return fingerprint(Secret(value.decode()))
