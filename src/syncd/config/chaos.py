"""What `chaos:` under an integration may say: faults put between us and its partner on purpose, to see that all holds.

Refused unless the main file says `mode: development`, so that a file that was copied never does harm.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from syncd.config.settings import Settings, mistake
from syncd.config.units import Duration

Fault = Literal["timeout", "error", "limited", "reset", "slow", "truncated"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
LONGEST_PAUSE_SECONDS = 60.0
MODE_HELP = "mode: development in syncd.yaml, on a machine nobody relies on; or take chaos out"


class ChaosConfig(Settings):
    """Faults on purpose, the same ones each time for one seed. Refused unless the main file says `mode: development`."""

    rate: Annotated[float, Field(gt=0, le=0.9)] = Field(0.1, description="Share of the calls that meet a fault.")
    seed: int = Field(1, ge=0, description="The same seed gives the same faults for the same calls.")
    faults: Annotated[tuple[Fault, ...], Field(strict=False)] = Field(
        FAULTS,
        description="Which: `timeout` (sent, no answer), `error` (5xx), `limited` (429: to wait seconds, or until a date), "
        "`reset` (the connection breaks, before or after the call was done), `slow` and `truncated` bodies.",
    )
    routes: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (),
        description="Only calls of these routes, `*` for anything: `/boats*`, `POST /things/{id}`. Default: all but requests "
        "for tokens, which are met only where one of these names them (`token`).",
        examples=[["/boats*"]],
    )
    pause: Duration = Field(1.0, description="How long what waits is made to wait.")

    @field_validator("faults")
    @classmethod
    def _some(cls, value: tuple[Fault, ...]) -> tuple[Fault, ...]:
        if not value:
            raise mistake("no faults: then there is no chaos", f"some of {', '.join(FAULTS)}; or leave it out for all")
        return value

    @field_validator("pause")
    @classmethod
    def _short(cls, value: float) -> float:
        if value > LONGEST_PAUSE_SECONDS:
            raise mistake(f"at most {LONGEST_PAUSE_SECONDS:g}s")
        return value
