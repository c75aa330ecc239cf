"""The plain partner with keys that turn: it announces a new one by a signed delivery. And a driver that understands it."""

from __future__ import annotations

import math
from typing import Any

import orjson
from aiohttp import web

from syncd.kit import Delivery, Event, RestDriver
from syncd.kit.coerce import moment
from syncd.secrets import Secret
from syncd.testing.base import Call
from syncd.testing.collection import Raw
from syncd.testing.dice import iso
from tests.whole.plain import KEY, Plain

ROTATED = "credentials.rotated"


class Turning(Plain):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.keys: dict[str, float] = {KEY: math.inf}
        """Keys that are taken, and for how many calls."""
        self.calls_with: dict[str, int] = {}

    def action(self, name: str, params: Raw) -> Any:
        match name:
            case "turn":
                """Take `key` for `uses` calls (0: not at all) and announce it; `ends`: take no other one any more."""
                if params.get("ends"):
                    self.keys.clear()
                self.keys[params["key"]] = params.get("uses", math.inf)
                told = {"type": ROTATED, "at": iso(self.now() + params.get("later", 0.0), 6), "secret": params["key"]}
                self.deliveries.post(ROTATED, orjson.dumps(told), f"evt_{self.dice.hexadecimal(16)}")
                return True
            case "end":
                return self.keys.pop(params["key"], None) is not None
            case "used":
                return self.calls_with
        return super().action(name, params)

    def authorise(self, call: Call) -> web.Response | None:
        key = call.request.headers.get("X-Api-Key", "")
        if self.keys.get(key, 0) <= 0:
            return self.reply({"error": "bad key"}, 401)
        self.keys[key] -= 1
        self.calls_with[key] = self.calls_with.get(key, 0) + 1
        return None


class TurningDriver(RestDriver):
    """Understands `credentials.rotated`; all else is the plain partner's."""

    def events(self, delivery: Delivery) -> list[Event]:
        told = delivery.json()
        if told["type"] != ROTATED:
            return super().events(delivery)
        secrets = {"api_key": Secret(told["secret"])}
        return [Event("", "", ROTATED, moment(told["at"]), credentials=secrets)]


def create(**options: Any) -> Turning:
    return Turning(**options)
