"""Rehearsals of a configured integration: its driver, its secret, a record of its own, and what should be known before."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from syncd import drivers
from syncd.clock import Clock
from syncd.config import Config, PartnerConfig
from syncd.errors import ConfigError
from syncd.kit import Driver
from syncd.kit.receiver import Accepted, Receiver
from syncd.kit.webhooks import Delivery, Event
from syncd.receivers import KIND
from syncd.rehearsal.draft import Rehearsal, Wish, accounts_of, of_account, rehearse, samples_of, types_of
from syncd.secrets import Secret, Vault
from syncd.server.address import is_loopback
from syncd.store import Store, reached
from syncd.tracing import Names

MOST_NAMES: Final = 50
"""Records looked at for one that names what a sample's record may be of."""


class Stage:
    """`store` answers None until the database was reached; `receivers` is what intake judges by."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: Callable[[], Store | None],
        receivers: Callable[[], Mapping[tuple[str, str], Receiver]],
        vault: Vault,
        clock: Clock,
    ) -> None:
        self._config = config
        self._stored = store
        self._receivers = receivers
        self._vault = vault
        self._clock = clock

    def types(self, integration: str) -> list[str]:
        """The event types that can be rehearsed. Raises ConfigError where the driver takes no webhooks."""
        partner, driver = self._of(integration)
        return types_of(driver, samples_of(partner.driver))

    async def rehearse(
        self,
        integration: str,
        kind: str,
        *,
        external_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        forged: bool = False,
        stale_seconds: float = 0.0,
        who: str = "",
    ) -> dict[str, Any]:
        """A delivery as the partner would send it, signed and not sent, and what it would do: `syncd.rehearsal/1`.

        Without an id it tells of a record that is stored, so that there is a row to see; unless it says that the record is
        gone, or brings its content along. Whoever has one signed is in the audit log. Raises ConfigError, StoreError.
        """
        partner, driver = self._of(integration)
        samples, secret = samples_of(partner.driver), await self._secret(partner, integration, kind)
        receiver = self._receivers().get((partner.name, integration))
        now, fresh = self._clock.now(), secrets.token_hex(16)
        path = f"/webhooks/{partner.name}/{integration}"
        url = receiver.public(path) if receiver is not None and receiver.url else path
        wish = Wish(
            type=kind, external_id=external_id, settings=settings or {}, forged=forged, stale_seconds=stale_seconds
        )

        def made(asked: Wish) -> Rehearsal:
            return rehearse(driver, samples, asked, secret, now, fresh, url=url)

        names = Names(self._store, driver, integration, partner.options_for(integration))
        own = driver.account(partner.options_for(integration))
        if own:
            wish = of_account(driver, made(wish), wish, own)
        found, wish = await self._placed(names, made, wish)
        if external_id is None and not any(map(_writes, found.events)):
            stored = await self._some(integration, await names.of(found.events))
            if stored is not None:
                found = made(replace(wish, external_id=stored))
        sent, events = found.delivery, await names.of(found.events)
        whole = path + (f"/{sent.route}" if sent.route else "")
        verdict = None
        if receiver is not None:
            verdict = receiver.judge(Delivery(sent.body, sent.headers, whole, sent.method, sent.route), now)
        before = [await self._before(integration, each) for each in events]
        cautions = _cautions(partner, driver, integration, () if forged or stale_seconds else events)
        if external_id is not None and not (forged or stale_seconds):
            cautions += _strange(before)
        if own and isinstance(verdict, Accepted):
            named = accounts_of(driver, sent)
            if named and own not in named:
                whose = verdict.handed
                became = (
                    f"stored as one of {whose}" if whose else "counted and dropped, if no integration is of that one"
                )
                cautions.append(f"it names account {named[0]}, and {integration} is of {own}: it is {became}")
        note = {"type": kind, "event_id": found.event_id, "records": [each.external_id for each in events]}
        await self._store.audit.add(who, "webhook_rehearsed", integration=integration, after=note)
        return {
            "schema": "syncd.rehearsal/1",
            "integration": integration,
            "type": kind,
            "sample": found.sample,
            "path": whole,
            "headers": dict(sent.headers),
            "body": sent.body.decode(),
            "sha256": hashlib.sha256(sent.body).hexdigest(),
            "event_id": found.event_id,
            "judged": "accepted"
            if isinstance(verdict, Accepted)
            else "disabled"
            if verdict is None
            else verdict.reason,
            "answer": _answer(driver),
            "events": before,
            "cautions": cautions,
        }

    def _of(self, integration: str) -> tuple[PartnerConfig, Driver]:
        found = self._config().integrations.get(integration)
        if found is None:
            raise ConfigError(f"no integration {integration!r}", hint="syncd status")
        return found[0], drivers.load(found[0].driver, rest=found[0].rest_for(integration), partner=found[0].name)

    async def _placed(self, names: Names, made: Callable[[Wish], Rehearsal], wish: Wish) -> tuple[Rehearsal, Wish]:
        """Where a sample names what its record is of by an id that is not of this account: by one that is."""
        found = made(wish)
        asked = await names.unknown(found.events)
        if asked is None:
            return found, wish
        async for candidate in self._store.records.scan(names.integration, asked[0], limit=MOST_NAMES):
            other = replace(wish, renames={**wish.renames, asked[1]: candidate.external_id})
            tried = made(other)
            events = await names.of(tried.events)
            if events and await self._some(names.integration, events[:1]) is not None:
                return tried, other
        return found, wish

    async def _before(self, integration: str, event: Event) -> dict[str, Any]:
        """What one event tells of, and as what that is stored now."""
        record = await self._store.records.get(integration, event.resource, event.external_id)
        return {
            "type": event.type,
            "resource": event.resource,
            "id": event.external_id,
            "deleted": event.deleted,
            "row_version": None if record is None else record.row_version,
        }

    async def _some(self, integration: str, events: Sequence[Event]) -> str | None:
        """The id of a record of the events' resource that is stored."""
        resources = {event.resource for event in events}
        if len(resources) == 1:
            async for record in self._store.records.scan(integration, resources.pop(), limit=1):
                return record.external_id
        return None

    async def _secret(self, partner: PartnerConfig, integration: str, kind: str) -> Secret:
        """One of the file, else one that registration obtained: where each kind of event has its own, that one."""
        hook = partner.integrations[integration].webhook
        for ref in hook.secrets if hook is not None else ():
            return self._vault.resolve(ref)
        found = await self._store.credentials.get(integration, KIND)
        values = found.value if found is not None else {}
        for _, value in sorted(values.items(), key=lambda each: not each[0].startswith(f"{kind}/")):
            if value:
                return Secret(value)
        raise ConfigError(
            f"{integration} has no webhook secret, so nothing can be signed for it",
            hint=f"syncd webhook register {integration}, or webhook: {{secrets: [...]}} in its partner's file",
        )

    @property
    def _store(self) -> Store:
        return reached(self._stored())


