"""One kind of record at a partner: the keys under `resources:` are the keyword arguments of `Resource(...)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.client.dates import TODAY
from syncd.config.units import Duration
from syncd.kit import coerce
from syncd.kit.paths import Getter, getter
from syncd.kit.pushes import Push
from syncd.kit.shapes import (
    DeletedPath,
    FieldMap,
    MappedField,
    Model,
    Path,
    RecordPath,
    StampPath,
)
from syncd.kit.unsettled import Unsettled

if TYPE_CHECKING:
    from syncd.kit.adapter import Reader

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_OPTIONS: Final = re.compile(r"\{option\.[a-z0-9_]+\}")
NAME: Final = r"^[a-z][a-z0-9_]{0,47}$"
"""Names of resources and fields: they become names of views and columns."""
FieldName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


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
        _check_placeholders(self.path, {"id"})
        if "{id" not in self.path and "{id" not in str(self.params):
            raise ValueError("the path needs the placeholder {id}")
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


class Forget(Model):
    """A person was erased at the partner upon request: then the record is kept without what says who it was.

    What the fields that are empty then held before goes from the log of changes too, and from all that is kept of the record.
    """

    when: RecordPath | None = Field(None, description="What is true in the record of such a one.")
    keep: tuple[str, ...] = Field(
        (), description="With `when`: the keys that stay; all others are dropped before anything is stored."
    )
    emptied: tuple[FieldName, ...] = Field(
        (),
        description="Or, where a record says nothing: fields that are empty only because what they held was taken away.",
    )

    @model_validator(mode="after")
    def _says_when(self) -> Forget:
        if (self.when is None) == (not self.emptied) or (self.when is None) != (not self.keep):
            raise ValueError("forget needs either `when` and `keep`, or `emptied`")
        return self


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


class Many(Model):
    """How several records are read by their ids in one call."""

    param: str = Field(description="Parameter that takes the ids; in a body a dotted path.")
    max: int = Field(ge=1, description="Ids a call may name.")
    join: str = Field(",", description="What stands between ids in one parameter; `repeat` repeats the parameter.")
    place: Literal["query", "body"] = Field("query", alias="in", description="In a body the ids are a JSON list.")
    path: str | None = Field(None, description="The resource's own path if left out.")
    records: Path | None = Field(None, description="Where the list sits; as in the listing if left out.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further query parameters.")


class Adapter(Model):
    """Another shape of the same records, chosen by `adapter:`. What is left out is the resource's own."""

    id: RecordPath | tuple[RecordPath, ...] | None = Field(None, description="As in the resource.")
    updated: StampPath | None = Field(None, description="As in the resource.")
    fields: FieldMap | None = Field(None, description="As in the resource, and instead of its fields.")


def _check_placeholders(text: str, known: set[str]) -> None:
    for name in PLACEHOLDER.findall(TODAY.sub("", text)):
        family = name.partition(".")[0]
        if (
            name not in known
            and not (family == "parent" and "parent." in known)
            and not (family == "id" and "id" in known)
        ):
            raise ValueError(
                f"unknown placeholder {{{name}}}; there are {{parent.id}}, {{today}}, {{today-30d}}, and {{id}} under `one`"
            )


OnePath = Annotated[
    One, BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v, json_schema_input_type=str | One)
]
SinceParam = Annotated[
    Since, BeforeValidator(lambda v: {"param": v} if isinstance(v, str) else v, json_schema_input_type=str | Since)
]


