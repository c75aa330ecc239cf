"""A listing that should show records which come another way: what it does not show is said, and never deleted.

Booking.com's summaries show every reservation with a departure to come, but not for sure the cancelled ones: one that is
missing there has to be looked at by a person. One that it shows otherwise than the last message did is as it is shown: a
change that was acknowledged unseen, or lost on its way, comes by no other road.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from syncd import codec
from syncd.explain import Explanation
from syncd.store import PageWrite, Row, Stand
from syncd.sync.account import Account
from syncd.sync.page import PageRead
from syncd.sync.plan import ResourcePlan

log = structlog.get_logger()

SHOWN = 5
MOST = 1_000


async def take_shown(
    account: Account, plan: ResourcePlan, write: PageWrite, began_at: datetime, seen_at: datetime
) -> int:
    """After a page of such a pass: what it shows of records otherwise than they were stored before the pass is theirs now.

    `seen_at` is the partner's clock when the page was asked for: what a message of a later one says still counts more.
    Returns how many records that were.
    """
    rules = plan.resource.attests
    if rules is None or not rules.same or rules.resource not in account.plans:
        return 0
    rows = [row for row in write.rows if row.resource == rules.resource and not row.deleted]
    if not rows:
        return 0
    ids = [row.external_id for row in rows]
    stored = await account.store.records.told_before(account.name, rules.resource, ids, began_at)
    cause = f"{write.cause}: {plan.name} shows it otherwise"
    shown: list[Row] = []
    for row in rows:
        known = stored.get(row.external_id)
        if known is None or any(known.get(name) in values for name, values in rules.but.items()):
            continue
        if _differs(codec.loads(row.data_json), known, rules.same):
            shown.append(row._replace(source_updated_at=seen_at, cause=cause))
    if not shown:
        return 0
    result = await account.store.pages.commit_one(account.write(rules.resource, cause, PageRead(rows=shown)))
    if result.updated:
        log.warning(
            "records_shown_otherwise",
            partner=account.partner,
            integration=account.name,
            resource=rules.resource,
            listing=plan.name,
            count=len(result.updated),
            ids=result.updated[:SHOWN],
        )
        account.moved()
    return len(result.updated)


def _differs(told: Mapping[str, Any], known: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Is one of the fields that both have another one? Of lists it is the length that both ways tell alike."""
    for name in names:
        one, other = told.get(name), known.get(name)
        if one is None or other is None:
            continue
        if isinstance(one, list) and isinstance(other, list):
            one, other = len(one), len(other)
        if one != other:
            return True
    return False


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
    if not found:
        known.remarks("unattested", None)
        return
    count = f"{MOST:,} or more" if len(found) == MOST else f"{len(found):,}"
    listed = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    reason = f"{rules.resource}: {count} with a {rules.field} to come are not in {plan.name}: {listed}"
    told = Explanation(
        "unattested",
        reason,
        now,
        cause="they were called off and nobody told us, or the partner's listing leaves them out",
        action=f"look at them at the partner; ours: syncd records show {account.name}/{rules.resource} {found[0]}",
    )
    if known.remarks("unattested", told):
        log.warning(
            "records_unattested",
            partner=account.partner,
            integration=account.name,
            resource=rules.resource,
            listing=plan.name,
            count=len(found),
            ids=found[:SHOWN],
        )
