"""How calls prove who we are, described: the keys of `auth:`. What makes it real: `client.auth`."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from syncd.config.units import Duration
from syncd.kit.consent import Login
from syncd.kit.limits import TierText
from syncd.kit.shapes import Model, OptionValue, Path

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
        "login",
    }
)


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
    login: Login | None = Field(
        None,
        description="oauth2_refresh: how a person allows it in a browser, for `syncd credential login`. A refresh token in "
        "the file is not needed then.",
    )
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
        if self.login is not None and self.kind == "oauth2_client":
            raise ValueError("`login` goes with auth of kind oauth2_refresh: a client alone asks nobody")
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
        spared = {*self.optional, *(self.replaced if self.login is not None else ())}
        return {name: name not in spared for name in found}

    @property
    def replaced(self) -> tuple[str, ...]:
        """Names under `credentials:` of what a partner may replace with each use."""
        return (self.credentials.get("refresh_token", "refresh_token"),) if self.kind == "oauth2_refresh" else ()

    @property
    def ageless(self) -> tuple[str, ...]:
        """Names under `credentials:` of what nobody replaces because it is old: it only says who calls, or the partner itself
        replaces it."""
        usual = {"oauth2_client": "client_id", "oauth2_refresh": "client_id", "basic": "username"}.get(self.kind)
        alone = (
            self.kind == "basic" and self.credentials.get("password", "password") in self.optional
        )  # it is the key then
        return (*((self.credentials.get(usual, usual),) if usual and not alone else ()), *self.replaced)

    @property
    def required(self) -> tuple[str, ...]:
        """Names an integration must have under `credentials:`."""
        return tuple(name for name, must in self.names.items() if must)
