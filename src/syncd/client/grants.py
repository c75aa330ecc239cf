"""The two OAuth grants as data: what a token endpoint is asked and what its answer grants (RFC 6749, 4.4 and 6)."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

from syncd import codec
from syncd.client import classify
from syncd.client.addresses import encode_params
from syncd.errors import AuthError, PartnerError, PayloadError, RateLimitError, TransientError
from syncd.model import Response
from syncd.secrets import Secret

_TRY_AGAIN = frozenset({"temporarily_unavailable", "slow_down", "server_error"})
_LONGEST_LIFE_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class OAuthSpec:
    """What a driver states of its token endpoint. `client_id` and so on are names of credentials, not credentials."""

    kind: str
    """`oauth2_client` or `oauth2_refresh`; also the kind under which the keeper stores the token."""
    token: str
    """The endpoint: a path from the root of the home origin, or an absolute URL."""
    client: str = "form"
    """Where id and secret stand: `form` fields, a `basic` header, or a `json` body."""
    body: str = "form"
    """How the request is written: `form` or `json`."""
    grant_type: str | None = None
    """What it says under that name; None: the grant's own name, `none`: nothing."""
    granted: str = ""
    """Where the answer has the token, if not at its top."""
    named: str = "access_token"
    """What the answer calls the token."""
    scope: str = ""
    extra: Mapping[str, str | int | bool] = field(default_factory=dict)
    """More fields the partner wants (`audience`, `tenant`)."""
    timeout_seconds: float = 45.0
    """One token request may take so long; Guesty's takes up to 30 s."""
    margin_seconds: float = 300.0
    """A token is renewed so long before it expires, but never in the first four fifths of its life."""
    lasts_seconds: float | None = None
    """A token's life where the answer does not say."""
    client_id: str = "client_id"
    client_secret: str | None = "client_secret"  # noqa: S105 - the credential's name
    refresh_token: str = "refresh_token"  # noqa: S105 - the credential's name
    login: bool = False
    """May a person allow it in a browser? Then no refresh token has to be configured."""
    budget: str = "token"
    """The budget of the scope's limits that token requests spend."""
    group: str = "token"
    """The breaker's endpoint group."""


@dataclass(frozen=True, slots=True, repr=False)
class TokenRequest:
    """One request to a token endpoint, secrets included: hence no repr."""

    token: str
    """Path or URL, as the spec has it."""
    headers: dict[str, str]
    content: bytes
    timeout_seconds: float
    budget: str
    group: str
    lasts_seconds: float | None = None
    granted: str = ""
    named: str = "access_token"


@dataclass(frozen=True, slots=True, repr=False)
class Granted:
    """What the endpoint gave. `expires_at` is by our clock, counted from the moment we asked."""

    access: Secret
    refresh: Secret | None
    expires_at: datetime | None
    life_seconds: int | None
    scope: str

    def value(self, before: Mapping[str, str], made_from: str) -> dict[str, str]:
        """What is stored. An endpoint that rotates nothing sends no refresh token: the old one goes on."""
        value = {"access_token": self.access.reveal(), "made_from": made_from}
        if self.refresh is not None:
            value["refresh_token"] = self.refresh.reveal()
        elif "refresh_token" in before and before.get("made_from", "") == made_from:
            value["refresh_token"] = before["refresh_token"]
        if self.life_seconds is not None:
            value["life_seconds"] = str(self.life_seconds)
        if self.scope:
            value["scope"] = self.scope
        return value


@dataclass(frozen=True, slots=True, repr=False)
class Consent:
    """What a person's browser brought back (RFC 6749, 4.1.2): good once, for a few minutes, and for our client alone."""

    code: Secret
    redirect_uri: str | None
    """As it was said to the page; None: this partner's exchange goes without it."""
    verifier: Secret | None = None
    """What the page was shown the hash of (RFC 7636)."""
    extra: Mapping[str, str | int | bool] = field(default_factory=dict)


def token_request(spec: OAuthSpec, secrets: Callable[[str], Secret], refresh: Secret | None) -> TokenRequest:
    """The request for a new token."""
    fields: dict[str, str | int | bool] = dict(spec.extra)
    usual = "client_credentials" if refresh is None else "refresh_token"
    if refresh is not None:
        fields["refresh_token"] = refresh.reveal()
    if spec.grant_type != "none":
        fields["grant_type"] = spec.grant_type or usual
    if spec.scope:
        fields["scope"] = spec.scope
    return _request(spec, secrets, fields)


def code_request(spec: OAuthSpec, secrets: Callable[[str], Secret], consent: Consent) -> TokenRequest:
    """The request that gives a code for the first token (RFC 6749, 4.1.3)."""
    fields: dict[str, str | int | bool] = {**consent.extra, "code": consent.code.reveal()}
    if spec.grant_type != "none":
        fields["grant_type"] = "authorization_code"
    if consent.redirect_uri is not None:
        fields["redirect_uri"] = consent.redirect_uri
    if consent.verifier is not None:
        fields["code_verifier"] = consent.verifier.reveal()
    return _request(spec, secrets, fields)


