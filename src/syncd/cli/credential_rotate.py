"""`syncd credential rotate`: a new secret is tried, put in force, verified; or the old one is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncd.cli import credential_steps as steps
from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.credential_set import WEBHOOK, asked, reference
from syncd.cli.credential_test import exit_for, show
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, result, say

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.files import Files
    from syncd.secrets import Ref
    from syncd.server.ports import TestReport


@click.command()
@click.argument("integration")
@click.argument("name", required=False)
@click.option(
    "--from-file", type=click.Path(path_type=Path), metavar="FILE", help="The new secret is in there, not on stdin."
)
@click.option("--resume", is_flag=True, help="Go on with a rotation that was cut short.")
@click.option("--undo", is_flag=True, help="End a rotation that was cut short with the old secret.")
@click.option("--finish", is_flag=True, help="webhook: the secret before is valid no longer.")
@click.option("--anyway", is_flag=True, help="Also where the new secret lacks scopes that are needed.")
@common(database=True)
def rotate(
    app: App,
    integration: str,
    name: str | None,
    from_file: Path | None,
    resume: bool,
    undo: bool,
    finish: bool,
    anyway: bool,
) -> Exit:
    """Replace a secret that is kept in a file: the new one is tried first, and the old one comes back if it is refused.

    The new value is read from stdin, a prompt, or --from-file. NAME may be left out where there is one; `webhook` is what
    deliveries are verified with: the new one is added, and the one before stays valid until --finish.
    """
    if resume + undo + finish > 1:
        raise click.UsageError("one of --resume, --undo and --finish")
    config = app.config()
    known_integration(config, integration)
    rotation = Rotation(app, config, integration, name or _only(config, integration), anyway)
    if finish and not rotation.webhook:
        raise click.UsageError(f"--finish is for {WEBHOOK}; a credential's rotation ends by itself, or by --resume")
    if resume or undo or finish:
        with rotation.alone():
            return rotation.undo() if undo else rotation.finish() if finish else rotation.resume()
    rotation.be_free()
    value = asked(integration, rotation.name, verb="rotate", file=from_file)
    with rotation.alone():
        return rotation.begin(value)


def _only(config: Config, integration: str) -> str:
    """The one that can be meant."""
    found = config.integrations[integration][1].credentials
    files = [name for name, ref in found.items() if ref.file is not None]
    if len(files) == 1:
        return files[0]
    do = f"name it: syncd credential rotate {integration} {'|'.join(files or found) or 'NAME'}"
    raise Failure(f"{integration} has {len(files)} secrets in files", "one is rotated at a time", do, exit=Exit.USAGE)


@dataclass
class Rotation:
    """One secret's. The file's steps are in `credentials.files`, the calls' in the daemon."""

    app: App
    config: Config
    integration: str
    name: str
    anyway: bool

    def __post_init__(self) -> None:
        from syncd.cli.load import vault_of
        from syncd.credentials.files import files_of

        self.ref: Ref = reference(self.config, self.integration, self.name)
        self.files: Files = files_of(self.ref, vault_of(self.config))
        self.webhook = self.name not in self.config.integrations[self.integration][1].credentials
        self.command = f"syncd credential rotate {self.integration} {self.name}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Under the lock. Whatever ends it in the middle, what is left and how to go on is said."""
        from syncd.credentials.files import Left

        try:
            with self.files.alone():
                try:
                    yield
                except BaseException:
                    left = self.files.left
                    if left is not Left.NOTHING and not (self.webhook and left is Left.REPLACED):
                        say(f"{paint('!', 'yellow', err=True)} {left.told(self.integration, self.name)}")
                    raise
        except OSError as error:
            told = error.strerror or str(error)
            do = f"as its owner: ls -ld {self.files.path.parent}"
            if isinstance(error, FileNotFoundError):
                do = f"put a first one there: syncd credential set {self.integration} {self.name}"
            raise Failure(f"{self.files.path} could not be rotated", told, do) from error

    def be_free(self) -> None:
        """Raises Failure where another rotation of it is not over."""
        from syncd.credentials.files import Left

        left = self.files.left
        if left in (Left.REPLACED, Left.BACK):
            told, _, do = left.told(self.integration, self.name, webhook=self.webhook).partition(
                ": " if self.webhook else ". "
            )
            raise Failure(f"a rotation of {self.integration}.{self.name} is not over", told, do)

    # -- from the beginning

    def begin(self, value: bytes) -> Exit:
        """A new secret is there."""
        from syncd.credentials.files import Left

        self.be_free()
        if self.files.left is Left.DRAFT:
            say(
                f"a new secret that a rotation had left (#{self._hash(self.files.new)}), never in force, is thrown away"
            )
            self._drop()
        if self._hash(self.files.path) == _short(value):
            raise Failure("that is the secret in force already", f"#{_short(value)}", "get a new one from the partner",
                          exit=Exit.USAGE)  # fmt: skip
        self.files.draft(value)
        return self._added() if self.webhook else self._tried()

    def _tried(self) -> Exit:
        """It lies beside the old one: try it."""
        report = steps.try_new(self.app, self.config, self.integration, self.name)
        show(report, f"the new {self.name} (#{self._hash(self.files.new)})")
        if not report.ok:
            self._drop()
            say("nothing was changed: the old secret is in force" + ("" if report.refused else "; try again later"))
            return exit_for(report)
        missing = (report.scopes or {}).get("missing")
        if missing and not self.anyway:
            self._drop()
            say(
                f"nothing was changed: it lacks {', '.join(missing)}. "
                f"Give it those at the partner; or: {self.command} --anyway"
            )
            return Exit.REFUSED
        before = self._hash(self.files.path)
        self.files.replace()
        return self._adopted(before)

    def _adopted(self, before: str | None) -> Exit:
        """It is in its file: have it used, and see that it works there too."""
        steps.step(self.app, self.config, self.integration, "adopt")
        report = steps.reload(self.app)
        after = self._hash(self.files.path)
        why = "" if report is None else steps.refusal(report, self.config.integrations[self.integration][0].name)
        used = None if report is None else steps.in_force(self.app, self.integration, self.name)
        if not why and used is not None and used != after:
            why = f"the daemon works with another value of it (#{used}) all the same"
        if why:
            return self._back(f"the daemon did not take it: {why}", Exit.REFUSED)
        verified = self._verified()
        if verified.ok:
            steps.noted(self.app, self.config, self.integration, "credential_rotated", _told(self.name, before),
                        _told(self.name, after))  # fmt: skip
            self.files.forget()
            took = "" if verified.latency_ms is None else f" in {verified.latency_ms:.0f} ms"
            who = "the daemon" if report is not None else "no daemon runs here, so this command"
            result(
                f"{paint('✓', 'green')} {self.integration}: {self.name} #{after} is in force; "
                f"{who} was answered with it{took}"
            )
            return Exit.OK
        if verified.refused:
            why = verified.explanation.reason if verified.explanation is not None else "refused"
            return self._back(f"it was refused after all: {why}", Exit.REFUSED)
        show(verified)
        say(f"{self.name} #{after} is in force and not verified: the partner was not to be reached. "
            f"Then: {self.command} --resume")  # fmt: skip
        return Exit.TRY_LATER

    def _verified(self) -> TestReport:
        """A real call by whoever makes them."""
        from syncd.cli.live import tested

        return arun(tested(self.app, self.app.config(), self.integration))

    def _back(self, why: str, code: Exit) -> Exit:
        """The old secret and its tokens are in force again."""
        refused = self._hash(self.files.path)
        self.files.put_back()
        steps.step(self.app, self.config, self.integration, "undo")
        steps.reload(self.app)
        old = self._hash(self.files.path)
        steps.noted(self.app, self.config, self.integration, "credential_rotation_undone", _told(self.name, refused),
                    _told(self.name, old), why)  # fmt: skip
        self.files.forget()
        result(f"{paint('✗', 'red')} {self.integration}: {why}")
        result(f"  rolled back: {self.name} #{old} is in force again")
        return code

    def _drop(self) -> None:
        """The draft is forgotten; the old secret stays."""
        self.files.put_back()
        self.files.forget()

    # -- one that was cut short

    def resume(self) -> Exit:
        """Go on where it was."""
        from syncd.credentials.files import Left

        match self.files.left:
            case Left.DRAFT:
                return self._added() if self.webhook else self._tried()
            case Left.REPLACED if self.webhook:
                return self._told_both()
            case Left.REPLACED:
                return self._adopted(self._hash(self.files.previous))
            case Left.BACK:
                return self.undo()
        result(f"nothing to resume: no rotation of {self.integration}.{self.name} is under way")
        return Exit.OK

    def undo(self) -> Exit:
        """End it with the old secret."""
        from syncd.credentials.files import Left

        left = self.files.left
        if left is Left.NOTHING:
            result(f"nothing to undo: no rotation of {self.integration}.{self.name} is under way")
            return Exit.OK
        if left is Left.DRAFT:
            self._drop()
            result(f"{self.integration}: the new {self.name}, never in force, was thrown away")
            return Exit.OK
        if self.webhook:
            self.files.put_back()
            self.files.forget()
            steps.reload(self.app)
            result(f"{self.integration}: {self.name} #{self._hash(self.files.path)}, as before, and no other is valid")
            return Exit.OK
        return self._back("it was undone by hand", Exit.OK)

    # -- what deliveries are verified with

    def _added(self) -> Exit:
        before, after = self._hash(self.files.path), self._hash(self.files.new)
        self.files.replace()
        steps.noted(self.app, self.config, self.integration, "webhook_secret_rotated", _told(self.name, before),
                    _told(self.name, after))  # fmt: skip
        return self._told_both()

    def _told_both(self) -> Exit:
        report = steps.reload(self.app)
        partner = self.config.integrations[self.integration][0].name
        if report is not None and (why := steps.refusal(report, partner)):
            raise Failure("both are in their files, and the daemon did not take them", why, "syncd reload --wait")
        new, old = self._hash(self.files.path), self._hash(self.files.previous)
        result(f"{paint('✓', 'green')} {self.integration}: deliveries signed with #{new} or #{old} are let in")
        result("  now have the partner sign with the new one, if it does not yet")
        result("  the old one may go when every delivery is signed with the new one, those it sends again too:")
        result(f"  {self.command} --finish")
        return Exit.OK

    def finish(self) -> Exit:
        """The one before is valid no longer."""
        from syncd.credentials.files import Left

        if self.files.left is not Left.REPLACED:
            result(f"nothing to finish: one {self.name} secret of {self.integration} is valid at this place")
            return Exit.OK
        self.files.forget()
        steps.reload(self.app)
        result(
            f"{paint('✓', 'green')} {self.integration}: only #{self._hash(self.files.path)} is valid for {self.name}"
        )
        return Exit.OK

    @staticmethod
    def _hash(path: Path) -> str | None:
        from syncd.errors import ConfigError
        from syncd.secrets import Ref, Vault, fingerprint

        try:
            return fingerprint(Vault(None, {}).resolve(Ref.model_validate({"file": str(path)})))
        except ConfigError:
            return None


def _short(value: bytes) -> str:
    from syncd.secrets import Secret, fingerprint

    return fingerprint(Secret(value.decode("utf-8", "replace")))


def _told(name: str, short: str | None) -> dict[str, str]:
    return {} if short is None else {name: short}
