"""The steps of one rotation: new credentials are tried, put in force, verified, and kept or rolled back.

Each step is one transaction, so a death between two of them goes on where it was.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from syncd import metrics
from syncd.client.tokens import turn_of
from syncd.clock import Clock
from syncd.errors import (
    AuthError,
    BreakerOpenError,
    OwnershipError,
    RateLimitError,
    StoreError,
    SyncdError,
    TransientError,
)
from syncd.explain import Explanation
from syncd.model import Lane
from syncd.ports import StoredCredential
from syncd.secrets import Secret, fingerprint
from syncd.store import Store
from syncd.store.credentials import Put
from syncd.sync.account import Account
from syncd.sync.keys import ROTATED, Keys, Rotated
from syncd.sync.pending import (
    TRIAL,
    Pending,
    TrialKeeper,
    forget_chained,
    kept,
    restored,
    same_chain,
    version_of,
)

log = structlog.get_logger()

PENDING = "rotation"
"""The kind of the sealed row in which a rotation is under way, or was refused."""
TOKENS = ("oauth2_client", "oauth2_refresh")
FORGET_TRIES = 20
FORGET_SECONDS = 0.5


class RotationSteps:
    """Of one partner's rotations."""

    def __init__(self, partner: str, store: Store, clock: Clock) -> None:
        self._partner = partner
        self._store = store
        self._clock = clock

    async def go_on(self, account: Account) -> None:
        """From where it stands to its end, or to what keeps it. Raises what the calls may raise, and StoreError."""
        async with turn_of(self._store, account.name, PENDING):
            stored = await self._store.credentials.get(account.name, PENDING)
            if stored is None:
                return
            pending = Pending.of(stored)
            if pending.state == "refused":
                await self._refused(account, pending, stored.version)
                return
            if pending.state == "announced":
                refused = await self._tried(account, pending)
                if refused:
                    await self._refuse(account, pending, stored.version, refused)
                    return
                stored = await self._put_in_force(account, pending, stored.version)
                pending = Pending.of(stored)
            refused = await self._verified(account)
            if refused:
                await self._roll_back(account, pending, stored.version, refused)
            else:
                await self._accept(account, pending, stored.version)

    async def _tried(self, account: Account, pending: Pending) -> str:
        """Why the partner refuses the new secrets; empty: it takes them. Raises what is nobody's refusal."""
        assert account.keys is not None
        assert account.attempt is not None
        keys = account.keys

        def read(name: str) -> Secret:
            return pending.secrets.get(name) or keys(name)

        await forget_chained(self._store, account.name, TOKENS)
        session = account.attempt(read, TrialKeeper(self._store))
        try:
            await session.call(account.driver.test(account.options), lane=Lane.HIGH)
        except (TransientError, RateLimitError, BreakerOpenError, StoreError):
            raise
        except SyncdError as error:
            return str(error)
        finally:
            await session.aclose()
            account.session.auth.forget()  # the next of its chain is in force, where the trial was given one
        return ""

    async def _put_in_force(self, account: Account, pending: Pending, version: int) -> StoredCredential:
        """The new secrets, and the tokens they were given on trial, with one commit; what they replace is remembered."""
        assert account.keys is not None
        keys, credentials, name = account.keys, self._store.credentials, account.name
        async with turn_of(credentials, name, self._token_kind(account)):
            held = await self._held(name)
            rotated = held.get(ROTATED)
            before = Rotated.of(rotated) if rotated is not None else None
            over = {one: secret for one, secret in (before.secrets if before else {}).items() if keys(one) == secret}
            secrets = {**over, **pending.secrets}
            new = Rotated(secrets, keys.file_prints(secrets), pending.announced_at)
            former = {kind: kept(one) for kind, one in held.items() if kind in (ROTATED, *TOKENS)}
            puts = [Put(ROTATED, new.value(), None, version_of(rotated))]
            for kind in TOKENS:
                trial, now = held.get(kind + TRIAL), held.get(kind)
                if trial is None:
                    continue
                puts.append(Put(kind + TRIAL, None, None, trial.version))
                if now is None or not same_chain(trial.value, now.value):  # else the chain's newest is in force already
                    puts.append(Put(kind, trial.value, trial.expires_at, version_of(now)))
            stands = replace(pending, state="stored", former=former)
            puts.append(Put(PENDING, stands.value(), None, version))
            await credentials.put_all(name, puts)
            await self._take_over(account)
        found = await credentials.get(name, PENDING)
        if found is None:
            raise OwnershipError(f"the rotation of {name} was ended by somebody else")
        return found

    async def _verified(self, account: Account) -> str:
        """As `_tried`, with the session everybody uses."""
        try:
            await account.session.call(account.driver.test(account.options), lane=Lane.HIGH)
        except AuthError as error:
            return str(error)
        return ""

    async def _roll_back(self, account: Account, pending: Pending, version: int, reason: str) -> None:
        """What was in force before is in force again."""
        credentials, name = self._store.credentials, account.name
        async with turn_of(credentials, name, self._token_kind(account)):
            held = await self._held(name)
            puts = []
            for kind in (ROTATED, *TOKENS):
                now, before = held.get(kind), pending.former.get(kind)
                if now is not None and before is not None and same_chain(now.value, before):
                    continue  # its refresh token came of the former one, which may be dead since
                if now is not None or before is not None:
                    puts.append(restored(kind, before, now))
            puts.append(Put(PENDING, self._over_and_refused(account, pending, reason).value(), None, version))
            await credentials.put_all(name, puts)
            await self._take_over(account)
        await self._note(account, "credential_rotation_rolled_back", pending, reason)
        self._say_refused(account, replace(pending, reason=reason))

    async def _refuse(self, account: Account, pending: Pending, version: int, reason: str) -> None:
        """Nothing was in force yet: the secrets and their trial's tokens are forgotten."""
        held = await self._held(account.name)
        puts = [Put(kind, None, None, one.version) for kind, one in held.items() if kind.endswith(TRIAL)]
        puts.append(Put(PENDING, self._over_and_refused(account, pending, reason).value(), None, version))
        await self._store.credentials.put_all(account.name, puts)
        await self._note(account, "credential_rotation_refused", pending, reason)
        self._say_refused(account, replace(pending, reason=reason))

    async def _accept(self, account: Account, pending: Pending, version: int) -> None:
        await self._note(account, "credential_rotated", pending, "")
        await self._store.credentials.put_all(account.name, [Put(PENDING, None, None, version)])
        account.health.rotation = None
        account.health.probed(None, self._clock.now())
        account.tasks_added()  # what a refused credential had barred may go at once
        metrics.ROTATIONS.labels(account.name, "accepted").inc()
        log.info("credentials_rotated", partner=self._partner, integration=account.name, names=sorted(pending.secrets))

    async def _take_over(self, account: Account) -> None:
        """Calls made from here on read what is stored now."""
        assert account.keys is not None
        await account.keys.look()
        account.session.auth.forget()

    async def _held(self, name: str) -> dict[str, StoredCredential]:
        kinds = {ROTATED, *TOKENS, *(kind + TRIAL for kind in TOKENS)}
        found = {}
        for note in await self._store.credentials.list(name):
            stored = await self._store.credentials.get(name, note.kind) if note.kind in kinds else None
            if stored is not None:
                found[note.kind] = stored
        return found

    @staticmethod
    def _token_kind(account: Account) -> str:
        return account.driver.auth(account.options).kind

    @staticmethod
    def _over_and_refused(account: Account, pending: Pending, reason: str) -> Pending:
        assert account.keys is not None
        file = {"file": account.keys.file_prints(pending.secrets)}
        return Pending("refused", pending.announced_at, pending.delivery, former=file, reason=reason)

    async def _refused(self, account: Account, pending: Pending, version: int) -> None:
        """Said until another rotation goes well, or a person has put another secret into the file."""
        assert account.keys is not None
        file = pending.former.get("file", {})
        if any(
            account.keys.file_prints({name: ""}) != {name: file[name]}
            for name in file
            if name in account.keys.configured
        ):
            await self._store.credentials.put_all(account.name, [Put(PENDING, None, None, version)])
            account.health.rotation = None
        else:
            self._say_refused(account, pending)

    async def _note(self, account: Account, action: str, pending: Pending, reason: str) -> None:
        """Who, what and when, without a secret; and the delivery that held one forgets it."""
        assert account.keys is not None
        keys: Keys = account.keys
        await self._store.audit.add(
            f"{self._partner} by webhook",
            action,
            integration=account.name,
            before=keys.file_prints(pending.secrets),
            after={name: fingerprint(secret) for name, secret in pending.secrets.items()}
            | ({"reason": reason} if reason else {}),
        )
        for _ in range(FORGET_TRIES):
            if await self._store.inbox.forget_body(account.name, pending.delivery):
                return
            await self._clock.sleep(FORGET_SECONDS)  # its batch is about to be done
        log.warning(
            "announced_secret_not_forgotten",
            partner=self._partner,
            integration=account.name,
            delivery=pending.delivery,
            reason="the delivery that brought it is still not done; it keeps its body until retention.inbox_payloads",
            action=f"syncd webhook show {account.name} {pending.delivery}",
        )

    def _say_refused(self, account: Account, pending: Pending) -> None:
        if account.health.rotation is not None:
            return
        account.health.rotation = Explanation(
            "rotation-refused",
            f"the partner announced new credentials and does not take them ({pending.reason}); the old ones stay in use",
            since=pending.announced_at,
            cause="the announcement was cut short or overtaken, or it was not the partner's",
            action=f"syncd credential test {account.name}, which ends this where they work; where not: "
            f"syncd credential set {account.name} NAME",
        )
        metrics.ROTATIONS.labels(account.name, "refused").inc()
        log.warning(
            "credentials_refused",
            partner=self._partner,
            integration=account.name,
            reason=pending.reason,
            action=account.health.rotation.action,
        )
