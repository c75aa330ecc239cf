"""What a partner's file may say of one kind of record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from syncd.config.settings import DAY, Positive, Settings, mistake
from syncd.config.units import Duration
from syncd.model import History


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
