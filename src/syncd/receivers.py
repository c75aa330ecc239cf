"""Every integration's receiver, made from configuration and from the secrets that registration obtained.

Independent of whether the partner could be built or its credential works: deliveries are judged as long as there is a
secret to judge by (R16). The mapping is swapped whole (R13); an integration one of whose secrets cannot be read is
judged by those it had and those that can be read. Until then it is looked at again and again, and nobody is refused for
good: whom the missing secret would let in cannot be told.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import anyio
import structlog

from syncd import drivers, metrics
from syncd.clock import Clock, SystemClock
from syncd.config import Config, PartnerConfig, WebhookConfig
from syncd.credentials.files import previous_of
from syncd.errors import StoreError, SyncdError
from syncd.explain import Explanation
from syncd.kit import Driver
from syncd.kit.receiver import Receiver
from syncd.ports import StoredCredential
from syncd.redaction import KNOWN
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.store import SealError, Store, reached

say = structlog.get_logger()

KIND: Final = "webhook"
"""Of the sealed rows that hold what partners gave us to verify their deliveries with: by subscription, its secret."""
CHANNEL: Final = "syncd_receivers"
"""What every instance listens to; the payload is the integration."""

RETRY_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 15.0
"""Between two looks at secrets that cannot be read."""

Key = tuple[str, str]


class Receivers:
    """`current` is what intake asks; `load` at the start and at each reload, `refresh` whenever sealed secrets changed."""

    def __init__(self, vault: Vault, store: Callable[[], Store | None], *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._vault = vault
        self._store = store
        self._config: Config | None = None
        self._sealed: dict[str, dict[str, Secret]] = {}
        """By integration, and by subscription."""
        self._held: dict[Key, dict[Ref, Secret]] = {}
        """Of the files, by who is judged with them."""
        self._changed = anyio.Event()
        self.ready = False
        """Every secret there is was read. Until then a refusal may be wrong, whoever's it is: answer 503, not 401."""
        self._asked = False
        """The database told all it has."""
        self._unopened: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        """What stands against a secret of theirs, sealed or in a file, or against their rules."""
        self._said: dict[str, str] = {}
        self.current: Mapping[Key, Receiver] = MappingProxyType({})
        """By (partner, integration)."""
        self.troubles: Mapping[str, Explanation] = MappingProxyType({})
        """By integration in use: why deliveries of it may be refused that are its partner's. Its polling goes on."""

    def load(self, config: Config) -> dict[str, str]:
        """Take a configuration over, part by part. Returns what stands against each integration that was left as it was, or
        that lacks a secret from the start."""
        self._said = {}
        return self._load(config)

    def _load(self, config: Config) -> dict[str, str]:
        self._config = config
        kept: dict[str, str] = {}
        made: dict[Key, Receiver] = {}
        for partner in config.partners.values():
            made |= self._of(config, partner, kept)
        self.current = MappingProxyType(made)
        self._held = {key: held for key, held in self._held.items() if key in made}
        self._unread = kept
        self.troubles = MappingProxyType(self._explained(config))
        self.ready = self._asked and not self.troubles
        self._tell()
        return dict(kept)

    def secrets(self) -> dict[Ref, str]:
        """Short hashes of the secrets of the files that deliveries are judged by."""
        return {ref: fingerprint(secret) for held in self._held.values() for ref, secret in held.items()}

    async def refresh(self) -> None:
        """Read the sealed secrets anew. Raises StoreError where the database cannot be asked."""
        store = reached(self._store())
        sealed: dict[str, dict[str, Secret]] = {}
        unopened: dict[str, str] = {}
        self._asked = self.ready = False  # what has changed is not known before all of it was read
        for note in await store.credentials.list():
            if note.kind != KIND:
                continue
            try:
                found = await store.credentials.get(note.integration, KIND)
            except SealError as error:
                # One row that does not open is one integration's trouble; what was known of it stays.
                sealed[note.integration] = self._sealed.get(note.integration, {})
                unopened[note.integration] = _text(error)
                continue
            sealed[note.integration] = _secrets(found)
        self._sealed, self._unopened, self._asked = sealed, unopened, True
        if self._config is not None:
            self._load(self._config)

    async def keep(self, clock: Clock) -> None:
        """Read the sealed secrets as soon as the database gives them, and again whenever an instance changed some."""
        store = reached(self._store())
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
            await self._rest(clock)

    async def _rest(self, clock: Clock) -> None:
        """Until something changed, or a secret that could not be read is to be looked at again."""
        while not self._changed.is_set():
            try:
                async with clock.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if not self.ready:
                    return

    def _explained(self, config: Config) -> dict[str, Explanation]:
        """Of those in use, what could not be read."""
        found: dict[str, Explanation] = {}
        for name, (partner, _) in config.integrations.items():
            stands = [trouble for trouble in (self._unread.get(name), self._unopened.get(name)) if trouble]
            metrics.WEBHOOK_SECRETS_UNREAD.labels(name).set(1.0 if stands and partner.is_enabled(name) else 0.0)
            if not stands or not partner.is_enabled(name):
                continue
            before = self.troubles.get(name)
            found[name] = Explanation(
                "webhook-secret",
                f"deliveries it would let in are answered 503, polling goes on: {'; '.join(stands)}",
                before.since if before is not None else self._clock.now(),
                cause="a secret that webhooks are verified with cannot be read",
                action=f"mend that; it is looked at again every {LOOK_SECONDS:.0f} s. All of them: syncd check --env",
            )
        return found

    def _tell(self) -> None:
        """What stands against them, once; and again after a person's reload."""
        for name, trouble in self._unread.items():
            if self._said.get(f"file {name}") != trouble:
                say.warning("webhook_secret_not_read", integration=name, reason=trouble, action="syncd check --env")
        for name, trouble in self._unopened.items():
            if self._said.get(f"row {name}") != trouble:
                say.error("webhook_secret_not_opened", integration=name, reason=trouble)
        self._said = {f"file {name}": trouble for name, trouble in self._unread.items()}
        self._said |= {f"row {name}": trouble for name, trouble in self._unopened.items()}

    def _of(self, config: Config, partner: PartnerConfig, kept: dict[str, str]) -> dict[Key, Receiver]:
        made: dict[Key, Receiver] = {}
        judged: list[tuple[str, Driver, list[Secret], dict[str, list[Secret]]]] = []
        accounts: dict[str, str] = {}
        unsure: set[str] = set()
        try:
            driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
        except Exception as error:
            for name in partner.integrations:
                self._keep((partner.name, name), _fault(error), made, kept)
            return made
        for name in partner.integrations:
            key = partner.name, name
            try:
                own = drivers.of_integration(partner, name, driver)
                if not own.takes_webhooks:
                    continue
                stated, unread = self._stated(partner, name)
                if unread:  # what was valid stays so
                    kept[name] = unread
                    stated = {**self._held.get(key, {}), **stated}
                self._held[key] = stated
                general, of_route = _sorted(own, self._sealed.get(name, {}))
                accounts[name] = own.account(partner.options_for(name)) if partner.is_enabled(name) else ""
                judged.append((name, own, [*stated.values(), *general], of_route))
                if unread or name in self._unopened or not self._asked:
                    unsure.add(name)
            except Exception as error:  # of the driver's own, which is one integration's trouble
                self._keep(key, _fault(error), made, kept)
        most = max((len(_every(secrets, of_route)) for _, _, secrets, of_route in judged), default=0)
        for name, own, secrets, of_route in judged:
            key = partner.name, name
            others: dict[str, str] = {}
            untold: set[str] = set()
            for other, _, theirs, of_theirs in judged:
                if accounts[other] in ("", accounts[name]):
                    continue
                trusts = _trusts(_every(theirs, of_theirs), _every(secrets, of_route), sure=other not in unsure)
                if trusts:
                    others[accounts[other]] = other
                elif trusts is None:
                    untold.add(accounts[other])
            try:
                made[key] = self._receiver(
                    own,
                    config,
                    partner,
                    name,
                    secrets,
                    at_least=most,
                    account=accounts[name],
                    others=others,
                    unsure=untold - others.keys(),
                    of_route=of_route,
                )
            except Exception as error:  # the same
                self._keep(key, _fault(error), made, kept)
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
                before = previous_of(ref, self._vault)  # during a rotation both are valid
                if before is not None:
                    found[before] = self._vault.resolve(before)
            except SyncdError as error:
                unread.append(_text(error))
        return found, "; ".join(unread)

    def _receiver(
        self,
        driver: Driver,
        config: Config,
        partner: PartnerConfig,
        name: str,
        secrets: Sequence[Secret],
        *,
        at_least: int,
        account: str,
        others: Mapping[str, str],
        unsure: Collection[str],
        of_route: Mapping[str, Sequence[Secret]],
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
            at_least=at_least,
            account=account,
            others=others,
            unsure=unsure,
            of_route=of_route,
        )


