"""One cheap authenticated call, made to learn whether a credential works: behind `credential test` and `check --live`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from syncd.clock import Clock
from syncd.errors import AuthError, RejectedError, SyncdError
from syncd.explain import Explanation
from syncd.model import Lane
from syncd.server.ports import TestReport
from syncd.sync.account import Account
from syncd.sync.rights import Rights, rights_of
from syncd.sync.troubles import explain_error

TRIAL_SECONDS = 60.0


async def trial(account: Account, clock: Clock) -> TestReport:
    """Make the driver's test call through the account's own gate, ahead of other work. Never raises for an answer."""
    began = clock.monotonic()
    try:
        async with clock.timeout(TRIAL_SECONDS):
            response = await account.session.call(account.driver.test(account.options), lane=Lane.HIGH)
    except TimeoutError:
        reason = f"no answer within {TRIAL_SECONDS:g} s, waiting for limits included"
        why = Explanation("partner-down", reason, action=f"syncd status {account.name}")
        return TestReport(integration=account.name, ok=False, explanation=why)
    except SyncdError as error:
        report = failed(account, error, clock, began)
        return replace(report, **told(await rights_beside(account, error)))
    rights = await rights_beside(account)
    return TestReport(
        integration=account.name,
        ok=True,
        status=response.status_code,
        latency_ms=response.elapsed_seconds * 1000,
        **told(rights),
    )


def failed(account: Account, error: SyncdError, clock: Clock, began: float) -> TestReport:
    """A report of a call that brought no sound answer; `began` is the monotonic time it was begun at."""
    return TestReport(
        integration=account.name,
        ok=False,
        status=getattr(error, "status", None),
        latency_ms=(clock.monotonic() - began) * 1000,
        explanation=_why(account.name, error, clock),
        refused=isinstance(error, AuthError) or (isinstance(error, RejectedError) and error.status == 403),
    )


async def rights_beside(account: Account, error: SyncdError | None = None) -> Rights | None:
    """What the credential may do, beside a test that went well, or was refused for want of a right: a call more, at most.

    None where another answer says that there is nothing to learn from asking on.
    """
    if error is not None and not isinstance(error, RejectedError):
        return None
    account.health.rights = await rights_of(account)
    return account.health.rights


def told(rights: Rights | None) -> dict[str, Any]:
    """The same as fields of a report."""
    return {} if rights is None else {"scopes": rights.as_dict(), "expires_at": rights.expires_at}


def _why(integration: str, error: SyncdError, clock: Clock) -> Explanation:
    """The same words as everywhere; only that this command need not be told again."""
    found = explain_error(integration, "", error, clock.now())
    if found.action != f"syncd credential test {integration}":
        return found
    action = f"put a new one in place: syncd credential set {integration} NAME < file; then: syncd reload --wait"
    return Explanation(found.code, found.reason, found.since, found.cause, action)
