"""Table `leases`: one owner a scope, by the database's clock (R5).

Each acquisition raises the fence by one, and every write names its fence, so a late owner writes nothing. A lease may be
taken when it has expired. Where its row says that the owner's life is proven, it may be taken as soon as the owner is found
dead: the advisory lock of its life (see `wire`) is free, and still free after a short grace in which a living owner whose
connection broke would have taken it again, or have said that it has none. A lock that went with the server says nothing of
whoever had it, so the row also says which server that was.

Getting and keeping a lease needs the row alone: an owner that cannot have its lock is merely not found dead early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.store.database import Database
from syncd.store.wire import LIFE_KEY, WIRE, Wire

KEEPING = 2
"""Connections for leases alone: while all others wait for a lock that somebody holds, however long, none is lost."""
GRACE_SECONDS = 0.3
"""How long a free life lock must stay free before its owner is believed dead."""

_PROVEN_IN = "CASE WHEN {proven} THEN pg_postmaster_start_time() END"
_DEAD = f"""CASE WHEN l.proven_in = pg_postmaster_start_time()
    THEN pg_try_advisory_xact_lock({LIFE_KEY.format(owner="l.owner")}) ELSE false END"""

_ACQUIRE = f"""
INSERT INTO syncd.leases AS l (scope, owner, acquired_at, renewed_at, expires_at, proven_in)
VALUES ($1, $2, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => $3),
        {_PROVEN_IN.format(proven="$4")})
ON CONFLICT (scope) DO UPDATE SET
    owner = excluded.owner, fence = l.fence + 1, acquired_at = clock_timestamp(), renewed_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => $3), proven_in = excluded.proven_in
WHERE l.owner = excluded.owner OR l.expires_at <= clock_timestamp()
RETURNING fence
"""
_PROBE = f"SELECT fence, renewed_at, {_DEAD} AS dead FROM syncd.leases l WHERE scope = $1"
_TAKE_FROM_DEAD = f"""
UPDATE syncd.leases l SET
    owner = $2, fence = l.fence + 1, acquired_at = clock_timestamp(), renewed_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => $3), proven_in = {_PROVEN_IN.format(proven="$4")}
WHERE l.scope = $1 AND l.fence = $5 AND l.renewed_at = $6
  AND CASE WHEN l.expires_at <= clock_timestamp() THEN true ELSE {_DEAD} END
RETURNING fence
"""
_RENEW = f"""
UPDATE syncd.leases l SET
    renewed_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $4),
    proven_in = {_PROVEN_IN.format(proven="$5")}
FROM unnest($1::text[], $2::bigint[]) AS mine(scope, fence)
WHERE l.scope = mine.scope AND l.fence = mine.fence AND l.owner = $3
RETURNING l.scope
"""
_VOUCH = f"""
UPDATE syncd.leases l SET proven_in = {_PROVEN_IN.format(proven="mine.proven")}
FROM unnest($1::text[], $2::boolean[]) AS mine(owner, proven)
WHERE l.owner = mine.owner AND l.proven_in IS DISTINCT FROM {_PROVEN_IN.format(proven="mine.proven")}
"""
_KEY_HELD = "(k.classid::bigint << 32) | k.objid::bigint"
_WIRES = f"""
SELECT coalesce(host(a.client_addr), 'this database''s machine') AS address, coalesce(o.mine, false) AS mine,
    (SELECT l.owner FROM syncd.leases l WHERE l.owner <> '' AND {LIFE_KEY.format(owner="l.owner")} = o.key LIMIT 1) AS owner
FROM pg_stat_activity a
LEFT JOIN LATERAL (
    SELECT {_KEY_HELD} AS key, {_KEY_HELD} = {LIFE_KEY.format(owner="$1::text")} AS mine FROM pg_locks k
    WHERE k.pid = a.pid AND k.locktype = 'advisory' AND k.objsubid = 1 AND k.granted ORDER BY 2 DESC LIMIT 1) o ON true
WHERE a.datname = current_database() AND a.application_name = $2
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who owns a scope."""

    scope: str
    owner: str
    fence: int
    acquired_at: datetime
    expires_at: datetime
    live: bool
    """Not expired, by the database's clock."""


