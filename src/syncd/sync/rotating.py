"""Credentials that a partner hands us by webhook: tried, stored, put in force, verified, or rolled back (Airbnb's way).

A signed delivery leaves a sealed row and is done; no call is made while deliveries are worked on. Here the new secrets
are tried with one cheap call, in a session of their own. Refused ones are forgotten and it is said; else they are in force
with the commit that stores them, and are verified by the session everybody uses. Each step is one transaction, so a death
between two of them goes on where it was. Only the newest word counts: an old delivery that comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import structlog

from syncd.clock import Clock
from syncd.errors import (
    RejectedError,
    SyncdError,
)
from syncd.kit import Event
from syncd.secrets import Secret
from syncd.store import SealError, Store
from syncd.store.credentials import Put
from syncd.store.inbox import Taken
from syncd.sync.account import Account
from syncd.sync.keys import ROTATED, Keys, Rotated
from syncd.sync.part import Looking
from syncd.sync.pending import Pending
from syncd.sync.rotation_steps import PENDING, RotationSteps

log = structlog.get_logger()

LOOK_SECONDS = 15.0
FIRST_SECONDS = 5.0
LONGEST_SECONDS = 300.0


async def refusal_over(account: Account) -> None:
    """A person has seen that what is in force works: a rotation that was refused is no trouble any more. Raises StoreError.

    One that is being tried meanwhile goes on.
    """
    credentials, name = account.store.credentials, account.name
    if PENDING in {note.kind for note in await credentials.list(name)}:
        stored = await credentials.get(name, PENDING)
        if stored is not None:
            if Pending.of(stored).state != "refused":
                return
            await credentials.put_all(name, [Put(PENDING, None, None, stored.version)])
    account.health.rotation = None
    log.info("rotation_settled", partner=account.partner, integration=name, reason="what is in force works")


class Rotation(Looking):
    """One partner's. `take` is called while deliveries are worked on; `run` does the rest."""

    def __init__(self, partner: str, accounts: Mapping[str, Account], store: Store, clock: Clock) -> None:
        super().__init__("rotation", partner, clock, look_seconds=LOOK_SECONDS)
        self._accounts = accounts
        self._store = store
        self._steps = RotationSteps(partner, store, clock)
        for account in accounts.values():
            account.health.rotation = None  # what the rows say of it is said again
        self._again_at: dict[str, tuple[float, float]] = {}
        """By integration: when it is tried again, and how long the wait was."""

    # -- what a delivery says

    async def take(self, account: Account, event: Event, one: Taken) -> None:
        """Remember new credentials until they were tried: for this integration, and for all of the partner that have the same
        ones in their files or in force, as the hosts of one application have its secret.

        One of those whose stored credentials do not open is passed over with a warning.
        Raises RejectedError for what is not believed or not understood, StoreError where it cannot be remembered now.
        """
        keys, told = account.keys, event.credentials or {}
        if one.headers.get("syncd-known-by") == "url":
            raise RejectedError("new credentials in a delivery that nobody signed are not believed")
        if keys is None or not told or any(not secret.reveal().strip() for secret in told.values()):
            raise RejectedError("a delivery announces new credentials and holds none")
        unknown = sorted(set(told) - set(keys.configured))
        if unknown:
            raise RejectedError(
                f"a delivery announces the credential {unknown[0]!r}, which {account.name} does not have",
                hint=f"add it under {account.name}.credentials, then: syncd webhook replay",
            )
        await keys.look()
        await self._remember(account, told, event.at or one.received_at, one)
        for other in self._accounts.values():
            if other is account or other.keys is None or any(name not in other.keys.configured for name in told):
                continue
            try:
                if await _is_the_same(keys, other.keys, told):
                    await self._remember(other, told, event.at or one.received_at, one)
            except SealError as error:  # a matter of this one: the rest are told, and the delivery is done
                reason = str(error)
                log.warning("rotation_not_told", partner=self._partner, integration=other.name, reason=reason)

    async def _remember(self, account: Account, told: Mapping[str, Secret], announced_at: datetime, one: Taken) -> None:
        credentials = self._store.credentials
        notes = {note.kind for note in await credentials.list(account.name)}
        pending = await credentials.get(account.name, PENDING) if PENDING in notes else None
        rotated = await credentials.get(account.name, ROTATED) if ROTATED in notes else None
        latest = [Pending.of(pending).announced_at] if pending is not None else []
        latest += [Rotated.of(rotated).announced_at] if rotated is not None else []
        now = self._clock.now()  # a moment that is still to come was written by a clock that has been set back since
        if any(announced_at <= before <= now for before in latest):
            log.info("rotation_passed_over", partner=self._partner, integration=account.name, reason="an older word")
            return
        new = Pending("announced", announced_at, one.id, dict(told))
        await credentials.put(
            account.name,
            PENDING,
            new.value(),
            expires_at=None,
            replaces=pending.version if pending is not None else None,
        )
        if pending is not None:
            # One that was in force and not verified yet stays: it was tried, and is what the next one replaces.
            await self._store.inbox.forget_body(account.name, Pending.of(pending).delivery)
        self._again_at.pop(account.name, None)
        log.info(
            "credentials_announced",
            partner=self._partner,
            integration=account.name,
            names=sorted(told),
            delivery=one.id,
        )
        self._wake.set()

    # -- a part of the runner

    def wake(self) -> None:
        """Deliveries came: `take` says whether they matter here."""

    async def _turn(self, woken: bool) -> float:
        return await self._look()

    async def _look(self) -> float:
        """Go on with what is pending; returns seconds until the next look."""
        wait, now = LOOK_SECONDS, self._clock.monotonic()
        for note in await self._store.credentials.list():
            account = self._accounts.get(note.integration)
            if note.kind != PENDING or account is None or self._stopping:
                continue
            if not account.ownership.held or account.health.paused is not None:
                continue
            at, waited = self._again_at.get(account.name, (now, FIRST_SECONDS / 2))
            if at > now:
                wait = min(wait, at - now)
                continue
            self._idle.clear()
            try:
                await self._steps.go_on(account)
                self._again_at.pop(account.name, None)
            except Exception as error:  # of this one: the others' rotations go on
                if not isinstance(error, SyncdError):
                    log.exception("rotation_crashed", partner=self._partner, integration=account.name)
                waited = min(waited * 2, LONGEST_SECONDS)
                told = getattr(error, "retry_at", None)
                if told is not None:
                    waited = min(max(waited, (told - self._clock.now()).total_seconds()), LONGEST_SECONDS)
                self._again_at[account.name] = (self._clock.monotonic() + waited, waited)
                wait = min(wait, waited)
                log.info(
                    "rotation_waits",
                    partner=self._partner,
                    integration=account.name,
                    reason=str(error),
                    again_seconds=round(waited, 1),
                )
            finally:
                self._idle.set()
        return wait


async def _is_the_same(keys: Keys, theirs: Keys, names: Iterable[str]) -> bool:
    """Are these the same in both files, or in force at both? Who was added later has in its file what is in force by now.

    Raises SealError where what is in force there does not open, StoreError.
    """
    await theirs.look()
    return all(theirs.configured[name] == keys.configured[name] or theirs(name) == keys(name) for name in names)
