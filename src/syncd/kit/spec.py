"""A driver, described: the keys of `driver.yaml` (or of `rest:` in a partner's file) as models.

What stands here is all a driver may say without Python. Reading a file: `drivers/__init__.py`. One kind of record:
`resource.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syncd.config.facts import Facts
from syncd.config.units import Duration, Rate, RateText
from syncd.kit.resource import NAME, Resource
from syncd.kit.shapes import Model, Path, RecordPath
from syncd.limits.tiers import TierSpec

Kind = Literal["none", "api_key", "basic", "bearer", "oauth2_client", "oauth2_refresh", "signer"]

_KEYS: Final[dict[str, frozenset[str]]] = {
    "none": frozenset(),
    "api_key": frozenset({"header", "prefix", "query", "secret"}),
    "basic": frozenset({"username", "password"}),
    "bearer": frozenset({"secret"}),
    "signer": frozenset({"secrets"}),
}
_OAUTH_KEYS: Final = frozenset(
    {"header", "prefix", "token_path", "token_url", "style", "scope", "params", "timeout", "margin", "client_id",
     "client_secret", "refresh_token", "budget", "group"}
)  # fmt: skip


class Auth(Model):
    """How calls prove who we are. Keys that name a credential say under which name it stands in `credentials:`."""

    kind: Kind = "none"
    header: str | None = Field(None, description="api_key: the header it travels in (default X-Api-Key).")
    prefix: str | None = Field(None, description="api_key: what stands before the key, such as Token.")
    query: str | None = Field(None, description="api_key: the query parameter it travels in instead.")
    secret: str | None = Field(None, description="Name of the credential (default api_key; of a bearer token: token).")
    username: str | None = Field(None, description="basic: name of the credential (default username).")
    password: str | None = Field(None, description="basic: name of the credential (default password); null for none.")
    secrets: tuple[str, ...] | None = Field(None, description="signer: names of the credentials it needs.")
    token_path: str | None = Field(None, description="oauth2: where tokens come from, from the root of base_url's host.")
    token_url: str | None = Field(None, description="oauth2: the same as an absolute URL on another host.")
    style: Literal["form", "basic", "json"] | None = Field(None, description="oauth2: how the client proves itself.")
    scope: str | None = None
    params: dict[str, str] | None = Field(None, description="oauth2: further fields of the token request.")
    timeout: Duration | None = Field(None, description="oauth2: how long a token request may take (default 45s).")
    margin: Duration | None = Field(None, description="oauth2: how long before its end a token is renewed (default 5m).")
    client_id: str | None = Field(None, description="oauth2: name of the credential (default client_id).")
    client_secret: str | None = Field(None, description="oauth2: name of the credential; null for none.")
    refresh_token: str | None = Field(None, description="oauth2_refresh: name of the credential.")
    budget: str | None = Field(None, description="oauth2: limit budget of token requests (default token).")
    group: str | None = Field(None, description="oauth2: breaker group of token requests (default token).")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        allowed = _KEYS.get(self.kind, _OAUTH_KEYS)
        for key in sorted(self.model_fields_set - {"kind"} - allowed):
            raise ValueError(f"`{key}` does not go with auth of kind {self.kind}")
        if self.header is not None and self.query is not None:
            raise ValueError("an API key travels in one of `header` and `query`")
        if self.kind.startswith("oauth2") and (self.token_path is None) == (self.token_url is None):
            raise ValueError(f"auth of kind {self.kind} needs one of `token_path` and `token_url`")
        return self

    def mapping(self) -> dict[str, Any]:
        """What was said, as `client.auth.build` takes it."""
        return {"kind": self.kind, **{key: getattr(self, key) for key in self.model_fields_set - {"kind"}}}

    @property
    def credentials(self) -> dict[str, bool]:
        """Names an integration may have under `credentials:`; True where it must."""
        match self.kind:
            case "none":
                names: list[str | None] = []
            case "api_key":
                names = [self.secret or "api_key"]
            case "bearer":
                names = [self.secret or "token"]
            case "basic":
                names = [self.username or "username", self._named("password")]
            case "signer":
                names = list(self.secrets or ())
            case _:
                names = [self.client_id or "client_id", self._named("client_secret")]
                if self.kind == "oauth2_refresh":
                    names.append(self.refresh_token or "refresh_token")
        return {name: True for name in names if name is not None}

    def _named(self, key: str) -> str | None:
        """The credential's name: its own unless it says otherwise, none where it says null."""
        said: str | None = getattr(self, key)
        return said if key in self.model_fields_set else key


