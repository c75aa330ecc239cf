"""Whom a refusal is about: this call, one property of several, or the account. The credential's own test tells."""

from __future__ import annotations

from syncd.errors import AuthError, RejectedError, SyncdError
from syncd.model import Lane
from syncd.sync.account import Account
from syncd.sync.troubles import shut_out


async def ask(account: Account, lane: Lane) -> None:
    """Is the account as a whole let in? Raises what its test is refused with: AuthError where it is not."""
    try:
        await account.session.call(account.driver.test(account.options), lane=lane)
    except RejectedError as error:
        raise shut_out(error) or error from None


async def of_one_place(account: Account, error: BaseException, lane: Lane) -> RejectedError | None:
    """A refused credential, taken as the refusal of one property, account or the like that an integration covers several of.

    None where it covers one alone, or where the credential's own test is not let in either: then it is what it says.
    """
    if not isinstance(error, AuthError):
        return None
    if all(len(account.driver.places(plan.resource)) < 2 for plan in account.plans.values()):
        return None
    try:
        await ask(account, lane)
    except SyncdError:
        return None
    return RejectedError(
        f"{error} (the credential itself is let in)",
        hint="what the call names (a property, an account) does not let us in any more: connect it again at the partner",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
