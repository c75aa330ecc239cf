"""Whom a refusal is about: this call, one property of several, or the account. The credential's own test tells."""

from __future__ import annotations

from syncd.errors import AuthError, GoneError, PayloadError, RejectedError, TransientError
from syncd.model import Lane
from syncd.sync.account import Account


async def ask(account: Account, refusal: int, lane: Lane) -> None:
    """Is the account as a whole let in? Raises what its test is refused with: AuthError where it is not.

    It is asked once for all refusals (`account.proofs`) that come before it is.
    """
    await account.proofs.ask("account", refusal, lane, lambda: _test(account, lane))


async def _test(account: Account, lane: Lane) -> None:
    try:
        await account.session.call(account.driver.test(account.options), lane=lane)
    except RejectedError as error:
        if error.status not in (401, 403):
            raise
        told = AuthError(  # a word of permission is there no matter of one call, but of all
            str(error),
            cause="the credential lacks all rights: the partner has to give them back, or another credential",
            permanent=True,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            partner=error.partner,
            integration=error.integration,
            resource=error.resource,
        )
        told.evidence = error.evidence
        raise told from None


async def all_the_same(account: Account, error: AuthError, lane: Lane) -> bool:
    """Is the credential let in all the same, although the partner refused it for one call?

    Raises the trouble that its test met where that got no answer: then nobody knows.
    """
    if error.status is None:  # no call was made with it
        return False
    try:
        await ask(account, account.proofs.refused(), lane)
    except (AuthError, RejectedError, GoneError, PayloadError):
        return False
    return True


async def whose(account: Account, resource: str, error: Exception, lane: Lane) -> Exception:
    """What an error is to be taken as: a refused credential as the trouble of one property, account or the like where the
    credential's own test is let in, anything else as what it is.

    Where that test got no answer, it is the trouble that the test met: the work is put off by that.
    """
    if not isinstance(error, AuthError) or (told := as_of_one_place(account, resource, error)) is None:
        return error
    try:
        return told if await all_the_same(account, error, lane) else error
    except Exception as trouble:
        return trouble


def as_of_one_place(account: Account, resource: str, error: AuthError) -> TransientError | None:
    """A refused credential as the trouble of one place: tried again as often as other trouble, and stopping nothing else.

    None where the resource is not of one of several. Whether the credential is let in all the same has to be asked.
    """
    if not _is_of_several(account, resource):
        return None
    told = TransientError(
        f"{error} (the credential itself is let in)",
        breaks=False,
        hint="what the call names (a property, an account) does not let us in any more: connect it again at the partner",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        partner=error.partner,
        integration=error.integration,
        resource=error.resource,
    )
    told.cooled, told.evidence = error.cooled, error.evidence
    return told


def _is_of_several(account: Account, resource: str) -> bool:
    """Does each of its records, or of those above it, belong to one of several that an option lists?

    What a description lists itself may be no more than a filter's values.
    """
    plan = account.plans.get(resource)
    while plan is not None:
        each = plan.resource.each
        walked = each if isinstance(each, tuple) else () if each is None else (each,)
        if any(one.option is not None and len(one.values) > 1 for one in walked):
            return True
        plan = account.plans.get(plan.resource.parent or "")
    return False
