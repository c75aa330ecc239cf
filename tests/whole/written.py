"""The plain API with writes: one that honours idempotency keys, one that sets a state, one that has to be looked up.

`applied` (an admin action) is everything it did, in order. Option `cut`: of every so many writes it loses one answer, by
turns a reset connection, half a body, and a 503, the work done each time.
"""

from __future__ import annotations

from typing import Any, ClassVar

from aiohttp import web

from syncd.testing.base import Call, Route
from syncd.testing.collection import Raw
from syncd.testing.misbehaviour import abort
from tests.whole.plain import Plain

PUSHES: dict[str, Any] = {
    "create": {
        "path": "/things",
        "fields": {"name": {"as": "text", "required": True, "longest": 40}, "email": "email", "phone": "phone"},
        "idempotency": "header:Idempotency-Key",
        "record": "",
    },
    "state": {
        "method": "PUT",
        "path": "/things/{id}/state",
        "fields": {"state": {"as": "text", "required": True}},
        "idempotency": "natural",
        "record": "",
    },
    "move": {
        "method": "PUT",
        "path": "/things/{id}/state",
        "fields": {"state": {"choices": ["open", "done", "lost"], "required": True}},
        "transitions": {"field": "state", "allowed": {"open": ["done", "lost"], "done": [], "lost": []}},
        "idempotency": "natural",
        "record": "",
    },
    "note": {
        "path": "/things/{id}/notes",
        "body": {"text": "{data.text}", "reference": "{key}"},
        "fields": {"text": {"as": "text", "required": True}},
        "idempotency": "look_up",
        "look_up": {
            "path": "/things/{id}/notes",
            "params": {"reference": "{key}"},
            "records": "items",
            "same": {"reference": "{key}"},
            "after": "1s",
        },
    },
    "shout": {"path": "/things/{id}/notes", "body": {"text": "{data.text}"}},
}
"""What its `things` take, as a partner's file says it."""


class Written(Plain):
    routes: ClassVar[tuple[Route, ...]] = (
        *Plain.routes,
        ("POST", "/v1/things", "thing_new"),
        ("PUT", "/v1/things/{id}/state", "thing_state"),
        ("POST", "/v1/things/{id}/notes", "note_new"),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.applied: list[list[str]] = []
        self.answers: dict[str, bytes] = {}
        self.writes = 0

    def defaults(self) -> dict[str, Any]:
        return {**super().defaults(), "cut": 0}

    def thing_new(self, call: Call) -> web.Response:
        key = call.request.headers.get("Idempotency-Key", "")
        if key not in self.answers:
            external_id = self.create("things", call.json())
            self.answers[key] = self.state["things"].entries[external_id].encoded
            self.applied.append(["create", key, external_id])
        return self._said(call, self.answers[key])

    def thing_state(self, call: Call) -> web.Response:
        external_id, state = call.args["id"], call.json().get("state")
        entry = self.state["things"].get(external_id)
        if entry is None:
            return self.failure(404, call)
        if entry.raw.get("state") != state:
            entry = self.update("things", external_id, {"state": state})
            self.applied.append(["state", external_id, state])
        return self._said(call, entry.encoded)

    def note_new(self, call: Call) -> web.Response:
        given, thing = call.json(), call.args["id"]
        if self.state["things"].get(thing) is None:
            return self.failure(404, call)
        note = f"n{self.dice.hexadecimal(12)}"
        raw = {"id": note, "thing": thing, "text": given["text"], "reference": given.get("reference")}
        self.state["notes"].add(note, raw, self.now())
        self.applied.append(["note", str(given.get("reference")), thing])
        return self._said(call, self.state["notes"].entries[note].encoded)

    def notes(self, call: Call) -> web.Response:
        wanted = call.query.get("reference")
        if wanted is None:
            return super().notes(call)
        found = [one.raw for one in self.state["notes"] if one.raw.get("reference") == wanted]
        return self.reply({"items": found})

    def _said(self, call: Call, body: bytes) -> web.Response:
        self.writes += 1
        cut = int(self.options["cut"])
        if cut and self.writes % cut == 0:
            match self.writes // cut % 3:
                case 0:
                    abort(call.request)
                case 1:
                    return self.reply(body[: len(body) // 2])
                case _:
                    return self.failure(503, call)
        return self.reply(body)

    def action(self, name: str, params: Raw) -> Any:
        return {"applied": self.applied} if name == "applied" else super().action(name, params)


def create(**options: Any) -> Written:
    return Written(**options)
