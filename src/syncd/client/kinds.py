"""From a driver's `auth:` to the object that stamps requests: the one list of the kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from syncd.client.auth import Auth, Basic, Header, OAuth, Query, Secrets, Sign, Signer, given, read
from syncd.client.grants import OAuthSpec
from syncd.client.tokens import TokenSource
from syncd.clock import Clock
from syncd.errors import ConfigError
from syncd.ports import CredentialKeeper
from syncd.secrets import Secret


class AuthFacts(Protocol):
    """What `build` reads of a driver's `auth:`; `kit.auth.Auth` has it."""

    @property
    def kind(self) -> str: ...
    @property
    def header(self) -> str | None: ...
    @property
    def query(self) -> str | None: ...
    @property
    def prefix(self) -> str: ...
    @property
    def credentials(self) -> Mapping[str, str]:
        """Other names for what the kind needs; for a signer, the names it is given."""
        ...

    @property
    def optional(self) -> tuple[str, ...]: ...
    @property
    def token_path(self) -> str | None: ...
    @property
    def scope(self) -> str | None: ...
    @property
    def client(self) -> str: ...
    @property
    def body(self) -> str | None: ...
    @property
    def grant_type(self) -> str | None: ...
    @property
    def granted(self) -> str | None: ...
    @property
    def named(self) -> str: ...
    @property
    def send(self) -> Mapping[str, str]: ...
    @property
    def extra(self) -> Mapping[str, str | int | bool]: ...
    @property
    def early(self) -> float: ...
    @property
    def lasts(self) -> float | None: ...
    @property
    def timeout(self) -> float: ...
    @property
    def login(self) -> object: ...


def build(
    facts: AuthFacts,
    secrets: Secrets,
    *,
    integration: str,
    clock: Clock,
    keeper: CredentialKeeper | None = None,
    sign: Sign | None = None,
) -> Auth:
    """The auth of one integration from its driver's facts. Raises ConfigError for one that cannot be."""
    named = facts.credentials

    def name(usual: str) -> str:
        return named.get(usual, usual)

    match facts.kind:
        case "none":
            return Auth()
        case "api_key" if facts.query is not None:
            return Query(secrets, param=facts.query, secret=name("api_key"))
        case "api_key":
            return Header(secrets, header=facts.header or "X-Api-Key", prefix=facts.prefix, secret=name("api_key"))
        case "bearer":
            prefix = facts.prefix or "Bearer "
            return Header(secrets, header="Authorization", prefix=prefix, secret=name("token"))
        case "basic":
            password = name("password")
            return Basic(
                secrets, username=name("username"), password=password, password_optional=password in facts.optional
            )
        case "signer":
            if sign is None:
                raise ConfigError("auth of kind signer needs a driver that has `sign`")
            return Signer(secrets, sign=sign, names=tuple(named.values()))
        case "oauth2_client" | "oauth2_refresh":
            if facts.token_path is None or keeper is None:
                raise ConfigError(f"auth of kind {facts.kind} needs token_path, and the store where its tokens live")
            secret_name = name("client_secret")
            spec = OAuthSpec(
                facts.kind,
                facts.token_path,
                client=facts.client,
                body=facts.body or ("json" if facts.client == "json" else "form"),
                grant_type=facts.grant_type,
                granted=facts.granted or "",
                named=facts.named,
                scope=facts.scope or "",
                extra=facts.extra,
                timeout_seconds=facts.timeout,
                margin_seconds=facts.early,
                lasts_seconds=facts.lasts,
                client_id=name("client_id"),
                client_secret=None
                if secret_name in facts.optional and not given(secrets, secret_name)
                else secret_name,
                refresh_token=name("refresh_token"),
                login=facts.login is not None,
            )

            def secret(wanted: str) -> Secret:
                return read(secrets, wanted)

            header = facts.header or "Authorization"
            return OAuth(
                TokenSource(spec, secret, integration=integration, keeper=keeper, clock=clock),
                header=header,
                prefix=facts.prefix or ("Bearer " if header == "Authorization" else ""),
                beside={other: partial(secret, wanted) for other, wanted in facts.send.items()},
            )
        case unknown:
            raise ConfigError(
                f"unknown kind of auth {unknown!r}",
                hint="one of none, api_key, basic, bearer, oauth2_client, oauth2_refresh, signer",
            )
