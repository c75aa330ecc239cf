"""One kind of record at a partner: the keys under `resources:` are the keyword arguments of `Resource(...)`.

How it is listed: `listing.py`; read by its ids: `by_id.py`; written to: `pushes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from syncd.client.dates import TODAY
from syncd.config.units import Duration
from syncd.kit import coerce
from syncd.kit.by_id import Many, OnePath
from syncd.kit.coherence import check_resource
from syncd.kit.listing import Attests, Each, Inner, Pages, Queue, SinceParam, Windows
from syncd.kit.paths import Getter, getter, only_key
from syncd.kit.placeholders import PLACEHOLDER, PREFIX, texts_in
from syncd.kit.pushes import Push
from syncd.kit.shapes import DeletedPath, FieldMap, FieldName, MappedField, Model, Path, RecordPath, StampPath
from syncd.kit.unsettled import Unsettled

if TYPE_CHECKING:
    from syncd.kit.adapter import Reader

NAME: Final = r"^[a-z][a-z0-9_]{0,47}$"
"""Names of resources and fields: they become names of views and columns."""


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


class Adapter(Model):
    """Another shape of the same records, chosen by `adapter:`. What is left out is the resource's own."""

    id: RecordPath | tuple[RecordPath, ...] | None = Field(None, description="As in the resource.")
    updated: StampPath | None = Field(None, description="As in the resource.")
    fields: FieldMap | None = Field(None, description="As in the resource, and instead of its fields.")


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
    never_gone: bool = Field(
        False,
        description="The partner never deletes them: what would mean gone on a record's own URL is a refusal of the call, "
        "for a person to see.",
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
        description="It seldom changes (users, teams): how long its copy serves. Read so often unless the configuration "
        "says, and left alone by a `sync` of the whole integration until then.",
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
        check_resource(self)
        return self

    @property
    def options(self) -> frozenset[str]:
        """The driver's own settings that its calls name."""
        named = {name for text in texts_in([self.path, self.params]) for name in PLACEHOLDER.findall(text)}
        each = self.each if isinstance(self.each, tuple) else (self.each,)
        given = {one.option for one in each if one is not None and one.option}
        then = self.since.then if self.since is not None else None
        given |= {then.option} if then is not None and then.option else set()
        return frozenset({name.removeprefix(PREFIX) for name in named if name.startswith(PREFIX)} | given)

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """Names of the parent's fields its calls need: `id`, or normalized fields of the parent."""
        texts = [TODAY.sub("", text) for text in texts_in([self.path, self.params, self.body])]
        found = (name for text in texts for name in PLACEHOLDER.findall(text))
        return frozenset(name.removeprefix("parent.") for name in found if name.startswith("parent."))

    @cached_property
    def dated(self) -> bool:
        """Do its calls name days that are known when they are sent?"""
        return self.windows is not None or any(
            TODAY.search(text) for text in texts_in([self.path, self.params, self.body])
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

    def open_names(self) -> frozenset[str]:
        """Names at the top of a raw record below which names are data, whichever adapter reads it."""
        shapes = [self.fields, *(one.fields for one in self.adapters.values() if one.fields is not None)]
        found = (only_key(field.source or name) for shape in shapes for name, field in shape.items() if field.open)
        return frozenset(key for key in found if key is not None)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without carrying over what was compiled from the old values."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("reader", "reader_of_many", "placeholders", "dated"):
            copied.__dict__.pop(name, None)
        return copied
