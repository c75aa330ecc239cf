"""A listing that should show records which come another way: what it does not show is said, and never deleted.

Booking.com's summaries show every reservation with a departure to come, but not for sure the cancelled ones: one that is
missing there has to be looked at by a person.
"""

from __future__ import annotations

import structlog

from syncd.explain import Explanation
from syncd.store import Stand
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan

log = structlog.get_logger()

SHOWN = 5
MOST = 1_000


async def tell_unattested(account: Account, plan: ResourcePlan, stand: Stand | None) -> None:
    """After a complete pass: which records should it have shown, and did not? Says so once for as many."""
    rules = plan.resource.attests
    began_at = stand.started_at if stand is not None else None
    if rules is None or rules.resource not in account.plans or began_at is None:
        return
    known, now = account.health.of(plan.name), account.clock.now()
    found = await account.store.records.unattested(
        account.name,
        rules.resource,
        plan.name,
        field=rules.field,
        but=rules.but,
        after=now.date(),
        before=began_at,
        most=MOST,
    )
    before, known.unattested = known.unattested, None
    if not found:
        return
    count = f"{MOST:,} or more" if len(found) == MOST else f"{len(found):,}"
    listed = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    reason = f"{rules.resource}: {count} with a {rules.field} to come are not in {plan.name}: {listed}"
    known.unattested = Explanation(
        "unattested",
        reason,
        before.since if before is not None else now,
        cause="they were called off and nobody told us, or the partner's listing leaves them out",
        action=f"look at them at the partner; ours: syncd records show {account.name}/{rules.resource} {found[0]}",
    )
    if before is None or before.reason != reason:
        log.warning(
            "records_unattested",
            partner=account.partner,
            integration=account.name,
            resource=rules.resource,
            listing=plan.name,
            count=len(found),
            ids=found[:SHOWN],
        )