class Leases:
    """Ownership of scopes."""

    def __init__(self, database: Database, wire: Wire) -> None:
        self._database = database
        self._wire = wire
        wire.vouch = self._vouch

    async def acquire(self, scope: str, owner: str, ttl_seconds: float) -> int | None:
        """The new fence, or None while somebody else owns the scope.

        `owner` names one life of one process: host, pid and something random. Acquired anew by its own owner, a scope gets
        a new fence as well. Where the owner is dead this takes `GRACE_SECONDS`.
        """
        proof = await self._wire.hold(owner)
        try:
            return await self._acquire(scope, owner, ttl_seconds, proven=proof is not None)
        finally:
            self._told(owner, proof)

    async def _acquire(self, scope: str, owner: str, ttl_seconds: float, *, proven: bool) -> int | None:
        fence: int | None = await self._database.fetchval(_ACQUIRE, scope, owner, ttl_seconds, proven)
        if fence is not None:
            return fence
        found = await self._database.fetchrow(_PROBE, scope)
        if found is None or not found["dead"]:
            return None
        await self._database.clock.sleep(GRACE_SECONDS)
        taken: int | None = await self._database.fetchval(
            _TAKE_FROM_DEAD, scope, owner, ttl_seconds, proven, found["fence"], found["renewed_at"]
        )
        return taken

    async def renew(self, scope: str, owner: str, fence: int, ttl_seconds: float) -> bool:
        """Hold on for another while. False: it is ours no more, stop at once."""
        return scope in await self.renew_all({scope: fence}, owner, ttl_seconds)

    async def renew_all(self, fences: dict[str, int], owner: str, ttl_seconds: float) -> set[str]:
        """Hold on to several scopes in one statement; returns those that are still ours."""
        proof = await self._wire.hold(owner)
        try:
            found = await self._database.fetch(
                _RENEW, list(fences), list(fences.values()), owner, ttl_seconds, proof is not None
            )
        finally:
            self._told(owner, proof)
        return {each["scope"] for each in found}

    def _told(self, owner: str, proof: object | None) -> None:
        """The rows were told of this proof: where it is another by now, they are told again."""
        if self._wire.proof(owner) is not proof:
            self._wire.tell()

    async def _vouch(self, owners: Sequence[str]) -> None:
        """Say in the rows which owners can prove that they live. Short work: it is what a dead wire's owner is kept by."""
        proven = [self._wire.proof(owner) is not None for owner in owners]
        await self._database.execute(_VOUCH, owners, proven)

    async def release(self, scope: str, owner: str, fence: int) -> bool:
        """Give the scope back; the next one may take it at once. The fence stays, so it never repeats."""
        return (
            await self._database.execute(
                "UPDATE syncd.leases SET owner = '', expires_at = clock_timestamp(), proven_in = NULL "
                "WHERE scope = $1 AND owner = $2 AND fence = $3",
                scope,
                owner,
                fence,
            )
            == 1
        )

    async def others(self, mine: str | None) -> list[str]:
        """Instances that work with this database, beside the one with this owner name (None: there is none): host and pid of
        those with leases, and where those are that have none and wait for some."""
        wires = await self._database.fetch(_WIRES, mine or "", WIRE)
        found = {each["owner"] for each in wires if each["owner"] and not each["mine"]}
        found |= {lease.owner for lease in await self.list() if lease.live and lease.owner != mine}
        idle = [each["address"] for each in wires if not each["owner"] and not each["mine"]]
        return sorted({owner.rpartition(":")[0] for owner in found}) + [
            f"one at {at} without work" for at in sorted(idle)
        ]

    async def list(self, scopes: Sequence[str] | None = None) -> list[Lease]:
        """Who owns what."""
        found = await self._database.fetch(
            "SELECT scope, owner, fence, acquired_at, expires_at, expires_at > clock_timestamp() AS live "
            "FROM syncd.leases WHERE $1::text[] IS NULL OR scope = ANY($1) ORDER BY scope",
            list(scopes) if scopes is not None else None,
        )
        return [Lease(**dict(each)) for each in found]
