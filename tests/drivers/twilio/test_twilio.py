"""Twilio: what was sent when nobody heard the answer, the one secret its account tells, and windows of days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd import drivers
from syncd.client.evidence import evidence_of
from syncd.errors import ConfigError, PayloadError, RejectedError, UnknownOutcomeError
from syncd.kit import Change, Checkpoint, Driver, Headers, Request, Resource, Response
from syncd.model import Mode
from syncd.testing.samples import answer

ACCOUNT = "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"
SENT_AT = datetime(2026, 9, 2, 9, 0, 0, 400_000, tzinfo=UTC)
WORDS = {"to": "+4520550101", "from": "+4515550100", "body": "The gate is open."}
SEND = Change("messages", None, "send", WORDS, "key", SENT_AT)


@pytest.fixture
def twilio() -> Driver:
    return drivers.load("twilio")


@pytest.fixture
def messages(twilio: Driver) -> Resource:
    return twilio.resources({"account_sid": ACCOUNT})["messages"]


def message(made: str, body: str = WORDS["body"], **more: Any) -> dict[str, Any]:
    return {"sid": "SM5c0de5c0de5c0de5c0de5c0de5c0de0c", "account_sid": ACCOUNT, "to": WORDS["to"], "body": body,
            "direction": "outbound-api", "date_created": f"Wed, 02 Sep 2026 {made} +0000",
            "date_updated": f"Wed, 02 Sep 2026 {made} +0000", **more}  # fmt: skip


def found(*listed: Any, more: bool = False, date: str = "", asked_at: datetime = SENT_AT) -> Response:
    """What the look-up is answered; `date`: by Twilio's clock."""
    body = {"messages": list(listed), "next_page_uri": "/2010-04-01/next" if more else None}
    headers = {"Date": date} if date else {}
    made = answer({"body": body, "headers": headers})
    made.requested_at = asked_at
    return made


# What was sent


def test_a_message_of_the_same_words_made_since_is_the_one(twilio: Driver, messages: Resource) -> None:
    earlier, it = message("08:59:50"), message("09:00:00", sid="SM5c0de5c0de5c0de5c0de5c0de5c0de0d")
    (request,) = twilio.look_up_each(messages, SEND, found(it, earlier)) or ()
    assert request.path == "/Messages/SM5c0de5c0de5c0de5c0de5c0de5c0de0d.json"
    assert twilio.already(messages, SEND, answer({"body": it}))


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [message("08:59:50")],  # the same words, but before
        [message("09:00:05", direction="inbound")],  # their answer
    ],
)
def test_where_there_is_none_it_may_be_sent_again(twilio: Driver, messages: Resource, listed: list[Any]) -> None:
    assert twilio.look_up_each(messages, SEND, found(*listed)) == []


@pytest.mark.parametrize(
    ("listed", "more"),
    [
        ([message("09:00:01", "Sent from a template")], False),
        ([message("08:00:00")], True),
        ([{**message("09:00:01", "x"), "date_created": "yesterday"}], False),
    ],
)
def test_what_cannot_be_told_is_for_a_person(twilio: Driver, messages: Resource, listed: list[Any], more: bool) -> None:
    with pytest.raises(UnknownOutcomeError):
        twilio.look_up_each(messages, SEND, found(*listed, more=more))


def test_what_twilios_clock_says_is_compared_by_twilios_clock(twilio: Driver, messages: Resource) -> None:
    asked_at, date = SENT_AT + timedelta(seconds=6), "Wed, 02 Sep 2026 08:50:06 GMT"  # ten minutes behind ours
    assert twilio.look_up_each(messages, SEND, found(message("08:49:50"), date=date, asked_at=asked_at)) == []
    (_,) = twilio.look_up_each(messages, SEND, found(message("08:50:00"), date=date, asked_at=asked_at)) or ()


def test_what_answers_with_no_list_tells_nothing(twilio: Driver, messages: Resource) -> None:
    with pytest.raises(PayloadError):
        twilio.look_up_each(messages, SEND, answer({"body": {"code": 1}}))


def test_a_message_is_looked_up_by_whom_it_went_to_whatever_day_it_left(twilio: Driver, messages: Resource) -> None:
    request = twilio.look_up(messages, SEND)
    assert request is not None
    assert dict(request.params) == {"To": "+4520550101", "From": "+4515550100", "PageSize": "1000"}
    by_service = Change("messages", None, "send", {"to": "+4520550101", "messaging_service_sid": "MG1"}, "k", SENT_AT)
    request = twilio.look_up(messages, by_service)
    assert request is not None
    assert dict(request.params) == {"To": "+4520550101", "PageSize": "1000"}
    assert not twilio.idempotent(messages, SEND)


# What is sent


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**WORDS, "to": "20550101"}, "field to: no telephone number in E.164"),
        ({"to": WORDS["to"], "body": "x"}, "field from: is required, or one of messaging_service_sid"),
        ({"to": WORDS["to"], "from": WORDS["from"]}, "field body: is required, or one of content_sid, media_url"),
        ({**WORDS, "colour": "red"}, "field colour"),
    ],
)
def test_what_twilio_would_refuse_is_refused_before(
    twilio: Driver, messages: Resource, data: dict[str, Any], said: str
) -> None:
    with pytest.raises(RejectedError, match=said):
        twilio.check(messages, Change("messages", None, "send", data), None)


