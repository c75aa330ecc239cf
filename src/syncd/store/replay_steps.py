"""A replay's steps: each one transaction, in which letters turn from `open` to `replayed` while their work is returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from syncd.model import Lane
from syncd.store.database import Database, again_after_conflict
from syncd.store.returned import Returned
from syncd.store.returns import IN_FLIGHT, give_back
from syncd.store.task_turns import URGENT

PORTION: Mapping[str, int] = {"task": 500, "run": 500, "inbox": 50, "outbox": 10}
"""So many pieces of returned work of one replay may be unfinished at once (R12), by origin. Tasks go in the lowest lane;
deliveries and pushes go before newer ones of their integration, so only few of them at a time."""
HELD_TIMES = 4
"""Returned work that is put off until later does not count as unfinished, but in all there is never more than so many times
the portion."""
LOOKED_AT = 200
"""Letters that are looked at for one step, at the least."""
ENOUGH_FAILED = 10
"""From so many letters that were buried again, and more than half of those that ended, a replay goes no further."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay of one cause."""

    integration: str
    id: int
    resource: str
    fingerprint: str
    message: str
    who: str
    state: str
    """canary: one letter is ahead; following: the others come after it; done, stopped, cancelled."""
    total: int
    sent: int
    """Letters whose work was returned."""
    overtaken: int
    unable: int
    canary_id: int | None
    reason: str | None
    begun_at: datetime
    ended_at: datetime | None


COLUMNS = ", ".join(Replay.__slots__)
FAILED = "SELECT count(*) FROM syncd.dead_letters WHERE integration = $1 AND failed_in = $2"
OPEN = "d.integration = $1 AND d.replay_id = $2 AND d.state = 'open'"
_URGENT = f"""
SELECT count(*) FROM ({URGENT}) t
JOIN syncd.inbox q ON q.integration = $1 AND q.event_id = substr(t.cause, 9)
JOIN syncd.dead_letters d ON d.integration = $1 AND d.id = q.letter_id AND d.replay_id = $2
WHERE t.cause LIKE 'webhook %'
"""
"""Reads that deliveries cause go in the highest lane: what a replay adds there has its bound too. Others' reads are not
counted, nor is what a thousand newer ones of its resource came after: in a lane never empty a replay would stand still."""
_HALF = f"SELECT d.id, d.origin FROM syncd.dead_letters d WHERE {OPEN} AND {{}} ORDER BY d.put_off_until, d.id LIMIT $3"
_NEXT = f"""
({_HALF.format("d.put_off_until IS NULL")}) UNION ALL ({_HALF.format("d.put_off_until <= $4")}) ORDER BY id
"""
"""Of those that were never stepped over and of those that were each the next: neither keeps the others waiting."""
_CHOSEN = (
    "SELECT d.id, d.origin, d.origin_id, d.resource, d.external_id, d.error_class, d.payload FROM syncd.dead_letters d "
    f"WHERE {OPEN} AND d.id = ANY($3::bigint[]) ORDER BY d.id FOR UPDATE"
)