def _trusts(theirs: Sequence[Secret], secrets: Sequence[Secret], *, sure: bool) -> bool | None:
    """May a delivery that these secrets let in be handed to an integration with those? It may where that has none of its
    own, or shares one: nobody who knows another's alone may speak for it. None: it cannot be told, since those that it has
    are not all known (not `sure`)."""
    known = {secret.reveal() for secret in theirs if secret.reveal()}
    if any(secret.reveal() in known for secret in secrets):
        return True
    return not known if sure else None


def _text(error: SyncdError) -> str:
    return str(error) + (f" ({error.hint})" if error.hint else "")


def _fault(error: Exception) -> str:
    """What failed. Of an exception that is not ours only where it was raised: its text may hold a secret."""
    if isinstance(error, SyncdError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"the driver failed: {type(error).__name__} in {place.name}, line {place.lineno} of {place.filename}"


def _every(secrets: Sequence[Secret], of_route: Mapping[str, Sequence[Secret]]) -> list[Secret]:
    """All there are, those of any route and those of one."""
    return [*secrets, *(secret for several in of_route.values() for secret in several)]


def _secrets(found: StoredCredential | None) -> dict[str, Secret]:
    """By subscription."""
    if found is None:
        return {}
    for value in found.value.values():
        KNOWN.pin(value)  # in use for months, while tokens come and go: no log line may ever show it
    return {name: Secret(value) for name, value in found.value.items() if value}


def _sorted(driver: Driver, sealed: Mapping[str, Secret]) -> tuple[list[Secret], dict[str, list[Secret]]]:
    """Those of any route, and by route those of one: where a subscription brings one kind of event to an address that ends in
    it, and its secret is sealed under that kind (`Subscribing`)."""
    rules = driver.spec.webhooks
    asked = rules.subscriptions if rules is not None else None
    general: list[Secret] = []
    of_route: dict[str, list[Secret]] = {}
    for name, secret in sealed.items():
        event = name.rpartition("/")[0] if asked is not None and asked.one_an_event and asked.read is not None else ""
        (of_route.setdefault(event, []) if event else general).append(secret)
    return general, of_route
