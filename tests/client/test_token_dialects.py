"""Token endpoints that speak no plain OAuth: JSON bodies, no grant type, an envelope, a header of the token's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from syncd.client.grants import OAuthSpec, read_grant, token_request
from syncd.model import Headers, Request, Response
from syncd.secrets import Secret
from syncd.testing.clock import FakeClock
from tests.client.parts import Facts, Keeper, Partner, auth_of, ok, session_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRETS = {"client_id": Secret("id with:space"), "client_secret": Secret("s/+c")}
JSON = OAuthSpec(
    "oauth2_refresh",
    "/v2/oauth2/authorizations?_unwrapped=true",
    client="basic",
    body="json",
    grant_type="none",
    granted="oauth2_authorization",
    extra={"reset_refresh_token": 0},
    lasts_seconds=3600.0,
)


def granted(body: Any) -> Any:
    request = token_request(JSON, SECRETS.__getitem__, Secret("r"))
    return read_grant(Response(200, Headers({}), orjson.dumps(body), requested_at=NOW), NOW, request)


def test_the_request_is_json_without_a_grant_type_and_the_header_has_id_and_secret_as_they_are() -> None:
    request = token_request(JSON, SECRETS.__getitem__, Secret("r"))
    assert orjson.loads(request.content) == {"refresh_token": "r", "reset_refresh_token": 0}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Basic aWQgd2l0aDpzcGFjZTpzLytj"
    assert request.token.endswith("?_unwrapped=true")


def test_a_form_writes_numbers_and_flags_as_text() -> None:
    spec = OAuthSpec("oauth2_client", "/t", extra={"n": 1, "yes": True, "text": "a b"})
    content = token_request(spec, SECRETS.__getitem__, None).content.decode()
    assert "n=1&yes=true&text=a%20b" in content.replace("+", "%20")
    assert "grant_type=client_credentials" in content


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"oauth2_authorization": body}])
def test_a_moment_ends_the_token_with_and_without_the_envelope(wrap: Any) -> None:
    found = granted(wrap({"access_token": "a", "expires_at": int(NOW.timestamp()) + 7200, "user_id": 1}))
    assert found.expires_at == NOW + timedelta(hours=2)
    assert found.refresh is None
    assert found.value({"refresh_token": "old", "made_from": "x"}, "x")["refresh_token"] == "old"


def test_without_an_end_the_stated_life_counts() -> None:
    assert granted({"access_token": "a"}).expires_at == NOW + timedelta(hours=1)


async def test_the_token_travels_alone_in_its_own_header_with_the_key_beside_it(clock: FakeClock) -> None:
    facts = Facts(
        "oauth2_refresh",
        header="X-Own-Token",
        send={"X-Api-Key": "client_id"},
        token_path="/t?_unwrapped=true",
        client="basic",
        body="json",
        grant_type="none",
    )
    partner = Partner(ok({"access_token": "a-token", "expires_in": 600}), ok())
    auth, _ = auth_of(facts, clock, keeper=Keeper(), client_id="the-id", client_secret="s", refresh_token="r")
    await session_of(partner, clock, auth=auth).call(Request("/things"))
    token, call = partner.requests
    assert token.url.raw_path == b"/t?_unwrapped=true"
    assert "x-own-token" not in token.headers and "x-api-key" not in token.headers
    assert (call.headers["x-own-token"], call.headers["x-api-key"]) == ("a-token", "the-id")
    assert "authorization" not in call.headers