class Resource(Model):
    """One kind of record: where it is listed, what it is called there, which of its fields we keep."""

    name: str = Field("", description="Set from the key it stands under.")
    path: str = Field(
        description="Relative to base_url; a child has {parent.id} in it (or in params or body). {option.NAME} is the "
        "value of an option: here as one segment; in `params` a parameter without one is left out."
    )
    host: str = Field("", description="The origin its listing is asked at, one of `hosts`; left out: base_url.")
    method: Literal["GET", "POST"] = Field("GET", description="How the listing is asked.")
    enabled: bool = Field(True, description="False: only where an integration enables it.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters of every listing call.")
    body: dict[str, Any] | None = Field(None, description="JSON body of every listing call; with `format: xml` as XML.")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with its calls.")
    format: Literal["json", "xml"] = Field(
        "json",
        description="What its calls and their answers are written in; `xml` says how XML becomes what paths read.",
    )

    records: Path | tuple[Path, ...] = Field("", description="Where the list sits; several: the first that is a list.")
    keyed: bool = Field(
        False, description="The list may come as an object keyed by id, too: its values are the records."
    )
    inner: Inner | None = Field(None, description="The records sit in a list inside each row of that list.")
    asked: dict[str, str] = Field(
        default_factory=dict,
        description="Key to query parameter: what the call asked for and its answer does not repeat is put into each record.",
    )
    drop: tuple[str, ...] = Field(
        (), description="Keys of a record that are never stored, such as secrets: cut out before anything else sees it."
    )
    forget: Forget | None = Field(None, description="What stays of a record whose person was erased at the partner.")
    id: RecordPath | tuple[RecordPath, ...] = Field(
        "id", description="The record's id; several are joined by a colon, and `{id.PATH}` is one of them."
    )
    updated: StampPath | None = Field(None, description="When the record changed, by the partner's clock.")
    version: RecordPath | None = Field(None, description="A whole number that grows with every change.")
    stamp: Literal["updated", "observed", "fetched"] | None = Field(
        None,
        description="What decides which version is newer: `updated` (default where that is given), `observed` (the "
        "partner's clock when asked: for records without a stamp whose changes also come by events that have one), or "
        "`fetched` (our clock when asked).",
    )
    order: StampPath | None = Field(None, description="The moment `since` filters by, where it is not `updated`.")
    deleted: DeletedPath | None = Field(None, description="How a record says that it is gone.")
    parent: str | None = Field(None, description="The resource it is listed below; its changes cause a listing here.")
    where: str | None = Field(
        None,
        description="Of a child: the parent's normalized field that tells whether there is anything below it (a count, say). "
        "Where it is empty, zero or false nobody asks.",
    )
    parent_id: RecordPath | None = Field(None, description="Where a record names its parent.")
    tenant: RecordPath | None = Field(None, description="Where a record names the account it belongs to.")
    total: Path | None = Field(None, description="Where the answer has the number of records of the whole listing.")
    repeats: bool = Field(
        False,
        description="A record may stand in the listing several times (a guest once for each stay): `total` counts rows, and "
        "of several the one with the latest `updated` is kept.",
    )
    missing: Literal["gone", "kept", "read"] = Field(
        "gone",
        description="What a record is that complete passes do not show any more: `gone`; or `kept`, where the listing shows "
        "a window of time and records leave it alive. Then only the partner's word (404, 410, an event) ends one. `read`: as "
        "`kept`, and it is read by its id once.",
    )
    sparse: bool = Field(False, description="A missing key means: not told. Stored fields are kept.")
    instead: tuple[tuple[str, ...], ...] = Field(
        (),
        description="Of `sparse`: keys that say the same in another shape, such as [assetId, asset]. One that is told makes "
        "the others of its group null in what is stored: what an earlier answer said there is over.",
    )
    volatile: tuple[RecordPath, ...] = Field((), description="What changes and means nothing: left out of the hash.")
    compared: tuple[str, ...] = Field(
        (),
        description="The normalized fields that tell whether a record changed; left out: all of it as sent. For records that "
        "a listing shows in another shape than a single read; of one read alone all fields that it tells count.",
    )
    adopt: str | None = Field(
        None,
        description="Of a child whose records do not name their parent: the parent's id, as the call's path has it, is put "
        "into each under this key.",
    )

    pages: Pages = Field(Pages(), description="How the listing goes on.")
    page_size: int | None = Field(None, ge=1, description="Records a page.")
    each: Each | tuple[Each, ...] | None = Field(
        None,
        description="It is asked for one property, account or the like at a time; of several, for each combination.",
    )
    windows: Windows | None = Field(None, description="It is asked for a stretch of days at a time.")
    since: SinceParam | None = Field(None, description="How it is asked for what changed; a parameter's name will do.")
    fields: FieldMap = Field(default_factory=dict, description="Name: path, or {from, as, default, required}.")
    adapters: dict[str, Adapter] = Field(default_factory=dict, description="Other shapes by name; `v1` is this one.")
    one: OnePath | None = Field(None, description="How one record is read; a path with {id} will do.")
    many: Many | None = Field(None, description="How several are read by their ids in one call.")
    pushes: dict[Annotated[str, Field(pattern=NAME)], Push] = Field(
        default_factory=dict, description="Kind: how such a change of ours is brought to the partner."
    )

    every: Duration | None = Field(None, description="How often, unless the configuration says.")
    ttl: Duration | None = Field(
        None,
        description="It seldom changes (users, teams): how long its copy serves. Read so often unless `every` or the "
        "configuration says, and left alone by a `sync` of the whole integration until then.",
    )
    strategy: Literal["full", "incremental", "feed", "queue", "webhooks"] | None = Field(
        None,
        description="Default: incremental where `since` is given, else full. A feed brings records of others. A queue lists "
        "what is new until it is acknowledged, and its records are never gone because it is silent about them. `webhooks`: "
        "as the default, and seldom while deliveries tell of its changes.",
    )
    unsettled: Unsettled | None = Field(
        None,
        description="States in which a record is read again by its id: no list of changes shows that it leaves them.",
    )
    attests: Attests | None = Field(
        None,
        description="Records of another resource that it should show: what a complete pass does not is said, not deleted.",
    )
    alike: tuple[str, ...] = Field(
        (),
        description="Normalized fields that stay when the partner gives a record another id: one that is gone while another "
        "one has the same is told of.",
    )
    queue: Queue | None = Field(None, description="Of a queue: how its messages are acknowledged.")
    ends: str | None = Field(
        None,
        description="The resource whose records are gone that this one shows, under the same ids: a list of deleted ones.",
    )
    feeds: tuple[str, ...] = Field((), description="Of a feed: the resources it brings changes of.")
    lane: Literal["normal", "low"] = Field(
        "normal", description="low: what nobody waits for (photos and other media): it never goes before anything else."
    )
    media: RecordPath | tuple[RecordPath, ...] | None = Field(
        None,
        description="Where a record has the link, or the list of links, of its files. They are fetched only where an "
        "integration has `media`, in the low lane.",
    )
    group: str = Field("", description="Endpoint group with a breaker of its own.")
    budget: str = Field("read", description="The limit budget its calls spend from.")
    weight: float = Field(1.0, gt=0, description="What a call costs in weighted tiers.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for text in _texts([self.path, self.params, self.body]):
            _check_placeholders(_OPTIONS.sub("1", text), {"parent."})  # {today-{option.days}d} has a number there
        if self.since is not None and (self.since.onward or self.since.then) and (self.each or self.windows):
            raise ValueError("`since.onward` and `since.then` do not go with `each` and `windows`")
        if self.since is not None and self.since.onward is not None and self.order is None:
            raise ValueError("`since.onward` needs `order`, the moment it goes on from")
        needs_parent = bool(self.placeholders)
        if self.parent is None and needs_parent:
            raise ValueError("{parent.…} needs `parent:`, the resource it is listed below")
        if self.parent is not None and not needs_parent:
            raise ValueError("a child needs {parent.id} in its path, params or body")
        if (self.each or self.windows) and self.parent is not None:
            raise ValueError("`each` and `windows` do not go with `parent`")
        self._check_id_parts()
        if self.adopt is not None and "{parent.id}" not in self.path:
            raise ValueError("`adopt` needs {parent.id} in the path: that is where the parent's id is taken from")
        for name in self.compared:
            if name not in self.fields:
                raise ValueError(f"compared: there is no field {name!r}")
        for name in self.alike:
            if name not in self.fields:
                raise ValueError(f"alike: there is no field {name!r}")
        if self.instead and not self.sparse:
            raise ValueError("`instead` is of resources that are `sparse`: elsewhere each answer is stored whole")
        if self.compared and self.volatile:
            raise ValueError("`compared` says already what counts: `volatile` does not go with it")
        if self.stamp == "updated" and self.updated is None:
            raise ValueError("`stamp: updated` needs `updated`, the path of that moment")
        if (self.strategy == "queue") != (self.queue is not None):
            raise ValueError("`strategy: queue` and the section `queue` go together")
        if self.queue is not None and self.queue.acknowledge not in {None, *self.pushes}:
            raise ValueError(f"queue.acknowledge: there is no push {self.queue.acknowledge!r}")
        if self.where is not None and self.parent is None:
            raise ValueError("`where` needs `parent:`, the resource it is listed below")
        if self.missing == "read" and self.one is None:
            raise ValueError("`missing: read` needs `one`, to read a record by its id")
        if self.one is None and any(push.expects for push in self.pushes.values()):
            raise ValueError("`expects` of a push needs `one`: the record is read right before it is held against it")
        if self.unsettled is not None and (self.one is None or self.unsettled.field not in self.fields):
            raise ValueError("`unsettled` needs `one`, to read a record by its id, and a field of its own")
        if self.strategy == "incremental" and self.since is None:
            raise ValueError("`strategy: incremental` needs `since`")
        if self.since is not None and self.strategy != "feed" and self.order is None and self.updated is None:
            raise ValueError("`since` needs `updated` or `order`: without it no watermark can be kept")
        if self.pages.place == "body" and self.method != "POST":
            raise ValueError("page parameters in the body need `method: POST`")
        if self.since is not None and self.since.body is not None and self.method != "POST":
            raise ValueError("`since` in the body needs `method: POST`")
        if (
            self.pages.end is None
            and self.pages.kind in {"offset", "page"}
            and self.page_size is None
            and not (self.pages.more or self.pages.total_pages or self.total)
        ):
            raise ValueError("pages of this kind need `page_size`, or `more`, `total` or `end: empty`, to know the end")
        for kind, rules in self.pushes.items():
            if rules.transitions is not None and rules.transitions.field not in self.fields:
                raise ValueError(f"pushes.{kind}.transitions: there is no field {rules.transitions.field!r}")
            if rules.look_up is not None and self.one is None and (rules.look_up.path is None or rules.look_up.each):
                needs = "`each` reads records by `one`" if rules.look_up.each else "needs `path`"
                raise ValueError(f"pushes.{kind}.look_up: {needs}, and the resource has no `one`")
        return self

    def _check_id_parts(self) -> None:
        known = self.id if isinstance(self.id, tuple) else ()
        texts = [] if self.one is None else [self.one.path, *_texts(self.one.params)]
        for rules in self.pushes.values():
            looks = [] if rules.look_up is None else [rules.look_up.path, rules.look_up.params, rules.look_up.same]
            texts += _texts([rules.path, rules.params, rules.body, *looks])
        for text in texts:
            for name in PLACEHOLDER.findall(text):
                if name.startswith("id.") and name.removeprefix("id.") not in known:
                    raise ValueError(f"{{{name}}} is no part of the id; it is made of {', '.join(known) or 'one path'}")

    @property
    def options(self) -> frozenset[str]:
        """The driver's own settings that its calls name."""
        named = {name for text in _texts([self.path, self.params]) for name in PLACEHOLDER.findall(text)}
        each = self.each if isinstance(self.each, tuple) else (self.each,)
        given = {one.option for one in each if one is not None and one.option}
        then = self.since.then if self.since is not None else None
        given |= {then.option} if then is not None and then.option else set()
        return frozenset({name.removeprefix("option.") for name in named if name.startswith("option.")} | given)

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """Names of the parent's fields its calls need: `id`, or normalized fields of the parent."""
        texts = [TODAY.sub("", text) for text in _texts([self.path, self.params, self.body])]
        found = (name for text in texts for name in PLACEHOLDER.findall(text))
        return frozenset(name.removeprefix("parent.") for name in found if name.startswith("parent."))

    @cached_property
    def dated(self) -> bool:
        """Do its calls name days that are known when they are sent?"""
        return self.windows is not None or any(
            TODAY.search(text) for text in _texts([self.path, self.params, self.body])
        )

    def laid_over(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """A raw record as it is laid over what is stored of it: told in one shape, it says that the other is over."""
        told = [group for group in self.instead if any(key in raw for key in group)]
        return {**dict.fromkeys(key for group in told for key in group), **raw} if told else raw

    def links(self, raw: Mapping[str, Any]) -> list[str]:
        """The links of a record's files, each once, in their order."""
        found: dict[str, None] = {}
        waiting = [get(raw) for get in self._links]
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, list | tuple):
                waiting[:0] = value
            elif isinstance(value, str) and value.strip():
                found[value.strip()] = None
        return list(found)

    @cached_property
    def _links(self) -> list[Getter]:
        places = () if self.media is None else (self.media,) if isinstance(self.media, str) else self.media
        return [getter(place) for place in places]

    @property
    def stamped_by(self) -> Literal["updated", "observed", "fetched"]:
        return self.stamp or ("updated" if self.updated is not None else "fetched")

    @property
    def reads(self) -> Literal["full", "incremental", "feed"]:
        """The strategy, decided."""
        if self.strategy is None or self.strategy == "webhooks":
            return "incremental" if self.since is not None else "full"
        return "feed" if self.strategy == "queue" else self.strategy

    @property
    def overlap_seconds(self) -> float:
        return self.since.overlap if self.since is not None else 0.0

    @cached_property
    def reader(self) -> Reader:
        """Its paths and coercions, compiled once."""
        from syncd.kit.adapter import Reader

        return Reader(self)

    @cached_property
    def reader_of_many(self) -> Reader:
        """The same for answers to `many`, whose list may sit elsewhere."""
        if self.many is None or self.many.records is None:
            return self.reader
        return self.model_copy(update={"records": self.many.records}).reader

    def columns(self, adapter: str = "") -> dict[str, str]:
        """The typed view's columns: field name to SQL type."""
        return {name: coerce.SQL_TYPES[field.kind or "text"] for name, field in self.mapped(adapter).items()}

    def mapped(self, adapter: str = "") -> Mapping[str, MappedField]:
        """The fields of one adapter; of an unknown one the resource's own: not every resource has every adapter."""
        other = self.adapters.get(adapter)
        return self.fields if other is None or other.fields is None else other.fields

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without carrying over what was compiled from the old values."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("reader", "reader_of_many", "placeholders", "dated"):
            copied.__dict__.pop(name, None)
        return copied


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return []
