"""Properties, accounts or the like that one listing is walked for, and records below which one is walked: those that the
partner refuses to list while it lists the others, and those that came later than the last complete pass."""

from __future__ import annotations

from itertools import islice

import structlog

from syncd.explain import Explanation
from syncd.store import Stand
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.tally import Tally

log = structlog.get_logger()

NAMED_MOST = 10
"""Of those that refuse; there may be thousands (R12)."""


async def came_later(account: Account, plan: ResourcePlan, before: Stand | None) -> bool:
    """Is there one that the last complete pass did not list? What changed lately would be all that is known of it.

    Not one that refused when it was asked last: it would make every run a complete one.
    """
    if plan.strategy is not Strategy.INCREMENTAL or before is None or before.passed_at is None:
        return False
    if before.checkpoint.run_id is not None or before.checkpoint.cursor is not None or before.listed:
        return False  # a run goes on as it began
    places = set(account.driver.places(plan.resource)) - account.health.of(plan.name).refused_places
    return bool(places) and not places <= await account.store.passes.places(account.name, plan.name)


def tell_refused(account: Account, plan: ResourcePlan, tally: Tally) -> None:
    """At the end of a run: which ones were passed over. Said once for the same ones, and once when all are listed again.

    A run that goes on with another's listing has not seen all of them: it takes nothing back.
    """
    known, now = account.health.of(plan.name), account.clock.now()
    before = known.refused
    if not tally.refused:
        if before is not None and tally.listing_began_at is None:
            known.refused, known.refused_places = None, frozenset()
            log.info("parts_listed_again", partner=account.partner, integration=account.name, resource=plan.name)
        return
    seen_before = frozenset() if tally.listing_began_at is None else known.refused_places
    known.refused_places = seen_before | tally.refused.keys()
    some = list(islice(tally.refused, NAMED_MOST))
    more = len(tally.refused) - len(some)
    names = ", ".join(some) + (f" and {more} more" if more else "")
    why = next(iter(tally.refused.values()))
    cause = "what it names was closed, or no longer lets us in; all others are read, and its records stay as they are"
    action = f"where it is to stay, connect it again at the partner; else take it out of the options of {account.name}"
    if plan.strategy is Strategy.CHILDREN:
        cause = "a right is missing: the record itself is shown; all others are read, and what stands below it stays as it is"
        action = f"give {account.name} the right to list it, at the partner"
    known.refused = Explanation(
        "request-rejected",
        f"{plan.name}: the partner refuses to list {names}: {why}",
        before.since if before is not None else now,
        cause=cause,
        action=action,
    )
    if before is None or before.reason != known.refused.reason:
        log.warning(
            "parts_refused",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            run_id=tally.run_id,
            parts=some,
            reason=why,
            action=known.refused.action,
        )
