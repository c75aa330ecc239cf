"""What `config/partners/<partner>.yaml` may say. The file's name is the partner's name.

What a driver alone understands (`options`, `rest`) stays a mapping until that driver checks it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from syncd.config.chaos import ChaosConfig
from syncd.config.maintenance import MaintenanceConfig
from syncd.config.settings import DAY, Settings, mistake
from syncd.config.units import BaseUrl, Duration, Origin, RateText, Silence, Size
from syncd.model import History
from syncd.secrets import Ref

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
NAME_HELP = "lower-case letters, digits, _ and -, at most 63, beginning with a letter or digit"


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _or_none_listed(value: object) -> object:
    return [] if value is None else value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Empty = BeforeValidator(_or_empty)
Listed = BeforeValidator(_or_none_listed)
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class GuardConfig(Settings):
    """How many deletions one pass may believe by itself; more are held until `syncd reconcile --confirm` (R9)."""

    share: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="Of the live records, at most this share.")
    records: Annotated[int, Field(ge=0)] = Field(500, description="And at most so many; the lesser of the two counts.")


class RejectsConfig(Settings):
    """How many records may fail validation before their resource is called degraded."""

    share: Annotated[float, Field(ge=0, le=1)] = Field(0.05, description="Of the records of a run, or of all, so many.")
    records: Positive = Field(10, description="And at least so many; both must be reached.")


class ResourceConfig(Settings):
    """One kind of record. What is left out is the driver's own choice."""

    enabled: bool | None = Field(
        None,
        description="false: this resource is not synced; true: it is, even where its driver leaves it off. Default: the "
        "driver's; no other key switches one on.",
    )
    every: Duration | None = Field(None, description="Time from one run to the next. Default: the driver's.")
    cron: str | None = Field(
        None, description="Five-field cron expression, UTC, instead of `every`.", examples=["*/15 * * * *"]
    )
    jitter: Duration | None = Field(
        None, description="Runs are spread over up to this time. Default: a tenth of the interval, at most 30s."
    )
    strategy: Literal["full", "incremental", "feed", "webhooks"] | None = Field(
        None,
        description="How it is kept fresh: whole listings, changes since, the partner's event log, or webhooks with a "
        "seldom backup.",
    )
    backup_every: Duration = Field(
        DAY,
        description="With `strategy: webhooks`, instead of `every`: time between backup runs while deliveries come. Until "
        "the first one, and where the integration has no `webhook`, `every` holds.",
    )
    full_every: Duration = Field(
        DAY, description="Time between complete passes, which find deletions and what incremental runs missed."
    )
    overlap: Duration | None = Field(
        None, description="How far behind the watermark an incremental run reads again. Default: the driver's."
    )
    history: Annotated[History, Field(strict=False)] = Field(
        History.CHANGES, description="What the event log keeps: nothing, updates and deletes, or also first sights."
    )
    page_size: Positive | None = Field(None, description="Records a page, where the partner lets us choose.")
    guard: GuardConfig = Field(default_factory=GuardConfig, description="When deletions wait for a person.")
    schema_policy: Literal["evolve", "warn", "freeze"] = Field(
        "warn",
        alias="schema",
        description="What a change in the shape of its records does: it is learned, or told until it is accepted, or records "
        "that differ are kept out until then.",
    )
    rejects: RejectsConfig = Field(
        default_factory=RejectsConfig, description="When records that fail validation degrade it."
    )
    expires: Duration | None = Field(
        None,
        description="Derived work (children to list, records to re-read) that waited longer is dropped and counted; the next "
        "complete pass brings what it would have. Default: it is kept until done.",
    )

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from cronsim import CronSim, CronSimError  # only files that use cron pay for it

        try:
            CronSim(value, datetime(2026, 1, 1, tzinfo=UTC))  # from any moment: only the expression is of interest
        except CronSimError as error:
            raise mistake(
                f"{value!r} is not a cron expression: {error}", "minute hour day month weekday: */15 * * * *"
            ) from None
        return value

    @field_validator("every", "full_every", "backup_every", "expires")
    @classmethod
    def _positive(cls, value: float | None) -> float | None:
        if value is not None and value < 1:
            raise mistake("must be at least 1s")
        return value

    @model_validator(mode="after")
    def _check(self) -> ResourceConfig:
        if self.every is not None and self.cron is not None:
            raise mistake("every and cron exclude each other", "keep one of them", at="cron")
        return self

    def over(self, defaults: ResourceConfig) -> ResourceConfig:
        """These settings where they were written down, the defaults elsewhere."""
        stated = {name: getattr(self, name) for name in self.model_fields_set}
        if "every" in stated:
            stated.setdefault("cron", None)
        if "cron" in stated:
            stated.setdefault("every", None)
        return defaults.model_copy(update=stated)


