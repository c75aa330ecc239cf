"""Short ways to say what the store's tests say often."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd import codec
from syncd.model import Mode, Outcome
from syncd.store import Change, PageResult, PageWrite, Row, Store

START = datetime(2024, 5, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def row(
    external_id: str,
    data: dict[str, Any] | None = None,
    *,
    fetched: float = 0,
    version: int | None = None,
    updated: float | None = None,
    resource: str = "things",
    **more: Any,
) -> Row:
    """One record whose raw is its data and its id."""
    content = {"name": external_id} if data is None else data
    raw = {"id": external_id, **content}
    deleted = more.get("deleted", False)
    return Row(
        external_id,
        resource,
        codec.dumps_storable(content) if not deleted else b"{}",
        codec.dumps(raw) if not deleted else b"{}",
        codec.content_hash(raw) if not deleted else b"",
        at(fetched),
        source_version=version,
        source_updated_at=None if updated is None else at(updated),
        **more,
    )


@dataclass
class Desk:
    """One integration being pulled."""

    store: Store
    fence: int
    integration: str = "acme"
    resource: str = "things"
    scope: str = "acme"
    run_id: int = 0
    cursor: str | None = None
    pages: int = field(default=0)

    @classmethod
    async def open(cls, store: Store, integration: str = "acme", resource: str = "things") -> Desk:
        fence = await store.leases.acquire(integration, "test:1", 600)
        assert fence is not None
        return cls(store, fence, integration, resource, integration)

    async def begin(self, mode: Mode = Mode.FULL, **more: Any) -> int:
        checkpoint, self.run_id = await self.store.checkpoints.begin(
            self.integration, self.resource, mode, scope=self.scope, fence=self.fence, **more
        )
        self.cursor = checkpoint.cursor
        return self.run_id

    def page(self, *rows: Row, last: bool = False, **more: Any) -> PageWrite:
        self.pages += 1
        values: dict[str, Any] = {
            "partner": "partner",
            "integration": self.integration,
            "resource": self.resource,
            "scope": self.scope,
            "fence": self.fence,
            "run_id": self.run_id,
            "cursor_read": self.cursor,
            "cursor_next": None if last else f"page {self.pages}",
            "last": last,
            "rows": rows,
            "seen_ids": [each.external_id for each in rows],
            "cause": "test",
        }
        return PageWrite(**{**values, **more})

    async def commit(self, *rows: Row, **more: Any) -> PageResult:
        page = self.page(*rows, **more)
        result = await self.store.pages.commit(page)
        self.cursor = page.cursor_next
        return result

    async def put(self, *rows: Row, **more: Any) -> PageResult:
        """Store rows outside a listing."""
        return await self.store.pages.commit_one(self.page(*rows, run_id=None, seen_ids=None, **more))

    async def finish(self, outcome: Outcome = Outcome.DONE, **more: Any) -> None:
        await self.store.checkpoints.finish(
            self.integration, self.resource, self.run_id, fence=self.fence, outcome=outcome, **more
        )

    async def full_pass(self, *rows: Row, seen: list[str] | None = None) -> int:
        """One complete listing of a single page."""
        run_id = await self.begin()
        await self.commit(*rows, last=True, **({} if seen is None else {"seen_ids": seen}))
        await self.finish(complete=True)
        return run_id

    async def data(self, external_id: str, resource: str | None = None) -> dict[str, Any] | None:
        """What is stored alive under this id."""
        found = await self.store.records.get(self.integration, resource or self.resource, external_id)
        return None if found is None or found.deleted_at is not None else found.data


async def feed(store: Store, count: int, after: int = 0) -> list[Change]:
    """The changes after this one, once there are so many. A reader waits for every transaction of the server that began
    before the changes did, other tests' too."""
    async with asyncio.timeout(60):
        while len(found := await store.changes.after(after, 10_000)) < count:
            await asyncio.sleep(0.02)
    assert len(found) == count
    return found


async def told(store: Store) -> list[Change]:
    """Every change there is, settled or not: for tests of what is written, not of the feed, which waits for others."""
    found = await store._database.fetch(f"SELECT {', '.join(Change.__slots__)} FROM syncd.changes ORDER BY id")
    return [Change(**dict(each)) for each in found]
