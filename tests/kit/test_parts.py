"""Listings that are walked in parts, records put together from what stands around them, and ids made of several."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import ConfigError, GoneError, PayloadError
from syncd.kit import Change, Checkpoint, Headers, Resource, Response, RestDriver
from syncd.kit.identity import id_parts, joined_id
from syncd.kit.reading import SpecError, parse

SPEC: dict[str, Any] = {
    "name": "hall",
    "options": {"halls": {"about": "Which.", "as": "list", "required": True}},
    "page_size": 2,
    "resources": {
        "seats": {
            "path": "/seats",
            "records": "data",
            "keyed": True,
            "each": {"param": "hall", "option": "halls"},
            "asked": {"hall": "hall"},
            "id": ["hall", "seat"],
            "total": "total",
            "pages": {"kind": "page", "param": "page", "size": "size"},
            "one": {
                "path": "/seats",
                "params": {"hall": "{id.hall}", "seat": "{id.seat}"},
                "records": "data",
                "empty_is_gone": True,
            },
            "fields": {"hall": "hall", "changed": "changed"},
            "pushes": {
                "paint": {
                    "path": "/paint/{id.seat}",
                    "form": True,
                    "body": {"hall": "{id.hall}", "coats": "{data.coats}"},
                    "expects": {"if_changed": "changed"},
                }
            },
        },
        "shows": {
            "path": "/shows",
            "records": "data",
            "each": {"param": "hall", "option": "halls"},
            "windows": {"from": "first", "to": "last", "days": 35, "count": 2},
            "inner": {"records": "acts", "keep": {"show": "name"}},
        },
    },
}  # fmt: skip


def driver() -> RestDriver:
    return RestDriver(parse(SPEC))


def resource(name: str, *halls: str) -> Resource:
    return driver().resources({"halls": list(halls or ("a", "b"))})[name]


def answer(body: Any, url: str = "") -> Response:
    return Response(200, Headers({"content-type": "application/json"}), dumps(body), url)


def test_a_listing_is_walked_for_one_after_the_other_and_goes_on_wherever_it_was_cut() -> None:
    hall, seats = driver(), resource("seats")
    pages: list[Any] = [
        {"data": [{"seat": "1"}, {"seat": "2"}], "total": 3},
        {"data": [{"seat": "3"}], "total": 3},
        {"data": {"x": {"seat": "1"}}, "total": 1},
    ]
    request = hall.request(seats, Checkpoint("x", "seats"))
    walk = hall.pages(seats, request)
    asked, ids = [next(walk)], []
    for page in pages:
        last = asked[-1]
        url = f"https://x.example/seats?hall={dict(last.params)['hall']}"
        ids += [seats.reader.identify(item.raw or {}).external_id for item in hall.items(seats, answer(page, url))]
        assert hall.request(seats, Checkpoint("x", "seats", cursor=last.cursor)) == last
        try:
            asked.append(walk.send(answer(page, url)))
        except StopIteration:
            break
    assert ids == ["a:1", "a:2", "a:3", "b:1"]
    assert [(dict(one.params)["hall"], dict(one.params).get("page")) for one in asked] == [
        ("a", None), ("a", "2"), ("b", None),
    ]  # fmt: skip
    assert hall.total(seats, answer(pages[0])) is None, "a part's total is not the listing's"
    assert hall.total(resource("seats", "a"), answer(pages[0])) == 3


def test_windows_share_a_day_and_are_days_from_the_moment_of_the_call() -> None:
    hall, shows = driver(), resource("shows")
    walk = hall.pages(shows, hall.request(shows, Checkpoint("x", "shows")))
    found = [next(walk)]
    with pytest.raises(StopIteration):
        while True:
            found.append(walk.send(answer({"data": [{"name": "s", "acts": [{"id": 1}]}]})))
    told = [tuple(dict(one.params)[name] for name in ("hall", "first", "last")) for one in found]
    assert told == [
        ("a", "{today}", "{today+34d}"), ("a", "{today+34d}", "{today+68d}"),
        ("b", "{today}", "{today+34d}"), ("b", "{today+34d}", "{today+68d}"),
    ]  # fmt: skip
    assert all(one.dated for one in found)


def test_past_one_that_refuses_its_first_call_the_walk_goes_on_with_the_next_one() -> None:
    hall, shows = driver(), resource("shows")
    calls = [hall.request(shows, Checkpoint("x", "shows"))]
    while (following := hall.following(shows, calls[-1], answer({"data": []}))) is not None:
        calls.append(following)
    assert hall.beyond(shows, calls[0]) == ("a", calls[2])
    assert hall.beyond(shows, calls[1]) is None, "in the middle of it something else is wrong"
    assert hall.beyond(shows, calls[2]) == ("b", None)
    alone = resource("seats", "a")
    assert hall.beyond(alone, hall.request(alone, Checkpoint("x", "seats"))) is None
    seats = resource("seats")
    second = hall.following(
        seats, hall.request(seats, Checkpoint("x", "seats")), answer({"data": [{"seat": 1}], "total": 3})
    )
    assert second is not None and hall.beyond(seats, second) is None


def test_windows_may_begin_before_today() -> None:
    spec = deepcopy(SPEC)
    spec["resources"]["shows"]["windows"]["before"] = 1
    early = RestDriver(parse(spec))
    first = early.request(early.resources({"halls": ["a"]})["shows"], Checkpoint("x", "shows"))
    assert [dict(first.params)[name] for name in ("first", "last")] == ["{today-1d}", "{today+33d}"]


@pytest.mark.parametrize("kind", ["page", "offset", "cursor"])
def test_a_page_of_rows_without_records_inside_ends_no_listing(kind: str) -> None:
    pages = {
        "kind": kind,
        "param": "at",
        "end": "empty",
        **({"next": "next"} if kind == "cursor" else {"size": "size"}),
    }
    shows = {"path": "/shows", "records": "data", "inner": {"records": "acts"}, "page_size": 2, "pages": pages}
    hall = RestDriver(parse({"name": "hall", "resources": {"shows": shows}}))
    listing = hall.resources({})["shows"]
    walk = hall.pages(listing, hall.request(listing, Checkpoint("x", "shows")))
    asked = [next(walk)]
    told = [[{"acts": []}, {"acts": []}], [{"acts": [{"id": 1}, {"id": 2}]}, {"acts": []}], [{"acts": None}], []]
    with pytest.raises(StopIteration):
        for number, rows in enumerate(told):
            asked.append(walk.send(answer({"data": rows, "next": f"c{number}"})))
    places = {"page": [None, "2", "3", "4"], "offset": [None, "2", "4", "5"], "cursor": [None, "c0", "c1", "c2"]}
    assert [dict(one.params).get("at") for one in asked] == places[kind]


def test_records_inside_rows_take_along_what_their_row_says() -> None:
    hall, shows = driver(), resource("shows")
    rows = [{"name": "s", "acts": [{"id": 1}, {"id": 2, "show": "own"}]}, {"name": "t"}, {"name": "u", "acts": None}]
    assert [item.raw for item in hall.items(shows, answer({"data": rows}))] == [
        {"show": "s", "id": 1},
        {"show": "own", "id": 2},
    ]
    assert [item.raw for item in hall.items(shows, answer({"data": [{"name": "s", "acts": "none"}]}))] == [
        {"value": "none"}
    ]


def test_a_cursor_of_another_walk_is_refused() -> None:
    with pytest.raises(PayloadError, match="another walk"):
        driver().request(resource("seats"), Checkpoint("x", "seats", cursor="c/0|2"))


@pytest.mark.parametrize("given", [[], ["a", "a"], ["a/b"], ["a|b"], [""], [True], [{}], [None]])
def test_an_option_that_lists_no_such_thing_is_a_mistake_in_the_file(given: Any) -> None:
    with pytest.raises(ConfigError, match="halls"):
        driver().resources({"halls": given})


def test_one_record_is_read_by_the_parts_of_its_id_and_an_empty_answer_says_it_is_gone() -> None:
    hall, seats = driver(), resource("seats")
    request = hall.one(seats, joined_id(["a:b", "7"]))
    assert request is not None and dict(request.params) == {"hall": "a:b", "seat": "7"}
    url = "https://x.example/seats?hall=a&seat=7"
    assert hall.record(seats, answer({"data": [{"seat": "7"}]}, url)) == {"hall": "a", "seat": "7"}
    with pytest.raises(GoneError):
        hall.record(seats, answer({"data": []}, url))
    assert id_parts(seats, "a:b:c") == {}


def test_a_push_names_parts_of_the_id_nests_its_form_and_waits_for_nobody_faster() -> None:
    hall, seats = driver(), resource("seats")
    change = Change("seats", "a:7", "paint", {"coats": [{"tint": "red", "dry": True}], "if_changed": "noon"})
    request = hall.push(seats, change)
    assert request.path == "/paint/7"
    assert request.form == {"hall": "a", "coats[0][tint]": "red", "coats[0][dry]": "true"}
    assert hall.by_state(seats, change)
    hall.check(seats, change, {"changed": "noon"})
    with pytest.raises(Exception, match="changed since"):
        hall.check(seats, change, {"changed": "one o'clock"})


@pytest.mark.parametrize("place", ["one", "pushes"])
def test_a_part_that_the_id_does_not_have_is_a_mistake_in_the_description(place: str) -> None:
    seats = {**SPEC["resources"]["seats"]}
    seats[place] = {"one": "/seats/{id.row}", "pushes": {"paint": {"path": "/paint/{id.row}"}}}[place]
    with pytest.raises(ConfigError, match=r"id\.row"):
        parse({**SPEC, "resources": {"seats": seats}})


def test_a_record_of_a_person_who_was_erased_keeps_what_is_said_and_nothing_else() -> None:
    spec = {
        "name": "x",
        "resources": {"people": {"path": "/p", "records": "", "forget": {"when": "gone", "keep": ["id", "gone"]}}},
    }
    made = RestDriver(parse(spec))
    people = made.resources({})["people"]
    told = [{"id": 1, "gone": True, "name": "Ada"}, {"id": 2, "gone": "false", "name": "Bo"}]
    assert [item.raw for item in made.items(people, answer(told))] == [{"id": 1, "gone": True}, told[1]]
    assert made.record(people, answer(told[0])) == {"id": 1, "gone": True}


def test_a_key_that_is_never_stored_is_cut_out_of_lists_single_reads_and_answers_to_pushes() -> None:
    pushes = {"pay": {"path": "/boats/{id}", "idempotency": "natural", "record": ""}}
    boats = {"path": "/boats", "one": "/boats/{id}", "drop": ["key", "code"], "pushes": pushes,
             "deleted": {"from": "gone", "bare": True}}  # fmt: skip
    boat = RestDriver(parse({"name": "yard", "resources": {"boats": boats}}))
    told, kept = {"id": "1", "name": "x", "key": "k"}, {"id": "1", "name": "x"}
    rules = boat.resources({})["boats"]
    assert [item.raw for item in boat.items(rules, answer([told, kept]))] == [kept, kept]
    assert boat.item(rules, answer(told)).raw == kept
    pushed = boat.pushed(rules, Change("boats", "1", "pay"), answer(told))
    assert pushed is not None and pushed.raw == kept


def test_one_that_is_gone_and_shows_nothing_else_leaves_what_was_stored_of_it() -> None:
    for bare in (True, False):
        boats = {"path": "/boats", "one": "/boats/{id}", "deleted": {"from": "gone", "bare": bare}}
        boat = RestDriver(parse({"name": "yard", "resources": {"boats": boats}}))
        item = boat.item(boat.resources({})["boats"], answer({"id": "1", "gone": True}))
        assert (item.raw is None) is bare
        assert not bare or (item.identity is not None and item.identity.deleted and item.identity.external_id == "1")


def test_a_list_of_deleted_ones_ends_the_records_of_another_resource() -> None:
    gone = {"path": "/boats/deleted", "ends": "boats"}
    yard = RestDriver(parse({"name": "yard", "resources": {"boats": {"path": "/boats"}, "gone": gone}}))
    found = yard.items(yard.resources({})["gone"], answer([{"id": 7}, {"no": "id"}]))
    assert [(item.resource, item.identity and item.identity.deleted) for item in found] == [
        ("gone", None), ("gone", None), ("boats", True)]  # fmt: skip
    assert found[-1].identity is not None and found[-1].identity.external_id == "7" and found[-1].raw is None
    with pytest.raises(SpecError, match="no resource 'bots'"):
        parse({"name": "yard", "resources": {"gone": {**gone, "ends": "bots"}}})


def test_a_read_of_a_queue_is_not_repeated_by_itself() -> None:
    queue = {"path": "/orders", "strategy": "queue", "queue": {}}
    shop = RestDriver(parse({"name": "shop", "resources": {"orders": queue, "boats": {"path": "/boats"}}}))
    made = {name: shop.request(one, Checkpoint("a", name)) for name, one in shop.resources({}).items()}
    assert (made["orders"].safe_to_repeat, made["boats"].safe_to_repeat) == (False, True)
