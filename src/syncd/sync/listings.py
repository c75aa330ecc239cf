"""The listing a resource is read by: its own, or one below each of its live parents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.model import Checkpoint
from syncd.sync.account import Account
from syncd.sync.listing import ChildListing, Listing, needs_fields
from syncd.sync.plan import ResourcePlan, Strategy


def listing_of(account: Account, plan: ResourcePlan, checkpoint: Checkpoint) -> Listing | ChildListing:
    """From the checkpoint's cursor on; for what changed since `checkpoint.since` where that is given."""
    resource = plan.resource
    if plan.strategy is not Strategy.CHILDREN:
        first = account.driver.request(resource, checkpoint)
        return Listing(account.driver, resource, first, cursor=checkpoint.cursor)
    parent, with_fields = resource.parent or "", needs_fields(resource)

    async def parents(last: str, limit: int) -> list[tuple[str, Mapping[str, Any] | None]]:
        live = account.store.records.scan(account.name, parent, after=last, batch=limit, limit=limit)
        return [(record.external_id, record.data if with_fields else None) async for record in live]

    return ChildListing(account.driver, resource, checkpoint.cursor, parents)
