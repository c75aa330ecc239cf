from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from syncd import codec
from syncd.client.grants import TokenRequest, read_grant
from syncd.model import Headers, Response

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUEST = TokenRequest("/exchange", {}, b"", 45.0, "token", "token", 3600.0, "", "jwt")


def jwt(claims: object) -> str:
    return f"e30.{base64.urlsafe_b64encode(codec.dumps(claims)).decode().rstrip('=')}.sig"


def granted(**body: object) -> datetime | None:
    return read_grant(Response(200, Headers(), codec.dumps(body)), NOW, REQUEST).expires_at


def test_a_token_that_is_a_jwt_says_itself_when_it_ends() -> None:
    assert granted(jwt=jwt({"exp": NOW.timestamp() + 1234})) == NOW + timedelta(seconds=1234)


def test_what_the_answer_says_of_the_end_goes_before_what_the_token_says() -> None:
    assert granted(jwt=jwt({"exp": NOW.timestamp() + 1234}), expires_in=60) == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("token", ["opaque", "a.b.c", jwt({}), jwt([]), jwt({"exp": "soon"}), "é.é.é"])
def test_a_token_that_does_not_say_lasts_as_long_as_the_driver_states(token: str) -> None:
    assert granted(jwt=token) == NOW + timedelta(hours=1)
