"""A driver, described: the keys of `driver.yaml` (or of `rest:` in a partner's file) as models.

What stands here is all a driver may say without Python. Reading a file: `drivers/__init__.py`. One kind of record:
`resource.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from syncd import codec
from syncd.config.facts import Facts
from syncd.config.units import Duration, Rate, RateText
from syncd.errors import ConfigError
from syncd.kit.registration import Registration
from syncd.kit.resource import NAME, Resource
from syncd.kit.shapes import Model, OptionValue, PartPath, Path, Pattern, RecordPath, said
from syncd.limits.dialects import LimitDialect
from syncd.limits.tiers import TierSpec
from syncd.limits.waits import WaitDialect
from syncd.markup import Markup

Kind = Literal["none", "api_key", "basic", "bearer", "oauth2_client", "oauth2_refresh", "signer"]

_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "api_key": ("api_key",),
    "basic": ("username", "password"),
    "bearer": ("token",),
    "oauth2_client": ("client_id", "client_secret"),
    "oauth2_refresh": ("client_id", "client_secret", "refresh_token"),
    "signer": (),
}
"""What each kind needs under an integration's `credentials:`, unless the driver names it otherwise."""
_OPTION: Final = re.compile(r"\{option\.([^{}]*)\}")
_OAUTH_KEYS: Final = frozenset(
    {
        "token_path",
        "scope",
        "client",
        "body",
        "grant_type",
        "granted",
        "named",
        "send",
        "extra",
        "early",
        "lasts",
        "timeout",
        "tiers",
    }
)


class Tier(Model):
    """One rate the partner allows."""

    rate: RateText = Field(description="Calls in any window: 7/s, 300/120s.")
    kind: Literal["sliding", "fixed", "bucket"] = Field("sliding", description="How the partner counts.")
    burst: float | None = Field(None, gt=0, description="Of a bucket: calls it holds when full.")
    budget: str = Field(
        "",
        description="Which calls it counts: read, write, token, a method, a route (/customers), a budget's name. Empty: all.",
    )
    after: str = Field(
        "",
        description="A budget whose calls are counted too and do not wait for the window: it is a pause that follows them.",
    )
    share: float | None = Field(None, gt=0, le=1, description="How much of it we use; default: that of all limits.")
    weighted: bool = Field(False, description="It counts the partner's points, not calls.")
    option: str | None = Field(
        None,
        description="The option that says how many calls, in the window of `rate`; where it says 0, it does not hold.",
    )
    when: dict[str, dict[OptionValue, RateText]] = Field(
        default_factory=dict, description="Option to its value to the rate then, such as {mode: {live: 100/s}}."
    )

    def spec(self) -> TierSpec:
        """As the gate takes it."""
        rate: Rate = self.rate
        return TierSpec(
            limit=rate.limit,
            window_seconds=rate.window_seconds,
            kind=self.kind,
            burst=self.burst,
            budget=self.budget,
            weighted=self.weighted,
            share=self.share,
            stated=rate.limit,
            after=self.after,
        )


TierText = Annotated[
    Tier, BeforeValidator(lambda v: {"rate": v} if isinstance(v, str) else v, json_schema_input_type=str | Tier)
]


