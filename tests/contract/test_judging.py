"""What a partner answers today against what its driver relies on: what is gone, of another kind, or not to be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.contract import Specification
from syncd.contract.judging import ENOUGH, Findings, judged, sampled
from syncd.kit import Headers, Response, RestDriver
from syncd.kit.inferred import Inferred
from syncd.kit.reading import parse

SPEC: dict[str, Any] = {
    "name": "acme",
    "base_url": "https://api.boatyard.example/v1",
    "limits": {"tiers": ["10/s"]},
    "resources": {
        "boats": {
            "path": "/boats",
            "records": "items",
            "updated": "changed",
            "fields": {
                "name": "name",
                "length": {"as": "number"},
                "berth": "berth.no",
                "note": {"from": "note"},
                "mainsail": {"from": "sails[0].area", "as": "number"},
            },
        },
        "log": {"path": "/log", "records": "items", "strategy": "feed", "feeds": ["boats"]},
    },
}
BOAT = {
    "id": "b1",
    "changed": "2026-11-01T08:00:00Z",
    "name": "Else",
    "length": 7.5,
    "berth": {"no": 3},
    "note": None,
    "sails": [{"area": 20}],
}
DOCUMENT = {
    "openapi": "3.0.3",
    "paths": {
        "/v1/boats": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {
            "properties": {"items": {"items": {"required": ["id", "flag"], "properties": {
                "length": {"type": "integer"}}}}}}}}}}}},
    },
}  # fmt: skip


def answer(*boats: Any, url: str = "https://api.boatyard.example/v1/boats?limit=5", **body: Any) -> Response:
    headers = Headers({"content-type": "application/json"})
    return Response(200, headers, dumps(body or {"items": list(boats)}), url=url)


def look(*answers: Response, known: Any = (BOAT,), resource: str = "boats", **how: Any) -> Findings:
    driver = RestDriver(parse(SPEC))
    return judged(driver, driver.resources({})[resource], answers, list(known), **how)


def told(found: Findings) -> list[str]:
    return [f"{each.what} {each.place}: {each.told}" for each in found.drift]


def test_what_is_as_it_was_is_no_news() -> None:
    found = look(answer(BOAT, {**BOAT, "id": "b2", "note": "x"}))
    assert (told(found), found.unknown, found.records, found.calls) == ([], [], 2, 1)


@pytest.mark.parametrize(
    ("boat", "drift"),
    [
        ({"name": None}, []),
        ({"name": ...}, ["missing name: in none of 20 records, and in every sample"]),
        ({"note": ...}, ["missing note: in none of 20 records, and in every sample"]),
        ({"berth": {"number": 3}}, ["missing berth.no: in none of 20 records, and in every sample"]),
        ({"berth": ...}, ["missing berth.no: in none of 20 records, and in every sample"]),
        ({"berth": None}, ["missing berth.no: in none of 20 records, and in every sample"]),
        ({"berth": "3"}, ["missing berth.no: in none of 20 records, and in every sample"]),
        ({"berth": {"no": "3"}}, ["retyped berth.no: expected number, got text"]),
        ({"sails": [{"area": "20"}]}, ["retyped sails[].area: expected number, got text"]),
        ({"sails": [{"size": 20}]}, ["missing sails[0].area: in none of 20 records, and in every sample"]),
        ({"sails": ["main"]}, ["missing sails[0].area: in none of 20 records, and in every sample"]),
        ({"sails": {"main": 20}}, ["missing sails[0].area: in none of 20 records, and in every sample"]),
        ({"name": 5}, ["retyped name: expected text, got number"]),
        ({"length": "7.5"}, ["retyped length: expected number, got text"]),
        ({"changed": None}, ["missing changed: none of 20 records says when it changed"]),
    ],
)  # fmt: skip
def test_a_mapped_field_that_is_gone_or_of_another_kind_is_drift(boat: dict[str, Any], drift: list[str]) -> None:
    raw = {name: value for name, value in {**BOAT, **boat}.items() if value is not ...}
    found = look(answer(*[raw] * ENOUGH), learned=Inferred.of([{**BOAT, "note": "x"}] * 30))
    assert (told(found), found.remarks) == (drift, [])


def test_that_a_few_records_do_not_say_when_they_changed_is_a_remark() -> None:
    undated = {**BOAT, "changed": None}
    found = look(answer(*[undated] * (ENOUGH - 1)))
    assert (found.drift, [each.place for each in found.remarks]) == ([], ["changed"])


WITHOUT = {name: value for name, value in BOAT.items() if name != "note"}
NOTED = {**BOAT, "note": "x"}


@pytest.mark.parametrize(
    ("before", "is_gone"),
    [
        ([NOTED] * 500, True),
        ([NOTED, NOTED, WITHOUT] * 100 + [WITHOUT] * 20, True),  # each third lacked it, then all
        ([NOTED, NOTED, WITHOUT] * 100, False),
        ([NOTED] + [WITHOUT] * 50 + [NOTED] * 5, False),  # it was away for longer
        ([WITHOUT] * 500, False),  # an account that does not use it
        ([NOTED], False),  # too little is known of it
        ([], False),
    ],
)
def test_a_field_is_gone_where_this_account_had_it_and_else_its_absence_is_a_remark(
    before: list[Any], is_gone: bool
) -> None:
    found = look(answer(*[WITHOUT] * ENOUGH), learned=Inferred.of(before) if before else None)
    told = found.drift if is_gone else found.remarks
    assert [each.place for each in told] == ["note"]
    assert len(found.drift + found.remarks) == 1


def test_a_value_stored_as_it_comes_may_be_of_the_kind_it_always_was_here() -> None:
    numbered = {**BOAT, "note": 5, "length": "7.5"}
    known = [{**BOAT, "note": {"key": "x"}}]
    found = look(answer(numbered), known=known, learned=Inferred.of([numbered] * 50))
    assert [each.place for each in found.drift] == ["length"], "that is a number by its description"
    assert [each.place for each in found.remarks] == ["note"]
    found = look(answer(numbered), known=known, learned=Inferred.of([{**numbered, "note": {"key": "x"}}] * 50))
    assert [each.place for each in found.drift] == ["length", "note"]


def test_what_stands_below_a_thing_that_was_another_before_is_not_gone() -> None:
    plain = {**BOAT, "berth": "3"}
    found = look(answer(*[plain] * ENOUGH), learned=Inferred.of([BOAT] * 50 + [plain] * 50))
    assert (told(found), [each.place for each in found.remarks]) == ([], ["berth.no"])
    found = look(answer(*[plain] * ENOUGH, BOAT), learned=Inferred.of([BOAT] * 50))
    assert (found.drift, found.remarks) == ([], []), "one record still has it"


def test_an_entry_of_a_list_stored_as_it_comes_may_be_of_the_kind_it_always_was_here() -> None:
    fields = {**SPEC["resources"]["boats"]["fields"], "mainsail": "sails[0].area"}
    driver = RestDriver(parse({**SPEC, "resources": {"boats": {**SPEC["resources"]["boats"], "fields": fields}}}))
    worded = {**BOAT, "sails": [{"area": "20"}]}
    found = judged(driver, driver.resources({})["boats"], [answer(worded)], [BOAT], learned=Inferred.of([worded] * 50))
    assert (told(found), [each.place for each in found.remarks]) == ([], ["sails[].area"])


def test_an_absence_somebody_has_accepted_is_none() -> None:
    learned = Inferred.of([NOTED] * 500)
    learned.forgive("note")
    assert look(answer(*[WITHOUT] * ENOUGH), learned=learned).drift == []


def test_a_field_that_the_description_has_a_value_for_is_not_relied_on() -> None:
    fields = {**SPEC["resources"]["boats"]["fields"], "note": {"from": "note", "default": ""}}
    driver = RestDriver(parse({**SPEC, "resources": {"boats": {**SPEC["resources"]["boats"], "fields": fields}}}))
    without = {name: value for name, value in BOAT.items() if name != "note"}
    found = judged(driver, driver.resources({})["boats"], [answer(*[without] * ENOUGH)], [BOAT])
    assert (found.drift, found.remarks) == ([], [])


def test_one_record_with_a_field_is_enough_for_it_to_be_there() -> None:
    without = {name: value for name, value in BOAT.items() if name != "name"}
    assert told(look(answer(without, BOAT))) == []
    assert told(look(answer(without), known=(BOAT, without))) == []


def test_new_fields_are_counted_and_are_no_drift() -> None:
    found = look(answer({**BOAT, "colour": "red", "berth": {"no": 3, "pier": "B"}}))
    assert (told(found), found.unknown) == ([], ["berth.pier", "colour"])


def test_what_is_in_a_field_that_is_stored_as_it_comes_is_the_accounts_own() -> None:
    boat = {**BOAT, "note": {"Cost centre": 5, "Keel": "long"}}
    other = {**BOAT, "note": {"Cost centre": "A5", "Draught": 2}}
    found = look(answer(other), known=[boat])
    assert (told(found), found.unknown) == ([], [])
    assert [each.place for each in found.remarks] == ['note."Cost centre"']


def test_a_field_nobody_maps_may_change_its_kind() -> None:
    assert told(look(answer({**BOAT, "flag": 5}), known=({**BOAT, "flag": "DK"},))) == []


def test_records_that_cannot_be_read_are_told_with_their_number() -> None:
    (only,) = look(answer({**BOAT, "length": [1]}, BOAT), known=()).drift
    assert (only.what, only.place) == ("unreadable", "length")
    assert "(1 of 2 records)" in only.told
    assert "length" not in only.told, "it is named by its place"
    (only,) = look(answer({**BOAT, "id": None}), known=()).drift
    assert (only.what, only.place) == ("unreadable", "id")


def test_a_fault_of_the_driver_is_told_by_its_kind_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("secret-value")

    monkeypatch.setattr(RestDriver, "normalize", fail)
    (only,) = look(answer(BOAT), known=()).drift
    assert only.told == "KeyError in the driver (1 of 1 records)"
    monkeypatch.setattr(RestDriver, "items", fail)
    (only,) = look(answer(BOAT), known=()).drift
    assert (only.place, only.told) == ("the listing", "KeyError in the driver")


def test_a_listing_in_another_place_is_told_once() -> None:
    found = look(answer(boats=[BOAT]), answer(boats=[BOAT]))
    assert [each.what for each in found.drift] == ["unreadable"]
    assert "items" in found.drift[0].told


def test_no_value_is_told() -> None:
    raw = {"id": ["secret-id"], "changed": "secret-time", "name": {"secret-key": 1}, "length": "secret-length"}
    found = look(answer(raw), specification=Specification([DOCUMENT]))
    assert found.drift
    assert "secret" not in json.dumps({**found.as_json(), "unknown": []})


def test_the_document_is_asked_with_its_own_paths() -> None:
    document = Specification([DOCUMENT])
    expected = [
        "published 200 items[].flag: is missing",
        "published 200 items[].length: expected integer, found a number",
    ]
    found = look(answer(BOAT), specification=document)
    assert sorted(told(found)) == expected
    assert not any(each.is_relied_on for each in found.drift)
    simulated = answer(BOAT, url="http://127.0.0.1:4711/boats")
    assert sorted(told(look(simulated, specification=document, base_path="/v1"))) == expected
    assert told(look(simulated, specification=document)) == []
    assert [each.place for each in look(simulated, specification=document).remarks] == ["GET /boats"]
    other = Specification([{"openapi": "3.0.3", "paths": {"/v1/berths": {}}}, DOCUMENT])
    assert sorted(told(look(answer(BOAT), specification=other))) == expected, "each call is looked for in all of them"
    assert told(look(simulated, specification=Specification([DOCUMENT], partial=True))) == []


def test_of_a_feed_only_what_it_is_made_of_is_looked_at() -> None:
    assert told(look(answer({"anything": 1}), resource="log", known=[{"other": 1}])) == []
    assert [each.what for each in look(answer(boats=[]), resource="log").drift] == ["unreadable"]


def test_samples_of_what_is_wrong_are_no_measure(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name, content in {
        "boats.plain": {"raw": BOAT, "id": "b1", "data": {}},
        "boats.wrong": {"raw": {"id": 5}, "reject": "id"},
        "boats.other": {"raw": {"no": 5}, "adapter": "v2"},
        "boats.walk.pages": {"pages": []},
        "options": {"raw": {}},
    }.items():
        (tmp_path / "samples" / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "samples" / "boats.broken.json").write_text("{")
    assert sampled(tmp_path, "boats") == [BOAT]
    assert sampled(tmp_path, "ships") == []
    assert sampled(tmp_path / "nowhere", "boats") == []


def test_a_long_list_is_cut_and_counted() -> None:
    raw = {f"f{number}": 1 for number in range(30)}
    spec = {**SPEC["resources"]["boats"], "fields": {name: name for name in raw}}
    driver = RestDriver(parse({**SPEC, "resources": {**SPEC["resources"], "boats": spec}}))
    found = judged(
        driver, driver.resources({})["boats"], [answer({**BOAT, **dict.fromkeys(raw, "1")})], [{**BOAT, **raw}]
    ).as_json()
    assert (len(found["drift"]), found["more"]) == (20, 10)
