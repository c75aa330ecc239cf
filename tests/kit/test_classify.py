"""What an answer means: HTTP's own words, and the few a description adds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import (
    AuthError,
    GoneError,
    PartnerError,
    PayloadError,
    RateLimitError,
    RejectedError,
    TransientError,
)
from syncd.kit import Errors, Headers, Response, classify, error_for

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ERRORS = Errors(
    code="error.code",
    message="error.text",
    statuses={403: "auth", 409: "busy"},
    codes={"lock_timeout": "busy", "merged": "gone", "no_scope": "denied", "quota": "limited", "shape": "payload"},
)


def answer(status: int, body: Any = None, **headers: str) -> Response:
    return Response(status, Headers({"content-type": "application/json", **headers}), dumps(body))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, "ok", None),
        (200, "merged", GoneError),
        (403, "x", AuthError),
        (403, "no_scope", AuthError),
        (409, "x", TransientError),
        (429, "lock_timeout", TransientError),
        (429, "x", RateLimitError),
        (400, "quota", RateLimitError),
        (400, "shape", PayloadError),
        (400, "x", RejectedError),
        (401, "x", AuthError),
        (500, "x", TransientError),
    ],
)
def test_a_code_says_more_than_a_status_and_a_status_more_than_http(
    status: int, code: str, kind: type[PartnerError] | None
) -> None:
    found = classify(answer(status, {"error": {"code": code, "text": "why"}}), NOW, ERRORS)
    assert type(found) is (kind or type(None))


@pytest.mark.parametrize(("word", "about"), [("limited", "calls"), ("crowded", "seats"), ("locked", "object")])
def test_a_word_says_what_there_was_too_much_of(word: Any, about: str) -> None:
    errors = Errors(code="error.code", codes={"too_many": word})
    found = classify(answer(429, {"error": {"code": "too_many"}}, **{"Retry-After": "5"}), NOW, errors)
    assert isinstance(found, RateLimitError) and found.about == about
    assert found.retry_at == NOW + timedelta(seconds=5)
    plain = classify(answer(429), NOW)
    assert isinstance(plain, RateLimitError) and plain.about == "calls"


def test_an_error_carries_code_words_and_request_id() -> None:
    body = {"error": {"code": "no_scope", "text": "needs\n webhook:write"}}
    found = classify(answer(403, body, **{"x-request-id": "r-1"}), NOW, ERRORS)
    assert isinstance(found, AuthError)
    assert found.permanent
    assert (found.status, found.code, found.request_id) == (403, "no_scope", "r-1")
    assert "needs webhook:write" in " ".join(str(found).split())


def test_busy_is_tried_again_and_says_nothing_about_the_partners_health() -> None:
    found = classify(answer(409, {}, **{"retry-after": "5"}), NOW, ERRORS)
    assert isinstance(found, TransientError)
    assert not found.breaks
    assert found.retry_at == NOW + timedelta(seconds=5)


def test_a_wait_told_with_another_status_is_obeyed() -> None:
    found = classify(answer(400, {"error": {"code": "quota"}}, **{"retry-after": "7"}), NOW, ERRORS)
    assert isinstance(found, RateLimitError)
    assert found.retry_at == NOW + timedelta(seconds=7)


BODIES: list[Any] = [None, [], "text", {"error": "text"}, {"error": {"code": {"x": 1}}}, {"error": {"code": True}}]


@pytest.mark.parametrize("body", BODIES)
def test_an_error_body_of_any_shape_is_still_classified(body: Any) -> None:
    assert isinstance(classify(answer(403, body), NOW, ERRORS), AuthError)
    assert isinstance(classify(Response(403, Headers(), b"\xff{"), NOW, ERRORS), AuthError)
    assert isinstance(classify(answer(500, body), NOW, ERRORS), TransientError)


def test_without_words_of_its_own_a_partner_speaks_http() -> None:
    assert classify(answer(200, {"error": {"code": "merged"}}), NOW) is None
    assert isinstance(classify(answer(403), NOW), RejectedError)
    assert isinstance(classify(answer(404), NOW), GoneError)


def test_a_driver_can_name_an_error_with_a_hint_of_its_own() -> None:
    found = error_for("rejected", answer(403, {"message": "no"}), NOW, hint="grant the scope notes:read")
    assert isinstance(found, RejectedError)
    assert found.hint == "grant the scope notes:read"
    assert found.status == 403


TOLD = Errors(
    success="success",
    message="message",
    messages={"has expired": "auth", "not active": "denied", "too many": "limited"},
    firewall=(403,),
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"success": True, "message": "has expired"}, None),
        (200, {"data": []}, None),
        (200, [], None),
        (200, {"success": False}, RejectedError),
        (200, {"success": "false", "message": "Token HAS EXPIRED."}, AuthError),
        (200, {"success": 0, "message": "Too many"}, RateLimitError),
        (403, {"success": False, "message": "has expired"}, AuthError),
        (403, {"message": "no"}, RejectedError),
        (500, {"success": False, "message": "no"}, TransientError),
    ],
)
def test_a_failure_with_http_200_is_one_and_its_words_say_which(status: int, body: Any, kind: Any) -> None:
    assert type(classify(answer(status, body), NOW, TOLD)) is (kind or type(None))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "the rate for this seat is exceeded", RateLimitError),
        (429, "your connection is not active", RateLimitError),
        (429, "too many", RateLimitError),
        (500, "something about a seat", TransientError),
        (503, "has expired", TransientError),
        (401, "no such seat, or a seat of others", AuthError),
        (400, "no such seat", RejectedError),
        (400, "has expired", AuthError),
        (404, "has expired", AuthError),
        (302, "has expired", RejectedError),
    ],
)
def test_words_decide_only_where_the_status_does_not(status: int, message: str, kind: type[PartnerError]) -> None:
    errors = TOLD.model_copy(update={"messages": {"seat": "rejected", **TOLD.messages}})
    assert type(classify(answer(status, {"message": message}), NOW, errors)) is kind


def test_words_say_more_of_what_a_status_has_decided() -> None:
    refused = classify(answer(401, {"message": "the user is not active"}), NOW, TOLD)
    assert isinstance(refused, AuthError) and refused.permanent
    busy = TOLD.model_copy(update={"messages": {"held by another": "locked", "in a minute": "busy"}})
    held = classify(answer(429, {"message": "held by another"}), NOW, busy)
    assert isinstance(held, RateLimitError) and held.about == "object"
    later = classify(answer(503, {"message": "in a minute"}), NOW, busy)
    assert isinstance(later, TransientError) and not later.breaks


def test_a_failure_in_words_can_be_one_that_only_a_person_mends() -> None:
    found = classify(answer(200, {"success": False, "message": "The user is not active anymore"}), NOW, TOLD)
    assert isinstance(found, AuthError) and found.permanent


@pytest.mark.parametrize("content", [b"error code: 1020", b"<html>no</html>", b""])
def test_a_firewall_before_the_partner_says_nothing_of_our_credential(content: bytes) -> None:
    assert isinstance(classify(Response(403, Headers(), content), NOW, TOLD), TransientError)


def test_what_stands_only_in_a_failure_makes_one_of_a_200() -> None:
    errors = Errors(code="fault.code", message="fault.text", failure=("fault", "!data && errors[0]"))
    found = classify(answer(200, {"fault": {"code": "7", "text": "no such hotel"}}), NOW, errors)
    assert isinstance(found, RejectedError)
    assert (found.code, "no such hotel" in str(found)) == ("7", True)
    assert isinstance(classify(answer(200, {"errors": ["x"], "data": None}), NOW, errors), RejectedError)
    for sound in ({"data": [1], "errors": ["a warning"]}, {"fault": None}, [], {}):
        assert classify(answer(200, sound), NOW, errors) is None
    assert classify(Response(200, Headers(), b"no json"), NOW, errors) is None


def test_what_support_asks_for_is_found_in_the_body_of_a_failure() -> None:
    errors = Errors(request_id=r"<!-- RUID: \[(\w+)\]|\"ruid\": ?\"(\w+)\"")
    for body in (b"<fault/><!-- RUID: [abc1] -->", b'{"meta": {"ruid": "abc1"}}'):
        found = classify(Response(500, Headers(), body), NOW, errors)
        assert found is not None
        assert found.request_id == "abc1"
    named = classify(Response(500, Headers({"x-request-id": "r-1"}), b"<!-- RUID: [abc1] -->"), NOW, errors)
    assert named is not None
    assert named.request_id == "r-1"


@pytest.mark.parametrize(
    ("url", "message", "kind"),
    [
        ("https://x.example/api/getSeats?hall=1", "Something odd", TransientError),
        ("https://x.example/api/getSeats", "The user is not active", AuthError),
        ("https://x.example/api/postSeat?get=1", "Something odd", RejectedError),
        ("", "Something odd", RejectedError),
    ],
)
def test_a_failure_nobody_knows_is_tried_again_where_the_call_only_read(url: str, message: str, kind: Any) -> None:
    errors = TOLD.model_copy(update={"reads": "get"})
    told = dumps({"success": False, "message": message})
    found = classify(Response(200, Headers({"content-type": "application/json"}), told, url), NOW, errors)
    assert type(found) is kind
    assert not isinstance(found, TransientError) or not found.breaks
