"""How the simulated MaintainX changes: by its own API, by tests, and what its subscriptions are told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import orjson
from aiohttp import web

from syncd.drivers.maintainx.simulator_account import MaintainXAccount
from syncd.drivers.maintainx.simulator_data import (
    CHANGE,
    ORDER_WRITABLE,
    PART_STATUSES,
    PRIORITIES,
    TIMED,
    WRITABLE,
    altered,
    linked,
    without,
)
from syncd.drivers.maintainx.simulator_events import TYPES, stamped, told_of
from syncd.drivers.maintainx.simulator_shapes import alone
from syncd.testing.base import Answer, Call, Route
from syncd.testing.collection import Entry, Raw
from syncd.testing.deliveries import Target
from syncd.testing.dice import iso

OF_REQUESTS = ("requestStatus", "creatorContactInfo")  # what no call sets so
WRITES = (*CHANGE, "type", "requesterId", "externalData")


class MaintainXWrites(MaintainXAccount):
    """Everything but the reads."""

    routes: ClassVar[tuple[Route, ...]] = (
        ("POST", "/v1/subscriptions", "hook_new"),
        ("GET", "/v1/subscriptions/{id}", "hook_one"),
        ("PATCH", "/v1/subscriptions/{id}", "hook_change"),
        ("DELETE", "/v1/subscriptions/{id}", "hook_remove"),
        ("GET", "/v1/subscriptions/{id}/secret", "hook_secret"),
        ("POST", "/v1/workorders", "order_new"),
        ("PATCH", "/v1/workorders/{id}", "order_change"),
        ("PATCH", "/v1/workorders/{id}/status", "order_status"),
        ("PATCH", "/v1/workorders/{id}/partStatus", "order_parts"),
        ("DELETE", "/v1/workorders/{id}", "order_remove"),
        ("POST", "/v1/workorders/{id}/comments", "comment_new"),
        ("POST", "/v1/workrequests", "request_new"),
        ("PATCH", "/v1/workrequests/{id}", "request_change"),
        ("POST", "/v1/assets/{id}/status", "asset_status"),
        ("PATCH", "/v1/purchaseorders/{id}/status", "purchase_status"),
    )
    silent = False

    # Changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        stamp = iso(self.now())
        fresh: Raw = {"startDate": None} if resource == "work_orders" else {}
        if resource in (*TIMED, "work_requests", "locations", "meters"):
            fresh |= {"createdAt": stamp, "updatedAt": stamp}
        return self.mint.new(resource, self.now(), {**fresh, **(fields or {})})

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        return altered(self.mint, resource, raw, changes, self.now())

    def create(self, resource: str, fields: Raw | None = None) -> str:
        external_id = super().create(resource, fields)
        linked(self.state, resource, external_id, self.state[resource].entries[external_id].raw)
        return external_id

    def delete(self, resource: str, external_id: str) -> None:
        if resource == "work_orders":
            for comment in self.state.facts["comments"].pop(external_id, ()):
                if comment in self.state["work_order_comments"].entries:
                    self.state["work_order_comments"].remove(comment)
        super().delete(resource, external_id)

    def deletable(self, resource: str) -> bool:
        return resource in ("work_orders", "parts")

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        organization: int = next(iter(self.state["organizations"])).raw["id"]
        for event, told in () if self.silent else told_of(what, resource, before, after):
            body = orjson.dumps({**told, "orgId": organization, "occurredAt": iso(self.now())})
            message = f"msg_{self.dice.code(20)}"
            self.deliveries.post(event, body, message)
            for target in list(self.deliveries.targets.values()):
                if target.facts.get("all"):
                    one = replace(target, url=f"{target.url}/{event}", events=[event])
                    self.deliveries.post(event, body, message, one)

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        moment = str(int(self.now() * (1000 if self.options["stamp"] == "millis" else 1)))
        uri = str(self.options["foreign_uri"]) or target.url
        if not target.secrets:
            return {}
        return {
            "x-maintainx-webhook-body-signature": stamped(target.secrets[0], moment, body),
            "x-maintainx-webhook-uri-signature": stamped(target.secrets[0], moment, uri.encode()),
        }

    def action(self, name: str, params: Raw) -> Any:
        """`approve` (all that wait), `archive` ({"id"} or the first: a subscription is gone), `spend` ({"count"}: calls of
        other users of the same key), `remove_user` ({"id"}), `hooks` (every subscription with what it was made for)."""
        targets = self.deliveries.targets
        match name:
            case "approve":
                for target in targets.values():
                    target.status = "active"
            case "archive":
                gone = str(params.get("id") or next(iter(targets)))
                targets.pop(gone, None)
                return {"id": gone}
            case "spend":
                for _ in range(int(params.get("count", 1))):
                    self.enforcer.spend("user", 1.0, self.clock.monotonic())
            case "remove_user":
                self.update("users", str(params["id"]), {"removedFromOrganization": True})
            case "hooks":
                return [{"id": one.id, "url": one.url, "events": one.events} for one in targets.values()]
            case _:
                return None
        return {}

    # Subscriptions: no list of them

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        target = Target(str(self.dice.between(10**5, 10**7)), url, secrets, events)
        if "*" in events:  # made from outside: each event goes to an address of its own below this one
            target.events, target.facts["all"] = [], True
        return target

    def _hook(self, call: Call) -> Target:
        target = self.deliveries.targets.get(call.args["id"])
        if target is None:
            raise Answer(self.failure(404, call, "Could not find the subscription or the user cannot access it"))
        return target

    def _body(self, call: Call) -> Raw:
        try:
            given = call.json()
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise Answer(self.failure(400, call, "Invalid body"))
        return given

    @staticmethod
    def _state(target: Target) -> str:
        return "VALID" if target.status == "active" else "PENDING_APPROVAL"

    def hook_new(self, call: Call) -> web.Response:
        given = self._body(call)
        kind, url = given.get("type"), given.get("url")
        if kind not in TYPES:
            return self.invalid("type", kind)
        if not isinstance(url, str) or not url.startswith("http") or len(url) > 512:
            return self.invalid("url", url)
        target = self.subscription(url, [f"mx_whsec_{self.dice.code(24)}"], [kind])
        target.status = "pending" if self.options["approval"] else "active"
        self.deliveries.targets[target.id] = target
        made = {"id": int(target.id), "status": self._state(target), "secret": target.secrets[0]}
        return self.reply(made, 201)

    def hook_one(self, call: Call) -> web.Response:
        target = self._hook(call)
        said = {"id": int(target.id), "type": target.events[0], "url": target.url, "status": self._state(target)}
        return self.reply({"subscription": said})

    def hook_change(self, call: Call) -> web.Response:
        target, given = self._hook(call), self._body(call)
        target.url = str(given.get("url", target.url))
        return self.hook_one(call)

    def hook_remove(self, call: Call) -> web.Response:
        self.deliveries.targets.pop(self._hook(call).id)
        return web.Response(status=204)

    def hook_secret(self, call: Call) -> web.Response:
        return self.reply({"secret": self._hook(call).secrets[0]})

    # Records

    def _known(self, call: Call, resource: str, words: str) -> Entry:
        entry = self.state[resource].get(call.args["id"])
        if entry is None:
            raise Answer(self.failure(404, call, f"{words} Not Found"))
        return entry

    @contextmanager
    def _telling(self, call: Call) -> Iterator[None]:
        """Subscribers are told of what happens inside, unless the call asks that nobody is."""
        self.silent = call.query.get("skipWebhook") == "true"
        try:
            yield
        finally:
            self.silent = False

    def _written(self, call: Call, resource: str, changes: Raw, name: str) -> web.Response:
        with self._telling(call):
            entry = self.update(resource, call.args["id"], changes)
        return self.reply({name: alone(self.state, resource, entry.raw, ())})

    def _made(self, call: Call, resource: str, fields: Raw) -> int:
        with self._telling(call):
            return int(self.create(resource, fields))

    def _checked(self, given: Raw) -> Raw:
        for name, choices in (("priority", PRIORITIES), ("type", ("OTHER", "REACTIVE", "PREVENTIVE"))):
            if given.get(name) is not None and given[name] not in choices:
                raise Answer(self.invalid(name, given[name]))
        for one in given.get("assignees") or ():
            if not isinstance(one, dict) or one.get("type") not in ("USER", "TEAM") or "id" not in one:
                raise Answer(self.invalid("assignees", str(one)))
        return {name: value for name, value in given.items() if name in WRITES}

    def order_new(self, call: Call) -> web.Response:
        given = self._body(call)
        if not given.get("title"):
            return self.invalid("title", given.get("title"), "Title is required")
        empty: Raw = {"status": "OPEN", "progress": {"openCount": 1}, "assignees": [], "assetId": None, "locationId": None,
                 "priority": "NONE", "type": "REACTIVE", "partStatus": "NO_PARTS", "description": None}  # fmt: skip
        number = self._made(call, "work_orders", {**empty, **self._checked(given)})
        request = self.state["work_requests"].get(str(given.get("workRequestId")))
        if request is not None:
            self.update("work_requests", request.id, {"requestStatus": "APPROVED", "workOrderId": number})
        return self.reply({"id": number})

    def order_change(self, call: Call) -> web.Response:
        _, given = self._known(call, "work_orders", "Work Order"), self._body(call)
        if "status" in given and self.options["patch_status"] == "refuse":
            return self.invalid("status", given["status"])
        return self._written(call, "work_orders", self._checked(given), "workOrder")

    def order_status(self, call: Call) -> web.Response:
        """Any writable status, whatever it was; a repeat raises the counters all the same."""
        _, given = self._known(call, "work_orders", "Work Order"), self._body(call)
        if given.get("status") not in WRITABLE:
            return self.invalid("status", given.get("status"))
        self.counters.count("status_writes")
        over = given["status"] in ("DONE", "CANCELED")
        changes = {"status": given["status"], "completedAt": iso(self.now()) if over else None}
        return self._written(call, "work_orders", changes, "workOrder")

    def order_parts(self, call: Call) -> web.Response:
        _, given = self._known(call, "work_orders", "Work Order"), self._body(call)
        if given.get("partStatus") not in PART_STATUSES:
            return self.invalid("partStatus", given.get("partStatus"))
        return self._written(call, "work_orders", {"partStatus": given["partStatus"]}, "workOrder")

    def order_remove(self, call: Call) -> web.Response:
        entry = self._known(call, "work_orders", "Work Order")
        with self._telling(call):
            self.delete("work_orders", entry.id)
        return web.Response(status=204)

    def comment_new(self, call: Call) -> web.Response:
        entry, given = self._known(call, "work_orders", "Work Order"), self._body(call)
        if not given.get("content"):
            return self.invalid("content", given.get("content"))
        number = self._made(call, "work_order_comments", {"workOrderId": entry.raw["id"], "content": given["content"]})
        return self.reply({"id": number}, 201)

    def request_new(self, call: Call) -> web.Response:
        given = self._body(call)
        if not given.get("title"):
            return self.invalid("title", given.get("title"), "Title is required")
        return self.reply({"id": self._made(call, "work_requests", without(given, OF_REQUESTS))})

    def request_change(self, call: Call) -> web.Response:
        _, given = self._known(call, "work_requests", "Work Request"), self._body(call)
        return self._written(call, "work_requests", without(given, OF_REQUESTS), "workRequest")

    def asset_status(self, call: Call) -> web.Response:
        _, given = self._known(call, "assets", "Asset"), self._body(call)
        if given.get("status") not in ("ONLINE", "OFFLINE", "IGNORE"):
            return self.invalid("status", given.get("status"))
        made = {"id": self.dice.between(1, 10**6), "startedAt": iso(self.now()), **given}
        self._written(call, "assets", {"status": made}, "asset")
        return self.reply({"assetStatus": made}, 201)

    def purchase_status(self, call: Call) -> web.Response:
        _, given = self._known(call, "purchase_orders", "Purchase Order"), self._body(call)
        if given.get("status") not in ORDER_WRITABLE:
            return self.invalid("status", given.get("status"))
        fields: Raw = {name: value for name, value in given.items() if name in ("status", "reviewNote")}
        return self._written(call, "purchase_orders", fields, "purchaseOrder")
