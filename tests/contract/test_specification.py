"""A published specification as a judge of calls and answers, over small documents of every style there is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from syncd.contract import Defect, Problem, Specification
from syncd.errors import ConfigError

BOAT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string", "nullable": True},
        "length": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "launched": {"type": "string", "format": "date"},
        "changed": {"type": ["string", "null"], "format": "date-time"},
        "kind": {"type": "string", "enum": ["sail", "motor"], "nullable": True},
        "berth": {"allOf": [{"$ref": "#/components/schemas/Berth"}], "nullable": True},
        "above": {"$ref": "#/components/schemas/Boat"},
        "owner": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Person"}]},
        "values": {
            "type": "array",
            "items": {
                "oneOf": [
                    {"type": "object", "properties": {"as": {"enum": ["text"]}, "value": {"type": "string"}}},
                    {"type": "object", "properties": {"as": {"enum": ["number"]}, "value": {"type": "number"}}},
                ]
            },
        },
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://api.boatyard.example/v1/"}],
    "paths": {
        "/boats": {
            "parameters": [{"$ref": "#/components/parameters/limit"}],
            "get": {
                "parameters": [
                    {"name": "created", "in": "query", "style": "deepObject", "schema": {"anyOf": [
                        {"type": "object", "properties": {"gte": {"type": "integer"}}}, {"type": "integer"}]}},
                    {"name": "types", "in": "query", "schema": {"type": "array", "maxItems": 2, "items": {
                        "enum": ["a", "b"]}}},
                    {"name": "changed[gte]", "in": "query", "schema": {"type": "string", "format": "date-time"}},
                    {"name": "DateSent>", "in": "query", "schema": {"type": "string", "format": "date"}},
                    {"name": "hired", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "filter", "in": "query", "schema": {"type": "object", "properties": {
                        "harbour": {"type": "string"}}}},
                    {"name": "view", "in": "query", "required": True, "schema": {"type": "string"}},
                    {"name": "X-Org", "in": "header", "required": True, "schema": {"type": "integer"}},
                    {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "integer"}},
                ],
                "responses": {
                    "200": {"content": {"application/json; charset=utf-8": {"schema": {
                        "type": "object", "required": ["items", "total"], "properties": {
                            "total": {"type": "integer"},
                            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Boat"}}}}}}},
                    "4XX": {"$ref": "#/components/responses/Error"},
                },
            },
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Boat"},
                        {"type": "object", "required": ["note"], "properties": {"note": {"type": "string"}}},
                    ]}}}},
                "responses": {"201": {"description": "made"}},
            },
        },
        "/boats/{id}": {"get": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "responses": {"default": {"content": {"application/json": {"schema": {
                "$ref": "#/components/schemas/Boat"}}}}}}},
        "/boats/search": {"get": {"responses": {}}},
        "/Messages/{Sid}.json": {"post": {
            "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {
                "type": "object", "properties": {
                    "Size": {"type": "integer"},
                    "Tags": {"type": "array", "items": {"type": "integer"}},
                    "Fields": {"type": "array", "items": {"type": "object", "properties": {
                        "name": {"type": "string"}, "on": {"type": "boolean"}}}},
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}}}}}}},
            "responses": {"200": {}}}},
    },
    "components": {
        "parameters": {"limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}}},
        "responses": {"Error": {"content": {"application/json": {"schema": {
            "type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}}}}},
        "schemas": {
            "Boat": BOAT,
            "Berth": {"type": "object", "properties": {"no": {"type": "integer"}}},
            "Person": {"type": "object", "required": ["mail"], "properties": {"mail": {"type": "string"}}},
        },
    },
}  # fmt: skip
ID = "0c1d2e3f-4051-4263-a475-869708192a3b"


@pytest.fixture
def boatyard() -> Specification:
    return Specification([DOCUMENT])


def told(problems: list[Problem]) -> list[str]:
    return [f"{each.place}: {each.told}" for each in problems]


def asked(document: Specification, *query: tuple[str, str], headers: dict[str, str] | None = None) -> list[str]:
    return told(document.request("GET", "/v1/boats", [("view", "all"), *query], headers=headers))


def answered(document: Specification, boat: Any, **how: Any) -> list[str]:
    body = {"items": [boat], "total": 1}
    return [each.removeprefix("200 items[]").removeprefix(".") for each in told(
        document.answer("GET", "/v1/boats", 200, body, **how))]  # fmt: skip


# Calls.


@pytest.mark.parametrize(
    "query",
    [
        ("limit", "50"),
        ("created", "1788001200"),
        ("created[gte]", "1788001200"),
        ("types", "a"),
        ("types", "a,b"),
        ("types[]", "a"),
        ("types[0]", "b"),
        ("changed[gte]", "2026-11-01T08:00:00.000Z"),
        ("DateSent>", "2026-11-01"),
        ("hired", "true"),
        ("filter", '{"harbour": "Nordhavn"}'),
        ("filter[harbour]", "Nordhavn"),
    ],
)
def test_parameters_are_understood_in_every_style(query: tuple[str, str], boatyard: Specification) -> None:
    assert asked(boatyard, query) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (("limit", "many"), "query limit: expected integer, found text"),
        (("limit", "101"), "query limit: is against its maximum 100"),
        (("created[lt]", "5"), "query created lt: is no member that is stated"),
        (("types", "c"), "query types []: is none of the values that are stated"),
        (("types", "a,b,a"), "query types: is against its maxItems 2"),
        (("changed[gte]", "2026-11-01"), "query changed[gte]: is not written as date-time"),
        (("changed[lte]", "2026-11-01T08:00:00Z"), "query changed[lte]: is no parameter that is stated"),
        (("DateSent>", "yesterday"), "query DateSent>: is not written as date"),
        (("hired", "yes"), "query hired: expected boolean, found text"),
        (("filter[town]", "x"), "query filter town: is no member that is stated"),
        (("page", "2"), "query page: is no parameter that is stated"),
    ],
)
def test_what_a_parameter_must_not_be_is_told(query: tuple[str, str], problem: str, boatyard: Specification) -> None:
    assert asked(boatyard, query) == [problem]


def test_what_is_required_is_missed(boatyard: Specification) -> None:
    assert told(boatyard.request("GET", "/v1/boats")) == ["query view: is missing"]
    assert asked(boatyard, headers={"x-org": "7"}) == []
    assert asked(boatyard, headers={"x-org": "seven"}) == ["header X-Org: expected integer, found text"]
    assert asked(boatyard, headers={}) == ["header X-Org: is missing"]


def test_an_unknown_path_or_method_is_one_problem_unless_the_document_is_a_part(boatyard: Specification) -> None:
    assert told(boatyard.request("GET", "/v1/ships")) == ["path: no such method of no such path"]
    assert told(boatyard.request("GET", "/boats")) == ["path: no such method of no such path"]
    assert told(boatyard.request("PATCH", "/v1/boats")) == ["path: no such method of no such path"]
    assert Specification([DOCUMENT], partial=True).request("GET", "/v1/ships") == []


def test_a_path_written_out_goes_before_a_hole(boatyard: Specification) -> None:
    assert str(boatyard.operation("GET", "/v1/boats/search")) == "GET /v1/boats/search"
    assert told(boatyard.request("GET", "/v1/boats/x%20y")) == ["path id: expected integer, found text"]
    found = boatyard.operation("POST", "/v1/Messages/SM1.json")
    assert found is not None
    assert found.found == {"Sid": "SM1"}


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"id": ID, "name": None, "note": "x", "berth": {"no": 3}}, []),
        ({"id": ID, "name": "Else"}, ["body note: is missing"]),
        ({"id": ID, "name": "Else", "note": "x", "size": 1}, ["body size: is no member that is stated"]),
        ({"id": ID, "name": "Else", "note": 5}, ["body note: expected string, found a whole number"]),
        ({"id": ID, "name": "E", "note": "x", "berth": {"nr": 3}}, ["body berth.nr: is no member that is stated"]),
        (None, ["body: is missing"]),
    ],
)
def test_a_body_has_what_is_stated_and_nothing_else(body: Any, problems: list[str], boatyard: Specification) -> None:
    assert told(boatyard.request("POST", "/v1/boats", json=body)) == problems


def test_a_body_nobody_asked_for_or_of_another_kind_is_told(boatyard: Specification) -> None:
    assert told(boatyard.request("GET", "/v1/boats", [("view", "a")], json={"a": 1})) == ["body: this call takes none"]
    assert told(boatyard.request("POST", "/v1/boats", form=[("a", "1")])) == [
        "body: is a form, and the document has none"
    ]
    found = boatyard.request("POST", "/v1/Messages/SM1.json", json={"Size": 1})
    assert told(found) == ["body: is JSON, and the document has none"]


@pytest.mark.parametrize(
    ("form", "problems"),
    [
        ([("Size", "3"), ("Tags[]", "1"), ("Tags[]", "2"), ("metadata[a]", "b")], []),
        ([("Tags", "1"), ("Tags", "2"), ("Fields[0][name]", "n"), ("Fields[0][on]", "true")], []),
        ([("Size", "three")], ["body Size: expected integer, found text"]),
        ([("Fields[0][on]", "maybe")], ["body Fields[].on: expected boolean, found text"]),
        ([("Fields[0][off]", "true")], ["body Fields[].off: is no member that is stated"]),
        ([("Colour", "red")], ["body Colour: is no member that is stated"]),
    ],
)
def test_forms_are_read_by_their_schema(
    form: list[tuple[str, str]], problems: list[str], boatyard: Specification
) -> None:
    assert told(boatyard.request("POST", "/v1/Messages/SM1.json", form=form)) == problems


# Answers.


@pytest.mark.parametrize(
    ("member", "problems"),
    [
        ({"length": 7.5, "launched": "1999-05-01", "changed": None, "kind": None, "berth": None, "new": [1]}, []),
        ({"owner": "ada"}, []),
        ({"owner": {"mail": "ada@example.com"}}, []),
        ({"values": [{"as": "text", "value": "x"}, {"as": "number", "value": 1}]}, []),
        ({"id": "b1"}, ["id: is not written as uuid"]),
        ({"name": 5}, ["name: expected string, found a whole number"]),
        ({"length": 0}, ["length: is against its exclusiveMinimum 0"]),
        ({"launched": None}, ["launched: expected string, found null"]),
        ({"launched": "2026-02-30"}, ["launched: is not written as date"]),
        ({"changed": "2026-13-01T00:00:00Z"}, ["changed: is not written as date-time"]),
        ({"changed": "2026-11-01T08:00:00.123456789Z"}, []),
        ({"kind": "steam"}, ["kind: is none of the values that are stated"]),
        ({"berth": {"no": "3"}}, ["berth.no: expected integer, found text"]),
        ({"above": {"id": ID, "name": "x", "above": {"id": 5, "name": "x"}}},
         ["above.above.id: expected string, found a whole number"]),
        ({"owner": 5}, ["owner: expected string, found a whole number"]),
        ({"owner": {"mail": True}}, ["owner.mail: expected string, found a boolean"]),
        ({"values": [{"as": "number", "value": "x"}]}, ["values[].value: expected number, found text"]),
    ],
)  # fmt: skip
def test_a_record_is_judged_to_its_depth(member: dict[str, Any], problems: list[str], boatyard: Specification) -> None:
    boat = {"id": ID, "name": "Else", **member}
    assert answered(boatyard, boat) == problems
    assert [each.told for each in boatyard.record("GET", "/v1/boats", "items", boat)] == [
        problem.partition(": ")[2] for problem in problems
    ]


def test_what_may_be_cut_short_lacks_nothing(boatyard: Specification) -> None:
    assert answered(boatyard, {"id": ID}) == ["name: is missing"]
    assert answered(boatyard, {"id": ID}, whole=False) == []
    assert boatyard.record("GET", "/v1/boats/5", "", {"length": 3}) == []
    (found,) = boatyard.record("GET", "/v1/boats/5", "", {"length": "3"})
    assert str(found) == "GET /v1/boats/{id}: answer 200 length: expected number, found text"


def test_an_answer_is_judged_by_its_status(boatyard: Specification) -> None:
    assert told(boatyard.answer("GET", "/v1/boats", 404, {})) == ["404 message: is missing"]
    assert told(boatyard.answer("GET", "/v1/boats", 202, {})) == ["202: a status that is not listed"]
    assert boatyard.answer("GET", "/v1/boats", 503, "<html>") == []
    assert boatyard.answer("POST", "/v1/boats", 201, {"whatever": 1}) == []
    assert boatyard.answer("GET", "/v1/ships", 200, {"whatever": 1}) == []


def test_no_value_of_an_answer_is_in_what_is_told(boatyard: Specification) -> None:
    boat = {"id": "secret-id", "name": ["secret-name"], "kind": "secret-kind", "length": -4711}
    told = " ".join(map(str, boatyard.answer("GET", "/v1/boats", 200, {"items": [boat], "total": "secret-total"})))
    assert "secret" not in told
    assert "4711" not in told
    assert told.count("answer") == 5


def test_a_defect_of_the_document_is_left_out_by_place_and_kind() -> None:
    boat = {"id": "b1", "name": "Else", "kind": "steam"}
    known = Defect("GET /v1/boats: answer 200 items[].*", "its own example is no uuid", "format")
    document = Specification([DOCUMENT], [known, Defect("POST *", "never met")])
    assert answered(document, boat) == ["kind: is none of the values that are stated"]
    assert document.covered == {known}


def test_of_two_documents_the_later_is_right() -> None:
    newer = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://api.boatyard.example/v1"}],
        "paths": {"/boats": {"get": {"responses": {"202": {}}}}, "/ships": {"get": {"responses": {"200": {}}}}},
    }
    document = Specification([DOCUMENT, newer])
    assert told(document.request("GET", "/v1/boats", [("view", "all")])) == [
        "query view: is no parameter that is stated"
    ]
    assert document.request("GET", "/v1/ships") == []
    assert len(document) == 6


# Files.


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.json", None, "No such file"),
        ("broken.json", "{", "neither JSON nor YAML"),
        ("broken.yaml", "a: [", "neither JSON nor YAML"),
        ("list.json", "[]", "it has no paths"),
        ("old.yaml", "swagger: '2.0'\npaths: {}", "version 2.0"),
    ],
)
def test_a_file_that_is_no_specification_is_said_to_be_none(
    name: str, content: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=words) as caught:
        Specification.read(file)
    assert caught.value.hint


def test_yaml_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("openapi: 3.0.1\npaths: {/a: {get: {responses: {}}}}")
    assert Specification.read(file).request("GET", "/a") == []


def test_without_jsonschema_it_says_which_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from syncd.contract import schemas

    monkeypatch.setattr(schemas, "_KINDS", {})
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match="jsonschema is not installed") as caught:
        Specification([DOCUMENT]).answer("GET", "/v1/boats", 200, {})
    assert "syncd[contract]" in caught.value.hint
