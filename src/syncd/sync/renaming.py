"""Records that came back under another id: something was merged or split. It is said, and a person tells who it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog

from syncd.explain import Explanation
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan

log = structlog.get_logger()

SHOWN: Final = 5
MOST: Final = 100
TOLD_FOR: Final = timedelta(days=7)
"""So long after the old one went it is said."""


async def tell_renewed(account: Account, plan: ResourcePlan) -> None:
    """After a complete pass: which records that went lately look like one that lives? Says so once for the same ones."""
    if not plan.resource.alike:
        return
    known, now = account.health.of(plan.name), account.clock.now()
    pairs = await account.store.records.renewed(
        account.name, plan.name, fields=plan.resource.alike, since=now - TOLD_FOR, most=MOST
    )
    if not pairs:
        known.remarks("renewed", None)
        return
    listed = ", ".join(f"{old} is perhaps {new} now" for old, new in pairs[:SHOWN]) + (", ..." if pairs[SHOWN:] else "")
    reason = f"{plan.name}: gone, while another one has the same {' and '.join(plan.resource.alike)}: {listed}"
    told = Explanation(
        "ids-changed",
        reason,
        now,
        cause="the partner gave it another id (a merge, a split), or it was deleted and made again",
        action=f"whoever refers to the old id has to know; ours: syncd records show {account.name}/{plan.name} {pairs[0][0]}",
    )
    if known.remarks("renewed", told):
        log.warning(
            "ids_changed",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            count=len(pairs),
            ids=[list(pair) for pair in pairs[:SHOWN]],
            reason=reason,
        )