def _request(spec: OAuthSpec, secrets: Callable[[str], Secret], fields: dict[str, str | int | bool]) -> TokenRequest:
    """With id and secret of the client where the endpoint wants them."""
    headers = {"Accept": "application/json"}
    client_id = secrets(spec.client_id).reveal()
    client_secret = secrets(spec.client_secret).reveal() if spec.client_secret is not None else ""
    if spec.client == "basic" and spec.body == "json":
        headers["Authorization"] = basic(client_id, client_secret)
    elif spec.client == "basic":
        # RFC 6749, 2.3.1: id and secret are form-encoded before they are joined.
        headers["Authorization"] = basic(quote_plus(client_id), quote_plus(client_secret))
    else:
        fields["client_id"] = client_id
        if spec.client_secret is not None:
            fields["client_secret"] = client_secret
    if spec.body == "json":
        headers["Content-Type"] = "application/json"
        content = codec.dumps(fields)
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = encode_params({name: _form(value) for name, value in fields.items()}).encode("ascii")
    return TokenRequest(
        spec.token,
        headers,
        content,
        spec.timeout_seconds,
        spec.budget,
        spec.group,
        spec.lasts_seconds,
        spec.granted,
        spec.named,
    )


def _form(value: str | int | bool) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def read_grant(response: Response, now: datetime, request: TokenRequest) -> Granted:
    """What an answer of the token endpoint grants. Raises AuthError (permanent), RateLimitError, TransientError."""
    error = classify.classify(response, now)
    if error is not None and response.status_code == 403 and classify.is_page(response):
        # A firewall before the endpoint speaks in pages: it knows nothing of our credential, and nobody has to act.
        raise TransientError("the token endpoint answered 403 with an HTML page where data was due", status=403)
    if error is not None:
        raise _refusal(error)
    body: Any = None
    broken = False
    try:
        body = response.json()
    except PartnerError:
        broken = True
    for name in request.granted.split(".") if request.granted else ():
        inner = body.get(name) if isinstance(body, Mapping) else None
        body = inner if isinstance(inner, Mapping) else body  # some answer without the envelope all the same
    if broken or not isinstance(body, Mapping):
        raise TransientError("the token endpoint answered something that is no JSON object", breaks=False)
    access = body.get(request.named)
    if not isinstance(access, str) or not access:
        words, code = classify.said(response)
        if code or "error" in body or body.get("success") is False:  # some partners refuse with a 200
            raise _refusal(
                AuthError(f"refused{f' ({words})' if words else ''}", code=code, status=response.status_code)
            )
        raise PayloadError(f"the token endpoint answered without an {request.named}")
    began_at = response.requested_at or now
    told = body if "expires_in" in body or "expires_at" in body else {"expires_at": end_of(access)}
    expires_at, life = _expiry(told, began_at, response, request.lasts_seconds)
    refresh = body.get("refresh_token")
    scope = body.get("scope")
    return Granted(
        Secret(access),
        Secret(refresh) if isinstance(refresh, str) and refresh else None,
        expires_at,
        life,
        scope if isinstance(scope, str) else "",
    )


def _refusal(error: PartnerError) -> PartnerError:
    """Any refusal of a token endpoint means that a person must act, whatever its status means elsewhere."""
    known: dict[str, Any] = {"status": error.status, "code": error.code, "request_id": error.request_id}
    if error.code in _TRY_AGAIN:
        return TransientError(f"the token endpoint asked to wait: {error}", **known)
    if isinstance(error, TransientError | RateLimitError):
        error.args = (f"the token endpoint {error}",)
        return error
    cause = _CAUSES.get(
        error.code or "", "client id or secret is wrong or revoked, or the token endpoint's address is wrong"
    )
    return AuthError(f"the token endpoint {error}", permanent=True, cause=cause, **known)


_CAUSES = {
    "invalid_grant": "the refresh token is no longer valid: the integration has to be authorised again",
    "invalid_client": "the partner does not know this client id and secret: revoked, rotated or mistyped",
    "unauthorized_client": "this client may not use this grant: its settings at the partner say so",
    "invalid_scope": "the partner refuses a scope asked for: the client was given others",
}


def _expiry(
    body: Mapping[str, Any], began_at: datetime, response: Response, lasts_seconds: float | None
) -> tuple[datetime | None, int | None]:
    """When the token ends by our clock. A stated moment is the partner's clock, corrected by its own Date."""
    life = _number(body.get("expires_in"))
    if life is not None and 0 < life <= _LONGEST_LIFE_SECONDS:
        return began_at + timedelta(seconds=life), int(life)
    stated = body.get("expires_at")
    at: datetime | None = None
    number = _number(stated)
    if number is not None and 1e9 < number < 1e14:
        at = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    elif isinstance(stated, str):
        try:
            at = datetime.fromisoformat(stated)
        except ValueError:
            at = None
    if at is None:
        if lasts_seconds is None:
            return None, None
        return began_at + timedelta(seconds=lasts_seconds), int(lasts_seconds)
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    theirs = response.date
    life_left = (at - (theirs or began_at)).total_seconds()
    return began_at + timedelta(seconds=life_left), max(int(life_left), 1)


def end_of(access: str) -> object:
    """What a token that is a JWT says of its own end (`exp`, RFC 7519): read, not verified, since it is for the partner."""
    parts = access.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = codec.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, PartnerError):
        return None
    return claims.get("exp") if isinstance(claims, Mapping) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
