"""Changes of ours by a description: checked with the field named, filled into calls, told apart when an answer is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.errors import PayloadError, RejectedError, UnknownOutcomeError
from syncd.kit import Change, Headers, Item, Resource, Response, RestDriver, contact, look_ups, pushing
from syncd.kit.pushes import Push
from syncd.kit.reading import parse


def resource(**pushes: Any) -> Resource:
    return Resource.model_validate(
        {
            "name": "orders",
            "path": "/orders",
            "one": {"path": "/orders/{id}", "records": "order"},
            "fields": {"status": "status"},
            "pushes": pushes,
        }
    )


def change(kind: str = "p", external_id: str | None = "o 1", key: str = "k1", **data: Any) -> Change:
    return Change("orders", external_id, kind, data, key)


def answer(body: str) -> Response:
    return Response(200, Headers(), body.encode())


def refusal(orders: Resource, wanted: Change, stored: dict[str, Any] | None = None) -> str:
    with pytest.raises(RejectedError) as caught:
        pushing.check(orders, wanted, stored)
    assert caught.value.code in ("invalid", "state")
    return str(caught.value)


def test_an_unknown_kind_is_refused_with_the_ones_there_are():
    with pytest.raises(RejectedError, match="no push of kind 'q'") as caught:
        pushing.check(resource(p={"path": "/x"}), change("q"), None)
    assert caught.value.hint == "it takes: p"


@pytest.mark.parametrize(
    ("field", "value", "trouble"),
    [
        ({"as": "email"}, "ada@example", "no e-mail address"),
        ({"as": "email"}, 5, "expected an e-mail address as text, got an integer"),
        ({"as": "phone"}, "0171 5550123", "no telephone number in E.164"),
        ({"as": "domain"}, "localhost", "no domain"),
        ({"as": "integer"}, True, "expected an integer, got a boolean"),
        ({"as": "number"}, "1", "expected a number, got text"),
        ({"as": "text", "longest": 3}, "four", "is longer than 3 characters"),
        ({"as": "date"}, "2026-13-01", ""),
        ({"as": "timestamp"}, "yesterday", ""),
        ({"as": "list"}, {}, "expected a list"),
        ({"choices": ["open", "done"]}, "lost", "is none of open, done"),
        ({"as": "email", "many": True}, ["ada@example.com", "bob"], "number 2 of the list"),
        ({"as": "email", "many": True, "required": True}, [], "is required"),
        ({"required": True}, None, "is required"),
        ({"as": "text", "required": True}, "", "is required"),
        ({"as": "text", "required": True}, " \n", "is required"),
    ],
)
def test_a_field_that_cannot_be_sent_is_named_and_its_value_is_not(field: Any, value: Any, trouble: str):
    orders = resource(p={"path": "/x", "fields": {"what": field}})
    said = refusal(orders, change(what=value))
    assert said.startswith("field what: ")
    assert trouble in said
    if isinstance(value, str) and len(value) > 4:
        assert value not in said


def test_sound_fields_pass_and_unknown_ones_do_not():
    fields = {"email": "email", "phone": "phone", "at": "timestamp", "on": "date", "n": "number", "flag": "boolean"}
    orders = resource(p={"path": "/x", "fields": fields}, q={"path": "/x", "fields": fields, "extra": True})
    sound = {
        "email": "ada.lovelace+x@müller.example",
        "phone": "+351912345678",
        "at": "2026-01-31T10:00:00Z",
        "on": "2026-01-31",
        "n": 1.5,
        "flag": False,
    }
    pushing.check(orders, change(**sound), None)
    assert "field more: orders p has no such field" in refusal(orders, change(**sound, more=1))
    pushing.check(orders, change("q", **sound, more=1), None)


def test_what_is_about_a_record_needs_its_id_and_what_is_matched_its_field():
    orders = resource(p={"path": "/orders/{id}"}, m={"path": "/orders", "match": "email", "extra": True})
    assert "p needs the record's id" in refusal(orders, change(external_id=None))
    assert "field email: is required" in refusal(orders, change("m", external_id=None, name="x"))
    assert pushing.order_key(orders, change("m", None, email=["Ada@Example.com", "b@c.de"])) == "email=ada@example.com"
    assert pushing.order_key(orders, change("p", None)) == ""


def test_transitions_are_judged_by_the_stored_record_where_there_is_one():
    moves = {"field": "status", "allowed": {"open": ["done"], "done": []}}
    orders = resource(p={"path": "/x", "fields": {"status": "text"}, "transitions": moves})
    pushing.check(orders, change(status="done"), {"status": "open"})
    pushing.check(orders, change(status="done"), {"status": "done"})
    pushing.check(orders, change(status="open"), {"status": "a state nobody described"})
    pushing.check(orders, change(status="open"), None)
    assert refusal(orders, change(status="open"), {"status": "done"}) == "field status: done cannot become open"


def test_placeholders_become_values_and_what_is_not_given_is_left_out():
    rules = {
        "path": "/orders/{id}/x",
        "params": {"match": "{data.email}", "none": "{data.none}"},
        "body": {"data": {"all": "{data}", "n": "{data.n}", "none": "{data.none}", "said": "order {id}, {data.n}"}},
        "fields": {"tags": {"many": True}},
        "extra": True,
        "idempotency": "header:Idempotency-Key",
        "headers": {"X-Of": "us"},
    }
    call = pushing.push(resource(p=rules), change(email="a@b.c", n=5, tags="one"))
    assert (call.method, call.path, call.route) == ("POST", "/orders/o%201/x", "/orders/{id}/x")
    assert call.params == {"match": "a@b.c"}
    assert call.headers == {"X-Of": "us", "Idempotency-Key": "k1"}
    data = {"email": "a@b.c", "n": 5, "tags": ["one"]}
    assert call.json == {"data": {"all": data, "n": 5, "said": "order o 1, 5"}}
    assert call.repeatable is False
    assert not call.safe_to_repeat


def test_bodies_may_be_left_out_be_forms_or_hold_the_key():
    orders = resource(
        empty={"path": "/x", "empty": True},
        form={"path": "/x", "form": True},
        key={"path": "/x", "idempotency": "body:meta.request"},
    )
    assert pushing.push(orders, change("empty", n=1)).json is None
    assert pushing.push(orders, change("form", n=1, flag=True)).form == {"n": "1", "flag": "true"}
    assert pushing.push(orders, change("key", n=1)).json == {"n": 1, "meta": {"request": "k1"}}


def test_an_id_can_leave_its_place_in_a_path_no_more_than_a_field_can():
    orders = resource(p={"path": "/orders/{id}/{data.part}", "extra": True})
    assert pushing.push(orders, change(external_id="../a", part="b?c=d")).path == "/orders/..%2Fa/b%3Fc%3Dd"
    assert "nothing but dots" in refusal(orders, change(external_id="..", part="x"))
    assert "nothing is known to stand for {data.part}" in refusal(orders, change())


def test_a_key_is_repeated_for_as_long_as_the_partner_knows_it():
    orders = resource(
        key={"path": "/x", "idempotency": "header:K", "remembers": "24h"},
        natural={"path": "/x", "idempotency": "natural"},
        none={"path": "/x"},
    )
    assert pushing.idempotent(orders, change("key"), 3600)
    assert not pushing.idempotent(orders, change("key"), 25 * 3600)
    assert pushing.idempotent(orders, change("natural"), 1e9)
    assert not pushing.idempotent(orders, change("none"), 0)
    assert look_ups.look_up(orders, change("none"), None) is None


def test_a_look_up_finds_what_the_push_wrote_and_nothing_else():
    look = {"path": "/notes", "params": {"ref": "{key}"}, "records": "items", "same": {"ref": "{key}", "n": "{data.n}"}}
    orders = resource(p={"path": "/notes", "idempotency": "look_up", "look_up": look})
    asked = look_ups.look_up(orders, change(n=5), None)
    assert asked is not None
    assert (asked.method, asked.path, asked.params) == ("GET", "/notes", {"ref": "k1"})
    assert look_ups.already(orders, change(n=5), answer('{"items": [{"ref": "x"}, {"ref": "k1", "n": "5"}]}'))
    assert not look_ups.already(orders, change(n=5), answer('{"items": [{"ref": "k1", "n": 6}]}'))
    assert not look_ups.already(orders, change(n=5), answer('{"items": []}'))


@pytest.mark.parametrize(
    "odd",
    [
        "{}",
        "null",
        '"maintenance"',
        '{"message": "temporarily unavailable"}',
        '{"items": null}',
        '{"items": "x"}',
        '{"items": {"a": [{"ref": "k1"}]}}',
    ],
)
def test_an_answer_without_what_was_asked_for_does_not_say_that_it_is_not_there(odd: str):
    look = {"path": "/notes", "records": "items", "same": {"ref": "{key}"}}
    orders = resource(p={"path": "/notes", "idempotency": "look_up", "look_up": look})
    with pytest.raises(PayloadError, match="the answer to the look-up has"):
        look_ups.already(orders, change(), answer(odd))


def test_without_a_path_the_look_up_reads_the_record_itself():
    orders = resource(
        p={"path": "/orders/{id}", "idempotency": "look_up", "look_up": {"same": {"status": "{data.status}"}}}
    )
    assert look_ups.already(orders, change(status="done"), answer('{"order": {"status": "done"}}'))
    assert not look_ups.already(orders, change(status="done"), answer('{"order": {"status": "open"}}'))
    assert not look_ups.already(orders, change(status="done"), answer('{"order": {"id": "7"}}')), "it has no status yet"
    with pytest.raises(PayloadError, match="none of status at order"):
        look_ups.already(orders, change(status="done"), answer('{"order": {"error": "busy"}}'))
    with pytest.raises(UnknownOutcomeError, match="none of what would show that it arrived: status"):
        look_ups.already(orders, change(other=1), answer('{"order": {"status": "open"}}'))


def test_an_answer_confirms_unless_it_says_otherwise_and_may_bring_the_record():
    orders = resource(p={"path": "/x", "confirm": {"status": "{data.status}"}, "record": "order"}, q={"path": "/x"})
    assert pushing.confirms(orders, change(status="done"), answer('{"status": "done"}'))
    assert pushing.confirms(orders, change(status="done"), answer('{"id": 1}')), "not told"
    assert not pushing.confirms(orders, change(status="done"), answer('{"status": "open"}'))
    assert pushing.confirms(orders, change("q"), answer("no JSON at all"))
    assert pushing.pushed(orders, change(), answer('{"order": {"id": "1"}}')) == Item("orders", {"id": "1"})
    assert pushing.pushed(orders, change(), answer('{"order": null}')) is None
    assert pushing.pushed(orders, change("q"), answer("no JSON at all")) is None


@pytest.mark.parametrize(
    ("body", "confirmed"),
    [
        ('{"ok": true}', True),
        ('{"ok": "true", "data": []}', True),
        ('{"ok": 1}', True),
        ('{"ok": false}', False),
        ('{"ok": null}', False),
        ('{"ok": "perhaps"}', False),
        ('{"error": "server_error"}', False),
        ("{}", False),
        ("[]", False),
        ("", False),
        ("no JSON at all", False),
    ],
)
def test_where_answers_say_whether_they_are_ones_silence_is_no_proof(body: str, confirmed: bool):
    pushes = {"p": {"path": "/x", "idempotency": "natural"}}
    spec = {"name": "acme", "errors": {"success": "ok"}, "resources": {"orders": {"path": "/orders", "pushes": pushes}}}
    driver = RestDriver(parse(spec))
    assert driver.confirms(driver.resources({})["orders"], change(), answer(body)) is confirmed


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"path": "/x/{nobody}"}, "unknown placeholder {nobody}"),
        ({"path": "/x", "idempotency": "perhaps"}, "natural, look_up, none, header:NAME or body:PATH"),
        ({"path": "/x", "idempotency": "look_up"}, "needs the section `look_up`"),
        ({"path": "/x", "look_up": {"path": "/y", "same": {}}}, "needs `same`"),
        ({"path": "/x", "remembers": "1h"}, "goes with idempotency by a key"),
        ({"path": "/x", "fields": {}, "transitions": {"field": "status", "allowed": {}}}, "no field 'status'"),
    ],
)
def test_a_description_that_cannot_work_is_refused_when_it_is_read(rules: dict[str, Any], said: str):
    with pytest.raises(ValidationError) as caught:
        Push.model_validate(rules)
    assert said in str(caught.value)


def test_other_words_for_a_value_are_sent_as_the_partners_own_and_judged_so():
    fields = {"status": {"required": True, "choices": ["open", "done"], "words": {"closed": "done"}}}
    table = {"field": "status", "allowed": {"open": ["done"], "done": []}}
    look_up = {"same": {"status": "{data.status}"}}
    orders = resource(p={"path": "/x/{id}", "fields": fields, "transitions": table, "look_up": look_up})
    pushing.check(orders, change(status="closed"), {"status": "open"})
    assert pushing.push(orders, change(status="closed")).json == {"status": "done"}
    assert look_ups.already(orders, change(status="closed"), answer('{"order": {"id": 1, "status": "done"}}'))
    assert refusal(orders, change(status="lost")) == "field status: is none of open, done"
    closed = refusal(orders, change(status="open"), {"status": "done"})
    assert closed == "field status: done cannot become open"


def test_what_was_made_is_known_by_the_id_in_its_answer():
    orders = resource(p={"path": "/x", "made": "made.id"}, q={"path": "/x"})
    for body, known in (
        ('{"made": {"id": 7}}', "7"),
        ('{"made": {"id": "a"}}', "a"),
        ('{"made": {"id": ""}}', None),
        ('{"made": {"id": true}}', None),
        ('{"made": null}', None),
        ("[]", None),
    ):
        assert pushing.made_id(orders, change(), answer(body)) == known
    assert pushing.made_id(orders, change("q"), answer('{"id": 7}')) is None
    assert pushing.pushed(orders, change(), answer('{"made": {"id": 7}}')) is None


def test_a_look_up_is_about_what_is_not_older_than_the_push():
    rules = {
        "path": "/l",
        "params": {"since": "{sent}"},
        "records": "items",
        "made": "made",
        "same": {"text": "{data.text}"},
    }
    orders = resource(p={"path": "/x", "look_up": rules})
    at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    sent = replace(change(text="again"), sent_at=at)
    call = look_ups.look_up(orders, sent, None)
    assert call is not None and dict(call.params) == {"since": "2026-11-22T11:58:00.000Z"}
    never = look_ups.look_up(orders, change(text="again"), None)
    assert never is not None and dict(never.params) == {}, "of what never left nothing is known"
    for made, there in (
        ('"2026-11-22T11:57:59Z"', False),
        ('"2026-11-22T11:59:58Z"', True),
        ('"2026-11-22T13:59:59+02:00"', True),
        ('"soon"', True),
        ("null", True),
        ("12", True),
    ):
        body = answer(f'{{"items": [{{"text": "again", "made": {made}}}]}}')
        assert look_ups.already(orders, sent, body) is there, made


def test_what_needs_another_section_says_so():
    for rules, said in (
        ({"path": "/x", "look_first": True}, "`look_first` needs the section `look_up`"),
        ({"path": "/x", "look_up": {"same": {"a": "{key}"}, "each": True}}, "`look_up.each` needs `path`"),
    ):
        with pytest.raises(ValidationError, match=said):
            Push.model_validate(rules)
    with pytest.raises(ValidationError, match="reads records by `one`"):
        Resource.model_validate(
            {
                "name": "x",
                "path": "/x",
                "pushes": {"p": {"path": "/x", "look_up": {"path": "/l", "each": True, "same": {"a": "{key}"}}}},
            }
        )


def test_transitions_and_look_ups_need_what_they_go_by():
    with pytest.raises(ValidationError, match="there is no field 'state'"):
        resource(p={"path": "/x", "fields": {"state": "text"}, "transitions": {"field": "state", "allowed": {}}})
    with pytest.raises(ValidationError, match="the resource has no `one`"):
        Resource.model_validate({"path": "/x", "pushes": {"p": {"path": "/x", "look_up": {"same": {"a": "{key}"}}}}})


@given(st.one_of(st.text(), st.integers(), st.none(), st.binary().map(repr)))
def test_no_value_breaks_the_checks_of_addresses_and_none_is_told(value: Any):
    for check in (contact.phone_trouble, contact.email_trouble, contact.domain_trouble):
        said = check(value)
        if isinstance(value, str) and len(value) > 12:
            assert value not in said


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_only_e164_is_a_telephone_number(number: str):
    contact._numbers.cache_clear()
    for wrong in (
        number[1:],
        number + " ",
        f"{number[:4]} {number[4:]}",
        f"+0{number[2:]}",
        number + "0" * 15,
        f"{number}\n",
    ):
        assert contact.phone_trouble(wrong)


def test_without_the_numbering_plans_the_form_is_enough(monkeypatch):
    monkeypatch.setattr(contact, "_numbers", lambda: None)
    assert contact.phone_trouble("+99912345678") == ""
    monkeypatch.undo()
    assert contact.phone_trouble("+99912345678"), "no country has that code"


@pytest.mark.parametrize("address", ["a@b.co", "first.last+tag@sub.example.com", "o'hara@example.org", "ü@exämple.de"])
def test_addresses_in_use_pass(address: str):
    assert contact.email_trouble(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "a@",
        "@b.co",
        "a b@c.de",
        "a@b",
        "a..b@c.de",
        ".a@c.de",
        "a@c..de",
        "a@-c.de",
        "a@1.2.3.4",
        "a@b@c.de,",
        "a" * 65 + "@b.co",
    ],
)
def test_addresses_that_are_none_do_not(address: str):
    assert contact.email_trouble(address)


@pytest.mark.parametrize(
    ("expected", "stored", "sound"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, None, True), (None, "b", False)],
)
def test_a_condition_is_held_against_the_record_and_null_is_one(expected: Any, stored: Any, sound: bool):
    orders = resource(p={"path": "/x/{id}", "fields": {"note": "text"}, "expects": {"if_status": "status"}})
    wanted = change(note="x", if_status=expected)
    assert pushing.expects(orders, wanted) and pushing.by_state(orders, wanted)
    assert not pushing.expects(orders, change(note="x"))
    if sound:
        pushing.check(orders, wanted, {"status": stored})
    else:
        told = refusal(orders, wanted, {"status": stored})
        assert told == "field if_status: the record was changed since: its status is another one"
    pushing.check(orders, wanted, None)


def test_a_condition_needs_a_way_to_read_the_record():
    pushes = {"p": {"path": "/x/{id}", "expects": {"if_status": "status"}}}
    with pytest.raises(ValidationError, match="`expects` of a push needs `one`"):
        Resource.model_validate({"name": "orders", "path": "/orders", "pushes": pushes})
