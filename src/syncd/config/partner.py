"""What `config/partners/<partner>.yaml` may say. The file's name is the partner's name.

What a driver alone understands (`options`, `rest`) stays a mapping until that driver checks it.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, field_validator

from syncd.config.integration import IntegrationConfig
from syncd.config.limits import LimitsConfig
from syncd.config.maintenance import MaintenanceConfig
from syncd.config.resource import ResourceConfig
from syncd.config.settings import DAY, Empty, Listed, Name, Settings, mistake
from syncd.config.units import BaseUrl, Duration, Silence, Size


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
