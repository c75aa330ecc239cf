"""From a document to a driver: whatever it holds, what is written loads, is sound configuration, and its suite is green."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd import drivers
from syncd.config.load import load
from syncd.scaffold import Written, guessed, read_document
from syncd.scaffold.document import Document, DocumentError
from syncd.testing.driver_suite import checks
from syncd.testing.published import folder
from syncd.testing.walking import walked
from tests.scaffold.built import Build, build  # noqa: F401 - a fixture

PUBLISHED = sorted(path for path in folder().iterdir() if path.suffix in {".json", ".yaml"}) if folder() else []


def sound(written: Written) -> None:
    for check in checks(written.choices.name):
        check()
    loaded = load(written.place.root / "config", drivers=drivers.facts(), env={}, strict=True)
    assert [str(problem) for problem in loaded.problems] == []


@pytest.mark.skipif(not PUBLISHED, reason="the published documents are not here")
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_every_published_document_becomes_a_driver_whose_suite_is_green(build: Build, path: Path) -> None:  # noqa: F811
    sound(build(guessed(read_document(path), "newcomer")))


TEXT, YES = {"type": "string"}, {"type": "boolean"}
SHOP: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "The  Shop"},
    "host": "shop.example.com",
    "basePath": "/api/v2",
    "schemes": ["http", "https"],
    "securityDefinitions": {
        "app": {"type": "oauth2", "flow": "application", "tokenUrl": "https://shop.example.com/login/token"},
        "key": {"type": "apiKey", "in": "query", "name": "api_key"},
    },
    "parameters": {"size": {"name": "pageSize", "in": "query", "type": "integer", "maximum": 25}},
    "paths": {
        "/orders": {
            "parameters": [{"$ref": "#/parameters/size"}],
            "get": {
                "parameters": [
                    {"name": "pageNumber", "in": "query", "type": "integer"},
                    {"name": "modifiedSince", "in": "query", "type": "string"},
                ],
                "responses": {"200": {"schema": {"$ref": "#/definitions/Orders"}}},
            },
        },
        "/orders/{orderId}": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Order"}}}}},
        "/orders/{orderId}/lines": {
            "get": {"responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/Line"}}}}}
        },
        "/reports": {
            "get": {
                "parameters": [{"name": "year", "in": "query", "required": True, "type": "integer"}],
                "responses": {"200": {"schema": {"$ref": "#/definitions/Orders"}}},
            }
        },
        "/nameless": {
            "get": {"responses": {"200": {"schema": {"type": "array", "items": {"properties": {"text": TEXT}}}}}}
        },
    },
    "definitions": {
        "Orders": {
            "properties": {
                "total": {"type": "integer"},
                "orders": {"type": "array", "items": {"$ref": "#/definitions/Order"}},
                "links": {"type": "array", "items": {"type": "string"}},
            }
        },
        "Order": {
            "allOf": [
                {"properties": {"orderId": {"type": "integer"}, "lastModified": {**TEXT, "format": "date-time"}}},
                {"properties": {"buyer": {"$ref": "#/definitions/Buyer"}, "paid": YES, "api_token": TEXT}},
            ]
        },
        "Buyer": {"properties": {"orders": {"$ref": "#/definitions/Orders"}, "name": {"type": "string"}}},
        "Line": {"properties": {"id": TEXT, "self": {"$ref": "#/definitions/Line"}, "amount": {"type": "number"}}},
    },
}  # fmt: skip


def test_a_swagger_document_with_circles_is_read_as_it_is_meant(build: Build, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(SHOP))
    written = build(guessed(read_document(file), "shop"))
    sound(written)
    choices = written.choices
    assert (choices.title, choices.base_url) == ("The Shop", "https://shop.example.com/api/v2")
    assert choices.auth == {"kind": "oauth2_client", "token_path": "/login/token"}
    spec = drivers.load("shop").spec
    assert set(spec.resources) == {"orders", "lines"}
    orders, lines = spec.resources["orders"], spec.resources["lines"]
    assert (orders.id, orders.records, orders.total, orders.page_size) == ("orderId", "orders", "total", 25)
    assert orders.updated is not None
    assert (orders.updated.source, orders.since and orders.since.param) == ("lastModified", "modifiedSince")
    assert orders.one is not None
    assert orders.one.path == "/orders/{id}"
    assert (orders.pages.kind, orders.pages.param, orders.pages.size) == ("page", "pageNumber", "pageSize")
    assert (lines.parent, lines.path, lines.enabled) == ("orders", "/orders/{parent.id}/lines", False)
    assert "api_token" not in orders.fields
    text = (written.place.driver / "driver.yaml").read_text()
    assert "# guessed: pages go on by the parameter `pageNumber`" in text
    partner = import_module("shop_syncd.simulator").create(records=60, tiers=["1000/s"])
    assert set(asyncio.run(walked(drivers.load("shop"), partner))["orders"]) == set(partner.truth("orders"))


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ({"type": "http", "scheme": "Bearer"}, "bearer"),
        ({"type": "http", "scheme": "basic"}, "basic"),
        ({"type": "apiKey", "in": "header", "name": "X-Token"}, "api_key"),
        ({"type": "apiKey", "in": "header", "name": "Authorization"}, "bearer"),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, "bearer"),
        ({"type": "oauth2", "flows": {"authorizationCode": {"tokenUrl": "https://x.example/t"}}}, "oauth2_refresh"),
        ({"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": ""}}}, "bearer"),
        ({"type": "openIdConnect"}, "bearer"),
        ({"$ref": "#/nowhere"}, "bearer"),
    ],
)
def test_what_proves_who_calls_is_guessed_from_the_schemes(scheme: dict[str, Any], kind: str) -> None:
    told = {"openapi": "3.1.0", "paths": {}, "components": {"securitySchemes": {"one": scheme}}}
    assert guessed(Document(told, "x.json"), "newcomer").proof.kind == kind


@pytest.mark.parametrize(
    "broken",
    [
        {"paths": None},
        {"paths": {"/a": None, "b": {}, "/c": {"get": {"responses": []}}}},
        {"paths": {"/a": {"$ref": "#/paths/~1a"}}},
        {"paths": {"/a": {"get": {"responses": {"200": {"content": {"text/json": {"schema": {"$ref": "y.yaml#/X"}}}}}}}}},
        {"servers": [{"url": "{scheme}://{host}/v1"}], "paths": {}},
        {"servers": "https://x.example", "info": None, "components": 7, "paths": {}},
        {"servers": [{"url": "/v1"}], "paths": {}},
        {"servers": [{"url": "https://{region}.x.example/v1", "variables": {"region": {"default": "eu"}}}], "paths": {}},
    ],
)  # fmt: skip
def test_a_document_with_holes_becomes_the_plain_beginning(build: Build, broken: dict[str, Any]) -> None:  # noqa: F811
    written = build(guessed(Document({"openapi": "3.0.0", **broken}, "x.json"), "newcomer"))
    sound(written)
    assert [found.rows.name for found in written.choices.resources] == ["things"]


def test_a_document_that_is_none_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for text, words in (
        ("", "no OpenAPI 3"),
        ("[]", "no OpenAPI 3"),
        ("openapi: 4.0.0", "no OpenAPI 3"),
        ("{", "neither JSON nor YAML"),
        ("\0", "neither JSON nor YAML"),
        ("[" * 20_000, "neither JSON nor YAML"),
        (json.dumps({"openapi": None}), "no OpenAPI 3"),
    ):
        file.write_text(text)
        with pytest.raises(DocumentError, match=words):
            read_document(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentError, match="it is no text"):
        read_document(file)
    with pytest.raises(DocumentError, match="cannot read"):
        read_document(tmp_path)
