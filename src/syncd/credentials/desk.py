"""Credentials in the daemon: what is in force, a new one tried through the account's own gate, a consent exchanged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from syncd import drivers
from syncd.client.grants import Consent
from syncd.clock import Clock
from syncd.config import Config
from syncd.credentials.files import NEW, files_of
from syncd.credentials.rows import SET
from syncd.errors import AuthError, ConfigError, RejectedError, SyncdError
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.server.ports import TestReport
from syncd.server.trial import TRIAL_SECONDS, failed, remark, told, trial, unanswered
from syncd.store import KeyRing, Store
from syncd.sync import replacing
from syncd.sync.account import Account, running_here

say = structlog.get_logger()

AUDIT_ROWS = 1_000
"""How far back it is looked who put a secret in place."""
ASKED = "asked for a call that tries the credential"


class Credentials:
    """Implements `server.desk_credentials.CredentialsDesk`."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store],
        clock: Clock,
        names: Callable[[], Mapping[str, Sequence[str]]],
        sync: Callable[..., Awaitable[list[int]]],
    ) -> None:
        """`sync(integration, resource, None, who=...)` has a resource read now."""
        self._sync = sync
        self._config = config
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._since = clock.now()
        self.names = names

    async def view(self, integration: str | None) -> dict[str, Any]:
        """See the desk. Raises StoreError."""
        running = {account.name: account for account in self._accounts()}
        wanted = [integration] if integration is not None else list(self._config().integrations)
        notes = await self._store().credentials.list(integration)
        entries = await self._store().audit.list(integration, limit=AUDIT_ROWS, actions=SET)
        found = {}
        for name in wanted:
            account = running.get(name)
            rights = account.health.rights if account is not None else None
            found[name] = {
                "in_force": _in_force(account),
                "running_since": self._since,
                "scopes": rights.as_dict() if rights is not None else None,
                "expires_at": rights.expires_at if rights is not None else None,
                "sealed": [
                    {"kind": one.kind, "key_id": one.key_id, "version": one.version, "expires_at": one.expires_at,
                     "stored_at": one.stored_at, "refreshes": one.refreshes}
                    for one in notes if one.integration == name
                ],
                "set": [
                    {"at": one.at, "actor": one.actor, "action": one.action, "after": dict(one.after or {})}
                    for one in entries if one.integration == name
                ],
            }  # fmt: skip
        return found

    def keys(self) -> dict[str, Any]:
        """See the desk. Raises StoreError."""
        ring = self._store().credentials.ring
        owner = next((account.ownership.owner for account in self._accounts()), None)
        return {
            "ids": list(ring.ids) if ring is not None else [],
            "current": ring.current if ring is not None else None,
            "owner": owner,
        }

    async def take_keys(self, ring: KeyRing) -> None:
        """Seal and open with these from here on; not where a row could not be opened with them. Raises StoreError."""
        credentials = self._store().credentials
        lost = sorted(set(await credentials.by_key()) - set(ring.ids))
        before = credentials.ring
        if lost and before is not None and set(lost) & set(before.ids):
            action = "put them back into the file of keys; syncd key rotate --check says what is sealed with which"
            say.error("keys_not_taken_over", reason=f"rows are sealed with {', '.join(lost)}", action=action)
            return
        credentials.use(ring)
        if before is None or (before.ids, before.current) != (ring.ids, ring.current):
            say.info("keys_taken_over", keys=list(ring.ids), seals=ring.current)

    async def try_file(self, integration: str, name: str) -> TestReport:
        """See the desk. Raises ConfigError, OwnershipError."""
        account = self._asked(integration)
        return await try_file(account, self._config(), name, self._clock)

    async def verify(self, integration: str) -> TestReport:
        """See the desk. Raises OwnershipError."""
        account = self._asked(integration)
        with drivers.asking(account.driver.spec.name, ASKED):
            report = await trial(account, self._clock)
        if report.ok:
            account.health.probed(None, self._clock.now())
        return report

    async def adopt(self, integration: str) -> None:
        """See the desk. Raises StoreError."""
        await replacing.adopt(self._asked(integration))

    async def undo(self, integration: str) -> None:
        """See the desk. Raises StoreError."""
        await replacing.undo(self._asked(integration))

    async def ended(self, integration: str, action: str, names: Mapping[str, Any], *, who: str) -> None:
        """See the desk. Raises StoreError."""
        await ended(self._store(), integration, action, names, who=who)

    async def login(
        self, integration: str, code: Secret, verifier: Secret | None, redirect: str, *, who: str
    ) -> TestReport:
        """See the desk. Raises ConfigError, AuthError and what a call may raise."""
        account = self._asked(integration)
        report = await login(account, code, verifier, redirect, who=who, clock=self._clock)
        if report.ok:  # what failed for want of it need not wait for its next turn
            for resource, known in account.health.resources.items():
                if known.trouble is not None and known.trouble.code == "auth-failed":
                    await self._sync(integration, resource, None, who=who)
        return report

    def _asked(self, integration: str) -> Account:
        account = running_here(self._accounts(), integration)
        _ = account.fence  # only who holds the scope calls its partner
        return account