class Tier(Model):
    """One rate the partner allows."""

    rate: RateText
    kind: Literal["sliding", "fixed", "bucket"] = "sliding"
    burst: float | None = Field(None, gt=0, description="Of a bucket: calls it holds when full.")
    budget: str = Field("", description="Which calls it counts: read, write, token, a route's. Empty: all.")
    share: float | None = Field(None, gt=0, le=1, description="How much of it we use; default: that of all limits.")
    weighted: bool = Field(False, description="It counts the partner's points, not calls.")

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
        )


TierText = Annotated[
    Tier, BeforeValidator(lambda v: {"rate": v} if isinstance(v, str) else v, json_schema_input_type=str | Tier)
]


class Breaker(Model):
    """When calls to a partner that is down stop for a while."""

    failures: int = Field(5, ge=1)
    cooldown: Duration = 30.0


class Limits(Model):
    """What the partner allows, as the driver's author believes it; a configuration may only tighten it."""

    tiers: tuple[TierText, ...] = Field((), description="Rates such as 7/s, 400/min, or {rate: 60/min, kind: fixed, …}.")
    concurrency: int | None = Field(None, ge=1, description="Calls in flight at once.")
    share: float = Field(0.7, gt=0, le=1, description="How much of each stated limit we use.")
    headers: str | None = Field(None, description="Prefix of the partner's limit headers, such as x-ratelimit.")
    dialect: Any = Field(None, description="How a 429 says when to come back, where the usual places do not hold it.")
    cost: str | None = Field(None, description="Response header with what the call cost a weighted tier.")
    scope: Literal["account", "credential", "partner"] = Field("account", description="What the partner counts.")
    lanes: dict[Literal["high", "normal", "low"], float] = Field(default_factory=dict)
    breaker: Breaker = Breaker()
    reason: str = Field("", description="Why these numbers, where they differ from the stated ones.")


Word = Literal["auth", "denied", "limited", "transient", "busy", "gone", "rejected", "payload"]
"""What an answer means: auth (refresh may help), denied (only a person can), limited, transient, busy (retry, but the
breaker does not count it), gone, rejected, payload."""


class Errors(Model):
    """How the partner's failures read, where they differ from what HTTP says."""

    code: Path | None = Field(None, description="Where an error body has its code, such as error.code.")
    message: Path | None = Field(None, description="Where it has its text, such as error.message.")
    codes: dict[str, Word] = Field(default_factory=dict, description="What a code means, whatever the status.")
    statuses: dict[int, Word] = Field(default_factory=dict, description="What a status means, such as {403: auth}.")


