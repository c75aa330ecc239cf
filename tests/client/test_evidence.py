"""What a failed call leaves for a person: enough to understand it, bounded, and nothing secret wherever it was planted."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd import codec
from syncd.client.evidence import MOST_BODY, body_text, evidence_of, witnessed
from syncd.errors import AuthError, GoneError, PartnerError, RejectedError, TransientError
from syncd.model import Headers, Request, Response
from syncd.redaction import KNOWN
from syncd.testing.clock import FakeClock
from tests.client.parts import Facts, Partner, auth_of, ok, session_of

NAMES = ("password", "client_secret", "access_token", "X-Api-Key", "authorization", "Set-Cookie", "private_key", "pwd")
"""Names that give a value away, in some of the ways partners write them."""


def secrets() -> dict[str, str]:
    """Values nobody has told us of: only their place says what they are."""
    return {name: f"hush{number}hush{number}hush" for number, name in enumerate(NAMES)}


async def failed(partner: Partner, request: Request, clock: FakeClock, **more: Any) -> PartnerError:
    session = session_of(partner, clock, **more)
    with pytest.raises(PartnerError) as caught:
        await session.call(request)
    return caught.value


async def test_an_error_of_the_client_carries_the_call_as_it_was_made_and_answered(clock: FakeClock):
    partner = Partner(
        httpx.Response(
            422,
            json={"error": {"message": "address is required"}},
            headers={"X-Request-Id": "req_1", "X-RateLimit-Remaining": "7", "X-Powered-By": "php", "Retry-After": "3"},
        )
    )
    request = Request(
        "/listings/l1?expand=all",
        method="PATCH",
        route="/listings/{id}",
        params={"fields": "name"},
        headers={"Idempotency-Key": "k1"},
        json={"name": "Villa", "nested": {"size": 3}},
    )
    error = await failed(partner, request, clock)
    assert error.evidence is not None
    said, told = error.evidence["request"], error.evidence["response"]
    assert said == {
        "method": "PATCH",
        "route": "/listings/{id}",
        "path": "/listings/l1",
        "params": {"expand": "all", "fields": "name"},
        "headers": {"Idempotency-Key": "k1"},
        "body": '{"name":"Villa","nested":{"size":3}}',
    }
    assert isinstance(told, dict)
    assert told["status"] == 422
    assert told["body"] == '{"error":{"message":"address is required"}}'
    assert {"x-request-id", "x-ratelimit-remaining", "retry-after"} <= set(told["headers"])
    assert "x-powered-by" not in told["headers"]


async def test_a_call_without_an_answer_says_what_was_asked_and_that_none_came(clock: FakeClock):
    partner = Partner(httpx.ReadError("reset"))
    request = Request("/things", method="POST", form={"a": "1"})
    error = await failed(partner, request, clock)
    assert isinstance(error, TransientError)
    assert error.evidence == {
        "request": {"method": "POST", "route": "/things", "path": "/things", "body": "a=1"},
        "response": None,
    }


async def test_the_answer_is_that_of_the_last_try(clock: FakeClock):
    partner = Partner(httpx.Response(401, json={"n": 1}), httpx.Response(404, json={"n": 2}))
    auth, _ = auth_of(Facts("bearer"), clock, token="first-token-0123")
    session = session_of(partner, clock, auth=auth)
    with pytest.raises((AuthError, GoneError)) as caught:
        await session.call(Request("/things/1"))
    assert caught.value.evidence is not None
    told = caught.value.evidence["response"]
    assert isinstance(told, dict)
    assert (told["status"], told["body"]) == (
        caught.value.status,
        '{"n":2}' if caught.value.status == 404 else '{"n":1}',
    )


async def test_a_call_that_goes_well_makes_no_evidence(clock: FakeClock, monkeypatch: pytest.MonkeyPatch):
    from syncd.client import client

    monkeypatch.setattr(client, "evidence_of", lambda *_, **__: pytest.fail("made for a good call"))
    response = await session_of(Partner(ok()), clock).call(Request("/things"))
    assert response.status_code == 200


def planted_everywhere() -> tuple[Request, Response]:
    """Secrets in every place a call has; each both by a name that tells and, once known, by itself."""
    hidden = secrets()
    deep = {"a": [{"b": dict(hidden)}], "note": "fine", **hidden}
    within = json.dumps({"again": json.dumps(hidden)})
    request = Request(
        "/things?" + "&".join(f"{name}={value}" for name, value in hidden.items()),
        method="POST",
        params=dict(hidden),
        headers=dict(hidden),
        json={**deep, "text": within},
    )
    response = Response(
        422,
        Headers({"Content-Type": "application/json", "Location": f"/x?token={hidden['access_token']}"}),
        json.dumps({**deep, "echo": within}).encode(),
    )
    return request, response


def test_values_of_telling_names_are_masked_in_every_place():
    request, response = planted_everywhere()
    shown = json.dumps(evidence_of(request, response))
    assert [value for value in secrets().values() if value in shown] == []
    assert "****" in shown
    assert "fine" in shown


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", "&".join(f"{name}={value}" for name, value in secrets().items())),
        ("text/plain", "\n".join(f"{name}: {value}" for name, value in secrets().items())),
        ("text/plain", "\n".join(f"{name} = '{value}'" for name, value in secrets().items())),
        ("application/json", json.dumps(secrets())[:-9]),
        ("application/json", "[" + json.dumps(secrets()) * 2),
        ("text/xml", "".join(f"<ns:{name}>{value}</ns:{name}>" for name, value in secrets().items())),
        ("text/html", f"<p>Bearer {secrets()['access_token']}</p><p>Basic {secrets()['password']}</p>"),
        ("application/json", json.dumps({"big": "x" * 100_000, **secrets()})),
        ("application/json", json.dumps({**secrets(), "big": "x" * 100_000})),
        ("application/json", json.dumps({"list": [secrets()] * 50})),
    ],
)
def test_bodies_of_every_kind_are_masked_and_cut(kind: str, body: str):
    shown = body_text(body.encode(), kind)
    assert [value for value in secrets().values() if value in shown] == []
    assert len(shown) <= MOST_BODY + 40


def test_known_secrets_are_masked_where_no_name_tells():
    secret = "known-Secret/value+000001"
    KNOWN.add(secret)
    request = Request(f"/things/{secret}", params={"q": secret}, headers={"X-Note": secret}, json=[secret])
    response = Response(400, Headers({"Location": f"/{secret}", "Content-Type": "text/plain"}), secret.encode())
    shown = json.dumps(evidence_of(request, response))
    assert secret not in shown
    assert shown.count("****") >= 5


@given(st.integers(0, 3000))
def test_no_cut_leaves_the_first_half_of_a_known_secret(before: int):
    secret = "known-secret-in-the-way-000002"
    KNOWN.add(secret)
    shown = body_text(b"x " * (before // 2) + b" " * (before % 2) + secret.encode() + b" y" * 3000)
    for size in range(12, len(secret)):
        assert secret[:size] not in shown


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(
    path=st.text(max_size=50),
    params=st.dictionaries(st.text(max_size=10), PARTS, max_size=4),
    body=PARTS,
    content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain", ""]),
)
def test_whatever_was_said_the_evidence_can_be_stored(path: str, params: dict, body: Any, content: bytes, kind: str):
    request = Request("/" + path, params=params, json=body)
    found = evidence_of(request, Response(500, Headers({"Content-Type": kind}), content))
    assert len(codec.dumps_storable(found)) < 64 * 1024


@settings(deadline=None)
@given(st.binary(max_size=2000), st.sampled_from(["=", "&", '"', "<", "token=", "password", "\\"]))
def test_hostile_bodies_are_cut_like_any_other(noise: bytes, again: str):
    assert len(body_text(again.encode() * 30_000 + noise)) <= MOST_BODY + 40


def test_what_a_driver_stumbles_over_carries_the_answer():
    response = Response(200, Headers({"Content-Type": "application/json"}), b'{"items": null}')
    with pytest.raises(TypeError) as caught, witnessed(Request("/things"), response):
        len(None)  # type: ignore[arg-type]
    assert caught.value.evidence["response"]["body"] == '{"items":null}'  # type: ignore[attr-defined]


def test_evidence_that_is_there_already_stays():
    error = RejectedError("no")
    error.evidence = {"request": {}, "response": None}
    with pytest.raises(RejectedError), witnessed(Request("/other"), Response(200, Headers(), b"")):
        raise error
    assert error.evidence == {"request": {}, "response": None}


def test_a_parameter_no_json_can_hold_costs_no_letter():
    found = evidence_of(Request("/", params={"": [float("inf")], "0": -(2**63) - 1}), None)
    assert codec.dumps_storable(found)
    assert found["request"]["params"]["0"] == str(-(2**63) - 1)
