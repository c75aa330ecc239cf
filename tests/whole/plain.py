"""A plain REST API as a simulator: offset and cursor listings, changed-since, children, an API key, any limits.

No partner is like it; it is what the tests of the whole daemon pull from, in a process of its own. Options: `things`
(records), `size` (bytes a record, about), `notes` (children of each of the first 50 things), `kept` (so many of the first
things are never deleted), `honours` (an `Idempotency-Key` that came before is answered as before). Of each change of a
thing it sends a thin delivery, signed as Standard Webhooks are: `{"type": "thing.updated", "at": ..., "thing": {"id":
...}}`. What is pushed to it are labels of things, and it counts how often each label was put on (`do/labels`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from syncd.testing.base import Call, Simulator
from syncd.testing.collection import Entry, Raw, World, joined, merged
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice, iso

KEY = "plain-api-key-0123456789"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"the plain partner's signing key").decode()
EVENTS = {"create": "thing.created", "update": "thing.updated", "delete": "thing.deleted"}


class Plain(Simulator):
    name = "plain"
    mutable = ("things",)
    routes = (
        ("GET", "/v1/me", "me"),
        ("GET", "/v1/things", "things"),
        ("GET", "/v1/flow", "flow"),
        ("GET", "/v1/things/{id}", "thing"),
        ("GET", "/v1/things/{id}/notes", "notes"),
        ("GET", "/v1/things/{id}/labels", "labels"),
        ("POST", "/v1/things/{id}/labels", "put_label"),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.put_on: Counter[str] = Counter()
        """How often each label was put on."""
        self.answered: dict[str, bytes] = {}
        """By idempotency key."""

    def defaults(self) -> dict[str, Any]:
        return {"things": 1000, "size": 300, "notes": 0, "kept": 0, "honours": True}

    def make_world(self, dice: Dice) -> World:
        world = World(["things", "notes"])
        start = self.now() - 86_400
        pad = "x" * max(self.options["size"] - 180, 0)
        for number in range(self.options["things"]):
            at = start + number * 0.01
            external_id = f"t{dice.hexadecimal(12)}"
            raw = {"id": external_id, "name": f"Thing {number}", "number": number, "updated_at": iso(at, 6), "pad": pad}
            if number < self.options["kept"]:
                raw["kept"] = True
            world["things"].add(external_id, raw, at)
            if number < 50:
                for below in range(self.options["notes"]):
                    note = f"n{external_id}-{below}"
                    world["notes"].add(note, {"id": note, "thing": external_id, "text": dice.sentence(3)}, at)
        return world

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        external_id = f"t{self.dice.hexadecimal(12)}"
        raw = {"id": external_id, "name": "New", "number": self.dice.below(10**6), "updated_at": iso(self.now(), 6)}
        return external_id, merged(raw, fields or {})

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        new = changes or {"number": self.dice.below(10**6)}
        return merged(raw, {**new, "updated_at": iso(self.now(), 6)})

    def delete(self, resource: str, external_id: str) -> None:
        """A kept one is changed instead."""
        if self.state[resource].entries[external_id].raw.get("kept"):
            self.update(resource, external_id)
        else:
            super().delete(resource, external_id)

    def action(self, name: str, params: Raw) -> Any:
        return dict(self.put_on) if name == "labels" else None

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        if resource != "things" or not self.deliveries.targets:
            return
        changed = after or before
        assert changed is not None
        told = {"type": EVENTS[what], "at": iso(self.now(), 6), "thing": {"id": changed.id}}
        self.deliveries.post(told["type"], orjson.dumps(told), f"evt_{self.dice.hexadecimal(16)}")

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        stamp = str(int(self.now()))
        key = base64.b64decode(target.secrets[0].removeprefix("whsec_"))
        seal = hmac.new(key, b"%s.%s.%s" % (message_id.encode(), stamp.encode(), body), hashlib.sha256).digest()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(seal).decode(),
        }

    def authorise(self, call: Call) -> web.Response | None:
        if call.request.headers.get("X-Api-Key") != KEY:
            return self.reply({"error": "bad key"}, 401)
        return None

    def me(self, call: Call) -> web.Response:
        return self.reply({"ok": True})

    def _chosen(self, call: Call) -> list[Entry]:
        held = self.listing(call, "things")
        since, before = call.query.get("updated_since", ""), call.query.get("updated_before", "~")
        return held.chosen(
            ("since", since, before),
            lambda: (
                [entry for entry in held.sorted_by("updated_at") if since <= entry.raw["updated_at"] < before]
                if since
                else list(held)
            ),
        )

    def things(self, call: Call) -> web.Response:
        """Offset paging, with a total."""
        entries = self._chosen(call)
        at, size = int(call.query.get("offset", 0)), min(int(call.query.get("limit", 25)), 500)
        page = entries[at : at + size]
        total = self.total(call, len(entries))
        return self.reply(b'{"items":[' + self.page(call, page) + b'],"total":%d}' % total)

    def flow(self, call: Call) -> web.Response:
        """Cursor paging: the id after which to go on; stable while records come and go."""
        held = self.listing(call, "things")
        size = min(int(call.query.get("limit", 25)), 500)
        after = call.query.get("after")
        key = held.place(after) if after else (float("-inf"), 0)
        if key is None:
            return self.reply({"error": "unknown cursor"}, 400)
        page: list[Entry] = []
        for entry in held.after(key):
            page.append(entry)
            if len(page) > size:
                break
        more = len(page) > size
        page = page[:size]
        follow = page[-1].id if more else None
        if self.looping(call) and page:
            follow = after or page[0].id
        return self.reply(
            b'{"items":[' + self.page(call, page) + b'],"next":%s}' % (b'"%s"' % follow.encode() if follow else b"null")
        )

    def thing(self, call: Call) -> web.Response:
        entry = self.state["things"].get(call.args["id"])
        return self.failure(404, call) if entry is None else self.reply(entry.encoded)

    def labels(self, call: Call) -> web.Response:
        entry = self.state["things"].get(call.args["id"])
        if entry is None:
            return self.failure(404, call)
        return self.reply({"items": [{"label": label} for label in entry.raw.get("labels", [])]})

    def put_label(self, call: Call) -> web.Response:
        """One label more on a thing. Putting it on twice is what must not happen."""
        key = call.request.headers.get("Idempotency-Key", "")
        if self.options["honours"] and key in self.answered:
            return self.reply(self.answered[key])
        entry = self.state["things"].get(call.args["id"])
        if entry is None:
            return self.failure(404, call)
        label = str(call.json()["label"])
        self.put_on[label] += 1
        after = self.update("things", entry.id, {"labels": [*entry.raw.get("labels", []), label]})
        if key:
            self.answered[key] = after.encoded
        return self.reply(after.encoded)

    def notes(self, call: Call) -> web.Response:
        if self.state["things"].get(call.args["id"]) is None:
            return self.failure(404, call)
        found = [entry for entry in self.state["notes"] if entry.raw["thing"] == call.args["id"]]
        return self.reply(b'{"items":[' + joined(found) + b"]}")


def create(**options: Any) -> Plain:
    return Plain(**options)
