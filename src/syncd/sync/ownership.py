"""Who may call for a scope: a lease with a fence, kept alive here (R5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.store import Store

log = structlog.get_logger()

LEASE_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""Between two tries for a lease another instance has, or while the database is away."""


class Ownership:
    """One scope's lease as this instance sees it."""

    def __init__(
        self,
        scope: str,
        owner: str,
        store: Store,
        clock: Clock,
        *,
        taken: Callable[[], Awaitable[None]],
        ttl_seconds: float = LEASE_SECONDS,
    ) -> None:
        """`taken` runs when the lease was got, before anybody may call: it reads back what the last owner spent."""
        self.scope = scope
        self._owner = owner
        self._store = store
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._taken = taken
        self._given_up = False
        self._fence: int | None = None
        self._good_until = 0.0
        self._pause_seconds = ttl_seconds / 4
        """Until the next renewal; after one that failed it is soon."""
        self._expired = False
        """Was it said that the lease has run out?"""
        self.lost: Callable[[], None] = lambda: None
        """Called when the lease is gone although we wanted it."""

    @property
    def owner(self) -> str:
        """Who we are, as leases name us."""
        return self._owner

    @property
    def held(self) -> bool:
        return self._fence is not None and self._clock.monotonic() < self._good_until

    @property
    def fence(self) -> int:
        if self._fence is None or self._clock.monotonic() >= self._good_until:
            raise OwnershipError(f"this instance does not own the scope {self.scope}")
        return self._fence

    async def acquire(self) -> bool:
        """Try to become the owner. False: another living instance is."""
        asked_at = self._clock.monotonic()
        fence = await self._store.leases.acquire(self.scope, self._owner, self._ttl_seconds)
        if fence is None:
            return False
        await self._taken()
        self._fence = fence
        self._good(asked_at)
        log.info("scope_acquired", scope=self.scope, fence=fence)
        return True

    async def keep(self) -> None:
        """Renew until released; where the lease is lost, or was never had, try to get it.

        A lease that ran out while the database was away is not believed, and renewed all the same: where nobody else has
        had it, its fence is as good as it was, and what is under way under it ends as if nothing had been.
        """
        while not self._is_over():
            try:
                if self._fence is None and not await self.acquire():
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                if self._is_over():  # while it was being taken
                    await self.release()
                    return
                await self._clock.sleep(self._pause_seconds)
                asked_at = self._clock.monotonic()
                if self._fence is None:
                    continue
                if await self._store.leases.renew(self.scope, self._owner, self._fence, self._ttl_seconds):
                    self._good(asked_at)
                    continue
                log.warning("scope_lost", scope=self.scope, fence=self._fence)
                self._gone()
            except StoreError as error:
                if self._fence is None:
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                self._pause_seconds = RETRY_SECONDS
                if self._clock.monotonic() >= self._good_until and not self._expired:
                    self._expired = True
                    log.warning("scope_lease_expired", scope=self.scope, reason=str(error))
                    metrics.LEASE_HELD.labels(self.scope).set(0)

    async def release(self) -> None:
        """Give the scope up so that another instance may have it at once."""
        self._given_up = True
        fence, self._fence = self._fence, None
        metrics.LEASE_HELD.remove(self.scope)  # it is nobody's business here any more
        if fence is not None:
            await self._store.leases.release(self.scope, self._owner, fence)

    def _is_over(self) -> bool:
        return self._given_up

    def _good(self, asked_at: float) -> None:
        self._good_until = asked_at + self._ttl_seconds
        self._pause_seconds = self._ttl_seconds / 4
        self._expired = False
        if self._fence is not None:  # not given up meanwhile
            metrics.LEASE_HELD.labels(self.scope).set(1)

    def _gone(self) -> None:
        self._fence = None
        metrics.LEASE_HELD.labels(self.scope).set(0)
        self.lost()