class Steps:
    """Who carries replays on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @again_after_conflict
    async def step(self, integration: str, replay_id: int) -> bool:
        """Carry one replay on as far as it goes now. False: nothing could be done, look again in a while.

        Any number of instances may call this at once; one of them does it.
        """
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                f"SELECT {COLUMNS} FROM syncd.replays WHERE integration = $1 AND id = $2 AND ended_at IS NULL "
                "FOR UPDATE SKIP LOCKED",
                integration,
                replay_id,
            )
            if found is None:
                return False
            replay = Replay(**dict(found))
            now = self._database.clock.now()
            flying, held, _, _ = await connection.fetchrow(IN_FLIGHT, integration, replay_id, now)
            if replay.state == "canary":
                return await self._canary(connection, replay, flying)
            failed = await connection.fetchval(FAILED, integration, replay_id)
            ended = replay.sent - flying
            if failed >= ENOUGH_FAILED and 2 * failed > ended:
                why = f"{failed} of {ended} were buried again"
                await self.end(connection, integration, replay_id, "stopped", why)
                return True
            returned = await self._send(connection, replay, flying, held, Lane.LOW)
            if returned.touched or flying or returned.put_off or returned.waits:
                return returned.touched > 0
            await self.end(connection, integration, replay_id, "done", None)
            return True

    async def _canary(self, connection: asyncpg.Connection, replay: Replay, flying: int) -> bool:
        """One letter ahead; the others stay open until its work is done, and if it is buried again."""
        key = (replay.integration, replay.id)
        if replay.canary_id is None:
            returned = await self._send(connection, replay, 0, 0, Lane.NORMAL, most=1)
            if returned.ids:
                await connection.execute(
                    "UPDATE syncd.replays SET canary_id = $3 WHERE integration = $1 AND id = $2", *key, returned.ids[0]
                )
            elif not (returned.touched or returned.put_off or returned.waits):
                await self.end(connection, *key, "done", None)
                return True
            return returned.touched > 0
        if flying:
            return False
        again = await connection.fetchrow(
            "SELECT id, fingerprint, message FROM syncd.dead_letters WHERE integration = $1 AND failed_in = $2 "
            "AND former_id = $3 ORDER BY id DESC LIMIT 1",
            *key,
            replay.canary_id,
        )
        if again is None:
            await connection.execute(
                "UPDATE syncd.replays SET state = 'following' WHERE integration = $1 AND id = $2", *key
            )
            return True
        same = "for the same reason" if again["fingerprint"] == replay.fingerprint else "for another reason"
        await self.end(connection, *key, "stopped", f"the canary failed {same}: {again['message'][:500]}")
        return True

    async def _send(
        self,
        connection: asyncpg.Connection,
        replay: Replay,
        flying: int,
        held: int,
        lane: Lane,
        *,
        most: int | None = None,
    ) -> Returned:
        """Return the next letters, as many as there is room for, all of one origin; those it is not the time for are stepped
        over. `held`: of so many in flight it is not the time either."""
        key, now = (replay.integration, replay.id), self._database.clock.now()
        look = max(LOOKED_AT, *PORTION.values())
        next_ = await connection.fetch(_NEXT, *key, look, now)
        if not next_:
            left = f"SELECT EXISTS (SELECT FROM syncd.dead_letters d WHERE {OPEN})"
            return Returned(waits=await connection.fetchval(left, *key))
        origin = next_[0]["origin"]
        portion = PORTION.get(origin, 1)
        if origin == "inbox":
            flying += await connection.fetchval(_URGENT, *key)
        room = most or min(portion - (flying - held), HELD_TIMES * portion - flying)
        if room <= 0:
            return Returned(waits=True)
        ids = [letter["id"] for letter in next_ if letter["origin"] == origin]
        if origin != "outbox":  # only pushes are ever stepped over
            ids = ids[:room]
        letters = await connection.fetch(_CHOSEN, *key, ids)
        returned = await give_back(connection, replay.integration, origin, letters, lane, now, by=replay.who, most=room)
        await connection.execute(
            "UPDATE syncd.replays SET sent = sent + $3, overtaken = overtaken + $4, unable = unable + $5 "
            "WHERE integration = $1 AND id = $2",
            *key,
            len(returned.ids) + len(returned.standing),
            len(returned.overtaken),
            len(returned.unable),
        )
        return returned

    async def end(
        self, connection: asyncpg.Connection, integration: str, replay_id: int, state: str, reason: str | None
    ) -> int | None:
        """It is over; letters that were not returned are as they were. Returns how many; None: it was over already."""
        over = await connection.fetchval(
            "UPDATE syncd.replays SET state = $3, reason = $4, ended_at = $5 "
            "WHERE integration = $1 AND id = $2 AND ended_at IS NULL RETURNING true",
            integration,
            replay_id,
            state,
            reason,
            self._database.clock.now(),
        )
        if not over:
            return None
        left: int = await connection.fetchval(
            "WITH freed AS (UPDATE syncd.dead_letters SET replay_id = NULL, put_off_until = NULL, put_off_for = NULL "
            "WHERE integration = $1 AND replay_id = $2 AND state = 'open' RETURNING 1) SELECT count(*) FROM freed",
            integration,
            replay_id,
        )
        return left
