"""What a partner takes from us: the keys under a resource's `pushes:`. What they make of a change: `pushing.py`.

A text in `body`, `params`, `path` and in what is compared may have placeholders: `{id}` the record's id, `{id.PATH}` one
part of a joined one, `{key}` the push's idempotency key, `{sent}` when it left first (a little before, as an ISO moment),
`{data}` all that is pushed, `{data.NAME}` one field of it. A text that is one placeholder alone becomes the value itself;
where a change lacks the field, its place in a body is left out.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.config.units import Duration
from syncd.kit.placeholders import texts_in
from syncd.kit.shapes import HEADER, Model, Path, Pattern, RecordPath

BODY: Final = "body:"
PLACEHOLDER: Final = re.compile(
    r"\{(id(?:\.[A-Za-z_][\w.-]*)?|key|sent|data(?:\.[A-Za-z_][\w.-]*(?:\[\d*\][\w.-]*)*)?)\}"
)
_ANY: Final = re.compile(r"\{[^{}]*\}")
_OF_THE_RECORD: Final = re.compile(r"[^?]*/\{id(?:\.[\w.-]+)?\}[^/?{}]*")


class PushField(Model):
    """One field a push may bring, and what it must be."""

    kind: (
        Literal[
            "text", "integer", "number", "boolean", "date", "timestamp", "email", "phone", "domain", "list", "object"
        ]
        | None
    ) = Field(None, alias="as", description="What it must be; phone is E.164. Left out: anything.")
    many: bool = Field(False, description="A list of such; a bare value becomes a list of one.")
    required: bool = Field(False, description="A push without it, or with an empty text, is refused.")
    default: Any = Field(None, description="What is sent, and looked for, where the push does not have it; also null.")
    choices: tuple[str | int | bool, ...] = Field((), description="The only values it may have.")
    words: dict[str, str] = Field(
        default_factory=dict, description="Other words for its values: word, and the value that is sent for it."
    )
    longest: int | None = Field(None, ge=1, description="Characters a text may have.")


class Transitions(Model):
    """Which state may become which, judged by the stored record before anything is sent."""

    field: str = Field(description="The normalized field of the stored record that holds the state.")
    to: str | None = Field(None, description="The pushed field with the new state; left out: the same name.")
    allowed: dict[str, tuple[str, ...]] = Field(
        description="State: those it may become; itself always. States that are not named may become any."
    )


class LookUp(Model):
    """How to find out whether a push whose answer was lost has arrived."""

    path: str | None = Field(
        None, description="A reading call whose first page shows it, if it is there; left out: `one`."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Its query parameters.")
    records: Path | tuple[Path, ...] | None = Field(
        None,
        description="Where the record or the list of them sits; several: the first that is a list. Left out: as in `one`.",
    )
    more: Path | None = Field(
        None,
        description="Where an answer says that another page follows, by being there. What is not on the first one may be on "
        "that: then nobody knows, and a person is asked.",
    )
    same: dict[RecordPath, Any] = Field(description="Path in a record: what it says where the push has arrived.")
    after: Duration = Field(2.0, description="Not sooner after the push left: it may still be on its way.")
    made: RecordPath | None = Field(
        None, description="Where a record says when it was made: one that is older than the push is another one."
    )
    made_local: RecordPath | None = Field(
        None,
        description="The same by a clock of the place, in a zone that nothing names: one that was not made as the push left, "
        "less whole quarters of an hour, is another one; of one made shortly before or after nobody knows.",
    )
    each: bool = Field(
        False,
        description="The list shows too little: each record in it (at most 20) is read by `one`, and then compared.",
    )


class Push(Model):
    """One kind of change a resource takes."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = Field("POST", description="How it is sent.")
    path: str = Field(description="Relative to base_url; {id} and {data.NAME} are filled in.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with it.")
    body: dict[str, Any] | None = Field(None, description="JSON body with placeholders; left out: the data itself.")
    empty: bool = Field(False, description="It is sent without a body.")
    form: bool = Field(False, description="The body is a form, not JSON; what is nested as `outer[inner]`, `list[0]`.")
    xml: bool = Field(
        False, description="The body, and the answer, is XML: one key, the root element; `@Name` an attribute."
    )
    settled: tuple[int | Pattern, ...] = Field(
        (),
        description="Refusals that mean: there is nothing left to do. Such a push is done. A number is a status; a text is a "
        "code, or a regular expression searched in the partner's words.",
    )
    deletes: bool | None = Field(
        None,
        description="The record is gone once it is done: it is buried with it. One that is sent again after a lost answer is "
        "done where the partner has no such record by then, and its `look_up` (left out: `one`) tells so by not showing it. "
        "Left out: a DELETE whose path ends in the record's id.",
    )
    fields: dict[
        str,
        Annotated[
            PushField,
            BeforeValidator(
                lambda v: {"as": v} if isinstance(v, str) else {} if v is None else v,
                json_schema_input_type=str | PushField | None,
            ),
        ],
    ] = Field(default_factory=dict, description="Name: what it must be; a kind alone will do.")
    extra: bool = Field(False, description="Fields that are not named pass too, unchecked.")
    transitions: Transitions | None = Field(None, description="Which state may become which.")
    expects: dict[str, str] = Field(
        default_factory=dict,
        description="Field of the push to normalized field of the record: the two must be equal, else it is refused. Not "
        "sent: where the partner knows no condition, the record is read right before the push leaves, each time it does, "
        "which notices that somebody else was faster, up to the moment between the two calls.",
    )
    idempotency: str = Field(
        "none",
        description="What makes twice the same as once: `natural` (asserting or replacing a state), `header:NAME` or "
        "`body:PATH` (the partner honours a key there), `look_up` (it has to be looked up), `none`.",
    )
    remembers: Duration | None = Field(None, description="How long the partner knows a key; left out: long enough.")
    look_up: LookUp | None = Field(None, description="How to find out whether one whose answer was lost has arrived.")
    look_first: bool = Field(
        False,
        description="It is looked up before it is sent, too: where the partner has it so already, nothing is sent. For "
        "repeats that leave a trace.",
    )
    match: str | None = Field(
        None, description="The pushed field that says which record is meant where no id is given."
    )
    record: Path | None = Field(None, description="Where the answer has the whole record; left out: it is read anew.")
    made: Path | None = Field(
        None, description="Where the answer has the id of what it made, if that is all it has: the record is read then."
    )
    confirm: dict[Path, Any] = Field(
        default_factory=dict,
        description="Path in the answer: what it must say if it says anything, where a 2xx alone proves nothing.",
    )
    group: str | None = Field(None, description="Endpoint group; left out: the resource's.")
    budget: str = Field("write", description="The limit budget it spends from.")
    weight: float = Field(1.0, gt=0, description="What it costs in weighted tiers.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        texts = [self.path, self.params, self.body, self.confirm]
        if self.look_up is not None:
            texts += [self.look_up.path or "", self.look_up.params, self.look_up.same]
            if not self.look_up.same:
                raise ValueError("`look_up` needs `same`: what a record says where the push has arrived")
        for text in texts_in(texts):
            for found in _ANY.findall(text):
                if not PLACEHOLDER.fullmatch(found):
                    known = "{id}, {key}, {sent}, {data}, {data.NAME}"
                    raise ValueError(f"unknown placeholder {found}; there are {known}")
        named = self.idempotency.partition(":")
        if self.idempotency not in {"natural", "look_up", "none"} and not (
            named[0] in {"header", "body"} and named[2].strip()
        ):
            raise ValueError("`idempotency` is natural, look_up, none, header:NAME or body:PATH")
        if self.idempotency == "look_up" and self.look_up is None:
            raise ValueError("`idempotency: look_up` needs the section `look_up`")
        if self.look_first and self.look_up is None:
            raise ValueError("`look_first` needs the section `look_up`")
        if self.look_up is not None and self.look_up.each and self.look_up.path is None:
            raise ValueError("`look_up.each` needs `path`: the list that is gone through")
        if self.remembers is not None and not self.by_key:
            raise ValueError("`remembers` goes with idempotency by a key")
        for name in self.fields if not self.extra else ():
            if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
                raise ValueError(f"fields.{name}: can be no placeholder's name")
        if self.transitions is not None and not self.extra and self.state_field not in self.fields:
            raise ValueError(f"transitions: there is no field {self.state_field!r} to hold the new state")
        return self

    @property
    def by_key(self) -> bool:
        """Does the partner honour our idempotency key?"""
        return self.idempotency.startswith((HEADER, BODY))

    @property
    def needs_id(self) -> bool:
        """Is it about a record the partner has already?"""
        return any("{id}" in text or "{id." in text for text in texts_in([self.path, self.params, self.body]))

    @property
    def is_deletion(self) -> bool:
        """Is the record gone once it is done?"""
        if self.deletes is not None:
            return self.deletes
        return self.method == "DELETE" and _OF_THE_RECORD.fullmatch(self.path) is not None

    @property
    def state_field(self) -> str:
        """The pushed field with the new state."""
        assert self.transitions is not None
        return self.transitions.to or self.transitions.field
