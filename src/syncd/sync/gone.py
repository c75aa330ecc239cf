"""Whether what a partner calls gone is gone: that is believed slowly (R9), most of all where it is a word of permission.

An account that lost its rights, or its rights to one kind of records, is told 403 of everything it has; where a partner means
"gone" by that (Airbnb), none of it is.
"""

from __future__ import annotations

from typing import Final

from syncd.errors import GoneError, RejectedError
from syncd.kit import Resource
from syncd.model import Checkpoint, Lane
from syncd.store import Task
from syncd.sync import let_in
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan

_DENIALS: Final = frozenset({401, 403})
"""Statuses of a permission, whatever a partner means by them."""


def refused(gone: GoneError) -> RejectedError:
    """A 404 or 410 that was not of a record's own URL: it says of no record that it is gone, only that the call was wrong."""
    error = RejectedError(
        str(gone),
        hint=gone.hint,
        status=gone.status,
        code=gone.code,
        request_id=gone.request_id,
        partner=gone.partner,
        integration=gone.integration,
        resource=gone.resource,
    )
    error.evidence = gone.evidence
    return error


async def believe(account: Account, plan: ResourcePlan, gone: GoneError, task: Task) -> bool:
    """A record's own URL calls it gone. True: it is. False: nothing is known of it, and nothing said. Raises where it is not
    to be believed of a stored one: what another call is refused with, or the same as a refusal.

    Said by a word of permission, the account as a whole has to be let in, and to the listing of such records: that is asked
    after the refusal, once for all that come before it is asked. Where there are several listings, none of them proves it.
    """
    resource, refusal = plan.resource, account.proofs.refused()
    await _ask_for_account(account, gone, refusal, task.lane)
    if resource.never_gone:
        known = await account.store.records.get(account.name, plan.name, task.external_id or "")
        if known is not None and known.deleted_at is None:
            raise refused(gone)
        return False
    if gone.status in _DENIALS and resource.parent is None and resource.reads in ("full", "incremental"):
        if (
            len(account.driver.places(resource)) > 1
        ):  # which of them it is of nobody says, and each has rights of its own
            raise refused(gone)
        listing = account.driver.request(resource, Checkpoint("", plan.name))
        await account.proofs.ask(
            f"list {plan.name}", refusal, task.lane, lambda: account.session.call(listing, lane=task.lane)
        )
    return True


async def believe_below(account: Account, child: Resource, gone: GoneError, parent_id: str, lane: Lane) -> None:
    """The listing below a record calls it gone. Raises where that is not to be believed.

    Said by a word of permission, the record itself is asked for: one that is still shown is there, and so is what stands
    below it, which we may only not list.
    """
    await _ask_for_account(account, gone, account.proofs.refused(), lane)
    above = account.plans.get(child.parent or "")
    request = account.driver.one(above.resource, parent_id) if above is not None else None
    if gone.status not in _DENIALS or request is None:
        return
    try:
        await account.session.call(request, lane=lane)
    except GoneError:
        return
    raise refused(gone)


async def _ask_for_account(account: Account, gone: GoneError, refusal: int, lane: Lane) -> None:
    if gone.status in _DENIALS:
        await let_in.ask(account, refusal, lane)
