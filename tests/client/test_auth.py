"""Each kind of credential: what it puts on a request, where it never goes, and what a refusal leads to."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import pytest

from syncd.client import Signable, Signature, build
from syncd.errors import AuthError, ConfigError, RejectedError
from syncd.model import Request
from syncd.secrets import Secret
from syncd.testing.clock import FakeClock
from tests.client.parts import BASE, Credentials, Facts, Keeper, Partner, auth_of, failure, ok, session_of

KEY = "s3cret-key-of-acme"


async def sent(clock: FakeClock, facts: Facts, request: Request | None = None, **credentials: str) -> httpx.Request:
    partner = Partner(ok())
    auth, _ = auth_of(facts, clock, **credentials)
    await session_of(partner, clock, auth=auth).call(request or Request("/t", params={"a": 1}))
    return partner.requests[0]


async def test_a_key_in_a_header(clock: FakeClock) -> None:
    request = await sent(clock, Facts("api_key", header="X-Key"), api_key=KEY)
    assert request.headers["x-key"] == KEY
    request = await sent(clock, Facts("api_key", header="Authorization", prefix="Token token="), api_key=KEY)
    assert request.headers["authorization"] == f"Token token={KEY}"


async def test_a_key_in_the_query_replaces_the_one_a_link_brought(clock: FakeClock) -> None:
    facts = Facts("api_key", query="api key")
    request = await sent(clock, facts, api_key="a+b c&d")
    assert request.url.raw_path == b"/v2/t?a=1&api%20key=a%2Bb%20c%26d"
    link = Request(f"{BASE}/t?api%20key=echoed&page=2")
    request = await sent(clock, facts, link, api_key=KEY)
    assert request.url.raw_path.decode() == f"/v2/t?page=2&api%20key={KEY}"


async def test_an_answer_does_not_show_the_key_in_its_url(clock: FakeClock) -> None:
    auth, _ = auth_of(Facts("api_key", query="key"), clock, api_key=KEY)
    response = await session_of(Partner(ok()), clock, auth=auth).call(Request("/t"))
    assert response.url == f"{BASE}/t"


async def test_a_bearer_token_under_another_name(clock: FakeClock) -> None:
    request = await sent(clock, Facts("bearer", credentials={"token": "api_token"}), api_token=KEY)
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_basic_with_and_without_a_password(clock: FakeClock) -> None:
    request = await sent(clock, Facts("basic"), username="üser", password="pä:ss")
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == "üser:pä:ss"
    request = await sent(clock, Facts("basic", optional=("password",)), username=KEY)
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == f"{KEY}:"


async def test_a_signer_signs_what_is_sent_at_the_time_it_is_sent(clock: FakeClock) -> None:
    def sign(request: Signable, secrets: Mapping[str, str], now: datetime) -> Signature:
        text = f"{request.method}\n{request.path}\n{int(now.timestamp())}\n".encode() + request.body
        mac = hmac.new(secrets["signing_key"].encode(), text, hashlib.sha256).hexdigest()
        return Signature({"X-Signature": mac}, {"ts": str(int(now.timestamp()))})

    partner = Partner(httpx.Response(500), ok())
    auth, _ = auth_of(Facts("signer", credentials={"key": "signing_key"}), clock, sign=sign, signing_key=KEY)
    request = Request("/t", "PUT", params={"a": "ä"}, json={"b": 1})
    await clock.run(session_of(partner, clock, auth=auth).call(request))
    stamps = [one.url.params["ts"] for one in partner.requests]
    for one, stamp in zip(partner.requests, stamps, strict=True):
        text = f"PUT\n/v2/t?a=%C3%A4\n{stamp}\n".encode() + one.content
        assert one.headers["x-signature"] == hmac.new(KEY.encode(), text, hashlib.sha256).hexdigest()


async def test_a_signer_that_fails_says_its_kind_and_not_its_words(clock: FakeClock) -> None:
    def sign(request: Signable, secrets: Mapping[str, str], now: datetime) -> Signature:
        raise ValueError(f"bad key {secrets['signing_key']}")

    auth, _ = auth_of(Facts("signer", credentials={"key": "signing_key"}), clock, sign=sign, signing_key=KEY)
    partner = Partner(ok())
    error = await failure(session_of(partner, clock, auth=auth).call(Request("/t")))
    assert isinstance(error, AuthError) and error.permanent
    assert KEY not in str(error) and "ValueError" in str(error)
    assert not partner.requests


@pytest.mark.parametrize("value", ["k1\nk2k3", "k1\rk2k3", "k1\0k2k3", "k1\u2603k2k3"])
async def test_a_credential_that_headers_cannot_carry_is_told_without_being_shown(clock: FakeClock, value: str) -> None:
    auth, _ = auth_of(Facts("bearer"), clock, token=value)
    partner = Partner(ok())
    error = await failure(session_of(partner, clock, auth=auth).call(Request("/t")))
    assert isinstance(error, AuthError) and error.permanent
    assert value not in str(error) and value[-4:] not in str(error)
    assert not partner.requests


async def test_a_missing_credential_says_what_to_add(clock: FakeClock) -> None:
    auth, _ = auth_of(Facts("bearer"), clock)
    error = await failure(session_of(Partner(ok()), clock, auth=auth).call(Request("/t")))
    assert isinstance(error, AuthError) and error.permanent
    assert "token" in error.hint


async def test_a_secret_rotated_by_a_person_is_used_from_the_next_call_on(clock: FakeClock) -> None:
    partner = Partner(ok())
    auth, secrets = auth_of(Facts("bearer"), clock, token="first-token")
    session = session_of(partner, clock, auth=auth)
    await session.call(Request("/t"))
    secrets.change(token="second-token")
    await session.call(Request("/t"))
    assert [one.headers["authorization"] for one in partner.requests] == ["Bearer first-token", "Bearer second-token"]


async def test_a_refused_secret_that_was_rotated_meanwhile_is_replayed_once(clock: FakeClock) -> None:
    auth, secrets = auth_of(Facts("bearer"), clock, token="first-token")

    def refuse(request: httpx.Request) -> httpx.Response:
        secrets.change(token=f"token-{len(partner.requests)}")
        return httpx.Response(401)

    partner = Partner(refuse)
    error = await failure(session_of(partner, clock, auth=auth).call(Request("/t")))
    assert isinstance(error, AuthError) and error.permanent
    assert [one.headers["authorization"] for one in partner.requests] == ["Bearer first-token", "Bearer token-1"]


async def test_no_credential_and_no_header_of_ours_leaves_the_home_origin(clock: FakeClock) -> None:
    for facts in (Facts("bearer"), Facts("api_key", query="key"), Facts("api_key", header="X-Key")):
        partner = Partner(ok())
        auth, _ = auth_of(facts, clock, token=KEY, api_key=KEY)
        session = session_of(
            partner, clock, auth=auth, origins=["https://media.acme.example"], headers={"X-Tenant": "tenant-7"}
        )
        await session.call(Request("https://media.acme.example/p.jpg"))
        partner.answers = [httpx.Response(302, headers={"location": "https://media.acme.example/q"}), ok()]
        await session.call(Request("/t", headers={"X-Mine": "1"}))
        for away in (partner.requests[0], partner.requests[2]):
            assert away.url.host == "media.acme.example"
            assert KEY not in str(away.url) + repr(away.headers.raw)
            assert not {"x-tenant", "x-mine", "authorization"} & set(away.headers)


async def test_a_call_elsewhere_needs_no_token(clock: FakeClock) -> None:
    partner = Partner(ok())
    facts = Facts("oauth2_client", token_path="/oauth/token")
    auth, _ = auth_of(facts, clock, keeper=Keeper(), client_id="a-client", client_secret="a-secret")
    session = session_of(partner, clock, auth=auth, origins=["https://media.acme.example"])
    await session.call(Request("https://media.acme.example/p.jpg?signature=abc&token=xyz"))
    assert [one.url.host for one in partner.requests] == ["media.acme.example"]


async def test_a_link_that_would_carry_our_key_elsewhere_is_refused(clock: FakeClock) -> None:
    partner = Partner(ok())
    auth, _ = auth_of(Facts("api_key", query="key"), clock, api_key=KEY)
    session = session_of(partner, clock, auth=auth, origins=["https://media.acme.example"])
    error = await failure(session.call(Request(f"https://media.acme.example/p?k={KEY}")))
    assert isinstance(error, RejectedError) and KEY not in str(error)
    partner.answers = [httpx.Response(302, headers={"location": f"https://media.acme.example/q?k={KEY}"})]
    error = await failure(session.call(Request("/t")))
    assert isinstance(error, RejectedError) and KEY not in str(error)
    assert len(partner.requests) == 1


async def test_a_401_of_a_foreign_origin_is_no_matter_of_our_credential(clock: FakeClock) -> None:
    partner = Partner(httpx.Response(401))
    auth, _ = auth_of(Facts("bearer"), clock, token=KEY)
    session = session_of(partner, clock, auth=auth, origins=["https://media.acme.example"])
    error = await failure(session.call(Request("https://media.acme.example/p.jpg")))
    assert isinstance(error, RejectedError)


@pytest.mark.parametrize(
    "facts",
    [Facts("magic"), Facts("signer"), Facts("oauth2_client", token_path="/t"), Facts("oauth2_refresh")],
)
def test_auth_that_cannot_be_built_is_a_configuration_error(clock: FakeClock, facts: Facts) -> None:
    keeper = None if facts.token_path else Keeper()
    with pytest.raises(ConfigError):
        build(facts, Credentials(), integration="i", clock=clock, keeper=keeper)


def test_the_kits_description_is_one(clock: FakeClock) -> None:
    from syncd.kit.auth import Auth

    secret: Any = lambda name: Secret("x")  # noqa: E731
    for given in (
        {"kind": "api_key", "query": "key"},
        {"kind": "basic", "optional": ["password"]},
        {"kind": "oauth2_refresh", "token_path": "/oauth/token", "client": "basic", "early": "10m"},
    ):
        assert build(Auth.model_validate(given), secret, integration="i", clock=clock, keeper=Keeper())
