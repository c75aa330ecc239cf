"""What is handed to a partner's support desk holds what they ask for, and no credential and no person."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from syncd.client.addresses import Origin, Target
from syncd.client.witness import CALLS, FAILED, Witness
from syncd.model import Headers, Response
from syncd.redaction import KNOWN
from syncd.support import masking
from syncd.support.evidence import call
from syncd.support.ticket import lines

SECRET = "sk-live-Zm9v-4711-bar/baz"
FORMS = (SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode().rstrip("="))
AT = datetime(2026, 11, 1, 12, 0, 3, 250_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def known() -> None:
    KNOWN.add(SECRET)


def seen(path: str = "/v1/things?limit=2", *, status: int = 422, body: bytes = b"", **headers: str):
    witness = Witness()
    response = Response(
        status, Headers({"x-request-id": "req-81", "content-type": "application/json", **headers}), body
    )
    witness.note(
        AT, 0.12, method="GET", route="/things", target=Target(Origin("https", "api.acme.example", 443), path, True),
        attempt=2, label=str(status), response=response, error=None,
    )  # fmt: skip
    return witness, call(witness.failed[0])


@pytest.mark.parametrize("form", FORMS, ids=["plain", "in a URL", "base64"])
@pytest.mark.parametrize(
    "place",
    [
        {"path": "/v1/things?note={}"},
        {"path": "/v1/{}/things"},
        {"body": '{{"message": "your key {} is wrong"}}'},
        {"body": '{{"error": {{"detail": ["{}"]}}}}'},
        {"body": "<html>{} is unknown</html>"},
        {"location": "https://api.acme.example/?x={}"},
        {"x-request-id": "{}"},
    ],
    ids=str,
)
def test_a_known_secret_is_in_none_of_its_forms_anywhere(form: str, place: dict[str, str]):
    filled = {key: value.format(form) for key, value in place.items()}
    path = filled.pop("path", "/v1/things")
    _, shown = seen(path, body=filled.pop("body", "").encode(), **filled)
    assert not any(one in str(shown) for one in FORMS), shown


def test_a_secret_nobody_knows_is_masked_by_the_name_of_its_key():
    _, shown = seen("/v1/things?api_key=unheard-of-1&page=2", body=b'{"error": "no", "access_token": "unheard-of-2"}')
    assert "unheard-of" not in str(shown)
    assert "page=2" in shown["url"]
    _, html = seen(body=b"token=unheard-of-3; go away")
    assert "unheard-of" not in str(html)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x/f?sig=planted", "https://x/f?sig=****"),
        ("https://x/f?X-Amz-Signature=planted&X-Amz-Credential=planted", "https://x/f?X-Amz-Signature=****&X-Amz-Credential=****"),
        ("https://x/f?hapikey=planted&key=planted&monkey=1", "https://x/f?hapikey=****&key=****&monkey=1"),
        ("https://x/guests/+442079460958?q=%2B44%2020%207946%200958&id=442079460958", "https://x/guests/•••?q=•••&id=442079460958"),
    ],
)  # fmt: skip
def test_a_url_is_no_key_to_a_file_and_nobodys_number(url: str, shown: str):
    assert masking.url(url) == shown


def test_a_route_is_masked_as_its_url_is():
    witness, _ = seen("/v1/bad?api_key=planted")
    assert "planted" not in str(call(witness.failed[0]._replace(route="/bad?api_key=planted")))


def test_persons_are_hidden_and_what_tells_of_the_fault_stays():
    said = (
        b'{"code": "invalid_guest", "message": "guest ada@example.com (+44 20 7946 0958) is no guest", "request_id": "r-7",'
        b' "guest": {"first_name": "Ada", "age": 36}, "errors": [{"field": "email", "value": "ada@example.com"}]}'
    )
    _, shown = seen("/v1/guests?email=ada%40example.com&id=64af0c", body=said)
    text = str(shown)
    assert not any(each in text for each in ("Ada", "ada@", "ada%40", "7946", "36"))
    assert all(each in shown["body"] for each in ("invalid_guest", "is no guest", "r-7", '"field":"email"'))
    assert "id=64af0c" in shown["url"], "they have to find what is meant"
    assert (shown["status"], shown["attempt"], shown["request_id"], shown["milliseconds"]) == (422, 2, "req-81", 120)


def test_half_a_document_is_not_shown_at_all():
    body = b'{"message": "ok", "guests": [{"name": "' + b"Ada " * 4000
    _, shown = seen(body=body)
    assert "Ada" not in shown["body"]
    assert "not shown" in shown["body"]


def test_a_date_is_not_taken_for_a_number_of_somebody():
    assert masking.words("until 2026-11-23 01:56:19, 429 of 600") == "until 2026-11-23 01:56:19, 429 of 600"


def test_the_memory_is_bounded_and_counts_by_the_minute():
    witness = Witness()
    target = Target(Origin("https", "api.acme.example", 443), "/v1/things", True)
    for number in range(3 * CALLS):
        good = number % 2 == 0
        response = Response(200 if good else 503, Headers({}), b"x" * 100_000)
        witness.note(
            AT, 0.1, method="GET", route="/things", target=target, attempt=1, label="200" if good else "503",
            response=response, error=None,
        )  # fmt: skip
    assert (len(witness.calls), len(witness.failed)) == (CALLS, FAILED)
    assert witness.minutes[-1][1] == {"200": 300, "503": 300}
    assert max(len(one.told.content) for one in witness.failed if one.told is not None) == 8192
    assert all(one.told is None for one in witness.calls), "bodies are kept once, and of few"


def test_the_ticket_reads_as_a_person_would_write_it():
    witness, shown = seen(body=b'{"message": "no such guest"}', **{"retry-after": "30"})
    told = {
        "partner": "guesty", "company": "ACME Inc", "at": AT, "origin": "https://api.acme.example", "user_agent": "syncd/1",
        "limits": [{"label": "7/s", "used": 3.0}], "paused_until": None, "limit_headers": {}, "record": None,
        "minutes": [{"at": AT.replace(second=0), "statuses": dict(witness.minutes[0][1])}], "failed": [shown],
        "calls": [shown], "given_up": [], "missing": [],
    }  # fmt: skip
    text = "\n".join(lines(told))
    assert "  2026-11-01 12:00:03.250Z  GET https://api.acme.example/v1/things?limit=2" in text
    assert "    422 after 120 ms, try 2, request id req-81" in text
    assert "    retry-after: 30" in text
    assert "  2026-11-01 12:00Z  422: 1" in text
