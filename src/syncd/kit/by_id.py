"""How records are read by their ids, described: one with a call of its own, or several with one call."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.kit.placeholders import check_placeholders
from syncd.kit.shapes import Model, Path


class One(Model):
    """How one record is read by its id."""

    path: str = Field(description="With the placeholder {id}.")
    records: Path = Field("", description="Where the record sits in the answer; empty: the answer is the record.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    empty_is_gone: bool = Field(
        False, description="It answers with a list: an empty one means that there is no such record."
    )

    @model_validator(mode="after")
    def _has_id(self) -> Self:
        check_placeholders(self.path, {"id"})
        if "{id" not in self.path and "{id" not in str(self.params):
            raise ValueError("the path needs the placeholder {id}")
        return self


class Many(Model):
    """How several records are read by their ids in one call."""

    param: str = Field(description="Parameter that takes the ids; in a body a dotted path.")
    max: int = Field(ge=1, description="Ids a call may name.")
    join: str = Field(",", description="What stands between ids in one parameter; `repeat` repeats the parameter.")
    place: Literal["query", "body"] = Field("query", alias="in", description="In a body the ids are a JSON list.")
    path: str | None = Field(None, description="The resource's own path if left out.")
    records: Path | None = Field(None, description="Where the list sits; as in the listing if left out.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further query parameters.")


OnePath = Annotated[
    One, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v, json_schema_input_type=str | One)
]
