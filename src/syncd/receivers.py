"""Every integration's receiver, made from configuration and from the secrets that registration obtained.

Independent of whether the partner could be built or its credential works: deliveries are judged as long as there is a
secret to judge by (R16). The mapping is swapped whole (R13); an integration one of whose secrets cannot be read is
judged by those it had and those that can be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import anyio
import structlog

from syncd import drivers
from syncd.clock import Clock
from syncd.config import Config, PartnerConfig, WebhookConfig
from syncd.errors import StoreError, SyncdError
from syncd.kit import Driver
from syncd.kit.receiver import Receiver
from syncd.ports import StoredCredential
from syncd.redaction import KNOWN
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.store import Store

say = structlog.get_logger()

KIND: Final = "webhook"
"""Of the sealed rows that hold what partners gave us to verify their deliveries with: by subscription, its secret."""
CHANNEL: Final = "syncd_receivers"
"""What every instance listens to; the payload is the integration."""

RETRY_SECONDS: Final = 0.5

Key = tuple[str, str]


class Receivers:
    """`current` is what intake asks; `load` at the start and at each reload, `refresh` whenever sealed secrets changed."""

    def __init__(self, vault: Vault, store: Callable[[], Store | None]) -> None:
        self._vault = vault
        self._store = store
        self._config: Config | None = None
        self._sealed: dict[str, tuple[Secret, ...]] = {}
        self._held: dict[Key, dict[Ref, Secret]] = {}
        """Of the files, by who is judged with them."""
        self._changed = anyio.Event()
        self.ready = False
        """The sealed secrets were read. Before that a refusal may be wrong: answer 503, not 401."""
        self.current: Mapping[Key, Receiver] = MappingProxyType({})
        """By (partner, integration)."""

    def load(self, config: Config) -> dict[str, str]:
        """Take a configuration over, part by part. Returns what stands against each integration that was left as it was, or
        that lacks a secret from the start."""
        self._config = config
        kept: dict[str, str] = {}
        made: dict[Key, Receiver] = {}
        for partner in config.partners.values():
            made |= self._of(config, partner, kept)
        self.current = MappingProxyType(made)
        self._held = {key: held for key, held in self._held.items() if key in made}
        for name, trouble in kept.items():
            say.warning("webhook_secret_not_read", integration=name, reason=trouble, action="syncd check --env")
        return kept

    def secrets(self) -> dict[Ref, str]:
        """Short hashes of the secrets of the files that deliveries are judged by."""
        return {ref: fingerprint(secret) for held in self._held.values() for ref, secret in held.items()}

    async def refresh(self) -> None:
        """Read the sealed secrets anew. Raises StoreError where the database cannot be asked."""
        store = self._store()
        if store is None:
            raise StoreError("the database has not been reached yet", hint="syncd check --env")
        sealed: dict[str, tuple[Secret, ...]] = {}
        for note in await store.credentials.list():
            if note.kind != KIND:
                continue
            try:
                found = await store.credentials.get(note.integration, KIND)
            except StoreError as error:
                # One row that does not open is one integration's trouble; what was known of it stays.
                say.error("webhook_secret_not_opened", integration=note.integration, reason=str(error))
                sealed[note.integration] = self._sealed.get(note.integration, ())
                continue
            sealed[note.integration] = _secrets(found)
        self._sealed = sealed
        self.ready = True
        if self._config is not None:
            self.load(self._config)

    async def keep(self, clock: Clock) -> None:
        """Read the sealed secrets as soon as the database gives them, and again whenever an instance changed some."""
        store = self._store()
        if store is None:
            raise StoreError("the database has not been reached yet", hint="syncd check --env")
        said = False
        with contextlib.suppress(StoreError):  # away at this moment: the wire listens as soon as it is back
            await store.listen(CHANNEL, lambda _: self._changed.set())
        while True:
            self._changed = anyio.Event()
            try:
                await self.refresh()
            except StoreError as error:
                if not said:
                    say.warning("webhook_secrets_waited_for", reason=str(error), action="syncd check --env")
                said = True
                await clock.sleep(RETRY_SECONDS)
                continue
            said = False
            await self._changed.wait()

    def _of(self, config: Config, partner: PartnerConfig, kept: dict[str, str]) -> dict[Key, Receiver]:
        made: dict[Key, Receiver] = {}
        try:
            driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
        except SyncdError as error:
            for name in partner.integrations:
                self._keep((partner.name, name), str(error), made, kept)
            return made
        if not driver.takes_webhooks:
            return made
        for name in partner.integrations:
            key = partner.name, name
            try:
                own = drivers.of_integration(partner, name, driver)
                stated, unread = self._stated(partner, name)
                if unread:  # what was valid stays so
                    kept[name] = unread
                    stated = {**self._held.get(key, {}), **stated}
                self._held[key] = stated
                made[key] = self._receiver(own, config, partner, name, [*stated.values(), *self._sealed.get(name, ())])
            except SyncdError as error:
                self._keep(key, str(error), made, kept)
        return made

    def _keep(self, key: Key, trouble: str, made: dict[Key, Receiver], kept: dict[str, str]) -> None:
        kept[key[1]] = trouble
        if key in self.current:
            made[key] = self.current[key]

    def _stated(self, partner: PartnerConfig, name: str) -> tuple[dict[Ref, Secret], str]:
        """The secrets its file names, as far as they can be read, and what stands against the others."""
        hook = partner.integrations[name].webhook
        found: dict[Ref, Secret] = {}
        unread: list[str] = []
        for ref in hook.secrets if hook is not None else ():
            try:
                found[ref] = self._vault.resolve(ref)
            except SyncdError as error:
                unread.append(f"{error}" + (f" ({error.hint})" if error.hint else ""))
        return found, "; ".join(unread)

    def _receiver(
        self, driver: Driver, config: Config, partner: PartnerConfig, name: str, secrets: Sequence[Secret]
    ) -> Receiver:
        hook = partner.integrations[name].webhook or WebhookConfig()
        return Receiver(
            partner.name,
            name,
            driver,
            secrets,
            url=config.webhook_url(name),
            per_second=hook.per_second,
            tolerance_seconds=hook.tolerance,
            enabled=partner.is_enabled(name),
        )


def _secrets(found: StoredCredential | None) -> tuple[Secret, ...]:
    if found is None:
        return ()
    for value in found.value.values():
        KNOWN.pin(value)  # in use for months, while tokens come and go: no log line may ever show it
    return tuple(Secret(value) for value in found.value.values() if value)
