"""Killing the daemon at moments seen from outside, while its partner changes, tells, is polled and pushed to.

And the books afterwards. The moments are read off tables, ports and the partner's own counts: nothing inside the daemon
knows of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows

POINTS = ("starting", "ready", "inbox", "batch", "event", "task", "page", "push", "random", "term")
"""Before it is ready; when it first is; an inbox row appears; deliveries are in hand; one is worked off; a task is taken; a
page is committed; a push reaches the partner; any time; told to stop, which has to end well."""
OPEN_PUSHES = "SELECT count(*) FROM syncd.outbox WHERE state IN ('waiting', 'taken', 'unknown')"
OPEN_MOST = 150
"""Pushes that may wait while the daemon is dead more than alive: on a slow machine it would never catch up."""
LOOK_SECONDS = 0.004
LONGEST_SECONDS = 8.0
"""A point that does not come within this is killed at all the same."""


class Campaign:
    """`await campaign.kill_at(point)` as often as one likes, then `await campaign.settle()` and the `wrong_...` lists."""

    def __init__(self, daemon: Daemon, control: Control, rows: Rows, dice: random.Random, integration: str) -> None:
        self.daemon = daemon
        self.control = control
        self.rows = rows
        self.dice = dice
        self._others = random.Random(dice.random())
        """What the pushes roll, so that their pace does not change which moments are chosen."""
        self.integration = integration
        self.ready_seconds: list[float] = []
        self.met: dict[str, int] = dict.fromkeys(POINTS, 0)
        self.missed: dict[str, int] = {}
        self.pushed: list[str] = []
        """Labels handed to the outbox."""
        self._pushing: asyncio.Task[None] | None = None

    # -- what goes on meanwhile --------------------------------------------------------------------------------------

    def push_steadily(self, url: str, ids: list[str], every_seconds: float) -> None:
        """Write a push into the outbox every so often, as an application does in a transaction of its own."""

        async def run() -> None:
            connection = await asyncpg.connect(url)
            try:
                while True:
                    if await connection.fetchval(OPEN_PUSHES) < OPEN_MOST:
                        await self._push(connection, self._others.choice(ids))
                    await asyncio.sleep(every_seconds)
            finally:
                await connection.close()

        self._pushing = asyncio.get_running_loop().create_task(run())

    async def _push(self, connection: asyncpg.Connection, external_id: str) -> None:
        label = f"label-{len(self.pushed):05d}"
        await connection.execute(
            "SELECT syncd.push($1, 'things', $2, $3::jsonb, external_id => $4, idempotency_key => $5)",
            self.integration,
            self._others.choice(("label", "tag")),
            orjson.dumps({"label": label}).decode(),
            external_id,
            f"campaign-{label}",
        )
        self.pushed.append(label)

    async def stop_pushing(self) -> None:
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.gather(self._pushing, return_exceptions=True)
            self._pushing = None

    # -- killing -----------------------------------------------------------------------------------------------------

    async def kill_at(self, point: str) -> None:
        """Start the daemon, wait for the point, kill it."""
        before = await self._seen(point)
        since = datetime.now(UTC)
        if point == "starting":
            await self.daemon.start(wait=False)
            await asyncio.sleep(self.dice.uniform(0.0, 1.5 * min(self.ready_seconds, default=1.0)))
            self.met[point] += 1
        else:
            self.ready_seconds.append(await self.daemon.start())
            if point in {"random", "term"}:
                await asyncio.sleep(self.dice.uniform(0.0, 1.5))
            if await self._reached(point, before, since):
                self.met[point] += 1
            else:
                self.missed[point] = self.missed.get(point, 0) + 1
        if point == "term":
            assert await self.daemon.stop() == 0
        await self.daemon.kill()

    async def _reached(self, point: str, before: int, since: datetime) -> bool:
        if point in {"ready", "random", "term"}:
            return True
        deadline = time.monotonic() + LONGEST_SECONDS
        # Not always the first: the second or fifth time is another moment of the daemon's life.
        wanted = before + self.dice.choice((1, 1, 2, 5, 40))
        while time.monotonic() < deadline:
            seen = await self._seen(point, since)
            if seen >= wanted or (seen > before and time.monotonic() > deadline - LONGEST_SECONDS / 2):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _seen(self, point: str, since: datetime | None = None) -> int:
        fetch = self.rows.connection.fetchval
        match point:
            case "inbox":
                found = await fetch("SELECT coalesce(max(id), 0) FROM syncd.inbox")
            case "batch":
                found = 0 if since is None else await fetch(
                    "SELECT coalesce(sum(cardinality(ids)), 0) FROM syncd.inbox_batches WHERE taken_at >= $1", since
                )  # fmt: skip
            case "event":
                found = await fetch("SELECT count(*) FROM syncd.inbox WHERE state IN ('done', 'dropped')")
            case "task":
                found = 0 if since is None else await fetch(
                    "SELECT count(*) FROM syncd.tasks WHERE state = 'taken' AND taken_at >= $1", since
                )  # fmt: skip
            case "page":
                found = await fetch("SELECT coalesce(sum(pages), 0) FROM syncd.runs")
            case "push":
                found = len(await self.control.do("labels"))
            case _:
                found = 0
        return int(found)

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def settle(self, resources: tuple[str, ...], *, seconds: float) -> None:
        """Nothing changes any more and the daemon runs: wait until its copy is the partner's truth and no work is left."""
        until = self.daemon.until
        await until(self._pushed_out, seconds=seconds, every=0.3)  # each push is told of too
        await until(self._told, seconds=seconds, every=0.1)
        truth = await self.control.truth("things")

        def same(resource: str) -> Callable[[], Awaitable[bool]]:
            async def compare() -> bool:
                return await self.rows.live(self.integration, resource) == truth

            return compare

        for resource in resources:
            await until(same(resource), seconds=seconds, every=0.5)
        await until(self._worked_off, seconds=seconds, every=0.3)

    async def _told(self) -> bool:
        view = (await self.control.stats())["webhooks"]
        return not (view["waiting"] or view["in_flight"] or view["retrying"])

    async def _pushed_out(self) -> bool:
        return await self.rows.connection.fetchval(OPEN_PUSHES) == 0

    async def _worked_off(self) -> bool:
        left = "SELECT count(*) FROM syncd.inbox WHERE state IN ('waiting', 'taken')"
        return await self.rows.connection.fetchval(left) == 0

    async def lost(self) -> list[str]:
        """Acknowledged deliveries that are not in the inbox, or not done with."""
        acknowledged = set(await self.control.acknowledged())
        found = await self.rows.connection.fetch(
            "SELECT event_id FROM syncd.inbox WHERE integration = $1 AND state IN ('done', 'dropped')", self.integration
        )
        return sorted(acknowledged - {row["event_id"] for row in found})

    async def doubled_pushes(self) -> dict[str, int]:
        """Labels the partner did not put on exactly once."""
        put_on: dict[str, int] = await self.control.do("labels")
        return {label: put_on.get(label, 0) for label in self.pushed if put_on.get(label, 0) != 1}

    async def broken_changes(self) -> list[dict[str, Any]]:
        """Field-level changes that do not go on where the one before ended, or change nothing: an effect written twice."""
        found = await self.rows.connection.fetch(
            """
            SELECT resource, external_id, field, before::text, old::text, new::text FROM (
                SELECT *, lag(new) OVER (PARTITION BY resource, external_id, field ORDER BY id) AS before,
                       row_number() OVER (PARTITION BY resource, external_id, field ORDER BY id) AS place
                FROM syncd.changes WHERE integration = $1 AND kind = 'update'
            ) c WHERE old IS NOT DISTINCT FROM new OR (place > 1 AND before IS DISTINCT FROM old)
            """,
            self.integration,
        )
        return [dict(row) for row in found]

    async def buried(self) -> list[dict[str, Any]]:
        """Dead letters and rejects: none of this work deserved it."""
        letters = await self.rows.connection.fetch(
            "SELECT origin, resource, error_class, message FROM syncd.dead_letters UNION ALL "
            "SELECT 'reject', resource, '', reason FROM syncd.rejects"
        )
        return [dict(row) for row in letters]
