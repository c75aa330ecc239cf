"""What Guesty is sent, on either route, and when its 200 is believed."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.codec import dumps
from syncd.kit import Change, Driver, Headers, RejectedError, Response


@pytest.fixture
def guesty() -> Driver:
    return drivers.load("guesty")


def change(kind: str, resource: str = "reservations", external_id: str = "r1", **data: Any) -> Change:
    return Change(resource, external_id, kind, data, "k1")


def sent(guesty: Driver, wanted: Change, **options: Any) -> tuple[str, str, Any]:
    resource = guesty.resources(options)[wanted.resource]
    guesty.check(resource, wanted, None)
    call = guesty.push(resource, wanted)
    assert guesty.idempotent(resource, wanted), "all of them set a state"
    return call.method, call.path, call.json


def test_each_kind_goes_where_the_documentation_says(guesty: Driver):
    assert sent(guesty, change("status", status="canceled")) == ("PUT", "/reservations/r1", {"status": "canceled"})
    given = {"status": "canceled", "canceledBy": "GUEST", "cancellationReason": "ill"}
    assert sent(guesty, change("status", **given), reservations="v3") == ("PUT", "/reservations-v3/r1/status", given)
    for route in ("legacy", "v3"):
        stay = ("PUT", "/reservations-v3/guest-stay", {"reservationId": "r1", "status": "checked_in"})
        assert sent(guesty, change("stay", status="checked_in"), reservations=route) == stay
        field = {"fieldId": "f1", "value": "crib"}
        custom = ("PUT", "/reservations-v3/r1/custom-fields", {"customFields": [field]})
        assert sent(guesty, change("custom_fields", custom_fields=field), reservations=route) == custom
        notes = ("PUT", "/reservations-v3/r1/notes", {"notes": {"guest": "late"}})
        assert sent(guesty, change("notes", guest="late"), reservations=route) == notes
        assert sent(guesty, change("key_code", key_code="4711"), reservations=route) == (
            "PUT",
            "/reservations/r1",
            {"keyCode": "4711"},
        )
    guest = change("update", "guests", "g1", email="a@b.co", phone="+351912345678")
    assert sent(guesty, guest) == ("PUT", "/guests-crud/g1", {"email": "a@b.co", "phone": "+351912345678"})


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (change("status", status="cancelled"), "field status: is none of"),
        (change("status"), "field status: is required"),
        (change("status", status="canceled", canceledBy="GUEST"), "field canceledBy: reservations status has no such"),
        (change("stay", status="arrived"), "field status: is none of"),
        (
            change("custom_fields", custom_fields=[{"value": 1}]),
            "field custom_fields: number 1 needs fieldId and value",
        ),
        (change("custom_fields", custom_fields="x"), "field custom_fields: expected an object"),
        (change("update", "guests", "g1", phone="912345678"), "field phone: no telephone number in E.164"),
    ],
)
def test_what_it_would_refuse_is_refused_before(guesty: Driver, wanted: Change, said: str):
    with pytest.raises(RejectedError) as caught:
        sent(guesty, wanted)
    assert said in str(caught.value)


def test_a_200_is_believed_where_it_shows_the_change_or_shows_nothing(guesty: Driver):
    resource = guesty.resources({})["reservations"]

    def believed(wanted: Change, body: Any) -> bool:
        return guesty.confirms(resource, wanted, Response(200, Headers(), dumps(body)))

    assert believed(change("status", status="canceled"), {"reservationId": "r1", "status": "canceled"})
    assert not believed(change("status", status="canceled"), {"reservationId": "r1", "status": "confirmed"})
    assert believed(change("status", status="canceled"), {"reservationId": "r1"})
    assert believed(change("stay", status="checked_in"), {})
    wanted = change("custom_fields", custom_fields=[{"fieldId": "f1", "value": "crib"}])
    assert believed(wanted, {"customFields": [{"_id": "x", "fieldId": "f1", "value": "crib"}, {"fieldId": "f2"}]})
    assert not believed(wanted, {"customFields": [{"_id": "x", "fieldId": "f1", "value": "cot"}]})
    assert not believed(wanted, {"customFields": []})
    for value, told in ((5, "5"), (True, "true")):
        number = change("custom_fields", custom_fields=[{"fieldId": "f1", "value": value}])
        assert believed(number, {"customFields": [{"fieldId": "f1", "value": told}]})
        assert not believed(number, {"customFields": [{"fieldId": "f1", "value": "6"}]})