class Auth(Model):
    """How calls prove who we are. `client.auth.build` makes it real."""

    kind: Kind = Field("none", description="How; each kind needs credentials of its own.")
    header: str | None = Field(
        None,
        description="The header it travels in. api_key: default X-Api-Key; oauth2: default Authorization, and the token "
        "stands alone in any other.",
    )
    query: str | None = Field(None, description="api_key: the query parameter it travels in instead.")
    prefix: str = Field("", description="What stands before the key or token, such as Token.")
    credentials: dict[str, str] = Field(
        default_factory=dict,
        description="Other names for what the kind needs: {token: api_key} reads `credentials: {api_key: …}`. "
        "signer: the names it is given.",
    )
    optional: tuple[str, ...] = Field((), description="Credentials that may be left out (a basic password, say).")
    token_path: str | None = Field(
        None,
        description="oauth2: where tokens come from; an absolute URL, or a path from the root of base_url's host. "
        "{option.NAME} is the value of an option.",
    )
    scope: str | None = Field(None, description="oauth2: what the token is asked to allow.")
    client: Literal["form", "basic", "json"] = Field("form", description="oauth2: how the client proves itself.")
    body: Literal["form", "json"] | None = Field(
        None,
        description="oauth2: how the token request is written. Left out: as a form, with `client: json` as JSON. Beside a "
        "JSON body a basic header has id and secret as they are.",
    )
    grant_type: str | None = Field(
        None,
        description="oauth2: what the token request says under grant_type; `none`: there is no such field. Left out: the "
        "grant's own name.",
    )
    granted: Path | None = Field(
        None, description="oauth2: where the answer has the token and its end, where that is not at its top."
    )
    send: dict[str, str] = Field(
        default_factory=dict,
        description="oauth2: header to credential: what goes with every call beside the token, such as an application's key.",
    )
    extra: dict[str, str | int | bool] = Field(
        default_factory=dict, description="oauth2: further fields of the token request."
    )
    early: Duration = Field(300.0, description="oauth2: how long before its end a token is renewed.")
    named: str = Field("access_token", description="oauth2: what the answer calls the token.")
    lasts: Duration | None = Field(
        None,
        description="oauth2: a token's life where neither the answer nor, where it is a JWT, the token itself says.",
    )
    timeout: Duration = Field(45.0, description="oauth2: how long a token request may take.")
    tiers: tuple[TierText, ...] = Field((), description="oauth2: limits of the token endpoint alone, such as 5/d.")
    when: dict[str, dict[OptionValue, Auth]] = Field(
        default_factory=dict, description="Option to its value to how calls prove it then, with all keys it needs."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.header is not None and self.query is not None:
            raise ValueError("an API key travels in one of `header` and `query`")
        if self.kind != "api_key" and (self.query or (self.header and not self.kind.startswith("oauth2"))):
            raise ValueError(f"`header` and `query` do not go with auth of kind {self.kind}")
        if self.client == "json" and self.body == "form":
            raise ValueError("`client: json` writes the token request as JSON: `body: form` contradicts it")
        if unknown := sorted(set(self.send.values()) - set(self.names)):
            raise ValueError(f"`send`: there is no credential {unknown[0]!r}; there are {', '.join(self.names)}")
        if self.kind.startswith("oauth2"):
            if self.token_path is None:
                raise ValueError(f"auth of kind {self.kind} needs `token_path`")
        elif stray := sorted(self.model_fields_set & _OAUTH_KEYS):
            raise ValueError(f"`{stray[0]}` does not go with auth of kind {self.kind}")
        return self

    @property
    def names(self) -> dict[str, bool]:
        """Names an integration may have under `credentials:`; True where it must."""
        usual = _NEEDED[self.kind]
        found = [self.credentials.get(name, name) for name in usual]
        found += [other for name, other in self.credentials.items() if name not in usual]
        return {name: name not in self.optional for name in found}

    @property
    def replaced(self) -> tuple[str, ...]:
        """Names under `credentials:` of what a partner may replace with each use."""
        return (self.credentials.get("refresh_token", "refresh_token"),) if self.kind == "oauth2_refresh" else ()

    @property
    def required(self) -> tuple[str, ...]:
        """Names an integration must have under `credentials:`."""
        return tuple(name for name, must in self.names.items() if must)


class Breaker(Model):
    """When calls to a partner that is down stop for a while."""

    failures: int = Field(5, ge=1, description="Timeouts, refused connections or 5xx in a row that open it.")
    cooldown: Duration = Field(30.0, description="Time until one probe is let through.")
    longest_cooldown: Duration = Field(300.0, description="The time doubles with each failed probe, up to this.")
    ratio: float | None = Field(None, gt=0, le=1, description="Also opens when this share of the last `calls` failed.")
    calls: int = Field(20, ge=1, description="How many calls `ratio` looks back.")


class Limits(Model):
    """What the partner allows, as the driver's author believes it; a configuration may only tighten it."""

    tiers: tuple[TierText, ...] = Field(
        (), description="Rates such as 7/s, 400/min, or {rate: 60/min, kind: fixed, …}."
    )
    concurrency: int | None = Field(None, ge=1, description="Calls in flight at once.")
    share: float = Field(0.7, gt=0, le=1, description="How much of each stated limit we use.")
    headers: str | dict[str, Any] | None = Field(
        None,
        description="Where answers tell of the limit, if not in the usual headers: their prefix, such as x-ratelimit; "
        "`none` where they tell nothing; or prefix, window, budget, millis and places of limit, remaining, used, reset.",
    )
    dialect: dict[str, Any] | None = Field(
        None,
        description="Where a refusal says when to come back, if unusual: headers, body, words (sentences), millis, "
        "and buffer_seconds, floor_seconds, cap_seconds, missing_seconds.",
    )
    cost: str | None = Field(None, description="Response header with what the call cost a weighted tier.")
    scope: Literal["account", "credential", "client", "partner"] = Field(
        "account",
        description="What the partner counts. Integrations that have no `scope:` of their own spend from one book where they "
        "have the same `credential`, or in any case (`client`: several keys may be of one; `partner`: all are one).",
    )
    lanes: dict[Literal["high", "normal", "low"], float] = Field(default_factory=dict, description="Reserved shares.")
    breaker: Breaker = Field(Breaker(), description="When calls stop for a while.")
    reason: str = Field("", description="Why these numbers, where they differ from the stated ones.")

    @field_validator("dialect")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        WaitDialect.parse(value)
        return value

    @field_validator("headers")
    @classmethod
    def _legible(cls, value: Any) -> Any:
        LimitDialect.parse(value)
        return value

    @cached_property
    def waits(self) -> WaitDialect:
        """The dialect, ready to use."""
        return WaitDialect.parse(self.dialect)

    @cached_property
    def told(self) -> LimitDialect:
        """How answers tell of the limit, ready to use."""
        return LimitDialect.parse(self.headers)


Word = Literal[
    "auth", "denied", "limited", "crowded", "locked", "transient", "busy", "gone", "rejected", "payload"
]  # fmt: skip
"""What an answer means: auth (refresh may help), denied (only a person can), limited (too many calls), crowded (too many
at once), locked (too many for this one object), transient, busy (retry, but the breaker does not count it), gone,
rejected, payload."""


class Errors(Model):
    """How the partner's failures read, where they differ from what HTTP says."""

    code: Path | None = Field(None, description="Where an error body has its code, such as error.code.")
    message: Path | None = Field(None, description="Where it has its text, such as error.message.")
    codes: dict[str, Word] = Field(default_factory=dict, description="What a code means, whatever the status.")
    statuses: dict[int, Word] = Field(default_factory=dict, description="What a status means, such as {403: auth}.")
    success: Path | None = Field(
        None,
        description="Where an answer says whether it is one: a 2xx with false there is a failure, rejected unless its code "
        "or its words say what else. A push is done only where it says true.",
    )
    failure: tuple[Path, ...] = Field(
        (), description="Places that hold something only where an answer is a failure, whatever its status says."
    )
    request_id: Pattern | None = Field(
        None,
        description="Where the body of a failure has what support asks for: a regular expression, of which the first group "
        "that fits is it.",
    )
    reads: str = Field(
        "",
        description="Calls whose last part of the path begins so only read: a failure of theirs inside a 2xx that nothing "
        "says more about is tried again, since it may be the partner's own.",
    )
    messages: dict[Pattern, Word] = Field(
        default_factory=dict,
        description="What the words of a failure mean, by a regular expression searched in them; the first that fits. Where "
        "the status says what it is they only say which: of a 401 auth or denied, of a 429 limited, crowded or locked, of a "
        "408 or 5xx transient or busy.",
    )
    firewall: tuple[int, ...] = Field(
        (),
        description="Statuses that come from a firewall before the partner where their body is not JSON: tried again later.",
    )


class Xml(Model):
    """How the partner's XML is read: attributes as `@Name`, text beside them as `$`, names without their namespace."""

    lists: tuple[str, ...] = Field((), description="Elements that may come more than once: always a list.")
    drop: tuple[str, ...] = Field(
        (),
        description="Elements that are cut out of every XML answer before anything else sees it (card data); `cc_*` will do.",
    )

    @cached_property
    def markup(self) -> Markup:
        """The same, ready to use."""
        return Markup(frozenset(self.lists), self.drop)


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

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.verify.startswith("hmac") and not self.header:
            raise ValueError(f"`verify: {self.verify}` needs `header`: where the signature is")
        if stray := sorted({*self.ids, *self.below} - set(self.routes.values())):
            raise ValueError(f"`ids` and `below`: no event is of {stray[0]}, by `routes`")
        if self.subscriptions is not None and (stray := sorted({*self.subscriptions.without} - set(self.routes))):
            raise ValueError(f"`subscriptions.without`: {stray[0]} is no event type of `routes`")
        return self


class Probe(Model):
    """A cheap call that tells whether the credential is accepted."""

    path: str = Field(description="Relative to base_url.")
    method: Literal["GET", "POST"] = Field("GET", description="How it is asked.")
    params: dict[str, Any] = Field(default_factory=dict, description="Query parameters.")
    body: dict[str, Any] | None = Field(None, description="JSON body.")
    every: Duration = Field(60.0, description="How long the partner may go uncalled before health asks with this call.")
    keep_alive: Duration | None = Field(
        None, description="It is made so often even while the integration is paused: the credential dies of disuse."
    )


class Option(Model):
    """One setting of the driver's own, given under an integration's `options:`."""

    about: str = Field(description="What it is, for a person.")
    kind: Literal["text", "integer", "number", "boolean", "list", "object"] = Field(
        "text", alias="as", description="What it must be."
    )
    default: Any = Field(None, description="Its value where a file gives none.")
    required: bool = Field(False, description="A file must give it.")
    choices: tuple[Any, ...] = Field((), description="The only values it may have.")
    when: dict[OptionValue, dict[str, str | dict[str, Any] | None]] = Field(
        default_factory=dict,
        description="Value: what resources are then. Name: keys in place of its own, the name of one of `alternatives`, or "
        "null where there is none.",
    )
    tenant: dict[OptionValue, str] = Field(
        default_factory=dict,
        description="Value: what records name under `tenant` then. Where a file gives that value, others are refused.",
    )


class Quality(Model):
    """Which rungs of the quality ladder the driver claims, and why it is excused from others."""

    tier: Literal["none", "bronze", "silver", "gold"] = Field("none", description="The rung it claims.")
    owner: str = Field("", description="Who looks after it.")
    checked: date | None = Field(None, description="When it was last checked against the real partner.")
    excused: dict[str, str] = Field(default_factory=dict, description="Rule: why it does not apply here.")


class DriverSpec(Model):
    """One partner, described."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$", description="Set from the folder, or the partner's file.")
    title: str = Field("", description="As the partner writes itself.")
    base_url: str | None = Field(None, description="Where paths start; an integration may say otherwise.")
    origins: tuple[str, ...] = Field((), description="Further origins calls may go to (a token or media host).")
    hosts: tuple[str, ...] = Field(
        (), description="Further origins of the partner's own API: calls may go there, and with the credential."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Sent with every call. {option.NAME} is an option's value; where it has none, the header is left out.",
    )
    auth: Auth = Field(Auth(), description="How calls prove who we are.")
    limits: Limits = Field(Limits(), description="What the partner allows.")
    errors: Errors = Field(Errors(), description="How its failures read.")
    xml: Xml = Field(Xml(), description="How its XML is read, where a resource or a push has `format: xml`.")
    page_size: int | None = Field(None, ge=1, description="For resources that name none.")
    resources: dict[Annotated[str, Field(pattern=NAME)], Resource] = Field(
        default_factory=dict, description="Name: what it is."
    )
    alternatives: dict[Annotated[str, Field(pattern=NAME)], Resource] = Field(
        default_factory=dict, description="Descriptions that options put in the place of resources (`when`)."
    )
    open_resources: bool = Field(False, description="The driver makes further resources from its options.")
    webhooks: Webhooks | None = Field(None, description="How its deliveries are verified and read.")
    test: Annotated[
        Probe | None,
        BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v, json_schema_input_type=str | Probe | None),
    ] = Field(None, description="A cheap call that tells whether the credential is accepted; a path will do.")
    options: dict[str, Option] = Field(default_factory=dict, description="Settings of its own, for Python to read.")
    quality: Quality = Field(Quality(), description="Which rung of the quality ladder it claims.")

    @model_validator(mode="before")
    @classmethod
    def _pass_down(cls, given: Any) -> Any:
        """Give each resource its name and, where it has none, the common page size."""
        if not isinstance(given, Mapping):
            return given
        size = given.get("page_size")
        passed = {
            key: _passed(given[key], size)
            for key in ("resources", "alternatives")
            if isinstance(given.get(key), Mapping)
        }
        return {**given, **passed}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_family(self.resources)
        asked = None if self.webhooks is None else self.webhooks.subscriptions
        if asked is not None and (stray := sorted(asked.options - set(self.options))):
            raise ValueError(f"webhooks.subscriptions: there is no option {stray[0]!r}")
        named = [(f"resources.{name}", one.options) for name, one in {**self.resources, **self.alternatives}.items()]
        named += [("limits.tiers", frozenset({*tier.when, *filter(None, [tier.option])})) for tier in self.limits.tiers]
        named += [("headers", frozenset(_OPTION.findall(text))) for text in self.headers.values()]
        named += [("auth", frozenset({*self.auth.when, *_OPTION.findall(self.auth.token_path or "")}))]
        for where, options in named:
            if stray := sorted(options - set(self.options)):
                raise ValueError(f"{where}: there is no option {stray[0]!r}")
        self._check_variants()
        return self

    def _check_variants(self) -> None:
        from syncd.kit.reading import replaced

        for name, option in self.options.items():
            for value, changes in option.when.items():
                where = f"options.{name}.when.{value}"
                if option.choices and value not in map(said, option.choices):
                    raise ValueError(f"{where}: it cannot have that value")
                for resource, other in changes.items():
                    if isinstance(other, str) and other not in self.alternatives:
                        raise ValueError(f"{where}.{resource}: there is no {other!r} among `alternatives`")
                    if not isinstance(other, str) and resource not in self.resources:
                        raise ValueError(f"{where}: there is no resource {resource!r}")
                    if isinstance(other, dict):
                        try:
                            replaced(self.resources[resource], other)
                        except ConfigError as error:
                            raise ValueError(f"{where}.{resource}: {error}") from None

    def facts(self) -> Facts:
        """What checking a configuration needs to know; nothing of the options' effect, which only Python knows."""
        adapters = {"v1"} | {name for resource in self.resources.values() for name in resource.adapters}
        return Facts(
            resources=() if self.open_resources else tuple(self.resources),
            credentials=self.auth.names,
            tiers=tuple(str(tier.rate) for tier in self.limits.tiers if not tier.budget and not tier.weighted),
            options=tuple(self.options),
            adapters=tuple(sorted(adapters)),
            base_url=self.base_url,
            signs_webhooks=self.webhooks is not None and self.webhooks.verify != "none",
            webhooks=self.webhooks is not None,
            counted_by=self.limits.scope,
            replaced=self.auth.replaced,
            queues=any(resource.queue is not None for resource in self.resources.values()),
        )


def _passed(given: Mapping[Any, Any], size: Any) -> dict[Any, Any]:
    """Resources with their names, and where they have none the common page size."""
    passed: dict[Any, Any] = {}
    for name, resource in given.items():
        if isinstance(resource, Mapping):
            more = {"name": name} if size is None or "page_size" in resource else {"name": name, "page_size": size}
            passed[name] = {**resource, **more}
        elif isinstance(resource, Resource) and resource.name != name:
            passed[name] = resource.model_copy(update={"name": name})
        else:
            passed[name] = resource
    return passed


def check_family(resources: Mapping[str, Resource]) -> None:
    """Parents exist, nobody is their own ancestor, and what a child asks of its parent is there. Raises ValueError."""
    for name, resource in resources.items():
        if resource.ends is not None and resource.ends not in resources:
            raise ValueError(f"resources.{name}: ends: there is no resource {resource.ends!r}")
        if resource.parent is None:
            continue
        parent = resources.get(resource.parent)
        if parent is None:
            raise ValueError(f"resources.{name}: there is no resource {resource.parent!r} to be its parent")
        if resource.where is not None and resource.where not in parent.fields:
            raise ValueError(f"resources.{name}: where: {resource.parent} has no field {resource.where!r}")
        for asked in resource.placeholders - {"id"}:
            if asked not in parent.fields:
                raise ValueError(f"resources.{name}: {{parent.{asked}}} is no field of {resource.parent}")
        seen = {name}
        while parent is not None and parent.parent is not None:
            if parent.name in seen:
                raise ValueError(f"resources.{name}: it is its own ancestor")
            seen.add(parent.name)
            parent = resources.get(parent.parent)
