"""The rotation of a credential: the new one is tried, put in force, verified; refused anywhere, the old one is back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncd.cli import credential_steps as steps
from syncd.cli.app import arun
from syncd.cli.credential_test import exit_for, show
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, result, say
from syncd.cli.rotation import Rotation, hashed

if TYPE_CHECKING:
    from syncd.server.ports import TestReport


@dataclass
class CredentialRotation(Rotation):
    """Whatever it is refused by, calls go on with a secret that works."""

    anyway: bool = False
    """Also where the new one lacks scopes that are needed."""

    def be_free(self) -> None:
        """Also of the other credentials of the integration: what is kept to go back is kept once."""
        from syncd.cli.load import vault_of
        from syncd.credentials.files import Left, left_of

        super().be_free()
        vault = vault_of(self.config)
        for name, ref in self.config.integrations[self.integration][1].credentials.items():
            left = left_of(ref, vault) if name != self.name else Left.NOTHING
            if left in (Left.REPLACED, Left.BACK):
                raise Failure(
                    f"a rotation of {self.integration}.{name} is not over", *left.told(self.integration, name)
                )

    def drafted(self) -> Exit:
        try:
            report = steps.try_new(self.app, self.config, self.integration, self.name)
        except Exception:  # nobody was asked, so nobody was killed: there is nothing to go on with
            self.drop()
            say("nothing was changed: the old secret is in force")
            raise
        show(report, f"the new {self.name} (#{hashed(self.files.new)})")
        if not report.ok:
            self.drop()
            say("nothing was changed: the old secret is in force" + ("" if report.refused else "; try again later"))
            return exit_for(report)
        missing = (report.scopes or {}).get("missing")
        if missing and not self.anyway:
            self.drop()
            say(
                f"nothing was changed: it lacks {', '.join(missing)}. "
                f"Give it those at the partner; or: {self.command} --anyway"
            )
            return Exit.REFUSED
        self.files.replace()
        return self.replaced()

    def replaced(self) -> Exit:
        """Have it used, and see that it works there too."""
        before, after = hashed(self.files.previous), hashed(self.files.path)
        steps.step(self.app, self.config, self.integration, "adopt")
        report = steps.reload(self.app)
        if report is not None and (
            why := steps.not_taken(self.app, self.config, self.integration, self.name, after, report)
        ):
            return self._back(f"the daemon did not take it: {why}", Exit.REFUSED)
        verified = self._verified()
        if verified.ok:
            self.noted("credential_rotated", before, after)
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

    def back(self) -> Exit:
        return self._back("it was undone by hand", Exit.OK)

    def _verified(self) -> TestReport:
        """A real call by whoever makes them."""
        from syncd.cli.live import tested

        return arun(tested(self.app, self.app.config(), self.integration, anyway=True))

    def _back(self, why: str, code: Exit) -> Exit:
        """The old secret and its tokens are in force again."""
        refused = hashed(self.files.path)
        self.files.put_back()
        steps.step(self.app, self.config, self.integration, "undo")
        steps.reload(self.app)
        old = hashed(self.files.path)
        self.noted("credential_rotation_undone", refused, old, why)
        self.files.forget()
        result(f"{paint('✗', 'red')} {self.integration}: {why}")
        result(f"  rolled back: {self.name} #{old} is in force again")
        return code
