"""How a request is made ours: a class for each kind of credential, built from the driver's `auth:` and references.

A credential is read through its reference at every call, so a rotated secret is used from the next call on. Values are
unwrapped here, at the moment of sending, and go only to the home origin (client.py asks nobody else to stamp). OAuth
kinds keep their tokens in tokens.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import parse_qsl, quote

from syncd.client.addresses import encode_params
from syncd.client.grants import Consent, basic
from syncd.client.tokens import TokenCall, TokenSource
from syncd.client.transport import Outgoing
from syncd.errors import AuthError, ConfigError
from syncd.ports import StoredCredential
from syncd.secrets import Secret

Secrets = Callable[[str], Secret]
"""The credentials of one integration by their name in its file. Raises KeyError for one that is not configured."""


class Auth:
    """The kind `none`, and what every kind can be asked."""

    @property
    def needs(self) -> str | None:
        """The endpoint group that has to answer before the next call can go: the token's, where none is held."""
        return None

    async def prepare(self) -> None:
        """Make sure a credential is there. Called before the gate, so that no slot waits for a token."""

    def stamp(self, out: Outgoing, now: datetime) -> object:
        """Put the credential on a request about to leave; returns a mark of which one it was."""
        return None

    async def renewed(self, mark: object) -> bool:
        """The credential marked was refused. True once another one is ready, which is worth one replay.

        Raises AuthError (permanent) when a person has to act, or what kept a new one from coming.
        """
        return False

    async def consented(self, consent: Consent) -> StoredCredential:
        """A person has allowed it in a browser: the token that the code is good for, stored and in force.

        Raises ConfigError where nobody has to; else what a call may raise.
        """
        raise ConfigError("no person allows this partner's calls in a browser: it has a credential of another kind")

    def bind(self, send: TokenCall) -> None:
        """Take the way to a token endpoint; only the OAuth kinds need one."""

    def rest(self, seconds: float) -> None:
        """Ask for no new token so long: somebody is about to replace what it would be asked with."""

    def forget(self) -> None:
        """Hold no token any longer: other credentials are in force, and what is stored now was made from those."""

    async def aclose(self) -> None:
        """End what still runs."""


class _Static(Auth):
    """Credentials that only a person changes. After a refusal they are read once more: maybe a person just did."""

    names: tuple[str, ...] = ()

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def _read(self) -> tuple[Secret, ...]:
        return tuple([read(self._secrets, name) for name in self.names])

    async def renewed(self, mark: object) -> bool:
        return mark is not None and self._read() != mark


class Header(_Static):
    """An API key in a header; `bearer` is the same with `Authorization: Bearer`."""

    def __init__(self, secrets: Secrets, *, header: str, prefix: str = "", secret: str = "api_key") -> None:  # noqa: S107
        super().__init__(secrets)
        self.names = (secret,)
        self._header = header
        self._prefix = prefix

    def stamp(self, out: Outgoing, now: datetime) -> object:
        mark = self._read()
        put_header(out, self._header, self._prefix + mark[0].reveal())
        return mark


class Query(_Static):
    """An API key in the query. It replaces a parameter of the same name that a next link brought along."""

    def __init__(self, secrets: Secrets, *, param: str, secret: str = "api_key") -> None:  # noqa: S107
        super().__init__(secrets)
        self.names = (secret,)
        self._param = param

    def stamp(self, out: Outgoing, now: datetime) -> object:
        mark = self._read()
        put_params(out, {self._param: mark[0].reveal()})
        return mark


class Basic(_Static):
    """User name and password (RFC 7617, UTF-8). A key that stands as user name may have no password."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        username: str = "username",
        password: str = "password",  # noqa: S107 - the credential's name
        password_optional: bool = False,
    ) -> None:
        super().__init__(secrets)
        self.names = (username, password)
        self._optional = password_optional

    def _read(self) -> tuple[Secret, ...]:
        if self._optional and not given(self._secrets, self.names[1]):
            return (read(self._secrets, self.names[0]),)
        return super()._read()

    def stamp(self, out: Outgoing, now: datetime) -> object:
        mark = self._read()
        user = mark[0].reveal()
        if ":" in user and len(mark) > 1:
            raise AuthError("the user name holds a colon, which Basic authentication cannot carry", permanent=True)
        put_header(out, "Authorization", basic(user, mark[1].reveal() if len(mark) > 1 else ""))
        return mark


@dataclass(frozen=True, slots=True)
class Signable:
    """What a signer may sign: the request as it will be sent."""

    method: str
    url: str
    path: str
    """With the query, escaped."""
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signer adds."""

    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


