"""What a partner allows, described: the keys of `limits:`, its tiers and its breaker. Who keeps to it: `limits/`."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from syncd.config.units import Duration, Rate, RateText
from syncd.kit.shapes import Model, OptionValue
from syncd.limits.dialects import LimitDialect
from syncd.limits.tiers import TierSpec
from syncd.limits.waits import WaitDialect


class Tier(Model):
    """One rate the partner allows."""

    rate: RateText = Field(description="Calls in any window: 7/s, 300/120s.")
    kind: Literal["sliding", "fixed", "bucket"] = Field("sliding", description="How the partner counts.")
    burst: float | None = Field(None, gt=0, description="Of a bucket: calls it holds when full.")
    budget: str = Field(
        "",
        description="Which calls it counts: read, write, token, a method, a route (/customers), a budget's name. Empty: all.",
    )
    after: str = Field(
        "",
        description="A budget whose calls are counted too and do not wait for the window: it is a pause that follows them.",
    )
    share: float | None = Field(None, gt=0, le=1, description="How much of it we use; default: that of all limits.")
    weighted: bool = Field(False, description="It counts the partner's points, not calls.")
    option: str | None = Field(
        None,
        description="The option that says how many calls, in the window of `rate`; where it says 0, it does not hold.",
    )
    when: dict[str, dict[OptionValue, RateText]] = Field(
        default_factory=dict, description="Option to its value to the rate then, such as {mode: {live: 100/s}}."
    )

    def spec(self) -> TierSpec:
        """As the gate takes it."""
        rate: Rate = self.rate
        return TierSpec(
            limit=rate.limit,
            window_seconds=rate.window_seconds,
            kind=self.kind,
            burst=self.burst,
            budget=self.budget,
            weighted=self.weighted,
            share=self.share,
            stated=rate.limit,
            after=self.after,
        )


TierText = Annotated[
    Tier, BeforeValidator(lambda v: {"rate": v} if isinstance(v, str) else v, json_schema_input_type=str | Tier)
]


class Breaker(Model):
    """When calls to a partner that is down stop for a while."""

    failures: int = Field(5, ge=1, description="Timeouts, refused connections or 5xx in a row that open it.")
    cooldown: Duration = Field(30.0, description="Time until one probe is let through.")
    longest_cooldown: Duration = Field(300.0, description="The time doubles with each failed probe, up to this.")
    ratio: float | None = Field(None, gt=0, le=1, description="Also opens when this share of the last `calls` failed.")
    calls: int = Field(20, ge=1, description="How many calls `ratio` looks back.")


class Limits(Model):
    """What the partner allows, as the driver's author believes it; a configuration may only tighten it."""

    tiers: tuple[TierText, ...] = Field(
        (), description="Rates such as 7/s, 400/min, or {rate: 60/min, kind: fixed, …}."
    )
    concurrency: int | None = Field(None, ge=1, description="Calls in flight at once.")
    share: float = Field(0.7, gt=0, le=1, description="How much of each stated limit we use.")
    headers: str | dict[str, Any] | None = Field(
        None,
        description="Where answers tell of the limit, if not in the usual headers: their prefix, such as x-ratelimit; "
        "`none` where they tell nothing; or prefix, window, budget, millis and places of limit, remaining, used, reset.",
    )
    dialect: dict[str, Any] | None = Field(
        None,
        description="Where a refusal says when to come back, if unusual: headers, body, words (sentences), millis, "
        "and buffer_seconds, floor_seconds, cap_seconds, missing_seconds.",
    )
    cost: str | None = Field(None, description="Response header with what the call cost a weighted tier.")
    scope: Literal["account", "credential", "client", "partner"] = Field(
        "account",
        description="What the partner counts. Integrations that have no `scope:` of their own spend from one book where they "
        "have the same `credential`, or in any case (`client`: several keys may be of one; `partner`: all are one).",
    )
    lanes: dict[Literal["high", "normal", "low"], float] = Field(default_factory=dict, description="Reserved shares.")
    breaker: Breaker = Field(Breaker(), description="When calls stop for a while.")
    reason: str = Field("", description="Why these numbers, where they differ from the stated ones.")

    @field_validator("dialect")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        WaitDialect.parse(value)
        return value

    @field_validator("headers")
    @classmethod
    def _legible(cls, value: Any) -> Any:
        LimitDialect.parse(value)
        return value

    @cached_property
    def waits(self) -> WaitDialect:
        """The dialect, ready to use."""
        return WaitDialect.parse(self.dialect)

    @cached_property
    def told(self) -> LimitDialect:
        """How answers tell of the limit, ready to use."""
        return LimitDialect.parse(self.headers)
