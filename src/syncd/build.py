"""From configuration to running parts: one partner's driver, transport, gates, sessions and plans.

Pure assembly: building opens no connection and changes nothing that runs, so a reload can build, look, and throw away.
What outlives a configuration (gates with their slots, leases) is kept by `Scopes` and handed in (R13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from syncd import drivers
from syncd.client import Auth, Chaos, PartnerTransport, Patience, Secrets, Session
from syncd.client import build as build_auth
from syncd.clock import Clock
from syncd.config import IntegrationConfig, PartnerConfig, ResourceConfig, TierConfig
from syncd.config.elsewhere import strays, told
from syncd.errors import ConfigError
from syncd.kit import Driver, Resource
from syncd.limits import BreakerPolicy, Gate, TierSpec
from syncd.limits.backoff import RetryBudget
from syncd.model import Lane
from syncd.ports import CredentialKeeper
from syncd.secrets import Ref, Secret, Vault, fingerprint
from syncd.store import Guard, Store
from syncd.sync.account import Account
from syncd.sync.backfilling import Backfilling
from syncd.sync.coalescing import Coalescing
from syncd.sync.depot import Depot
from syncd.sync.events import Events
from syncd.sync.health import Health
from syncd.sync.inflight import Inflight
from syncd.sync.keys import KeptUp, Keys
from syncd.sync.ownership import Ownership
from syncd.sync.plan import WEBHOOKS, ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.pushes import Pushes
from syncd.sync.renormalizing import Renormalizing
from syncd.sync.resource_watch import Policy
from syncd.sync.rollout import Rollout, principal
from syncd.sync.rotating import Rotation
from syncd.sync.runner import Runner
from syncd.sync.schedule import Schedule
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.scope import file_of
from syncd.sync.shadow import Trial
from syncd.sync.silence import Silence
from syncd.sync.target import Target
from syncd.sync.turns import Turns
from syncd.sync.watching import Watching

log = structlog.get_logger()

DEFAULT_EVERY_SECONDS = 900.0
MOST_JITTER_SECONDS = 30.0
MOST_BACKUP_JITTER_SECONDS = 600.0
GOOD_NEWS = frozenset({"limit_relaxed", "breaker_closed", "breaker_released"})
"""What gates tell that is no warning: each ends what a warning had begun."""


@dataclass(slots=True)
class ScopeState:
    """What a scope keeps while configurations come and go."""

    gate: Gate
    ownership: Ownership
    _ended: bool = False

    async def keep(self) -> None:
        """Hold the lease until ended."""
        if not self._ended:
            await self.ownership.keep()

    async def end(self) -> None:
        """After the last call: remember the slots as they are, let another instance have the scope.

        Raises StoreError when that could not be written; the lease is kept up no longer all the same, and runs out.
        """
        self._ended = True
        try:
            if self.ownership.held:
                await self.gate.persist(clean=True)
        finally:
            try:
                await self.ownership.release()
            finally:
                self.gate.close()


class Scopes:
    """The gates and leases of this process, by scope name."""

    def __init__(self, store: Store, owner: str, clock: Clock, begun: Callable[[ScopeState], None]) -> None:
        """`begun` is told of each new scope, to keep its lease."""
        self._store = store
        self._owner = owner
        self._clock = clock
        self._begun = begun
        self.known: dict[str, ScopeState] = {}

    def get(self, name: str, settings: GateSettings) -> ScopeState:
        """The living scope, or a new one with these numbers. New numbers for a living one wait for `adopt`."""
        state = self.known.get(name)
        if state is None:
            gate = Gate(
                name,
                settings.tiers,
                clock=self._clock,
                keeper=self._store.limit_state,
                notify=self._told(name),
                **settings.rest(),
            )
            ownership = Ownership(name, self._owner, self._store, self._clock, taken=gate.open)
            state = self.known[name] = ScopeState(gate, ownership)
            self._begun(state)
        return state

    def drop_unused(self, used: set[str]) -> list[ScopeState]:
        """Forget scopes no configuration names any more; they are returned to be ended."""
        return [self.known.pop(name) for name in list(self.known) if name not in used]

    def _told(self, scope: str) -> Callable[..., None]:
        def notify(event: str, **facts: Any) -> None:
            shown = {name: fact.isoformat() if isinstance(fact, datetime) else fact for name, fact in facts.items()}
            say = log.info if event in GOOD_NEWS else log.warning
            more = {"file": file_of(scope)} if "yaml" in facts else {}
            say(event, **{"scope": scope, **shown, **more})

        return notify


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The numbers of one gate."""

    tiers: tuple[TierSpec, ...]
    concurrency: int | None
    share: float
    lanes: Mapping[Lane, float] | None
    breaker: BreakerPolicy
    members: Mapping[str, float]
    deadline_seconds: float = 30.0
    """How long a call may take, so how long one of a killed process may keep its partner busy."""

    def rest(self) -> dict[str, Any]:
        return {
            "concurrency": self.concurrency,
            "share": self.share,
            "lanes": self.lanes,
            "breaker": self.breaker,
            "members": self.members,
            "deadline_seconds": self.deadline_seconds,
        }


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
    ) -> None:
        self._store = store
        self._vault = vault
        self._scopes = scopes
        self._clock = clock
        self._moved = moved
        self._health: dict[str, Health] = {}
        self._coalescing: dict[str, Coalescing] = {}
        self._inflight = Inflight()
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
            attempt=lambda read, keeper: session(auth(read, keeper)),
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


