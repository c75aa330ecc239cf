"""From configuration to running parts: one partner's driver, transport, gates, sessions and plans.

Pure assembly: building opens no connection and changes nothing that runs, so a reload can build, look, and throw away.
What outlives a configuration (gates with their slots, leases) is kept by `Scopes` and handed in (R13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from syncd import drivers
from syncd.client import Auth, Chaos, PartnerTransport, Patience, Secrets, Session
from syncd.client import build as build_auth
from syncd.clock import Clock
from syncd.config import IntegrationConfig, PartnerConfig
from syncd.config.elsewhere import strays, told
from syncd.errors import ConfigError
from syncd.kit import Driver
from syncd.limits.backoff import RetryBudget
from syncd.model import Lane
from syncd.plans import resource_plans
from syncd.ports import CredentialKeeper
from syncd.scopes import GateSettings, Scopes, ScopeState, gate_settings
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.backfilling import Backfilling
from syncd.sync.coalescing import Coalescing
from syncd.sync.depot import Depot
from syncd.sync.events import Events
from syncd.sync.health import Health
from syncd.sync.inflight import Inflight
from syncd.sync.keys import KeptUp, Keys
from syncd.sync.narrowing import Narrowing
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.pushes import Pushes
from syncd.sync.renormalizing import Renormalizing
from syncd.sync.rotating import Rotation
from syncd.sync.runner import Runner
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.shadow import Trial
from syncd.sync.silence import Silence
from syncd.sync.target import Target
from syncd.sync.turns import Turns
from syncd.sync.watching import Watching

log = structlog.get_logger()


@dataclass(slots=True)
class Built:
    """One partner, assembled and not yet running."""

    config: PartnerConfig
    driver: Driver
    transport: PartnerTransport
    accounts: dict[str, Account]
    scopes: dict[str, ScopeState]
    settings: dict[str, GateSettings]
    store: Store
    secrets: Mapping[str, Mapping[Ref, str]] = field(default_factory=dict)
    """By integration: short hashes of the secrets it works with."""
    opened: bool = False

    def adopt(self) -> None:
        """Put this configuration in force: its limits (slots in use stay), its credentials (a refusal is of the past)."""
        for account in self.accounts.values():
            account.health.auth = account.health.auth_retry_at = None
        for name, state in self.scopes.items():
            state.gate.reconfigure(self.settings[name].tiers, **self.settings[name].rest())

    async def open(self) -> None:
        """What needs the database before the first call: typed views."""
        for account in self.accounts.values():
            for name, plan in account.plans.items():
                await self.store.views.refresh(self.config.name, name, plan.columns)
        self.opened = True

    async def aclose(self) -> None:
        for account in self.accounts.values():
            await account.session.aclose()
        await self.transport.aclose()


class Builder:
    """Assembles partners against one store, one vault and one set of scopes."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        scopes: Scopes,
        clock: Clock,
        *,
        moved: Callable[[], None] = lambda: None,
        narrowing: Narrowing | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._scopes = scopes
        self._clock = clock
        self._moved = moved
        self._health: dict[str, Health] = {}
        self._coalescing: dict[str, Coalescing] = {}
        self._inflight = Inflight(narrowing=narrowing)
        self._turns = Turns(clock)

    def build(self, partner: PartnerConfig) -> Built:
        """Raises ConfigError (or a SecretError) naming what is wrong; nothing that runs is touched before that."""
        driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
        names = [name for name in partner.integrations if partner.is_enabled(name)]
        own = {name: drivers.of_integration(partner, name, driver) for name in names}
        prepared = {name: self._prepare(own[name], partner, name) for name in names}
        settings = {
            scope: gate_settings(driver, partner, [name for name in names if partner.scope_for(name) == scope])
            for scope in {partner.scope_for(name) for name in names}
        }
        scopes = {scope: self._scopes.get(scope, numbers) for scope, numbers in settings.items()}
        transport = PartnerTransport(partner.name, clock=self._clock, most_body=partner.response_bytes)
        retries = RetryBudget(clock=self._clock)
        accounts = {
            name: self._account(own[name], partner, name, transport, retries, scopes[partner.scope_for(name)], made)
            for name, made in prepared.items()
        }
        in_force = {
            name: {ref: fingerprint(made[0][key]) for key, ref in partner.integrations[name].credentials.items()}
            for name, made in prepared.items()
        }
        return Built(partner, driver, transport, accounts, scopes, settings, self._store, in_force)

    def runner(self, built: Built) -> Runner:
        runner = Runner(built.config.name, built.accounts, self._store, self._clock, workers=built.config.workers)
        rotation = Rotation(built.config.name, built.accounts, self._store, self._clock)
        runner.parts.append(
            Events(
                built.config.name,
                built.accounts,
                self._store,
                self._clock,
                paused=lambda: runner.paused,
                credentials=rotation.take,
            )
        )
        runner.parts.append(rotation)
        runner.parts.append(Backfilling(built.config.name, built.accounts, self._store, self._clock, runner.is_paused))
        runner.parts.append(Watching(built.config.name, built.accounts, self._store, self._clock))
        runner.parts.append(
            Renormalizing(built.config.name, built.accounts, self._store, self._clock, runner.is_paused)
        )
        runner.parts.append(
            Pushes(built.config.name, built.accounts, runner.pool, self._store, self._clock, paused=runner.is_paused)
        )
        runner.parts.append(
            Silence(
                built.config.name,
                built.accounts,
                runner.units,
                {
                    name: integration.webhook.silence if integration.webhook is not None else None
                    for name, integration in built.config.integrations.items()
                    if name in built.accounts and built.driver.takes_webhooks
                },
                self._store,
                self._clock,
                paused=runner.is_paused,
            )
        )
        return runner

    def _prepare(
        self, driver: Driver, partner: PartnerConfig, name: str
    ) -> tuple[dict[str, Secret], dict[str, ResourcePlan]]:
        """What may fail for want of a secret or by a wrong option, before anything is changed."""
        integration = partner.integrations[name]
        secrets = {key: self._vault.resolve(ref) for key, ref in integration.credentials.items()}
        options = partner.options_for(name)
        needed = driver.auth(options).required
        missing = [key for key in needed if key not in secrets]
        if missing:
            raise ConfigError(f"{name}: credential {missing[0]!r} is missing", hint=f"add it under {name}.credentials")
        # Whoever checked the file has said so already; nothing is called before this holds, wherever the settings come from.
        given = partner.base_url_for(name)
        found = strays(driver.facts(options), given, options, integration.origins)
        if given is not None and found and not driver.needs_spec:
            message, hint = told(given, found)
            raise ConfigError(f"{name}: {message}", hint=hint)
        return secrets, resource_plans(driver, partner, name)

    def _account(
        self,
        driver: Driver,
        partner: PartnerConfig,
        name: str,
        transport: PartnerTransport,
        retries: RetryBudget,
        scope: ScopeState,
        made: tuple[dict[str, Secret], dict[str, ResourcePlan]],
    ) -> Account:
        secrets, plans = made
        integration = partner.integrations[name]
        options = partner.options_for(name)
        base_url = driver.base_url(options, partner.base_url_for(name))
        if base_url is None:
            raise ConfigError(f"{name}: no base_url", hint="the driver has none of its own: give one in the file")
        keys = Keys(name, secrets, scope.ownership, self._store, self._clock)

        def auth(read: Secrets, keeper: CredentialKeeper) -> Auth:
            return build_auth(
                driver.auth(options),
                read,
                integration=name,
                keeper=keeper,
                clock=self._clock,
                sign=getattr(driver, "sign", None),
            )

        chaos = Chaos(name, integration.chaos, self._clock) if integration.chaos is not None else None
        if chaos is not None:
            log.warning("chaos_on", integration=name, says=chaos.says)
        wire = transport if chaos is None else transport.disturbed(chaos)

        def session(auth: Auth) -> Session:
            return Session(
                wire,
                integration=name,
                base_url=base_url,
                gate=scope.gate,
                origins=[*driver.spec.origins, *integration.origins],
                homes=driver.homes(options, partner.base_url_for(name)),
                auth=auth,
                classify=driver.classify,
                headers=driver.headers(options),
                patience=Patience(deadline_seconds=partner.deadline_seconds),
                retries=retries,
                cost_header=driver.limits(options).cost,
                told=driver.limits(options).told,
            )

        def attempt(read: Secrets, keeper: CredentialKeeper) -> Session:
            beside = session(auth(read, keeper))
            beside.shut = account.session.shut  # where nothing may leave, no trial does that no person asks for
            return beside

        targets = {
            plan.name: Target(
                plan.resource,
                plan.adapter,
                tuple(
                    child.name for child in (other.resource for other in plans.values()) if child.parent == plan.name
                ),
                lane=Lane.LOW if plan.resource.lane == "low" else Lane.NORMAL,
                media=plan.resource.media is not None and integration.media is not None,
                expires_seconds=plan.expires_seconds,
                rollout=plan.rollout,
            )
            for plan in plans.values()
        }
        health = self._health.setdefault(name, Health(name))
        watch = SchemaWatch(
            partner.name,
            name,
            {plan.name: plan.schema for plan in plans.values()},
            self._clock,
            health.shape_told,
            endless={plan.name for plan in plans.values() if plan.strategy is Strategy.FEED},
            open_names={plan.name: plan.resource.open_names() for plan in plans.values()},
        )
        trials = {
            plan.name: Trial(plan.resource, plan.shadow, plan.adapter, driver)
            for plan in plans.values()
            if plan.shadow is not None
        }
        turn = self._turns.of(name)
        account = Account(
            partner=partner.name,
            name=name,
            driver=driver,
            session=session(KeptUp(auth(keys, self._store.credentials), keys)),
            gate=scope.gate,
            store=self._store,
            clock=self._clock,
            ownership=scope.ownership,
            plans=plans,
            processor=Processor(driver, name, targets, self._store, watch, trials, turn),
            health=health,
            options=options,
            keys=keys,
            attempt=attempt,
            moved=self._moved,
            chaos="" if chaos is None else chaos.says,
            depot=_depot(integration),
            inflight=self._inflight.share(turn),
        )
        # A reload is no reason to read anew what was read a moment ago.
        account.coalescing = self._coalescing.setdefault(name, account.coalescing)
        return account


def _depot(integration: IntegrationConfig) -> Depot | None:
    media = integration.media
    return None if media is None else Depot(Path(media.directory), media.largest)
