"""Table `outbox`: changes of ours on their way to the partners, each sent once in effect.

Every step is one conditional statement (R4). Two columns tell what may have happened out there: `sent_at`, when a try last
left (written before its first byte does), and `unsure_since`, set with it and taken back only by an answer that tells. So a
row that a dead process had taken is `unknown` when it may have arrived, and waits again when it cannot have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from syncd import codec
from syncd.errors import OwnershipError
from syncd.store.burying import NewDeadLetter, insert_letter
from syncd.store.database import Database, affected, again_after_conflict
from syncd.store.outbox_turns import COLUMNS, HELD, OVERTAKEN, TAKE, PushRow, Turns, row_of
from syncd.store.pages import Pages
from syncd.store.rows import PageResult, PageWrite
from syncd.store.suspicion import POISON, SUSPECT

OUTBOX = "syncd_outbox"
"""NOTIFY channel: pushes were written. The payload is the integration."""
MOST_REASON = 2000
LIST_BYTES = 8 * 1024 * 1024
OTHERS_MADE, OTHERS_MOST = timedelta(days=7), 10_000
"""Of how long ago, and how many, records that other pushes made are remembered when one is looked up."""
OPEN = ("waiting", "taken", "unknown")
"""States of a push that is not over."""


@dataclass(frozen=True, slots=True)
class NewPush:
    """A change to send."""

    integration: str
    resource: str
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    idempotency_key: str | None = None
    """None: a random one."""
    cause: str = ""
    expires_at: datetime | None = None
    not_before: datetime | None = None


EXPIRE_AT_ONCE = 5_000
"""Pushes dropped in one statement."""
_OURS = "integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3"
_TRIED = ", history = syncd.with_attempt(history, attempts, {now}, {why})"


class Outbox(Turns):
    """Pushes that wait, are under way, or are over."""

    def __init__(self, database: Database, pages: Pages) -> None:
        super().__init__(database)
        self._pages = pages

    # -- writing pushes --------------------------------------------------------------------------------------------

    async def put(self, push: NewPush) -> tuple[int, bool]:
        """Write one; returns its id, and False where its key stands for an equal one already.

        Raises KeyUsedError for a key that was used for another push.
        """
        async with self._database.transaction() as connection:
            made: int = await connection.fetchval(
                "SELECT syncd.push($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9)",
                push.integration,
                push.resource,
                push.kind,
                dict(push.data),
                push.external_id,
                push.idempotency_key,
                push.cause,
                push.expires_at,
                push.not_before,
            )
            fresh: bool = await connection.fetchval(
                "SELECT xmin = pg_current_xact_id()::xid FROM syncd.outbox WHERE integration = $1 AND id = $2",
                push.integration,
                made,
            )
        return made, fresh

    # -- taking them -----------------------------------------------------------------------------------------------

    async def free(self, integration: str, *, scope: str, fence: int, first: bool = False) -> int:
        """What was taken under another fence is unknown where it may have arrived, and else waits again.

        Another one, not an older one: each scope counts its own, and the integration may have been of another scope then.
        `first`: of what was taken under our own fence we know nothing, so it is free as well. Nothing is where the scope is
        not ours any more.
        """
        return await self._database.execute(
            "UPDATE syncd.outbox SET state = CASE WHEN unsure_since IS NULL THEN 'waiting' ELSE 'unknown' END, "
            f"lost = lost + 1, suspicion = CASE WHEN suspicion < {SUSPECT} THEN suspicion + 1 ELSE suspicion END, "
            "taken_fence = NULL, taken_at = NULL, reason = CASE WHEN unsure_since IS NULL "
            "THEN 'the process ended before it left' ELSE 'the process ended before its answer came' END "
            "WHERE integration = $1 AND state = 'taken' AND ($4 OR taken_fence <> $3) AND " + HELD.format(scope="$2"),
            integration,
            scope,
            fence,
            first,
        )

    async def free_strays(self, fences: Mapping[str, int], *, held: Sequence[int]) -> int:
        """What is taken under our own fence and in nobody's hand: a connection broke before we heard of the taking, or before
        its outcome was written. No process died of it, so none of them is as good as buried.
        """
        return await self._database.execute(
            "UPDATE syncd.outbox o SET state = CASE WHEN unsure_since IS NULL THEN 'waiting' ELSE 'unknown' END, "
            f"attempts = attempts - (unsure_since IS NULL)::integer, suspicion = least(suspicion, {POISON - 1}), "
            "reason = CASE WHEN unsure_since IS NULL THEN reason ELSE coalesce(reason, 'its outcome was not written') END, "
            "taken_fence = NULL, taken_at = NULL FROM unnest($1::text[], $2::bigint[]) AS f(name, fence) "
            "WHERE o.integration = f.name AND o.state = 'taken' AND o.taken_fence = f.fence AND o.id <> ALL($3::bigint[])",
            list(fences),
            list(fences.values()),
            list(held),
        )

    async def take(self, integration: str, push_id: int, *, scope: str, fence: int) -> PushRow | None:
        """Take one; None when it is not its turn, somebody else has it, or the scope is not ours.

        Its state tells how it was found.
        """
        found = await self._database.fetchrow(
            TAKE, integration, push_id, fence, self._database.clock.now(), scope, OVERTAKEN
        )
        return row_of(found) if found is not None and found["state"] != "dropped" else None

    async def leaving(self, push: PushRow, scope: str) -> None:
        """A try leaves now. Raises OwnershipError when it is no longer ours to send."""
        now = self._database.clock.now()
        if not await self._database.execute(
            "UPDATE syncd.outbox SET sent_at = $4, unsure_since = coalesce(unsure_since, $4) "
            f"WHERE {_OURS} AND {HELD.format(scope='$5')}",
            *_key(push),
            now,
            scope,
        ):
            raise OwnershipError(f"push {push.id} of {push.integration} is no longer ours to send")

    async def handles(self, push: PushRow, *, now: bool) -> None:
        """A suspect is handled from here on, or (`now=False`) no longer: a process that dies between the two is its doing.

        Raises OwnershipError when it is no longer ours.
        """
        if (
            not await self._database.execute(
                f"UPDATE syncd.outbox SET suspicion = $4 WHERE {_OURS}", *_key(push), push.suspicion + now
            )
            and now
        ):
            raise OwnershipError(f"push {push.id} of {push.integration} is no longer ours")

    # -- their outcomes --------------------------------------------------------------------------------------------

    @again_after_conflict
    async def done(
        self,
        push: PushRow,
        *,
        answer: Mapping[str, Any],
        external_id: str | None = None,
        page: PageWrite | None = None,
    ) -> PageResult | None:
        """It is done, and what its answer brought is stored, in one transaction.

        Raises OwnershipError when it was no longer ours: nothing was written.
        """
        external_id = codec.storable(external_id) if external_id is not None else None
        if page is not None:
            await self._pages.remember(page)
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "UPDATE syncd.outbox SET state = 'done', finished_at = $4, answer = $5, unsure_since = NULL, suspicion = 0, "
                f"external_id = coalesce(external_id, $6), reason = NULL WHERE {_OURS}",
                *_key(push),
                self._database.clock.now(),
                dict(answer),
                external_id,
            )
            if not affected(tag):
                raise OwnershipError(f"push {push.id} of {push.integration} is no longer ours")
            return await self._pages.commit_within(connection, page) if page is not None else None

    async def made_by_others(self, push: PushRow) -> frozenset[str]:
        """The records that other pushes of its kind are known to have made lately."""
        found = await self._database.fetch(
            "SELECT o.external_id FROM syncd.outbox o WHERE (o.integration, o.resource, o.operation) = ($1, $2, $3) "
            "AND o.state = 'done' AND o.id <> $4 AND o.external_id IS NOT NULL AND o.finished_at > $5 "
            "ORDER BY o.id DESC LIMIT $6",
            push.integration,
            push.resource,
            push.operation,
            push.id,
            self._database.clock.now() - OTHERS_MADE,
            OTHERS_MOST,
        )
        return frozenset(each["external_id"] for each in found)

    async def later(self, push: PushRow, at: datetime | None, *, counts: bool = True, reason: str = "") -> bool:
        """Nothing of this try arrived; put it back as it was found. `counts=False` takes the attempt back."""
        reason = codec.storable(reason[:MOST_REASON])
        return bool(
            await self._database.execute(
                "UPDATE syncd.outbox SET state = CASE WHEN $7::timestamptz IS NULL THEN 'waiting' ELSE 'unknown' END, "
                "not_before = $4, attempts = attempts - $5, reason = $6, unsure_since = $7, taken_fence = NULL, "
                f"taken_at = NULL, suspicion = 0{_TRIED.format(now='$8', why='$6') if counts else ''} WHERE {_OURS}",
                *_key(push),
                at,
                0 if counts else 1,
                reason or None,
                push.unsure_since,
                *((self._database.clock.now(),) if counts else ()),
            )
        )

    async def put_back(self, push: PushRow, at: datetime, reason: str) -> bool:
        """Of a try nobody could judge: it is unknown where it has left, and else waits."""
        now = self._database.clock.now()
        return bool(
            await self._database.execute(
                "UPDATE syncd.outbox SET state = CASE WHEN unsure_since IS NULL THEN 'waiting' ELSE 'unknown' END, "
                "not_before = $4, reason = $5, taken_fence = NULL, taken_at = NULL, suspicion = $7"
                f"{_TRIED.format(now='$6', why='$5')} WHERE {_OURS}",
                *_key(push),
                at,
                codec.storable(reason[:MOST_REASON]),
                now,
                push.suspicion,
            )
        )

    async def unknown(self, push: PushRow, at: datetime | None, *, reason: str) -> bool:
        """This try may have arrived, and no answer says so: to be resolved, not before `at`."""
        reason = codec.storable(reason[:MOST_REASON])
        return bool(
            await self._database.execute(
                "UPDATE syncd.outbox SET state = 'unknown', not_before = $4, reason = $5, taken_fence = NULL, "
                "taken_at = NULL, suspicion = 0, unsure_since = coalesce(unsure_since, sent_at, $6)"
                f"{_TRIED.format(now='$6', why='$5')} WHERE {_OURS}",
                *_key(push),
                at,
                reason,
                self._database.clock.now(),
            )
        )

    async def settled(self, push: PushRow) -> bool:
        """A look-up told that nothing has arrived so far; it stays taken, to be sent."""
        return bool(
            await self._database.execute(f"UPDATE syncd.outbox SET unsure_since = NULL WHERE {_OURS}", *_key(push))
        )

    async def drop(self, push: PushRow, reason: str) -> bool:
        """It is not to be sent any more."""
        return bool(
            await self._database.execute(
                f"UPDATE syncd.outbox SET state = 'dropped', finished_at = $4, reason = $5 WHERE {_OURS}",
                *_key(push),
                self._database.clock.now(),
                reason,
            )
        )

    async def bury(self, push: PushRow, letter: NewDeadLetter, *, unsure: bool, replaces: bool = False) -> bool:
        """To the dead letters. `unsure`: a replay has to find out first whether it has arrived. `replaces`: it is moot once
        a newer one of its kind was done for the record.

        False, and no letter, when it was no longer ours.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "UPDATE syncd.outbox SET state = 'buried', finished_at = $4, reason = $5, "
                f"replaces = $7, unsure_since = CASE WHEN $6 THEN coalesce(unsure_since, sent_at) END WHERE {_OURS}",
                *_key(push),
                now,
                codec.storable(letter.message[:MOST_REASON]),
                unsure,
                replaces,
            )
            if not affected(tag):
                return False
            await insert_letter(connection, letter, now)
        return True

    async def expire(self, integrations: Sequence[str]) -> int:
        """Drop what waits past its time and cannot have arrived; returns how many."""
        dropped = 0
        while True:
            batch = await self._database.execute(
                "UPDATE syncd.outbox SET state = 'dropped', finished_at = $2, "
                "reason = 'its time was over before it could go' WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM syncd.outbox "
                "WHERE integration = ANY($1::text[]) AND state = 'waiting' AND expires_at <= $2 "
                f"LIMIT {EXPIRE_AT_ONCE} FOR UPDATE SKIP LOCKED))",
                list(integrations),
                self._database.clock.now(),
            )
            dropped += batch
            if batch < EXPIRE_AT_ONCE:
                return dropped

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(self, integration: str, push_id: int) -> PushRow | None:
        found = await self._database.fetchrow(
            f"SELECT {COLUMNS} FROM syncd.outbox WHERE integration = $1 AND id = $2", integration, push_id
        )
        return row_of(found) if found is not None else None

    async def list(
        self,
        integration: str | None = None,
        *,
        resource: str | None = None,
        states: Sequence[str] | None = None,
        limit: int = 100,
    ) -> list[PushRow]:
        """Newest first, as far as LIST_BYTES of payloads go."""
        found = await self._database.fetch(
            f"SELECT {COLUMNS} FROM (SELECT w.*, sum(w.bytes) OVER (ORDER BY w.id DESC ROWS UNBOUNDED PRECEDING) - w.bytes "
            "AS before FROM (SELECT * FROM syncd.outbox WHERE ($1::text IS NULL OR integration = $1) "
            "AND ($2::text IS NULL OR resource = $2) AND ($3::text[] IS NULL OR state = ANY($3)) "
            f"ORDER BY id DESC LIMIT $4) w) b WHERE before < {LIST_BYTES} ORDER BY id DESC",
            integration,
            resource,
            list(states) if states is not None else None,
            limit,
        )
        return [row_of(each) for each in found]

    async def behind(self, pushes: Sequence[tuple[str, int]]) -> dict[tuple[str, int], PushRow]:
        """Of some pushes that wait those that an older one of their record goes before, with the oldest of these."""
        if not pushes:
            return {}
        columns = ", ".join(f"p.{name}" for name in PushRow.__slots__)
        found = await self._database.fetch(
            f"SELECT o.id AS behind_id, p.* FROM unnest($1::text[], $2::bigint[]) AS k(name, id) "
            "JOIN syncd.outbox o ON o.integration = k.name AND o.id = k.id AND o.state IN ('waiting', 'unknown') "
            f"CROSS JOIN LATERAL (SELECT {columns} FROM syncd.outbox p WHERE p.integration = o.integration "
            "AND p.resource = o.resource AND p.record_key = o.record_key AND p.id < o.id "
            "AND p.state IN ('waiting', 'taken', 'unknown') ORDER BY p.id LIMIT 1) p",
            [name for name, _ in pushes],
            [number for _, number in pushes],
        )
        return {
            (each["integration"], each["behind_id"]): PushRow(**{name: each[name] for name in PushRow.__slots__})
            for each in found
        }

    async def counts(self) -> dict[str, dict[str, Any]]:
        """By integration: how many wait, are taken, are unknown, and when the oldest was written (`oldest_at`)."""
        found = await self._database.fetch(
            "SELECT integration, state, count(*), min(created_at) FROM syncd.outbox "
            "WHERE state IN ('waiting', 'taken', 'unknown') GROUP BY 1, 2"
        )
        counted: dict[str, dict[str, Any]] = {}
        for name, state, count, oldest in found:
            held = counted.setdefault(name, {**dict.fromkeys(OPEN, 0), "oldest_at": oldest})
            held[state] = count
            held["oldest_at"] = min(held["oldest_at"], oldest)
        return counted


def _key(push: PushRow) -> tuple[str, int, int | None]:
    return push.integration, push.id, push.taken_fence