def resource_plans(driver: Driver, partner: PartnerConfig, name: str) -> dict[str, ResourcePlan]:
    """Every resource the integration syncs: the driver's defaults with the files' settings laid over them."""
    resources = driver.resources(partner.options_for(name))
    plans: dict[str, ResourcePlan] = {}
    for resource in resources.values():
        settings = partner.resource(name, resource.name)
        if not (resource.enabled if settings.enabled is None else settings.enabled):
            continue
        plans[resource.name] = resource_plan(
            resource,
            settings,
            partner.integrations[name].adapters,
            shadow=partner.integrations[name].shadow,
            unfed=no_webhooks(driver, partner, name),
        )
    for plan in list(plans.values()):
        if plan.resource.parent is not None and plan.resource.parent not in plans:
            raise ConfigError(
                f"{name}: resource {plan.name} is listed below {plan.resource.parent}, which is switched off",
                hint=f"enable {plan.resource.parent}, or switch {plan.name} off too",
            )
    return plans


def no_webhooks(driver: Driver, partner: PartnerConfig, name: str) -> str:
    """Why no delivery can tell of this integration's records; empty: one can."""
    if driver.spec.webhooks is None:
        return "its driver knows no webhooks"
    if partner.integrations[name].webhook is None and driver.subscriptions(partner.options_for(name)) is None:
        return "the integration has no webhook section"
    return ""  # or none that is known of: a subscription made by `webhook register` needs no line in the file


