"""Pushes as people ask for them: checked against the driver before they are written, followed until they are over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd import drivers, metrics
from syncd.config import did_you_mean
from syncd.errors import RejectedError, StoreError, SyncdError
from syncd.explain import NOT_RUNNING
from syncd.kit import STATE, Change
from syncd.push_waits import reasons
from syncd.redaction import redact
from syncd.store import KeyUsedError, NewPush, PushRow, Store, reached
from syncd.store.outbox import OPEN
from syncd.sync.account import Account

SCHEMA = "syncd.push/1"


class InvalidPushError(SyncdError):
    """What was asked for cannot be pushed; nothing was written."""


class Pushing:
    """What `syncd push` and the page ask of the daemon."""

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store | None],
        *,
        known: Callable[[], Mapping[str, Sequence[str]]],
        now: Callable[[], datetime],
    ) -> None:
        """`known`: every configured integration with its resources."""
        self._accounts = accounts
        self._store_now = store
        self.names = known
        self._now = now

    async def push(
        self,
        integration: str,
        resource: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        external_id: str | None,
        key: str | None,
        cause: str | None,
        expires_at: datetime | None,
        who: str,
    ) -> dict[str, Any]:
        """Write it. Raises InvalidPushError for what the driver would refuse: then nothing was written."""
        store = self._store()
        await self._checked(integration, resource, kind, data, external_id)
        asked = NewPush(
            integration,
            resource,
            kind,
            data,
            external_id=external_id,
            idempotency_key=key,
            cause=cause or f"asked by {who}",
            expires_at=expires_at,
        )
        try:
            made, fresh = await store.outbox.put(asked)
        except KeyUsedError as error:
            raise InvalidPushError(str(error), hint=error.hint) from None
        row = await store.outbox.get(integration, made)
        assert row is not None
        return {"schema": SCHEMA, "already": not fresh, "push": await self._told(row)}

    async def rehearse(
        self, integration: str, resource: str, kind: str, data: Mapping[str, Any], *, external_id: str | None
    ) -> dict[str, Any]:
        """What would be sent, and what would happen if its answer were lost. Writes and sends nothing."""
        account, change, stored = await self._checked(integration, resource, kind, data, external_id)
        driver, taken = account.driver, account.plans[resource].resource
        with drivers.asking(driver.spec.name, "asked how the push is made"):
            request = driver.push(taken, change)
            look_up = driver.look_up(taken, change)
            idempotent = driver.idempotent(taken, change)
            expects = driver.expects(taken, change)
            readable = (
                external_id is not None
                and driver.by_state(taken, change)
                and driver.one(taken, external_id) is not None
            )
        return {
            "schema": "syncd.push-rehearsal/1",
            "integration": integration,
            "resource": resource,
            "kind": kind,
            "record": external_id,
            "stored": stored,
            "read_first": readable and (not stored or expects),
            "request": {
                "method": request.method,
                "path": request.path,
                "params": dict(request.params),
                "headers": redact(dict(request.headers)),
                "body": request.json if request.form is None else dict(request.form),
            },
            "when_the_answer_is_lost": "sent again: twice is the same as once"
            if idempotent
            else f"looked up first: {look_up.method} {look_up.path}"
            if look_up is not None
            else "a dead letter: nothing tells whether it arrived",
        }

    async def one(self, integration: str, push_id: int) -> dict[str, Any] | None:
        """One push; None: there is none of this number."""
        row = await self._store().outbox.get(integration, push_id)
        return {"schema": SCHEMA, "push": await self._told(row)} if row is not None else None

    async def _told(self, row: PushRow) -> dict[str, Any]:
        why = await reasons(self._store(), [row], self.names(), self._now(), self._account)
        return told(row, why.get((row.integration, row.id)))

    def _account(self, name: str) -> Account | None:
        return next((one for one in self._accounts() if one.name == name), None)

    async def some(
        self, integration: str | None, *, resource: str | None, states: Sequence[str] | None, limit: int
    ) -> dict[str, Any]:
        """The latest pushes and how many are not over."""
        store = self._store()
        return await listed(
            store, integration, self.names(), self._now(), self._account, resource=resource, states=states, limit=limit
        )

    async def standing(self) -> list[dict[str, Any]]:
        """Of the status: integrations with pushes that are not over, how many wait, are under way, may have arrived."""
        counts = await self._store().outbox.counts()
        known = self.names()
        for name in known:
            for state in OPEN:
                metrics.OUTBOX.labels(name, state).set(counts.get(name, {}).get(state, 0))
        return [
            {
                "integration": name,
                **{state: found[state] for state in OPEN},
                "oldest_at": found["oldest_at"],
                "configured": name in known,
            }
            for name, found in sorted(counts.items())
        ]

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _checked(
        self, integration: str, resource: str, kind: str, data: Mapping[str, Any], external_id: str | None
    ) -> tuple[Account, Change, bool]:
        """The account, the change, and whether its record is stored. Raises InvalidPushError for what may not be sent."""
        account = self._account(integration)
        if account is None:
            raise StoreError(f"{integration} does not run here now", hint=NOT_RUNNING)
        plan = account.plans[resource]
        with drivers.asking(account.driver.spec.name, "asked what may be pushed"):
            kinds = account.driver.push_kinds(plan.resource)
        if kind not in kinds:
            hint = did_you_mean(kind, kinds) or (f"it takes: {', '.join(kinds)}" if kinds else "")
            raise InvalidPushError(f"{integration}/{resource} takes no push of kind {kind!r}", hint=hint)
        stored = None
        if external_id is not None:
            stored = await self._store().records.get(integration, resource, external_id)
        change = Change(resource, external_id, kind, data, "rehearsal")
        try:
            live = stored is not None and stored.deleted_at is None
            with drivers.asking(account.driver.spec.name, "checking the push"):
                account.driver.check(plan.resource, change, stored.data if stored is not None and live else None)
        except RejectedError as error:
            if error.code != STATE:  # our copy may be behind: the record is read before a state is held against it
                raise InvalidPushError(str(error), hint=error.hint) from None
        return account, change, stored is not None and live

    def _store(self) -> Store:
        return reached(self._store_now())


async def listed(
    store: Store,
    integration: str | None,
    known: Collection[str],
    now: datetime,
    account: Callable[[str], Account | None] = lambda name: None,
    *,
    resource: str | None,
    states: Sequence[str] | None,
    limit: int,
) -> dict[str, Any]:
    """Schema `syncd.pushes/1`: the latest pushes, and how many are not over by integration."""
    rows = await store.outbox.list(integration, resource=resource, states=states, limit=limit)
    counts = await store.outbox.counts()
    if integration is not None:
        counts = {name: found for name, found in counts.items() if name == integration}
    why = await reasons(store, rows, known, now, account)
    shown = [told(row, why.get((row.integration, row.id))) for row in rows]
    return {"schema": "syncd.pushes/1", "open": counts, "pushes": shown}


def told(row: PushRow, why: str | None = None) -> dict[str, Any]:
    """One push for people and programs. `why` it waits, where more than the row is known."""
    return {
        "id": row.id,
        "integration": row.integration,
        "resource": row.resource,
        "record": row.external_id,
        "kind": row.operation,
        "data": redact(dict(row.payload)),
        "key": row.idempotency_key,
        "state": row.state,
        "reason": why or row.reason,
        "attempts": row.attempts,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
        "unsure_since": row.unsure_since,
        "not_before": row.not_before,
        "expires_at": row.expires_at,
        "finished_at": row.finished_at,
        "cause": row.cause,
        "answer": redact(dict(row.answer)) if row.answer is not None else None,
    }
