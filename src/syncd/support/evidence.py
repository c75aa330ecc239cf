"""What a partner's support desk asks for, of one integration: its latest calls, those that failed with what was answered,
calls a minute by status, the limits in force, and what was given up. From memory and the dead letters; nothing of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from syncd.client import USER_AGENT
from syncd.client.evidence import answer_of
from syncd.client.witness import CALLS, FAILED, Seen
from syncd.clock import Clock
from syncd.config import Config
from syncd.errors import StoreError
from syncd.model import Response
from syncd.store import Store
from syncd.store.dead_letters import DeadLetter
from syncd.support import masking
from syncd.sync.account import Account
from syncd.sync.scope import label, observed

EVIDENCE_SCHEMA = "syncd.evidence/1"
MOST_LETTERS = 10
_LOOKED_AT = 200


class Evidence:
    """Puts it together."""

    def __init__(
        self,
        accounts: Callable[[], Iterable[Account]],
        store: Callable[[], Store | None],
        config: Callable[[], Config],
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._config = config
        self._clock = clock

    async def view(
        self,
        integration: str,
        *,
        since: datetime | None = None,
        failed: bool = False,
        record: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Schema `syncd.evidence/1`, all of it fit to be sent to the partner. `since`: calls after that; `failed`: no others;
        `record`: (resource, id), only what names it. The database being away leaves out what was given up, and says so."""
        account = next((one for one in self._accounts() if one.name == integration), None)
        partner, settings = self._config().integrations[integration]
        found: dict[str, Any] = {
            "schema": EVIDENCE_SCHEMA,
            "at": self._clock.now(),
            "integration": integration,
            "partner": partner.name,
            "company": settings.company or integration,
            "user_agent": USER_AGENT,
            "origin": None,
            "since": since,
            "record": None if record is None else {"resource": record[0], "id": record[1]},
            "remembered": {"calls": CALLS, "failed": FAILED},
            "limits": [],
            "paused_until": None,
            "limit_headers": {},
            "minutes": [],
            "failed": [],
            "calls": [],
            "missing": [],
        }
        if account is None:
            found["missing"].append("no process that was asked calls for it: its latest calls are not known here")
        else:
            self._remembered(account, found, since, record, failed)
        try:
            store = self._store()
            letters = [] if store is None else await store.dead_letters.list(integration, limit=_LOOKED_AT)
            if store is None:
                found["missing"].append("the database is away: what was given up is not known")
        except StoreError:
            letters = []
            found["missing"].append("the database is away: what was given up is not known")
        kept = [
            each
            for each in letters
            if (record is None or (each.resource, each.external_id) == record)
            and (since is None or (each.last_at or each.buried_at or since) >= since)
        ]
        found["given_up"] = [_letter(each) for each in kept[:MOST_LETTERS]]
        return found

    def _remembered(
        self,
        account: Account,
        found: dict[str, Any],
        since: datetime | None,
        record: tuple[str, str] | None,
        failed: bool,
    ) -> None:
        witness, gate = account.session.witness, account.gate.view()

        def wanted(one: Seen) -> bool:
            if since is not None and one.at < since:
                return False
            return record is None or masking.is_about(one.target.path, record[1])

        found["origin"] = str(account.session.addresses.home)
        found["limits"] = [
            {"label": label(tier), "observed": observed(tier) or None, "used": tier["used"], "limit": tier["limit"]}
            for tier in gate["tiers"]
        ]
        found["paused_until"] = gate["paused_until"]
        if witness.headers is not None:
            told = answer_of(Response(0, witness.headers, b""))["headers"]
            limits = {name: value for name, value in told.items() if "limit" in name.lower() or name == "retry-after"}
            found["limit_headers"] = masking.headers(limits)
        if record is None:  # a minute is of all calls
            found["minutes"] = [
                {"at": at, "statuses": dict(sorted(counts.items()))}
                for at, counts in witness.minutes
                if since is None or at >= since.replace(second=0, microsecond=0)
            ]
        found["failed"] = [call(one) for one in reversed(witness.failed) if wanted(one)]
        if not failed:
            found["calls"] = [call(one) for one in reversed(witness.calls) if wanted(one)]


def call(one: Seen) -> dict[str, Any]:
    """One call as JSON, masked."""
    told = one.told
    found: dict[str, Any] = {
        "at": one.at,
        "method": one.method,
        "route": masking.url(one.route),
        "url": masking.url(one.target.url),
        "status": int(one.label) if one.label.isdigit() else None,
        "outcome": one.label,
        "milliseconds": round(one.seconds * 1000),
        "attempt": one.attempt,
        "request_id": masking.words(one.request_id) if one.request_id else None,
        "reason": masking.cut(masking.words(one.reason)) if one.reason else None,
    }
    if told is not None:
        found["headers"] = masking.headers(answer_of(Response(0, told.headers, b""))["headers"])
        found["bytes"] = told.size
        found["body"] = masking.body(told.content, told.size)
    return found


def _letter(each: DeadLetter) -> dict[str, Any]:
    request: Mapping[str, Any] = each.request or {}
    response: Mapping[str, Any] = each.response or {}
    body = response.get("body")
    return {
        "id": each.id,
        "at": each.last_at or each.buried_at,
        "resource": each.resource,
        "record": each.external_id,
        "reason": masking.cut(masking.words(each.message)),
        "times": each.times,
        "attempts": each.attempts,
        "tries": [
            {"at": one.get("at"), "error": masking.cut(masking.words(str(one.get("error", ""))))}
            for one in each.history
        ],
        "method": request.get("method"),
        "route": masking.url(str(request["route"])) if request.get("route") else None,
        "status": response.get("status"),
        "headers": masking.headers(response.get("headers") or {}),
        "body": masking.body(str(body).encode("utf-8", "replace")) if body else "",
    }