def _writes(event: Event) -> bool:
    """Would it change something by what it says itself, instead of by what the partner answers when asked?"""
    return event.deleted or event.revoked or event.raw is not None or event.credentials is not None


def _strange(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of records somebody named that are not stored: what a read of them leaves behind."""
    return [
        f"no {each['resource']} {each['id']} is stored: it is read at the partner, and where the partner does not have it "
        "either a tombstone stays under that id"
        for each in events
        if each["row_version"] is None and not each["deleted"]
    ]


def _answer(driver: Driver) -> int:
    """The status of a delivery that is stored, where its partner wants to hear another than ours."""
    rules = driver.spec.webhooks
    return rules.answer.status if rules is not None and rules.answer is not None else 202


def _cautions(partner: PartnerConfig, driver: Driver, integration: str, events: Sequence[Event]) -> list[str]:
    """What somebody should know before it is sent."""
    base = partner.base_url_for(integration) or driver.spec.base_url or ""
    host = urlsplit(str(base)).hostname or ""
    said = []
    if not is_loopback(host):
        said.append(
            f"{integration} is a real account (at {host}): what is accepted makes syncd read the record there again, which "
            "is harmless and costs a call"
        )
    for event in events:
        what = f"{event.resource} {event.external_id}"
        if event.revoked:
            said.append("it says that the account took our access away: the integration would stop until someone looks")
        elif event.credentials is not None:
            said.append("it hands over new credentials, and they are invented")
        elif event.deleted:
            said.append(f"it says that {what} is gone: a record stored under that id becomes a tombstone")
        elif event.raw is not None:
            said.append(f"it brings the content of {what} along: what the sample says would be stored")
    return list(dict.fromkeys(said))