def test_each_kind_is_a_form_to_the_record(twilio: Driver) -> None:
    resources = twilio.resources({"account_sid": ACCOUNT})
    for name, external_id, kind, data, form in [
        ("messages", "SM1", "redact", {}, {"Body": ""}),
        ("messages", "SM1", "status", {"status": "canceled"}, {"Status": "canceled"}),
        ("calls", "CA1", "status", {"status": "completed"}, {"Status": "completed"}),
        ("calls", "CA1", "redirect", {"url": "https://x.example/", "method": "POST"},
         {"Url": "https://x.example/", "Method": "POST"}),
    ]:  # fmt: skip
        request = twilio.push(resources[name], Change(name, external_id, kind, data))
        assert (request.method, request.form, request.json) == ("POST", form, None), kind
        assert request.path == f"/{name.title()}/{external_id}.json"
    request = twilio.push(resources["messages"], Change("messages", "SM1", "delete"))
    assert (request.method, request.form, request.json) == ("DELETE", None, None)


def test_a_call_is_cancelled_before_it_is_answered_and_completed_after(twilio: Driver) -> None:
    calls = twilio.resources({"account_sid": ACCOUNT})["calls"]
    for before, after, sound in [
        ("ringing", "canceled", True),
        ("in-progress", "completed", True),
        ("ringing", "completed", False),
        ("in-progress", "canceled", False),
        ("busy", "completed", False),
    ]:
        change = Change("calls", "CA1", "status", {"status": after})
        if sound:
            twilio.check(calls, change, {"status": before})
        else:
            with pytest.raises(RejectedError, match=f"{before} cannot become {after}"):
                twilio.check(calls, change, {"status": before})


# What is asked


def test_the_account_stands_in_every_path_and_has_to_be_given(twilio: Driver) -> None:
    whole = twilio.base_url({"account_sid": ACCOUNT})
    assert whole == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"
    here = "http://127.0.0.1:9/Accounts/{option.account_sid}"
    assert twilio.base_url({"account_sid": "a/../b"}, here) == "http://127.0.0.1:9/Accounts/a%2F..%2Fb"
    with pytest.raises(ConfigError, match="account_sid"):
        twilio.base_url({})


def test_windows_are_days_that_begin_no_later_than_asked(twilio: Driver) -> None:
    resources = twilio.resources({"account_sid": ACCOUNT})
    since = datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)
    for name, param in [("messages", "DateSent>"), ("calls", "StartTime>"), ("recordings", "DateCreated>"),
                        ("conferences", "DateUpdated>")]:  # fmt: skip
        request = twilio.request(resources[name], Checkpoint("office", name, mode=Mode.INCREMENTAL, since=since))
        assert dict(request.params)[param] == "2026-08-31", name
    assert resources["messages"].overlap_seconds == resources["calls"].overlap_seconds == 72 * 3600


def test_the_watermark_is_the_newest_sending_and_not_the_newest_change(twilio: Driver, messages: Resource) -> None:
    page = found(
        message(
            "08:00:00", date_sent="Wed, 02 Sep 2026 08:00:01 +0000", date_updated="Thu, 03 Sep 2026 08:00:00 +0000"
        ),
        message("08:30:00", date_sent=None),
    )
    assert twilio.newest(messages, page, []) == datetime(2026, 9, 2, 8, 0, 1, tzinfo=UTC)


def test_a_link_to_another_host_stays_whole_for_the_client_to_refuse(twilio: Driver, messages: Resource) -> None:
    first = twilio.request(messages, Checkpoint("office", "messages"))
    base = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json?PageSize=1000"
    there = answer(
        {"body": {"messages": [message("08:00:00")], "next_page_uri": "https://evil.example/2010-04-01/x"}}, base
    )
    following = twilio.following(messages, first, there)
    assert following is not None
    assert following.path == "https://evil.example/2010-04-01/x"


# What nobody may see


def test_the_account_is_never_asked_for_and_its_token_would_be_seen_by_nobody(twilio: Driver) -> None:
    options = {"account_sid": ACCOUNT}
    asked = [twilio.test(options).path, *(one.path for one in twilio.resources(options).values())]
    assert twilio.base_url(options) not in asked
    assert all(path.startswith("/") and path != ".json" for path in asked)
    body = b'{"sid": "AC1", "auth_token": "5c0de5c0de5c0de5c0de5c0de5c0de77", "status": "active"}'
    for content in (body, body[:-1], b"[" + body + b"]"):
        letter = evidence_of(Request("/.json"), Response(500, Headers({"content-type": "application/json"}), content))
        assert "5c0de5c0de5c0de5c0de5c0de5c0de77" not in str(letter)
        assert "auth_token" in str(letter)