class Sign(Protocol):
    """A partner's own scheme: pure, no I/O. Called for each try, inside the gate, so its timestamp is fresh."""

    def __call__(self, request: Signable, secrets: Mapping[str, str], now: datetime) -> Signature: ...


class Signer(_Static):
    """Calls the driver's `Sign` with the values of the secrets it names."""

    def __init__(self, secrets: Secrets, *, sign: Sign, names: tuple[str, ...]) -> None:
        super().__init__(secrets)
        self.names = names
        self._sign = sign

    def stamp(self, out: Outgoing, now: datetime) -> object:
        mark = self._read()
        values = {name: one.reveal() for name, one in zip(self.names, mark, strict=True)}
        path = out.path or out.target.path
        signable = Signable(out.method, f"{out.target.origin}{path}", path, dict(out.headers), out.content)
        failure = ""
        try:
            signature = self._sign(signable, values, now)
        except Exception as error:  # a driver's own code, which may put the secret into its words
            failure = type(error).__name__
        if failure:
            raise AuthError(f"the driver's signer failed ({failure})", permanent=True)
        for name, value in signature.headers.items():
            put_header(out, name, value)
        if signature.params:
            put_params(out, signature.params)
        return mark


class OAuth(Auth):
    """A token from the partner's token endpoint, in both grants; see tokens.py."""

    def __init__(
        self,
        source: TokenSource,
        *,
        header: str = "Authorization",
        prefix: str = "Bearer ",
        beside: Mapping[str, Callable[[], Secret]] | None = None,
    ) -> None:
        """`beside`: headers that go with the token, each with what reads its credential."""
        self.source = source
        self._header = header
        self._prefix = prefix
        self._beside = dict(beside or {})

    @property
    def needs(self) -> str | None:
        return self.source.spec.group if self.source.lacking else None

    async def prepare(self) -> None:
        await self.source.ready()

    def stamp(self, out: Outgoing, now: datetime) -> object:
        token = self.source.held
        if token is None:  # refused for somebody else while this call waited at the gate
            return None
        put_header(out, self._header, self._prefix + token.access.reveal())
        for name, secret in self._beside.items():
            put_header(out, name, secret().reveal())
        return token.version

    async def renewed(self, mark: object) -> bool:
        await self.source.renew(mark)
        return True

    async def consented(self, consent: Consent) -> StoredCredential:
        return await self.source.consented(consent)

    def bind(self, send: TokenCall) -> None:
        self.source.send = send

    def rest(self, seconds: float) -> None:
        self.source.rest(seconds)

    def forget(self) -> None:
        self.source.held = None

    async def aclose(self) -> None:
        await self.source.aclose()


def read(secrets: Secrets, name: str) -> Secret:
    """One credential. A missing or unreadable one is an AuthError a person has to mend, and says how."""
    trouble, hint = "", ""
    try:
        return secrets(name)
    except KeyError:
        trouble, hint = f"credential {name!r} is not configured", f"add `{name}` under the integration's credentials"
    except ConfigError as error:
        trouble, hint = str(error), error.hint
    raise AuthError(trouble, permanent=True, hint=hint)


def put_header(out: Outgoing, name: str, value: str) -> None:
    """Set a header whose value is secret: an unusable one is told without being shown."""
    if not value.isascii() or not value.isprintable():
        raise AuthError(
            f"the credential for header {name} holds a line break or a character headers cannot carry",
            permanent=True,
            hint="look at its file: is there a second line?",
        )
    out.headers[name] = value


def put_params(out: Outgoing, params: Mapping[str, str]) -> None:
    """Set query parameters on the path that is sent; the target, which is logged and returned, stays as it was."""
    path, _, query = (out.path or out.target.path).partition("?")
    if query and any(quote(name, safe="") in query for name in params):
        kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in params]
        query = encode_params(kept)
    added = encode_params(params)
    out.path = f"{path}?{query}&{added}" if query else f"{path}?{added}"


def given(secrets: Secrets, name: str) -> bool:
    try:
        secrets(name)
    except KeyError:
        return False
    return True