class TierConfig(Settings):
    """One limit; a plain `80/min` in a list of tiers is a tier with nothing but a rate."""

    rate: RateText = Field(description="Calls in any window: `80/min`, `300/120s`.")
    kind: Literal["sliding", "fixed", "bucket"] = Field(
        "sliding", description="How the partner counts: any window, windows that start anew, or a bucket that refills."
    )
    burst: Positive | None = Field(
        None, description="Of a bucket: calls it holds when full. Default: the rate's limit."
    )
    budget: str | None = Field(
        None,
        description="Which calls it counts: `read`, `write`, `token`, a method (`POST`), a route (`/customers/{id}`), or a "
        "name that resources have as their budget. Default: all.",
    )
    share: Share = Field(1.0, description="Share of the rate to use. A rate written here is ours already, hence all.")
    weighted: bool = Field(False, description="true: it counts the partner's points (Attio's scores), not calls.")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [cls.model_fields["rate"].metadata[0].schema, handler.resolve_ref_schema(handler(schema))]}

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            return {"rate": value}
        if not isinstance(value, (dict, TierConfig)):
            raise mistake("expected a rate", "7/s, 80/min, 300/120s, or {rate: 7/s, kind: bucket, burst: 20}")
        return value

    @model_validator(mode="after")
    def _check(self) -> TierConfig:
        if self.burst is not None and self.kind != "bucket":
            raise mistake("burst belongs to kind: bucket", at="burst")
        return self


class BreakerConfig(Settings):
    """When calls to a partner that is down stop for a while."""

    failures: Positive = Field(5, description="Timeouts, refused connections or 5xx in a row that open it.")
    cooldown: Duration = Field(30.0, description="Time until one probe is let through.")
    longest_cooldown: Duration = Field(
        300.0, description="The time doubles with each probe that fails in a row, up to this."
    )
    ratio: Share | None = Field(
        None, description="Also opens when this share of the last `calls` failed. Default: only a row of failures does."
    )
    calls: Positive = Field(20, description="How many calls `ratio` looks back.")


