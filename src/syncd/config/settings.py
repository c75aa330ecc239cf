"""The base of all configuration sections, and the words in which they refuse a value."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from syncd.config.units import describe

DAY = 86_400.0


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
