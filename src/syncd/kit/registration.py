"""How a partner is asked to send us what changes, described: `webhooks.subscriptions`. The calls: `registering.py`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.kit.listing import Each, Pages
from syncd.kit.placeholders import PLACEHOLDER, PREFIX, texts_in
from syncd.kit.shapes import Model, Path, RecordPath

_KNOWN: Final = frozenset({"url", "events", "event", "each", "id"})


class Call(Model):
    """One call about a subscription. Placeholders: {id}, {url}, {event}, {events}, {each}, {option.NAME}."""

    path: str = Field(description="Relative to base_url; {id} is the subscription's.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = Field(
        None,
        description="Left out: GET where it reads, POST where it makes, PATCH where it changes, DELETE where it ends.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    body: dict[str, Any] | None = Field(
        None,
        description="JSON body. `{events}` alone is the list of event types; a list of one thing that names {event} has it "
        "once for each.",
    )
    form: bool = Field(False, description="The body is a form, not JSON; what is nested as `outer[inner]`, `list[0]`.")
    record: RecordPath = Field("", description="Where its answer has the subscription; left out: the answer is it.")


class Change(Call):
    """The call that lets a subscription bring other events."""

    revives: bool = Field(
        True, description="It also sets one going again that the partner switched off; false: such a one is replaced."
    )


class SecretCall(Call):
    """The call that reads a subscription's secret at any time."""

    secret: Path = Field(description="Where its answer has the secret.")
    waits: tuple[float, ...] = Field(
        (), description="Seconds between tries, where a secret is there only a while after the making."
    )


class Listing(Model):
    """The list of all subscriptions."""

    path: str = Field(description="Relative to base_url.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    records: Path | tuple[Path, ...] = Field("", description="Where the list sits; several: the first that is a list.")
    pages: Pages = Field(Pages(), description="How it goes on.")
    page_size: int | None = Field(None, ge=1, description="Subscriptions a page.")


class EachOf(Each):
    """What subscriptions are made for one at a time, beside events: a property, an account."""

    source: RecordPath = Field(alias="from", description="Where one that is listed names it.")
    wide: RecordPath | None = Field(
        None,
        description="True of one that names something larger (the account they belong to): it is taken to bring the events "
        "of each, and is never removed as a second one.",
    )


def _only_path(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


CallPath = Annotated[Call, BeforeValidator(_only_path, json_schema_input_type=str | Call)]


class Registration(Model):
    """The partner's API of subscriptions."""

    listing: Annotated[Listing | None, BeforeValidator(_only_path, json_schema_input_type=str | Listing | None)] = (
        Field(
            None,
            alias="list",
            description="The list of all; a path will do. Left out: there is none, and each is read by its id (`read`).",
        )
    )
    read: Annotated[Call | None, BeforeValidator(_only_path, json_schema_input_type=str | Call | None)] = Field(
        None, description="How one is read; a path with {id} will do. What its answer leaves out is as it was made."
    )
    create: Call = Field(description="The call that makes one.")
    change: Change | None = Field(None, description="The call that changes one; left out: it is replaced.")
    remove: CallPath = Field(description="The call that ends one; a path with {id} will do.")
    id: RecordPath = Field("id", description="Where one has its id.")
    url: RecordPath = Field("url", description="Where one has its address.")
    events: RecordPath = Field("events", description="Where one has its event types, or its only one.")
    status: RecordPath | None = Field(None, description="Where one has its state.")
    off: tuple[str, ...] = Field((), description="States in which the partner sends nothing.")
    pending: tuple[str, ...] = Field(
        (), description="States in which somebody at the partner has to let it through first."
    )
    secret: RecordPath | None = Field(None, description="Where the answer to its making has the secret.")
    secret_call: SecretCall | None = Field(None, description="How it is read later, where that goes.")
    asks: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Resource, or its path with `*` for anything in it, to the event types that tell of it. Left out: those "
        "that `routes` leads there.",
    )
    without: tuple[str, ...] = Field((), description="Event types of `routes` that are not asked for.")
    each: EachOf | None = Field(
        None, description="One is needed for each property, account or the like: an event is `property:event` then."
    )
    event: str | None = Field(
        None,
        description="What an event type is made of, such as {object}/{action}, where calls name its parts: they are "
        "placeholders then.",
    )
    one_an_event: bool = Field(
        False, description="One is for one type of event only; each has an address that ends in it."
    )
    own_address: bool = Field(True, description="False: those of all types of events lead to one address.")
    one_a_url: bool = Field(False, description="There is no second one to the same address: the old one goes first.")
    secret_in_address: bool = Field(
        False, description="Nothing is signed: the address ends in a secret of ours, made with the first one."
    )
    vanish: bool = Field(False, description="They may be dropped without a word: they are looked at every 6 hours.")
    longest_url: int | None = Field(None, ge=1, description="Characters of an address.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.listing is None) == (self.read is None):
            raise ValueError("give one of `list`, the list of all, and `read`, how one is read by its id")
        if self.secret is None and self.secret_call is None and not self.secret_in_address:
            raise ValueError("where is the secret? `secret`, `secret_call`, or `secret_in_address: true`")
        if self.event is not None and len(PLACEHOLDER.findall(self.event)) < 2:
            raise ValueError("`event` names the parts of an event type, such as {object}/{action}")
        known = _KNOWN | set(PLACEHOLDER.findall(self.event or ""))
        for call in (self.read, self.create, self.change, self.remove, self.secret_call):
            for name in (
                () if call is None else PLACEHOLDER.findall(" ".join(texts_in([call.path, call.params, call.body])))
            ):
                if name not in known and not name.startswith(PREFIX):
                    raise ValueError(
                        f"unknown placeholder {{{name}}}; there are {', '.join(sorted(known))}, option.NAME"
                    )
        return self

    @property
    def options(self) -> frozenset[str]:
        """The driver's own settings that its calls name."""
        calls = [
            call for call in (self.read, self.create, self.change, self.remove, self.secret_call) if call is not None
        ]
        texts = texts_in([[call.path, call.params, call.body] for call in calls])
        named = {
            name.removeprefix(PREFIX) for text in texts for name in PLACEHOLDER.findall(text) if name.startswith(PREFIX)
        }
        return frozenset(named | ({self.each.option} if self.each is not None and self.each.option else set()))

    def parts(self, event: str) -> dict[str, str]:
        """The parts of an event type by their names; nothing where it is not made of such."""
        if self.event is None:
            return {}
        pattern = PLACEHOLDER.sub(lambda match: "\0", re.escape(self.event).replace(r"\{", "{").replace(r"\}", "}"))
        names = PLACEHOLDER.findall(self.event)
        found = re.fullmatch("(.+?)".join(pattern.split("\0")), event)
        return {} if found is None else dict(zip(names, found.groups(), strict=True))
