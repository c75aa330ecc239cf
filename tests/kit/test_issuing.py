"""Tokens of ours: given for a secret of the integration's, known by it alone, and over after an hour."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps, loads
from syncd.kit import Accepted, Delivery, Headers, Receiver, Refused, RestDriver, Secret, issuing
from syncd.kit.reading import parse
from syncd.kit.signatures import Verdict

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()
OLD, NEW = "the-old-secret", "the-new-secret"


def receiver(*secrets: str) -> Receiver:
    rules = {"verify": "issued_token", "event_id": "id"}
    driver = RestDriver(parse({"name": "acme", "webhooks": rules}))
    return Receiver("acme", "one", driver, [Secret(one) for one in secrets])


def asks(**form: str) -> Delivery:
    said = {"grant_type": "client_credentials", "client_id": "them", **form}
    return Delivery(urlencode(said).encode(), Headers(), route="token")


def brings(token: str, scheme: str = "Bearer") -> Delivery:
    return Delivery(b'{"id": "n-1"}', Headers({"authorization": f"{scheme} {token}"}))


def test_a_token_is_given_for_any_of_the_secrets_and_lets_in_for_an_hour() -> None:
    judge = receiver(OLD, NEW)
    for secret in (OLD, NEW):
        assert judge.issues(asks(client_secret=secret))
        told: Any = loads(judge.token(asks(client_secret=secret), NOW) or b"")
        assert judge.judge(brings(told["jwt"]), NOW + timedelta(minutes=59)) == Accepted("n-1", "", {})
        assert judge.judge(brings(told["jwt"]), NOW + timedelta(minutes=60)) == Refused("stale")


FORMS: tuple[dict[str, str], ...] = (
    {"client_secret": "guessed"},
    {"client_secret": ""},
    {"client_secret": OLD, "grant_type": "password"},
    {},
)


@pytest.mark.parametrize("form", FORMS)
def test_nobody_else_is_given_one(form: dict[str, str]) -> None:
    assert receiver(OLD).token(asks(**form), NOW) is None


def test_who_is_rid_of_a_secret_is_rid_of_its_tokens() -> None:
    token = issuing.issue(OLD, AT)
    assert isinstance(receiver(OLD, NEW).judge(brings(token), NOW), Accepted)
    assert receiver(NEW).judge(brings(token), NOW) == Refused("signature")


def test_the_secret_itself_is_no_token_and_no_token_tells_the_secret() -> None:
    token = issuing.issue(OLD, AT)
    assert receiver(OLD).judge(brings(OLD), NOW) == Refused("signature")
    assert all(OLD.encode() not in base64.urlsafe_b64decode(part + "==") for part in token.split("."))


def test_a_token_of_the_future_or_of_another_scheme_lets_nobody_in() -> None:
    assert receiver(OLD).judge(brings(issuing.issue(OLD, AT + 900)), NOW) == Refused("stale")
    assert receiver(OLD).judge(brings(issuing.issue(OLD, AT), "Basic"), NOW) == Refused("signature")


def test_claims_nobody_sealed_are_not_believed() -> None:
    said, _, seal = issuing.issue(OLD, AT).rpartition(".")
    claims = base64.urlsafe_b64encode(dumps({"iat": AT, "exp": AT + 10**6})).decode().rstrip("=")
    for forged in (f"{said.partition('.')[0]}.{claims}.{seal}", f"e30.{claims}.", said, f"{said}.", "..", ""):
        assert receiver(OLD).judge(brings(forged), NOW) == Refused("signature")


@given(st.text(max_size=80), st.binary(max_size=80))
def test_no_bytes_raise(header: str, body: bytes) -> None:
    verify = issuing.verifier([OLD])
    assert verify(Delivery(body, Headers({"authorization": header})), AT) is not Verdict.FITS
    assert issuing.answer(Delivery(body, Headers()), [OLD], AT) is None


def test_other_schemes_issue_nothing() -> None:
    driver = RestDriver(parse({"name": "acme", "webhooks": {"verify": "none"}}))
    assert not Receiver("acme", "one", driver, [Secret(OLD)]).issues(asks(client_secret=OLD))
    assert not receiver().issues(asks(client_secret=""))
