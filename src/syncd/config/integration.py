"""What a partner's file may say of one account."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from syncd.config.chaos import ChaosConfig
from syncd.config.maintenance import MaintenanceConfig
from syncd.config.resource import ResourceConfig
from syncd.config.settings import Empty, Listed, Name, Positive, Settings, mistake
from syncd.config.units import BaseUrl, Duration, Origin, Silence, Size
from syncd.secrets import Ref


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
