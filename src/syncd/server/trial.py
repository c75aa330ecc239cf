"""One cheap authenticated call, made to learn whether a credential works: behind `credential test` and `check --live`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from syncd.client import Session
from syncd.clock import Clock
from syncd.errors import AuthError, RejectedError, SyncdError
from syncd.explain import Explanation
from syncd.model import Lane
from syncd.server.ports import TestReport
from syncd.sync.account import Account
from syncd.sync.rights import Rights, rights_of
from syncd.sync.troubles import explain_test

TRIAL_SECONDS = 60.0


async def trial(account: Account, clock: Clock) -> TestReport:
    """Make the driver's test call through the account's own gate, ahead of other work. Never raises for an answer.

    In a maintenance window too: a person asks for it, who cannot wait.
    """
    began = clock.monotonic()
    async with _way(account) as session:
        try:
            async with clock.timeout(TRIAL_SECONDS):
                response = await session.call(account.driver.test(account.options), lane=Lane.HIGH)
        except TimeoutError:
            return unanswered(account)
        except SyncdError as error:
            report = failed(account, error, clock, began)
            return replace(report, **told(await rights_beside(account, error, session)))
        rights = await rights_beside(account, None, session)
    return TestReport(
        integration=account.name,
        ok=True,
        status=response.status_code,
        latency_ms=response.elapsed_seconds * 1000,
        remark=remark(account),
        **told(rights),
    )


@asynccontextmanager
async def _way(account: Account) -> AsyncIterator[Session]:
    """The session everybody uses; in a maintenance window, when nothing leaves by that, one beside it."""
    if account.session.shut is None or account.attempt is None or account.keys is None:
        yield account.session
        return
    await account.keys.ensure()
    session = account.attempt(account.keys, account.store.credentials)
    session.shut = None
    try:
        yield session
    finally:
        await session.aclose()


def remark(account: Account) -> str:
    """That a person's call was made although nothing else is sent now; empty where no window is open."""
    shut = account.session.shut
    return "" if shut is None else f"{shut.reason}; this was sent all the same, since a person asked for it"


def unanswered(account: Account) -> TestReport:
    """A report of a call that took too long."""
    reason = f"no answer within {TRIAL_SECONDS:g} s, waiting for limits included"
    why = Explanation("partner-down", reason, action=f"syncd status {account.name}")
    return TestReport(integration=account.name, ok=False, explanation=why, remark=remark(account))


def failed(account: Account, error: SyncdError, clock: Clock, began: float) -> TestReport:
    """A report of a call that brought no sound answer; `began` is the monotonic time it was begun at."""
    return TestReport(
        integration=account.name,
        ok=False,
        status=getattr(error, "status", None),
        latency_ms=(clock.monotonic() - began) * 1000,
        explanation=explain_test(account.name, error, clock.now()),
        refused=isinstance(error, AuthError) or (isinstance(error, RejectedError) and error.status == 403),
        remark=remark(account),
    )


async def rights_beside(
    account: Account, error: SyncdError | None = None, session: Session | None = None
) -> Rights | None:
    """What the credential may do, beside a test that went well, or was refused for want of a right: a call more, at most.

    None where another answer says that there is nothing to learn from asking on.
    """
    if error is not None and not isinstance(error, RejectedError):
        return None
    account.health.rights = await rights_of(account, session)
    return account.health.rights


def told(rights: Rights | None) -> dict[str, Any]:
    """The same as fields of a report."""
    return {} if rights is None else {"scopes": rights.as_dict(), "expires_at": rights.expires_at}
