"""What is asked of a page, and what of its answer is believed."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from syncd.credentials.login import Asked
from syncd.errors import AskedWrongError, AuthError
from syncd.kit.consent import Login

REDIRECT = "http://127.0.0.1:4711/callback"


def asked(**more: object) -> Asked:
    return Asked(Login.model_validate({"authorize": "/a", **more}), "https://acme.example/a?lang=en", "client 1")


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_page_is_asked_with_a_state_and_the_hash_of_what_proves_us() -> None:
    one = asked(scope="a b", params={"prompt": "consent"})
    said = query(one.url(REDIRECT))
    assert said["code_challenge"] == base64.urlsafe_b64encode(
        hashlib.sha256(one.verifier.encode()).digest()
    ).decode().rstrip("=")
    assert one.verifier not in one.url(REDIRECT) + repr(one)
    assert {
        "lang": "en",
        "prompt": "consent",
        "scope": "a b",
        "client_id": "client 1",
        "response_type": "code",
    }.items() <= said.items()
    assert (said["redirect_uri"], said["state"]) == (REDIRECT, one.state)
    assert asked().state != asked().state


def test_a_partner_that_knows_no_proof_and_no_type_is_not_sent_them() -> None:
    one = asked(pkce="none", response_type=False)
    assert set(query(one.url(REDIRECT))) == {"lang", "client_id", "redirect_uri", "state"}
    assert one.proof is None


def test_only_an_answer_with_our_state_is_believed() -> None:
    one = asked()
    assert one.code_in({"code": "c", "state": one.state}).reveal() == "c"
    for brought in ({"code": "c"}, {"code": "c", "state": "x"}, {"code": "c", "state": "\u00e9"}, {"state": one.state}):
        with pytest.raises(AskedWrongError):
            one.code_in(brought)
    with pytest.raises(AuthError, match="access_denied") as refused:
        one.code_in({"error": "access_denied", "error_description": "no", "state": one.state})
    assert refused.value.permanent


def test_a_whole_address_or_a_code_alone_may_be_pasted() -> None:
    one = asked()
    assert one.code_pasted(f" {REDIRECT}?code=c%2F1&state={one.state}\n").reveal() == "c/1"
    assert one.code_pasted(f"code=c&state={one.state}").reveal() == "c"
    for code in ("c-1", "Yy9iYXNlNjQ=", "YQ=="):
        assert one.code_pasted(f"{code}\n").reveal() == code
    for text in ("", "two words", "x" * 9000, f"{REDIRECT}?code=c&state=other"):
        with pytest.raises(AskedWrongError):
            one.code_pasted(text)
