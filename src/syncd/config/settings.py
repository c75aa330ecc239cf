"""The base of all configuration sections, the kinds of value they share, and the words in which they refuse one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from syncd.config.units import describe

DAY = 86_400.0
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
NAME_HELP = "lower-case letters, digits, _ and -, at most 63, beginning with a letter or digit"


def mistake(message: str, help: str = "", *, at: str = "") -> PydanticCustomError:
    """A sentence of our own, as pydantic wants to be told it. A section's validator says `at` which key it lies."""
    return PydanticCustomError("syncd", "{text}", {"text": message, "help": help, "at": at})


class Settings(BaseModel):
    """Base of all sections: frozen, strict, unknown keys refused; an empty section means its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: object) -> object:
        return {} if value is None else value


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise mistake(f"expected a path, found {describe(value)}")
    return Path(value).expanduser()


PathText = Annotated[Path, BeforeValidator(_path), Field(strict=False), WithJsonSchema({"type": "string"})]


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _or_none_listed(value: object) -> object:
    return [] if value is None else value


Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Empty = BeforeValidator(_or_empty)
Listed = BeforeValidator(_or_none_listed)
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
