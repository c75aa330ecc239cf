"""A simulator that is given its partner's specification counts what arrives or leaves otherwise than published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from syncd.testing.call import Call
from syncd.testing.collection import World
from syncd.testing.dice import Dice
from syncd.testing.simulator import Simulator, serve

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://api.boatyard.example/v1"}],
    "paths": {
        "/boats": {
            "get": {
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}],
                "responses": {"200": {"content": {"application/json": {"schema": {
                    "type": "array", "items": {"properties": {"length": {"type": "number"}}}}}}}},
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {
                    "type": "object", "properties": {"length": {"type": "number"}}}}}},
                "responses": {"201": {}},
            },
        }
    },
}  # fmt: skip


class Boatyard(Simulator):
    name = "boatyard"
    routes = (("GET", "/v1/boats", "boats"), ("POST", "/v1/boats", "made"))

    def defaults(self) -> dict[str, Any]:
        return {"length": 7.5}

    def make_world(self, dice: Dice) -> World:
        return World({})

    def make(self, resource: str, fields: Any) -> tuple[str, Any]:
        raise KeyError(resource)

    def boats(self, call: Call) -> web.Response:
        return self.reply([{"length": self.options["length"]}])

    def made(self, call: Call) -> web.Response:
        return self.reply({}, 201)


@pytest.fixture
def document(tmp_path: Path) -> str:
    file = tmp_path / "boatyard.json"
    file.write_text(json.dumps(DOCUMENT))
    return str(file)


async def asked(simulator: Simulator, *calls: tuple[str, str, bytes | None]) -> dict[str, Any]:
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url) as client:
        for method, path, body in calls:
            async with client.request(method, path, data=body) as answer:
                await answer.read()
    return simulator.stats()


async def test_what_keeps_to_the_document_is_no_problem(document: str) -> None:
    stats = await asked(
        Boatyard(published=[document]), ("GET", "/v1/boats?limit=5", None), ("POST", "/v1/boats", b'{"length": 3}')
    )
    assert stats["contract"] == 0
    assert (stats["contract_seen"]["requests"], stats["contract_seen"]["answers"]) == (2, 2)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("GET", "/v1/boats?limit=few", None), "GET /v1/boats: request query limit: expected integer, found text"),
        (("GET", "/v1/ships", None), "GET /v1/ships: request path: no such method of no such path"),
        (("POST", "/v1/boats", b'{"size": 3}'), "POST /v1/boats: request body size: is no member that is stated"),
        (("POST", "/v1/boats", b"size"), "POST /v1/boats: request body: is neither JSON nor a form"),
    ],
)
async def test_a_request_that_is_not_documented_is_counted(
    call: tuple[str, str, bytes | None], problem: str, document: str
) -> None:
    stats = await asked(Boatyard(published=[document]), call, call)
    assert stats["contract_seen"]["problems"] == {problem: 2}
    assert stats["contract"] == 2


async def test_an_answer_that_is_not_documented_is_counted(document: str) -> None:
    stats = await asked(Boatyard(published=[document], length="long"), ("GET", "/v1/boats", None))
    assert list(stats["contract_seen"]["problems"]) == [
        "GET /v1/boats: answer 200 [].length: expected number, found text"
    ]


async def test_what_a_simulator_is_told_to_do_wrong_is_not_held_against_it(document: str) -> None:
    simulator = Boatyard(published=[document])
    simulator.misbehaviour.add("status", status=503, count=1)
    assert (await asked(simulator, ("GET", "/v1/boats", None)))["contract"] == 0


async def test_without_a_document_nothing_is_compared() -> None:
    stats = await asked(Boatyard(length="long"), ("GET", "/v1/boats?limit=few", None))
    assert (stats["contract"], stats["contract_seen"]) == (None, None)