async def try_file(account: Account, config: Config, name: str, clock: Clock) -> TestReport:
    """One cheap call with what lies in NAME.new, in a maintenance window too. Raises ConfigError where nothing can be read
    there."""
    ref = config.integrations[account.name][1].credentials.get(name)
    if ref is None:
        raise ConfigError(f"{account.name} has no credential {name!r}")
    path = files_of(ref, Vault(config.secrets.directory, {})).path
    secret = Vault(None, {}).resolve(Ref.model_validate({"file": f"{path}{NEW}"}))
    began = clock.monotonic()
    try:
        async with clock.timeout(TRIAL_SECONDS):
            with drivers.asking(account.driver.spec.name, ASKED):
                took, status, rights = await replacing.tried(account, name, secret)
    except TimeoutError:
        return unanswered(account)
    except SyncdError as error:
        return failed(account, error, clock, began)
    return TestReport(
        integration=account.name, ok=True, status=status, latency_ms=took, remark=remark(account), **told(rights)
    )


async def ended(store: Store, integration: str, action: str, names: Mapping[str, Any], *, who: str) -> None:
    """A rotation is over, or a secret was set: written down, and what was kept to go back is let go of. Raises StoreError."""
    reason = names.get("reason")
    before, after = dict(names.get("before") or {}), dict(names.get("after") or {})
    if reason:
        after["reason"] = str(reason)
    await store.audit.add(who, action, integration=integration, before=before, after=after)
    if action in ("credential_rotated", "credential_rotation_undone"):
        await replacing.done(store, integration)
    say.info(action, integration=integration, names=sorted({*before, *after} - {"reason"}), who=who)


async def login(
    account: Account, code: Secret, verifier: Secret | None, redirect: str, *, who: str, clock: Clock
) -> TestReport:
    """Exchange the code, keep what it is good for, and see that it works.

    In a maintenance window too: the code does not keep until its end. Raises RejectedError where this partner has no such
    flow, AuthError where it takes the code for nothing, and what a call may raise.
    """
    auth = account.driver.auth(account.options)
    if auth.login is None:
        raise RejectedError(
            f"{account.partner} is not allowed in a browser", hint=f"syncd credential list {account.name}"
        )
    consent = Consent(code, redirect if auth.login.redirect else None, verifier, auth.login.extra)
    stored = await account.session.auth.consented(consent)
    account.health.probed(None, clock.now())
    await account.store.audit.add(
        who, "credential_logged_in", integration=account.name, after={"kind": stored.kind, "version": stored.version}
    )
    say.info("credential_logged_in", integration=account.name, who=who)
    report = await trial(account, clock)
    if report.ok:
        account.health.probed(None, clock.now())
        account.tasks_added()  # what the want of a credential had barred may go at once
    return report


def _in_force(account: Account | None) -> dict[str, str] | None:
    """Short hashes of what calls are made with; None where nothing runs here."""
    if account is None or account.keys is None:
        return None
    keys = account.keys
    found = {}
    for name in keys.configured:
        try:
            found[name] = fingerprint(keys(name))
        except (AuthError, KeyError):
            continue
    return found
