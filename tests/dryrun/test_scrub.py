"""Scrubbing replaces who a record is about, keeps its shape, and does so the same way everywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.dryrun.scrub import Scrubber
from syncd.dryrun.telling import Kind, text_kind

KEY = b"a key of this test"
BASE = {"http://127.0.0.1:9100/v1": "https://api.acme.example/v1"}


def scrubbed(*documents: Any, key: bytes = KEY) -> list[Any]:
    scrubber = Scrubber(key, hosts=BASE)
    for document in documents:
        scrubber.learn(document)
    return [scrubber.scrub(document) for document in documents]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("email", "ada@lovelace.org", Kind.MAIL),
        ("anything", "ada@lovelace.org", Kind.MAIL),
        ("phone", "+47 912 34 567", Kind.PHONE),
        ("value", "ada", Kind.PROSE),
        ("full_name", "bob", Kind.PROSE),
        ("fullName", "BOB", Kind.PROSE),
        ("guest", "Ada Lovelace", Kind.PROSE),
        ("unheard_of", "Ada Lovelace", Kind.PROSE),
        ("city", "Bergen", Kind.PROSE),
        ("zip", "5003", Kind.OPAQUE),
        ("id", "cus_9s6XKzkNRiz8i3", Kind.OPAQUE),
        ("listingId", "5f1e9c2d8a7b3c0012345678", Kind.OPAQUE),
        ("cursor", "eyJvZmZzZXQiOjEwMH0=", Kind.OPAQUE),
        ("door_code", "4711", Kind.OPAQUE),
        ("birthday", "1990-02-03", Kind.DAY),
        ("lat", "60.39299", Kind.PLACE),
        ("long", "-5.32415", Kind.PLACE),
        ("longitude_e7", "-53241500", Kind.OPAQUE),
        ("lat", "60", None),
        ("picture", "https://cdn.example.com/a.jpg?sig=abc", Kind.LINK),
        ("next_page_uri", "/v1/Accounts/AC0123456789abcdef/Calls.json?PageToken=PA4711", Kind.LINK),
        ("api_version", "2026-06-24.dahlia", None),
        ("version", "v3", None),
        ("status", "Checked In", None),
        ("type", "confirmed", None),
        ("currency", "EUR", None),
        ("checkIn", "2026-11-21", None),
        ("updatedAt", "2026-11-21T12:00:00.000Z", None),
        ("total", "1234.50", None),
        ("unheard_of", "per_night", None),
        ("nothing", "", None),
    ],
)  # fmt: skip
def test_what_has_to_be_replaced_is_known_by_the_keys_name_or_the_values_shape(
    name: str, value: str, kind: Kind | None
) -> None:
    assert text_kind(name, value) is kind


def test_a_value_keeps_its_shape() -> None:
    [found] = scrubbed(
        {
            "id": "cus_9s6XKzkNRiz8i3",
            "uuid": "3f2b8c1e-5a4d-4e6f-8b7a-1c2d3e4f5a6b",
            "number": 4711_0815,
            "email": "ada.lovelace@analytical.co.uk",
            "phone": "+47 912 34 567",
            "name": "Ada Lovelace",
            "lat": 60.39299,
            "paid": True,
            "amount": 4200,
        }
    )
    assert found["id"].startswith("cus_")
    assert len(found["id"]) == 18
    assert found["id"] != "cus_9s6XKzkNRiz8i3"
    assert (found["uuid"][14], found["uuid"][19], len(found["uuid"])) == ("4", "8", 36)
    assert isinstance(found["number"], int)
    assert 10**7 <= found["number"] < 10**8
    assert found["email"].endswith(".example")
    assert found["phone"].startswith("+47 ")
    assert [len(part) for part in found["name"].split()] == [3, 8]
    assert found["name"].istitle()
    assert int(found["lat"]) == 60
    assert found["lat"] != 60.39299
    assert (found["paid"], found["amount"]) == (True, 4200)


def test_of_a_position_no_more_than_its_degree_stays_however_it_is_written() -> None:
    """A home is found by its position as well as by its street."""
    document = {
        "address": {"lat": 60.39299, "lng": -5.32415, "roughly": {"latitude": 60.3, "longitude": -5.3}},
        "geo": {"type": "Point", "coordinates": [-5.32415, 60.39299]},
        "place": {"lat": "60.39299", "long": "-5.32415", "latitude_e6": 60392990, "longitudeE7": -53241500},
        "map": {"label": "60.39299"},
        "moved_by": -60.39299,
        "near": {"lat": 60, "long": -5},
        "at": {"x": "60.39299, -5.32415"},
    }
    [found] = scrubbed(document)
    told = str(found)
    for value in ("60.39299", "5.32415", "60392990", "53241500", "60.3,", "5.3}"):
        assert value not in told, told
    assert (int(found["address"]["lat"]), int(found["address"]["lng"])) == (60, -5)
    assert found["geo"]["coordinates"] == [found["address"]["lng"], found["address"]["lat"]]
    assert float(found["place"]["lat"]) == found["address"]["lat"]
    assert found["near"] == {"lat": 60, "long": -5}
    scrubber = Scrubber(KEY)
    scrubber.learn(document)
    assert scrubber.left_in(scrubber.scrub(document)) == []
    assert scrubber.left_in(document)


def test_joins_and_pages_hold_since_a_value_is_the_same_wherever_it_stands() -> None:
    guest = "gst_8Kd02mZq1"
    reservation, guests, link = scrubbed(
        {"id": "r1", "guestId": guest, "number": 99881},
        {"guests": [{"_id": guest, "reservations": [99881]}], "after": f"{guest}:99881", "by": {guest: 1}},
        {"next": f"http://127.0.0.1:9100/v1/guests?after={guest}&mail=ada%40lovelace.org", "mail": "ada@lovelace.org"},
    )
    fake = reservation["guestId"]
    assert fake != guest
    assert guests["guests"][0]["_id"] == fake
    assert guests["guests"][0]["reservations"] == [reservation["number"]]
    assert guests["after"] == f"{fake}:{reservation['number']}" or guest not in guests["after"]
    assert link["next"].startswith("https://api.acme.example/v1/guests?after=" + fake)
    assert link["mail"].replace("@", "%40") in link["next"]


def test_another_account_has_other_stand_ins_and_the_same_account_the_same() -> None:
    one = {"name": "Ada Lovelace", "id": "cus_9s6XKzkNRiz8i3"}
    assert scrubbed(one) == scrubbed(one)
    assert scrubbed(one) != scrubbed(one, key=b"another")


def test_a_relative_link_goes_on_working_without_what_it_names() -> None:
    sid = "AC0123456789abcdef0123456789abcdef"
    found, account = scrubbed({"next": f"/2010-04-01/Accounts/{sid}/Calls.json?PageToken=PAxq71&Size=50"}, {"sid": sid})
    assert account["sid"] != sid
    assert found["next"].startswith(f"/2010-04-01/Accounts/{account['sid']}/Calls.json?PageToken=")
    assert found["next"].endswith("&Size=50")
    assert "PAxq71" not in found["next"]


def test_a_value_that_is_called_as_a_key_renames_no_key() -> None:
    [found] = scrubbed({"title": "description", "description": "Boiler", "ada@lovelace.org": {"title": "title"}})
    assert list(found)[:2] == ["title", "description"]
    assert found["title"] != "description"
    [other] = [key for key in found if key not in {"title", "description"}]
    assert other.endswith(".example")
    assert list(found[other]) == ["title"]


def test_xml_is_scrubbed_by_its_tags_and_attributes() -> None:
    text = (
        '<reservation id="4096718802" status="new" guest="Bo"><hotel_name>Fish &amp; Chips</hotel_name>'
        "<booker><first_name>Ada</first_name><email>ada@lovelace.org</email>"
        "<telephone>+47 912 34 567</telephone></booker><currencycode>EUR</currencycode><price>120.50</price></reservation>"
    )
    scrubber = Scrubber(KEY)
    scrubber.learn_text(text)
    found = scrubber.document(text)
    assert re.search(r'guest="[A-Z][a-z]"', found)
    assert re.search(r"<hotel_name>[A-Z][a-z]{3} &amp; [A-Z][a-z]{4}</hotel_name>", found)
    for told in ("Ada", "lovelace", "912 34", "4096718802", "Fish", '"Bo"'):
        assert told not in found
    assert 'status="new"' in found
    assert "<currencycode>EUR</currencycode><price>120.50</price>" in found
    assert scrubber.left_in(found) == []


MAILS = st.from_regex(r"[a-z]{3,8}\.[a-z]{3,8}@[a-z]{4,9}\.(com|no|org)", fullmatch=True)
NAMES = st.from_regex(r"[A-Z][a-z]{3,9} [A-Z][a-z]{4,10}", fullmatch=True)
IDS = st.from_regex(r"[a-z]{3}_[A-Za-z]{4}[0-9]{3}[A-Za-z0-9]{6}", fullmatch=True)
PEOPLE = st.fixed_dictionaries({"id": IDS, "name": NAMES, "email": MAILS, "note": st.text(max_size=30)})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PEOPLE, min_size=1, max_size=6))
def test_whatever_is_learnt_stands_nowhere_any_more_and_no_two_become_one(people: list[dict[str, str]]) -> None:
    document = {
        "people": people,
        "text": "; ".join(f"{one['id']} is {one['name']} <{one['email']}>" for one in people),
        "next": f"http://127.0.0.1:9100/v1/people?after={people[-1]['id']}",
    }
    scrubber = Scrubber(KEY, hosts=BASE)
    scrubber.learn(document)
    found = scrubber.scrub(document)
    assert scrubber.left_in(found) == []
    for key in ("id", "email"):
        before, after = [one[key] for one in people], [one[key] for one in found["people"]]
        assert not set(before) & set(after)
        assert len(set(before)) == len(set(after))
        assert [before.index(one) for one in before] == [after.index(one) for one in after]
    assert found["next"] == f"https://api.acme.example/v1/people?after={found['people'][-1]['id']}"
    assert [[len(value) for key, value in one.items() if key != "email"] for one in found["people"]] == [
        [len(value) for key, value in one.items() if key != "email"] for one in people
    ]
