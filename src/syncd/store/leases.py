"""Table `leases`: one owner a scope, by the database's clock (R5).

Each acquisition raises the fence by one, and every write names its fence, so a late owner writes nothing. A lease may be
taken when it has expired, or when its owner is proven dead: the advisory lock of its life (see `wire`) is free, and still
free after a short grace in which a living owner whose connection broke would have taken it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.store.database import Database
from syncd.store.wire import LIFE_KEY, Wire

GRACE_SECONDS = 0.3
"""How long a free life lock must stay free before its owner is believed dead."""

_ACQUIRE = """
INSERT INTO syncd.leases AS l (scope, owner, acquired_at, renewed_at, expires_at)
VALUES ($1, $2, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (scope) DO UPDATE SET
    owner = excluded.owner, fence = l.fence + 1, acquired_at = clock_timestamp(), renewed_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE l.owner = excluded.owner OR l.expires_at <= clock_timestamp()
RETURNING fence
"""
_PROBE = f"""
SELECT fence, renewed_at, pg_try_advisory_xact_lock({LIFE_KEY.format(owner="owner")}) AS dead
FROM syncd.leases WHERE scope = $1
"""
_TAKE_FROM_DEAD = f"""
UPDATE syncd.leases l SET
    owner = $2, fence = l.fence + 1, acquired_at = clock_timestamp(), renewed_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE l.scope = $1 AND l.fence = $4 AND l.renewed_at = $5
  AND (l.expires_at <= clock_timestamp() OR pg_try_advisory_xact_lock({LIFE_KEY.format(owner="l.owner")}))
RETURNING fence
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

    async def acquire(self, scope: str, owner: str, ttl_seconds: float) -> int | None:
        """The new fence, or None while somebody else owns the scope.

        `owner` names one life of one process: host, pid and something random. Acquired anew by its own owner, a scope gets
        a new fence as well. Where the owner is dead this takes `GRACE_SECONDS`.
        """
        await self._wire.hold(owner)
        fence: int | None = await self._database.fetchval(_ACQUIRE, scope, owner, ttl_seconds)
        if fence is not None:
            return fence
        found = await self._database.fetchrow(_PROBE, scope)
        if found is None or not found["dead"]:
            return None
        await self._database.clock.sleep(GRACE_SECONDS)
        taken: int | None = await self._database.fetchval(
            _TAKE_FROM_DEAD, scope, owner, ttl_seconds, found["fence"], found["renewed_at"]
        )
        return taken

    async def renew(self, scope: str, owner: str, fence: int, ttl_seconds: float) -> bool:
        """Hold on for another while. False: it is ours no more, stop at once."""
        return scope in await self.renew_all({scope: fence}, owner, ttl_seconds)

    async def renew_all(self, fences: dict[str, int], owner: str, ttl_seconds: float) -> set[str]:
        """Hold on to several scopes in one statement; returns those that are still ours."""
        await self._wire.hold(owner)
        found = await self._database.fetch(
            "UPDATE syncd.leases l SET renewed_at = clock_timestamp(), "
            "expires_at = clock_timestamp() + make_interval(secs => $4) "
            "FROM unnest($1::text[], $2::bigint[]) AS mine(scope, fence) "
            "WHERE l.scope = mine.scope AND l.fence = mine.fence AND l.owner = $3 RETURNING l.scope",
            list(fences),
            list(fences.values()),
            owner,
            ttl_seconds,
        )
        return {each["scope"] for each in found}

    async def release(self, scope: str, owner: str, fence: int) -> bool:
        """Give the scope back; the next one may take it at once. The fence stays, so it never repeats."""
        return (
            await self._database.execute(
                "UPDATE syncd.leases SET owner = '', expires_at = clock_timestamp() "
                "WHERE scope = $1 AND owner = $2 AND fence = $3",
                scope,
                owner,
                fence,
            )
            == 1
        )

    async def list(self, scopes: Sequence[str] | None = None) -> list[Lease]:
        """Who owns what."""
        found = await self._database.fetch(
            "SELECT scope, owner, fence, acquired_at, expires_at, expires_at > clock_timestamp() AS live "
            "FROM syncd.leases WHERE $1::text[] IS NULL OR scope = ANY($1) ORDER BY scope",
            list(scopes) if scopes is not None else None,
        )
        return [Lease(**dict(each)) for each in found]
