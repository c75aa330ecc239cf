"""What a partner's file may say of how much and when it may be called."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from syncd.config.settings import Empty, Listed, Positive, Settings, Share, mistake
from syncd.config.units import Duration, RateText


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
