"""Small types the specification models share: paths, one mapped field, one moment."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from syncd.kit import coerce
from syncd.kit.paths import getter, only_key

HEADER: Final = "header:"
"""A path that begins with it names a response header instead of a place in the body."""

BODY: Final = "@body"
ROUTE: Final = "@route"
"""Parts of a webhook's delivery that are no place in its JSON: all of its bytes, the last part of our URL."""


class Model(BaseModel):
    """Base of all: unknown keys are errors, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _check_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {value!r} ({error})") from None
    return value


def _check_path(value: str) -> str:
    if not value.startswith(HEADER):
        getter(value)
    return value


def _no_header(value: str) -> str:
    if value.startswith(HEADER):
        raise ValueError("a header belongs to the whole answer; here a path into one record is needed")
    return value


def places(value: str) -> list[str]:
    """The places one part of a delivery may stand at. JMESPath knows `||` too, so a path alone stays whole."""
    several = [one.strip() for one in value.split("||")]
    special = [one for one in several if one in {BODY, ROUTE} or one.startswith(HEADER)]
    return several if special else [value]


def _check_part(value: str) -> str:
    for place in places(value):
        if place not in {BODY, ROUTE}:
            _check_path(place)
    return value


Path = Annotated[str, AfterValidator(_check_path)]
"""A path into the answer (`paging.next`), or `header:NAME`."""
PartPath = Annotated[str, AfterValidator(_check_part)]
"""A path into a delivery, `header:NAME`, `@body` or `@route`; or several with `||`: the first that is there counts."""
RecordPath = Annotated[Path, AfterValidator(_no_header)]
"""A path into one raw record."""

Pattern = Annotated[str, AfterValidator(_check_pattern)]
"""A regular expression, searched in any case."""
FieldName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
"""A normalized field's name: it becomes that of a column."""

As = Literal[
    "text", "integer", "number", "decimal", "boolean", "timestamp", "epoch", "epoch_ms", "mail_date", "date", "json",
    "list", "object", "values", "map",
]  # fmt: skip
MomentAs = Literal["timestamp", "epoch", "epoch_ms", "mail_date"]


class MappedField(Model):
    """One normalized field: where it comes from and what it must be."""

    source: RecordPath = Field("", alias="from", description="Path into the raw record; left out: the field's name.")
    kind: As | None = Field(
        None,
        alias="as",
        description="What it must be; left out: stored as it comes. `values` is a list, or an object's values; `map` an "
        "object, or an empty list in its place.",
    )
    default: Any = Field(None, description="Taken where the partner sends null or nothing.")
    required: bool = Field(False, description="Null or nothing makes the record a reject.")
    zone: str | None = Field(None, description="Zone of moments sent without an offset, such as UTC or Europe/Lisbon.")
    open: bool = Field(
        False,
        description="An object whose names are anybody's, as metadata: the watch of shapes does not look into it. Only at "
        "the top of a record: `from` is one plain key then.",
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            coerce.zone_named(value)
        return value

    @model_validator(mode="after")
    def _kind_fits(self) -> MappedField:
        if self.open and self.kind not in {"object", "map"}:
            raise ValueError("`open` only goes with `as: object` or `as: map`")
        if self.open and self.source and only_key(self.source) is None:
            raise ValueError("`open` is of one plain key at the top of a record, and `from` is more than that")
        if self.zone is not None and self.kind not in {"timestamp", "mail_date"}:
            raise ValueError("`zone` only goes with `as: timestamp` or `as: mail_date`")
        return self


class Stamp(Model):
    """Where a moment sits in the raw record and how it is written."""

    source: RecordPath = Field(alias="from", description="Path into the raw record.")
    kind: MomentAs = Field("timestamp", alias="as", description="How it is written.")
    zone: str | None = Field(None, description="Zone of moments sent without an offset.")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            coerce.zone_named(value)
        return value


class Deleted(Model):
    """How a raw record says that it is gone."""

    source: RecordPath = Field(alias="from", description="Path into the raw record.")
    values: tuple[str | int | bool, ...] = Field((), description="Values that mean gone; none given: any true value.")
    bare: bool = Field(
        False, description="Read by its id, such a one has nothing but that: what was stored of it stays as it was."
    )


def said(value: Any) -> str:
    """An option's value as a key of `when` writes it: true and false as YAML does, a number by its digits."""
    return str(value).lower() if isinstance(value, bool) else str(value)


OptionValue = Annotated[str, BeforeValidator(said)]
"""A value of an option, as a key."""


def from_text(value: Any) -> Any:
    """The short form of a mapping that needs no more than its path."""
    return {"from": value} if isinstance(value, str) else value


FieldMap = dict[str, Annotated[MappedField, BeforeValidator(from_text, json_schema_input_type=str | MappedField)]]
StampPath = Annotated[Stamp, BeforeValidator(from_text, json_schema_input_type=str | Stamp)]
DeletedPath = Annotated[Deleted, BeforeValidator(from_text, json_schema_input_type=str | Deleted)]