class Webhooks(Model):
    """How deliveries are verified and what they mean."""

    verify: Literal["hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "none"] = "none"
    header: str | None = Field(None, description="Header with the signature.")
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field("", description="Text before the signature, such as sha256=.")
    tolerance: Duration = Field(300.0, description="How old a signed timestamp may be.")
    event_id: Path | None = Field(None, description="What is the same on every try; may be header:NAME.")
    events: RecordPath | None = Field(None, description="Where a list of events sits; left out: the body is one event.")
    type: Path | None = Field(None, description="Where an event names its type.")
    id: RecordPath | None = Field(None, description="Where an event names the record's id.")
    record: RecordPath | None = Field(None, description="Where an event has the whole record, if to be trusted.")
    at: RecordPath | None = Field(None, description="Where an event has its time.")
    routes: dict[str, str] = Field(default_factory=dict, description="Event type to resource.")
    deletes: tuple[str, ...] = Field((), description="Event types that mean: gone.")


class Probe(Model):
    """A cheap call that tells whether the credential is accepted."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, Any] = Field(default_factory=dict)
    body: dict[str, Any] | None = None


class Option(Model):
    """One setting of the driver's own, given under an integration's `options:`."""

    about: str
    kind: Literal["text", "integer", "number", "boolean", "list", "object"] = Field("text", alias="as")
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()


class Quality(Model):
    """Which rungs of the quality ladder the driver claims, and why it is excused from others."""

    tier: Literal["none", "bronze", "silver", "gold"] = "none"
    excused: dict[str, str] = Field(default_factory=dict)


class DriverSpec(Model):
    """One partner, described."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,47}$")
    title: str = ""
    base_url: str | None = Field(None, description="Where paths start; an integration may say otherwise.")
    origins: tuple[str, ...] = Field((), description="Further origins calls may go to (a token or media host).")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with every call.")
    auth: Auth = Auth()
    limits: Limits = Limits()
    errors: Errors = Errors()
    page_size: int | None = Field(None, ge=1, description="For resources that name none.")
    resources: dict[Annotated[str, Field(pattern=NAME)], Resource] = Field(default_factory=dict)
    open_resources: bool = Field(False, description="The driver makes further resources from its options.")
    webhooks: Webhooks | None = None
    test: Annotated[
        Probe | None,
        BeforeValidator(lambda v: {"path": v} if isinstance(v, str) else v, json_schema_input_type=str | Probe | None),
    ] = None
    options: dict[str, Option] = Field(default_factory=dict)
    quality: Quality = Quality()

    @model_validator(mode="before")
    @classmethod
    def _pass_down(cls, given: Any) -> Any:
        """Give each resource its name and, where it has none, the common page size."""
        if not isinstance(given, Mapping) or not isinstance(given.get("resources"), Mapping):
            return given
        size = given.get("page_size")
        passed: dict[Any, Any] = {}
        for name, resource in given["resources"].items():
            if isinstance(resource, Mapping):
                more = {"name": name} if size is None or "page_size" in resource else {"name": name, "page_size": size}
                passed[name] = {**resource, **more}
            elif isinstance(resource, Resource) and resource.name != name:
                passed[name] = resource.model_copy(update={"name": name})
            else:
                passed[name] = resource
        return {**given, "resources": passed}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_family(self.resources)
        return self

    def facts(self) -> Facts:
        """What checking a configuration needs to know; nothing of the options' effect, which only Python knows."""
        adapters = {"v1"} | {name for resource in self.resources.values() for name in resource.adapters}
        return Facts(
            resources=() if self.open_resources else tuple(self.resources),
            credentials=self.auth.credentials,
            tiers=tuple(str(tier.rate) for tier in self.limits.tiers if not tier.budget and not tier.weighted),
            options=tuple(self.options),
            adapters=tuple(sorted(adapters)),
            base_url=self.base_url,
            signs_webhooks=self.webhooks is not None and self.webhooks.verify != "none",
        )


def check_family(resources: Mapping[str, Resource]) -> None:
    """Parents exist, nobody is their own ancestor, and what a child asks of its parent is there. Raises ValueError."""
    for name, resource in resources.items():
        if resource.parent is None:
            continue
        parent = resources.get(resource.parent)
        if parent is None:
            raise ValueError(f"resources.{name}: there is no resource {resource.parent!r} to be its parent")
        for asked in resource.placeholders - {"id"}:
            if asked not in parent.fields:
                raise ValueError(f"resources.{name}: {{parent.{asked}}} is no field of {resource.parent}")
        seen = {name}
        while parent is not None and parent.parent is not None:
            if parent.name in seen:
                raise ValueError(f"resources.{name}: it is its own ancestor")
            seen.add(parent.name)
            parent = resources.get(parent.parent)
