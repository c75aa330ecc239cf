"""How deliveries are verified, read and answered, described: the keys of `webhooks:`. What they come to: `webhooks.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from syncd import codec
from syncd.config.units import Duration
from syncd.kit.registration import Registration
from syncd.kit.shapes import Model, PartPath, Path, RecordPath

SecretFrom = Literal["partner", "url", "key or url", "tokens"]
"""Where the secret comes from that deliveries are verified by: the partner shows it; we make it up, as the last part of the
URL; the partner shows a public key, or else as before; we make it up, and the partner asks for tokens with it."""
_SECRETS_FROM: Final[Mapping[str, SecretFrom]] = {"none": "url", "airbnb": "key or url", "issued_token": "tokens"}
"""By `verify`; of every other way the partner shows it."""


class Answer(Model):
    """What the partner wants to hear once a delivery is stored."""

    status: Literal[200, 201, 202] = Field(200, description="HTTP status.")
    body: dict[str, Any] | str = Field("", description="An object is sent as JSON, a text as it is.")
    type: str = Field("", description="Content type; left out: that of JSON for an object, of plain text for a text.")

    @property
    def content(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else codec.dumps(self.body)

    @property
    def content_type(self) -> str:
        return self.type or ("text/plain" if isinstance(self.body, str) else "application/json")


class Rotation(Model):
    """Deliveries in which the partner hands us new credentials; believed only where they are signed (decision 0010)."""

    type: str = Field(
        "",
        description="The event type, or the last part of our URL, that announces them; empty: deliveries that name no type "
        "and have all of `credentials`.",
    )
    credentials: dict[str, RecordPath] = Field(description="Name of the credential: where its new value is.")
    at: RecordPath | None = Field(None, description="When it was announced; left out: when it came.")


class Whose(Model):
    """Whose a delivery is, where a partner calls one address for several accounts."""

    named: RecordPath = Field(
        description="Where a delivery names the account it is of; a list: the first that an integration here is of."
    )
    option: str = Field(
        description="The option that says which account an integration is of. A delivery of another account is handed to the "
        "integration of this partner that is of it; one of nobody's is counted and dropped."
    )


class Webhooks(Model):
    """How deliveries are verified and what they mean."""

    verify: Literal[
        "hmac_sha256",
        "hmac_sha1",
        "standard",
        "stripe",
        "attio",
        "maintainx",
        "twilio",
        "airbnb",
        "issued_token",
        "none",
    ] = Field(
        "none",
        description="The scheme; `standard` is Standard Webhooks and Svix. `none`: nothing is signed, so the last part of "
        "the URL is the secret, and what a delivery says is only where to look again. `airbnb`: by an RSA key in PEM among "
        "the secrets, else as `none`. `issued_token`: the partner asks for a token of ours, with one of the secrets, at "
        "/webhooks/{partner}/{integration}/token, and brings it.",
    )
    header: str | None = Field(None, description="Header with the signature.")
    encoding: Literal["hex", "base64"] = Field("hex", description="hmac: how the signature is written.")
    prefix: str = Field("", description="Text before the signature, such as sha256=.")
    tolerance: Duration = Field(300.0, description="How old a signed timestamp may be.")
    signed_url: Literal["off", "warn", "reject"] = Field(
        "warn",
        description="maintainx: what it means where the address is signed as well and that does not fit our public one. Not "
        "looked at where nothing says what that is.",
    )
    event_id: PartPath | None = Field(
        None, description="What is the same on every try; may be header:NAME, or several places: the first with `||`."
    )
    composite: tuple[PartPath, ...] = Field(
        (),
        description="What makes a delivery's id where the partner sends none: places in it, header:NAME, @route (the last "
        "part of our URL), @body (all of it); with `||` the first that is there. Two deliveries with the same parts are one.",
    )
    events: RecordPath | None = Field(None, description="Where a list of events sits; left out: the body is one event.")
    type: Path | None = Field(None, description="Where an event names its type.")
    id: RecordPath | None = Field(None, description="Where an event names the record's id.")
    ids: dict[str, RecordPath | tuple[RecordPath, ...]] = Field(
        default_factory=dict,
        description="Resource to path: the same for its events, where it is another place; several are joined as ids are.",
    )
    below: tuple[str, ...] = Field(
        (),
        description="Child resources whose events name the record they stand below, at `id` or `ids`, and not their own: "
        "what is below it is listed again.",
    )
    any_case: bool = Field(
        False,
        description="Keys are spelled now so, now so: they are read in lower case, as the paths here are written.",
    )
    record: RecordPath | None = Field(None, description="Where an event has the whole record, if to be trusted.")
    at: RecordPath | None = Field(None, description="Where an event has its time.")
    routes: dict[str, str] = Field(default_factory=dict, description="Event type to resource.")
    account: Whose | None = Field(
        None, description="How a delivery says whose it is, where a partner calls one address for several accounts."
    )
    forgets: bool = Field(
        False,
        description="What a delivery that nothing is done for says is not kept (card data): its body goes as it is dropped.",
    )
    deletes: tuple[str, ...] = Field((), description="Event types that mean: gone.")
    revokes: tuple[str, ...] = Field((), description="Event types that mean: the account took our access away.")
    rotation: Rotation | None = Field(
        None, description="How new credentials are announced, where they come by webhook."
    )
    subscriptions: Registration | None = Field(
        None, description="How the partner is asked to send them, where it has an API for that."
    )
    answer: Answer | None = Field(
        None, description="What a stored delivery is answered, also one that was known; left out: our 202, and 200."
    )

    @property
    def secret_from(self) -> SecretFrom:
        return _SECRETS_FROM.get(self.verify, "partner")

    @property
    def known_by_url(self) -> bool:
        """Is the secret the last part of the URL, unless there is a public key?"""
        return self.secret_from in ("url", "key or url")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.verify.startswith("hmac") and not self.header:
            raise ValueError(f"`verify: {self.verify}` needs `header`: where the signature is")
        if stray := sorted({*self.ids, *self.below} - set(self.routes.values())):
            raise ValueError(f"`ids` and `below`: no event is of {stray[0]}, by `routes`")
        if self.subscriptions is not None and (stray := sorted({*self.subscriptions.without} - set(self.routes))):
            raise ValueError(f"`subscriptions.without`: {stray[0]} is no event type of `routes`")
        return self
