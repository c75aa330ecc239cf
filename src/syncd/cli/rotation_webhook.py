"""The rotation of what deliveries are verified with: the new secret is valid beside the old one, until a person ends that."""

from __future__ import annotations

from syncd.cli import credential_steps as steps
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, result
from syncd.cli.rotation import Rotation, hashed


class WebhookRotation(Rotation):
    """No call tells whether it is right: whose delivery it lets in does."""

    adds = True

    def left_over(self) -> str:
        from syncd.credentials.files import Left

        return "" if self.files.left is Left.REPLACED else super().left_over()  # both are valid: nothing is amiss

    def drafted(self) -> Exit:
        before, after = hashed(self.files.path), hashed(self.files.new)
        self.files.replace()
        self.noted("secret_of_webhook_added", before, after)
        return self.replaced()

    def replaced(self) -> Exit:
        self._taken("both are in their files, and the daemon did not take them")
        new, old = hashed(self.files.path), hashed(self.files.previous)
        result(f"{paint('✓', 'green')} {self.integration}: deliveries signed with #{new} or #{old} are let in")
        result("  now have the partner sign with the new one, if it does not yet")
        result("  the old one may go when every delivery is signed with the new one, those it sends again too:")
        result(f"  {self.command} --finish")
        return Exit.OK

    def back(self) -> Exit:
        gone = hashed(self.files.path)
        self.files.put_back()
        self.files.forget()
        old = hashed(self.files.path)
        self.noted("secret_of_webhook_undone", gone, old)
        self._taken("the old one is in its file, and the daemon did not take it")
        result(f"{self.integration}: {self.name} #{old}, as before, and no other is valid")
        return Exit.OK

    def finish(self) -> Exit:
        from syncd.credentials.files import Left

        if self.files.left is not Left.REPLACED:
            result(f"nothing to finish: one {self.name} secret of {self.integration} is valid at this place")
            return Exit.OK
        gone, new = hashed(self.files.previous), hashed(self.files.path)
        self.files.forget()
        self.noted("secret_of_webhook_ended", gone, new)
        self._taken("the one before is removed, and the daemon may let it in still")
        result(f"{paint('✓', 'green')} {self.integration}: only #{new} is valid for {self.name}")
        return Exit.OK

    def _taken(self, otherwise: str) -> None:
        """Raises Failure where the daemon judges deliveries by other secrets than the files have."""
        report = steps.reload(self.app)
        if report is not None and (why := steps.refusal(report, self.partner, webhooks_of=self.integration)):
            raise Failure(otherwise, why, "syncd reload --wait")