def resource_plan(
    resource: Resource,
    settings: ResourceConfig,
    adapters: str | Mapping[str, float],
    *,
    shadow: str | None = None,
    unfed: str = "",
) -> ResourcePlan:
    """One resource's settings in force. `adapters`: for how many percent of the records each; `unfed`: why webhooks cannot
    tell of it, if they cannot."""
    adapters = {adapters: 100.0} if isinstance(adapters, str) else adapters
    adapter = principal(adapters)
    own = {"v1", *resource.adapters}
    rollout = Rollout.of(adapters) if len(own & set(adapters)) > 1 else None
    told = settings.strategy or resource.strategy
    reads = resource.reads if settings.strategy in (None, WEBHOOKS) or resource.queue is not None else settings.strategy
    strategy = Strategy.CHILDREN if resource.parent is not None else Strategy(reads)
    by_webhooks = told == WEBHOOKS and strategy is not Strategy.CHILDREN
    by_default = by_webhooks and settings.strategy is None
    every = settings.every or (None if settings.cron else resource.every or resource.ttl or DEFAULT_EVERY_SECONDS)
    if strategy is Strategy.CHILDREN and settings.every is None and settings.cron is None:
        # All of it below every parent is dear: as often as the driver says, unless the file says how often.
        own_every = None if "full_every" in settings.model_fields_set else resource.every or resource.ttl
        every = own_every or settings.full_every
    jitter = settings.jitter
    if jitter is None:
        jitter = min((every or DEFAULT_EVERY_SECONDS) / 10, MOST_JITTER_SECONDS)
    if settings.page_size is not None:
        resource = resource.model_copy(update={"page_size": settings.page_size})
    if settings.strategy == "full" and resource.since is not None:
        resource = resource.model_copy(update={"since": None, "strategy": "full"})
    return ResourcePlan(
        resource=resource,
        strategy=strategy,
        schedule=Schedule(every_seconds=None if settings.cron else every, cron=settings.cron, jitter_seconds=jitter),
        full_every_seconds=settings.full_every,
        overlap_seconds=resource.overlap_seconds if settings.overlap is None else settings.overlap,
        history=settings.history,
        guard=Guard(settings.guard.share, settings.guard.records),
        adapter=adapter,
        rollout=rollout,
        shadow=shadow if shadow in own and shadow != adapter else None,
        schema=Policy(settings.schema_policy),
        rejects_share=settings.rejects.share,
        rejects_least=settings.rejects.records,
        expires_seconds=settings.expires,
        backup=None
        if unfed or not by_webhooks
        else Schedule(
            every_seconds=settings.backup_every,
            jitter_seconds=min(settings.backup_every / 10, MOST_BACKUP_JITTER_SECONDS),
        ),
        by_default=by_default and not unfed,
        unfed=unfed if by_webhooks and not by_default else "",
    )


def gate_settings(driver: Driver, partner: PartnerConfig, members: list[str]) -> GateSettings:
    """The driver's limits with the file's laid over them: same window and budget replaces, anything else is added."""
    options = partner.options_for(members[0])
    limits, stated = driver.limits(options), partner.limits
    share = limits.share
    if stated is not None and stated.share is not None:
        share = stated.share
    auth = driver.auth(options)
    tiers = [tier.spec() for tier in limits.tiers]
    # A limit of the token endpoint counts token requests alone, and all of it is used, since each one is rare.
    tiers += [replace(tier.spec(), budget="token", share=tier.share or 1.0) for tier in auth.tiers]
    for tier in stated.tiers if stated is not None else ():
        own = tier_spec(tier)
        known = next((known for known in tiers if _counts(known) == _counts(own)), own)
        own = replace(own, stated=known.stated, after=known.after)
        tiers = [known for known in tiers if _counts(known) != _counts(own)] + [own]
    breaker = stated.breaker if stated is not None and "breaker" in stated.model_fields_set else limits.breaker
    lanes = dict(stated.lanes) if stated is not None and stated.lanes else dict(limits.lanes)
    return GateSettings(
        tiers=tuple(tiers),
        concurrency=(stated.concurrency if stated is not None else None) or limits.concurrency,
        share=share,
        lanes={Lane[name.upper()]: part for name, part in lanes.items()} or None,
        breaker=BreakerPolicy(
            breaker.failures,
            breaker.cooldown,
            ratio=breaker.ratio,
            calls=breaker.calls,
            longest_seconds=breaker.longest_cooldown,
        ),
        members=dict.fromkeys(members, 1.0),
        deadline_seconds=partner.deadline_seconds,
    )


def tier_spec(tier: TierConfig) -> TierSpec:
    """A limit as a partner's file writes it, in the gate's words."""
    return TierSpec(
        limit=tier.rate.limit,
        window_seconds=tier.rate.window_seconds,
        kind=tier.kind,
        burst=tier.burst,
        budget=tier.budget or "",
        weighted=tier.weighted,
        share=tier.share,
    )


def _counts(tier: TierSpec) -> tuple[float, str, bool]:
    """What makes two limits the same one: window, budget, and whether points are counted."""
    return tier.window_seconds, tier.budget, tier.weighted
