"""How a resource is listed, described: its pages, what changed since a moment, the parts it is asked for, what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.config.units import Duration
from syncd.kit.shapes import FieldName, Model, Path, RecordPath


class Pages(Model):
    """How a listing goes on to its next page."""

    kind: Literal["none", "cursor", "offset", "page", "next", "link"] = Field(
        "none", description="none: one page is all; next: a URL in the answer; link: the Link header."
    )
    place: Literal["query", "body"] = Field("query", alias="in", description="Where its parameters go.")
    param: str | None = Field(None, description="Parameter for cursor, offset or page number; in a body a dotted path.")
    next: Path | None = Field(None, description="Where the answer has the next cursor (cursor) or the next URL (next).")
    last: RecordPath | None = Field(None, description="The next cursor is this of the page's last record.")
    more: Path | None = Field(None, description="Where the answer says whether there is more.")
    size: str | None = Field(None, description="Parameter for the page size.")
    first: int | None = Field(None, ge=0, description="First page number (default 1) or offset (default 0).")
    end: Literal["short", "empty"] | None = Field(
        None,
        description="What ends it where nothing else does: a page shorter than asked for (default) or an empty one.",
    )
    total_pages: Path | None = Field(None, description="Where the answer has the number of pages.")
    offset: str | None = Field(
        None,
        description="cursor: parameter of an offset, for older answers that have one in the cursor's place.",
    )
    next_offset: Path | None = Field(
        None,
        description="Where such an answer has it; where one tells of neither, a full page goes on after its records.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind in {"cursor", "offset", "page"} and self.param is None:
            raise ValueError(f"pages of kind {self.kind} need `param`: the parameter's name")
        if self.kind == "cursor" and (self.next is None) == (self.last is None):
            raise ValueError("pages of kind cursor need one of `next` (path in the answer) and `last` (in a record)")
        if self.kind == "next" and self.next is None:
            raise ValueError("pages of kind next need `next`: the path of the next URL in the answer")
        if self.kind in {"offset", "page"} and (self.next or self.last):
            raise ValueError(f"`next` and `last` do not go with pages of kind {self.kind}")
        if (self.offset is None) != (self.next_offset is None) or (self.offset and self.kind != "cursor"):
            raise ValueError("`offset` and `next_offset` go together, with pages of kind cursor")
        if self.total_pages is not None and self.kind != "page":
            raise ValueError("`total_pages` only goes with pages of kind page")
        return self

    @property
    def start(self) -> int:
        """Number of the first page, or the first offset."""
        return self.first if self.first is not None else int(self.kind == "page")


class Then(Model):
    """What is asked for after that: changes of what such a filter does not show."""

    param: str = Field(description="Query parameter that takes the place of that of `since`.")
    format: Literal["iso", "iso_seconds", "iso_ns", "plain", "epoch", "epoch_ms", "date"] = Field(
        "date", description="As in `since`."
    )
    days: int = Field(0, ge=0, description="So many days before the moment of `since`.")
    option: str | None = Field(None, description="The option that says how many, where an account may.")


class Since(Model):
    """How a listing is asked for what changed since a moment, and where the partner can, until another."""

    param: str | None = Field(None, description="Query parameter, such as updated_after or created[gte].")
    body: str | None = Field(None, description="Dotted path in the JSON body instead, such as filter.created_at.$gte.")
    format: Literal["iso", "iso_seconds", "iso_ns", "plain", "epoch", "epoch_ms", "date"] = Field(
        "iso", description="iso has milliseconds; plain is 2026-01-31 23:59:59. All are UTC and rounded down."
    )
    until: str | None = Field(
        None,
        description="Parameter (with `body`: dotted path) of an upper bound, such as updated_before; for backfills.",
    )
    ascending: bool = Field(
        False,
        description="The listing is sorted by that moment then, oldest first: a backfill stops once past its end.",
    )
    text: str | None = Field(
        None, description="What the parameter says, where it is more than the moment: a text with {since} in it."
    )
    onward: Literal["at", "after"] | None = Field(
        None,
        description="The listing is sorted by that moment then, and goes on from the newest of a page instead of by an "
        "offset, which would pass over one record for each that changes meanwhile. `at`: the filter shows what changed at "
        "that moment, too; `after`: only what changed later.",
    )
    then: Then | None = Field(None, description="What is asked for once that was walked through.")
    overlap: Duration = Field(120.0, description="How far behind the watermark is read again.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further parameters sent with it, such as a sort.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.param is None) == (self.body is None):
            raise ValueError("give one of `param` (query) and `body` (path in the JSON body)")
        if self.param is None and (self.text or self.onward or self.then):
            raise ValueError("`text`, `onward` and `then` need `param`, a query parameter")
        if self.text is not None and "{since}" not in self.text:
            raise ValueError("`text` needs {since}: where the moment stands in it")
        if self.then is not None and (self.onward or self.text or self.format in {"epoch", "epoch_ms", "date"}):
            raise ValueError("`then` does not go with `onward`, `text`, or a moment that is a number or a day")
        return self


class Each(Model):
    """A listing that is asked for one property, account or the like at a time, which an option names."""

    param: str = Field(description="Query parameter that names the one.")
    option: str | None = Field(
        None, description="The option that lists them all; the listing is walked for each in turn."
    )
    values: tuple[str, ...] = Field((), description="The same where no option does.")
    id: RecordPath | None = Field(
        None, description="The part of a record's id that names the one: what webhooks tell of others is none of ours."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.option is None and not self.values:
            raise ValueError("give `option`, or `values`: what the listing is walked for")
        return self


class Windows(Model):
    """A listing that shows a stretch of days: it is walked window by window, from today on. Neighbours share a day."""

    start: str = Field(alias="from", description="Query parameter of a window's first day.")
    end: str = Field(alias="to", description="Query parameter of its last day.")
    days: int = Field(ge=2, description="Days in a window, both ends counted: what the partner allows.")
    count: int = Field(ge=1, description="Windows, beginning with the one that begins today.")
    before: int = Field(
        0, ge=0, description="Days before today on which the first begins: today is UTC's, and west of it lasts longer."
    )
    over: str | None = Field(
        None,
        description="The normalized field with a record's last day. One that is over, before the first window, has left the "
        "listing alive, and stays.",
    )


class Inner(Model):
    """Records that sit in a list inside each row of the listing."""

    records: RecordPath = Field(description="Where a row has the list.")
    keep: dict[str, RecordPath] = Field(
        default_factory=dict, description="Key to path: what is put into each record from its row."
    )


class Attests(Model):
    """What a listing of the partner's says of records that come another way: which of them it should show."""

    resource: str = Field(description="Whose records it should show, under the same ids.")
    field: FieldName = Field(description="A date of theirs: those with one to come, from tomorrow on, should be shown.")
    but: dict[FieldName, tuple[str, ...]] = Field(
        default_factory=dict, description="Field to values: those that it may leave out, such as cancelled ones."
    )
    same: tuple[FieldName, ...] = Field(
        (),
        description="Fields of theirs that it shows too (of a list: how long it is). Where they differ from what was stored "
        "before the pass began, the record takes what the listing's own item of it tells: a message of it got lost.",
    )


class Queue(Model):
    """Messages that a partner keeps until they are acknowledged, and shows again until then."""

    acknowledge: str | None = Field(
        None,
        description="The push that tells it they are stored, written with them. Left out: to fetch a message removes it.",
    )
    within: Duration = Field(1200.0, description="A message that is shown for longer is said to be unacknowledged.")
    otherwise: str = Field("", description="What the partner does with one nobody acknowledges, for who reads of it.")


SinceParam = Annotated[
    Since, BeforeValidator(lambda v: {"param": v} if isinstance(v, str) else v, json_schema_input_type=str | Since)
]