class LimitsConfig(Settings):
    """Limits beside the driver's own: a tier of the same window and budget replaces the driver's, others are added."""

    tiers: Annotated[tuple[TierConfig, ...], Listed, Field(strict=False)] = Field(
        (), description="Limits that must all hold.", examples=[["7/s", "80/min"]]
    )
    concurrency: Positive | None = Field(None, description="Calls at the same time. Default: the driver's.")
    share: Share | None = Field(
        None, description="Share of the driver's stated limits to use. Default: the driver's, mostly 0.7."
    )
    lanes: Annotated[dict[Literal["high", "normal", "low"], Share], Empty] = Field(
        default_factory=dict,
        description="Share of the budget reserved for a lane, lent out while unused.",
        examples=[{"high": 0.2}],
    )
    breaker: BreakerConfig = Field(default_factory=BreakerConfig, description="When to stop calling for a while.")
    accept_risk: bool = Field(False, description="true: limits above those the driver knows are meant.")

    @field_validator("lanes")
    @classmethod
    def _lanes(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(value.values()) > 1:
            raise mistake("the lanes reserve more than the whole budget", "the shares together are at most 1")
        return value


class WebhookConfig(Settings):
    """Deliveries the partner sends us, at /webhooks/<partner>/<integration>."""

    secrets: Annotated[tuple[Ref, ...], Listed, Field(strict=False)] = Field(
        (),
        description="Signing secrets; during a rotation two are valid.",
        examples=[[{"file": "guesty/acme_webhook"}]],
    )
    tolerance: Duration | None = Field(
        None,
        description="How far a signed time may be from our clock. Default: the driver's, 5m.",
        examples=["5m"],
    )
    url: BaseUrl | None = Field(
        None,
        description="Where this partner reaches us, if not at /webhooks/<partner>/<integration> below `server.public_url`. "
        "What is registered, and what a signature of the address is checked against.",
    )
    per_second: Positive = Field(2_000, description="Deliveries a second; more are told to come later (429).")
    silence: Silence | None = Field(
        None,
        description="Without a delivery for so long, what they would have told is pulled, and it is said; `off`: never. "
        "Default: much longer than was usual in the last days, 15m at least and 1d at most.",
        examples=["2h", "off"],
    )
    rules: Annotated[dict[str, Any], Empty] = Field(
        default_factory=dict,
        description="Keys of the description's `webhooks` that are different for this account.",
        examples=[{"header": "X-Other-Signature"}],
    )


class MediaConfig(Settings):
    """Files of records (photos, documents, recordings), fetched in the lowest lane."""

    directory: str = Field(
        description="Where they go, by content: <directory>/<first two letters of the SHA-256>/<all of it>. Integrations may "
        "share one.",
        examples=["/var/lib/syncd/media"],
    )
    largest: Size = Field(64 * 1024 * 1024, description="Files above that are left out, with a dead letter.")

    @field_validator("directory")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise mistake("must be an absolute path", "the daemon's working directory is nobody's business")
        return value


class IntegrationConfig(Settings):
    """One account at the partner. Its name is unique over all files."""

    name: str = Field("", exclude=True, json_schema_extra={"hidden": True})
    enabled: bool = Field(
        True, description="The kill switch; SYNCD_INTEGRATION_<NAME>_ENABLED in the environment overrides it."
    )
    company: str = Field(
        "", max_length=200, description="Whose account it is, as people call it: stands in alerts. Default: its name."
    )
    base_url: BaseUrl | None = Field(None, description="Where its API is. Default: the partner's, then the driver's.")
    scope: Name | None = Field(
        None,
        description="Integrations naming the same scope share its limits. Default: one scope an integration, or one for "
        "those that the partner counts together, as far as the driver knows (the same credential, or client).",
    )
    credentials: Annotated[dict[str, Ref], Empty] = Field(
        default_factory=dict, description="References to its secrets, by the names the driver gives them."
    )
    remind_after: Silence | None = Field(
        None,
        description="A credential that is older is told of; `off`: never. Default: the partner's.",
        examples=["90d"],
    )
    webhook: WebhookConfig | None = Field(None, description="Deliveries the partner sends.")
    adapter: str | dict[str, Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None,
        description="Which version of the mapping to use, or which for how many percent of the records. Default: the "
        "driver's.",
        examples=["v2", {"v1": 90, "v2": 10}],
    )
    shadow: str | None = Field(
        None,
        description="A version that reads every record too, and touches none: `syncd adapters` tells what differs.",
    )
    options: Annotated[dict[str, Any], Empty] = Field(
        default_factory=dict, description="The driver's own settings, over the partner's."
    )
    resources: Annotated[dict[str, ResourceConfig], Empty] = Field(
        default_factory=dict, description="Settings by resource, over the partner's."
    )
    origins: Annotated[tuple[Origin, ...], Listed, Field(strict=False)] = Field(
        (), description="Further origins (https://host) that links in its answers may lead to."
    )
    media: MediaConfig | None = Field(None, description="Files of its records; left out: only their links are kept.")
    maintenance: Annotated[tuple[MaintenanceConfig, ...], Listed, Field(strict=False)] = Field(
        (), description="Times in which it is not called, beside the partner's. Its webhooks are taken."
    )
    accept_risk: bool = Field(False, description="true: warnings about this integration are known and meant.")
    chaos: ChaosConfig | None = Field(
        None,
        description="Faults on purpose, to see that all holds; refused unless the main file says `mode: development`.",
    )

    @field_validator("adapter")
    @classmethod
    def _shares(cls, value: str | dict[str, float] | None) -> str | dict[str, float] | None:
        if isinstance(value, dict) and abs(sum(value.values()) - 100) > 0.001:
            raise mistake(f"the percentages add up to {sum(value.values()):g}", "they are of all records: 90 and 10")
        return value

    @property
    def adapters(self) -> dict[str, float]:
        """The versions of the mapping in use, and the percentage of the records each reads."""
        return self.adapter if isinstance(self.adapter, dict) else {self.adapter or "v1": 100.0}


class ContractConfig(Settings):
    """Whether the partner still answers as its driver takes it: one cheap read of each resource, compared."""

    enabled: bool = Field(True, description="false: only `syncd contract` looks.")
    every: Duration = Field(DAY, description="Time between two looks, from a while after the start on.")
    spec: str | list[str] | None = Field(
        None,
        description="An OpenAPI document to compare its answers with too, or several, the newest last; a relative path "
        "begins beside the main file. Needs the extra `contract`.",
        examples=["specs/acme.json"],
    )

    @field_validator("every")
    @classmethod
    def _seldom(cls, value: float) -> float:
        if value < 60:
            raise mistake("must be at least 1m", "once a day is enough: 24h")
        return value

    @property
    def specs(self) -> tuple[str, ...]:
        """The documents, as they are named."""
        return () if not self.spec else (self.spec,) if isinstance(self.spec, str) else tuple(self.spec)


class PartnerConfig(Settings):
    """One partner's file."""

    name: str = Field("", exclude=True, json_schema_extra={"hidden": True})
    driver: str = Field(description="Which driver speaks to it.", min_length=1, examples=["guesty"])
    enabled: bool = Field(
        True, description="The kill switch for all its integrations; SYNCD_PARTNER_<NAME>_ENABLED overrides it."
    )
    base_url: BaseUrl | None = Field(None, description="Where its API is. Default: the driver's.")
    limits: LimitsConfig | None = Field(None, description="Limits beside the driver's own.")
    workers: int = Field(8, ge=1, le=256, description="Coroutines that its integrations share.")
    deadline_seconds: Duration = Field(
        30.0, alias="deadline", description="Total time of one call, all tries together."
    )
    response_bytes: Size = Field(
        32 * 1024 * 1024, alias="response_size", description="Largest answer accepted, after inflation."
    )
    remind_after: Silence | None = Field(
        None,
        description="A credential that is older is told of; `off`: never. Default: that of the main file.",
        examples=["90d"],
    )
    options: Annotated[dict[str, Any], Empty] = Field(
        default_factory=dict, description="The driver's own settings; its README lists them."
    )
    resources: Annotated[dict[str, ResourceConfig], Empty] = Field(
        default_factory=dict, description="Settings by resource, for all integrations below."
    )
    contract: ContractConfig = Field(
        default_factory=ContractConfig, description="Whether it still answers as its driver takes it."
    )
    maintenance: Annotated[tuple[MaintenanceConfig, ...], Listed, Field(strict=False)] = Field(
        (), description="Times in which none of its integrations is called. Webhooks are taken."
    )
    rest: dict[str, Any] | None = Field(
        None, description="With `driver: rest`, the whole description of the partner's API (docs/writing-a-driver.md)."
    )
    integrations: Annotated[dict[Name, IntegrationConfig], Empty] = Field(
        default_factory=dict, description="The accounts to sync, by name."
    )

    _counted_by: str = PrivateAttr("account")

    @property
    def counted_by(self) -> str:
        """What the partner counts calls by, as far as its driver knows."""
        return self._counted_by

    def counted(self, by: str) -> Self:
        """The same, of a partner that counts so."""
        same = self.model_copy()
        same._counted_by = by
        return same

    def is_enabled(self, integration: str) -> bool:
        """Neither the partner nor this integration is switched off."""
        return self.enabled and self.integrations[integration].enabled

    def maintenance_of(self, integration: str) -> tuple[MaintenanceConfig, ...]:
        """The partner's windows and its own."""
        return (*self.maintenance, *self.integrations[integration].maintenance)

    def is_addressed_beside(self, integration: str) -> bool:
        """Does another integration in use have a webhook section? One address may bring several accounts' deliveries."""
        return any(
            other != integration and self.is_enabled(other) and found.webhook is not None
            for other, found in self.integrations.items()
        )

    def resource(self, integration: str, resource: str) -> ResourceConfig:
        """The settings in force: the integration's over the partner's over the defaults."""
        found = self.resources.get(resource, ResourceConfig())
        own = self.integrations[integration].resources.get(resource)
        return found if own is None else own.over(found)

    def options_for(self, integration: str) -> dict[str, Any]:
        """The driver's options in force for one integration."""
        return {**self.options, **self.integrations[integration].options}

    def rest_for(self, integration: str) -> dict[str, Any] | None:
        """The description with what an account's `webhook.rules` say in place of its own."""
        hook = self.integrations[integration].webhook
        if self.rest is None or hook is None or not hook.rules:
            return self.rest
        stated = self.rest.get("webhooks")
        return {**self.rest, "webhooks": {**(stated if isinstance(stated, dict) else {}), **hook.rules}}

    def base_url_for(self, integration: str) -> str | None:
        """Where its API is; None: where the driver says."""
        return self.integrations[integration].base_url or self.base_url

    def scope_for(self, integration: str) -> str:
        """The name of the limit scope it spends from, unique over all partners.

        What names none shares one with those that the partner counts with it: theirs, or the first one's name.
        """
        mine = self.integrations[integration]
        if mine.scope is not None:
            return f"{self.name}/{mine.scope}"
        together = self._counted_with(integration)
        stated = [scope for name in together if (scope := self.integrations[name].scope) is not None]
        return f"{self.name}/{stated[0] if stated else together[0]}"

    def _counted_with(self, integration: str) -> list[str]:
        """All that the partner may count together with it, itself among them, in the order of the file."""
        if self.counted_by in {"client", "partner"}:
            return [name for name, one in self.integrations.items() if one.scope is None]
        together = {integration}
        while self.counted_by == "credential":
            refs = {ref for name in together for ref in self.integrations[name].credentials.values()}
            more = {name for name, one in self.integrations.items() if refs & set(one.credentials.values())}
            if more <= together:
                break
            together |= more
        return [name for name in self.integrations if name in together]
