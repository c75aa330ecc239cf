"""The reading half of the simulated Stripe: key, limits, error bodies, lists, single objects and the event log."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from itertools import islice
from typing import Any

from aiohttp import web

from syncd.drivers.stripe.simulator_data import DAY, KIND, PREFIX, RESOURCES, Mint, altered, build, previous
from syncd.testing.base import Answer, Call, Route, Simulator
from syncd.testing.collection import Collection, Entry, Raw, World, merged
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Counted, Refusal, Seats, Tier, each_route

VERSION = "2026-06-24.dahlia"
EVENT_DAYS = 30
COMMON = {
    "limit",
    "starting_after",
    "ending_before",
    "expand[]",
    "created",
    "created[gt]",
    "created[gte]",
    "created[lt]",
    "created[lte]",
}
FILTERS = {
    "customers": {"email", "test_clock"},
    "products": {"active", "ids[]", "shippable", "url", "type"},
    "payment_intents": {"customer"},
    "charges": {"customer", "payment_intent", "transfer_group"},
    "invoices": {"customer", "subscription", "status", "collection_method"},
    "refunds": {"charge", "payment_intent"},
    "events": {"type", "types[]", "delivery_success"},
}
LISTS: tuple[Route, ...] = tuple(("GET", f"/v1/{name}", "listed") for name in (*RESOURCES, "events"))
SINGLES: tuple[Route, ...] = tuple(("GET", f"/v1/{name}/{{id}}", "single") for name in (*RESOURCES, "events"))


def one_intent(call: Counted) -> str | None:
    """Changes of one payment intent share a book."""
    return call.args.get("id") if call.method == "POST" and call.route.startswith("/v1/payment_intents/{id}") else None


class StripeReads(Simulator):
    """Everything but POST and DELETE."""

    name = "stripe"
    routes = (*LISTS, *SINGLES, ("GET", "/v1/balance", "balance"), ("GET", "/v1/account", "account"))
    mutable = ("customers", "products", "invoices", "charges", "payment_intents")
    current_key: str | None = None
    """The idempotency key of the POST being served: it shows in the event that the POST makes."""

    def __init__(self, **options: Any) -> None:
        self.requests = 0
        super().__init__(**options)

    def defaults(self) -> dict[str, Any]:
        return {
            "key": "sk_live_simulated",
            "restricted": {},
            "live": True,
            "history": 400,
            "event_history": True,
            "version": VERSION,
            "customers": 200,
            "products": 40,
            "payment_intents": 120,
            "charges": 120,
            "invoices": 150,
            "refunds": 20,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        most = 100 if self.options["live"] else 25
        return [
            Tier("global", most, 1.0, reason="global-rate"),
            Tier("endpoint", 25, 1.0, key=each_route, reason="endpoint-rate"),
            Tier("intent_updates", 1000, 3600.0, key=one_intent, reason="resource-specific"),
        ], []

    def make_world(self, dice: Dice) -> World:
        counts = {name: int(self.options[name]) for name in RESOURCES}
        world = build(dice, counts, self.now(), self.options["live"], int(self.options["history"]))
        if self.options["event_history"]:
            since = self.now() - EVENT_DAYS * DAY
            made = [(entry.key, name, entry) for name in RESOURCES for entry in world[name] if entry.key[0] >= since]
            for key, name, entry in sorted(made, key=lambda item: item[0]):
                kind = "charge.succeeded" if name == "charges" else f"{KIND[name]}.created"
                self._event(world, dice, kind, entry.raw, None, int(key[0]))
        return world

    # Credential, limits, errors, headers

    def authorise(self, call: Call) -> web.Response | None:
        given = call.request.headers.get("Authorization", "")
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value).decode().partition(":")[0]
            except ValueError:
                value = ""
        if not value:
            text = "You did not provide an API key. You need to provide your API key in the Authorization header."
            refused = self.failure(401, call, text)
            refused.headers["WWW-Authenticate"] = 'Basic realm="Stripe"'
            return refused
        if hmac.compare_digest(value.encode(), str(self.options["key"]).encode()):
            return None
        allowed = self.options["restricted"].get(value)
        if allowed is None:
            return self.failure(401, call, f"Invalid API Key provided: {value[:8]}****{value[-4:]}")
        if call.route.split("/")[2:3] != [] and call.route.split("/")[2] in allowed:
            return None
        return self.failure(403, call, f"The provided key '{value[:8]}****' does not have the required permissions.")

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        response = self.error(429, "Request rate limit exceeded.", code="rate_limit")
        response.headers["Stripe-Rate-Limited-Reason"] = refusal.tier.reason or "global-rate"
        return response

    def special(self, kind: str, call: Call) -> web.Response | None:
        text = "This object cannot be accessed right now because another request is using it."
        return self.error(429, text, code="lock_timeout")

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if status == 429:
            response = self.error(429, message or "Request rate limit exceeded.", code="rate_limit")
            response.headers["Stripe-Rate-Limited-Reason"] = "global-rate"
            return response
        if status >= 500:
            return self.error(status, message or "Something went wrong on our end.", kind="api_error")
        return self.error(status, message or "The request was refused.")

    def error(
        self, status: int, message: str, *, code: str = "", param: str = "", kind: str = "invalid_request_error"
    ) -> web.Response:
        """The one error shape."""
        said: Raw = {
            "type": kind,
            "message": message,
            "request_log_url": "https://dashboard.example/logs/req_simulated",
        }
        if code:
            said |= {"code": code, "doc_url": f"https://docs.example/error-codes/{code.replace('_', '-')}"}
        if param:
            said["param"] = param
        return self.reply({"error": said}, status)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        self.requests += 1
        headers = response.headers
        headers["Request-Id"] = f"req_{self.requests:014d}"
        headers["Stripe-Version"] = call.request.headers.get("Stripe-Version", VERSION)
        if "Idempotency-Key" in call.request.headers:
            headers["Idempotency-Key"] = call.request.headers["Idempotency-Key"]

    # Reads

    def listed(self, call: Call) -> web.Response:
        """Newest first; the cursor is an id, and goes on working when that object is deleted."""
        name = call.route.split("/")[2]
        query = call.query
        for param in query:
            if param not in COMMON and param not in FILTERS[name]:
                return self.error(400, f"Received unknown parameter: {param}", code="parameter_unknown", param=param)
        limit = self._limit(query.get("limit", "10"))
        types = query.getall("types[]", [])
        if len(types) > 20:
            return self.error(400, "You may pass up to 20 types.", param="types")
        if types and "type" in query:
            return self.error(400, "You may only specify one of these parameters: type, types.", param="types")
        collection = self.listing(call, name)
        older, newer = query.get("starting_after"), query.get("ending_before")
        if older and newer:
            return self.error(400, "You may only specify one of these parameters: ending_before, starting_after.")
        looping = self.looping(call)
        test = self._test(name, query, types)
        low, high = self._span(query)
        if name == "events":
            low = max(low, self.now() - EVENT_DAYS * DAY)
        if newer and not looping:
            rows = collection.after(self._cursor(collection, newer, name, "ending_before"))
            chosen = list(islice((e for e in rows if low <= e.key[0] <= high and test(e.raw)), limit + 1))
            page = chosen[:limit][::-1]
        else:
            start = (high + 0.5, 0)
            if older and not looping:
                start = min(self._cursor(collection, older, name, "starting_after"), start)
            chosen = []
            for entry in collection.before(start):
                if entry.key[0] < low:
                    break
                if test(entry.raw):
                    chosen.append(entry)
                    if len(chosen) > limit:
                        break
            page = chosen[:limit]
        more = b"true" if len(chosen) > limit or (looping and page) else b"false"
        body = b'{"object":"list","url":"/v1/%s","has_more":%s,"data":[%s]}' % (
            name.encode(),
            more,
            self.page(call, page),
        )
        return self.reply(body)

    def _limit(self, text: str) -> int:
        if not text.isdigit():
            raise Answer(self.error(400, f"Invalid integer: {text}", code="parameter_invalid_integer", param="limit"))
        if not 1 <= int(text) <= 100:
            raise Answer(self.error(400, "This value must be between 1 and 100.", param="limit"))
        return int(text)

    def _cursor(self, collection: Collection, external_id: str, name: str, param: str) -> tuple[float, int]:
        place = collection.place(external_id) or self.state[name].place(external_id)
        if place is None:
            text = f"No such {KIND[name]}: '{external_id}'"
            raise Answer(self.error(400, text, code="resource_missing", param=param))
        return place

    def _span(self, query: Mapping[str, str]) -> tuple[float, float]:
        low, high = 0.0, 2.0**40
        for param, text in query.items():
            if not param.startswith("created"):
                continue
            if not text.isdigit():
                raise Answer(self.error(400, f"Invalid timestamp: {text}", param=param))
            second = int(text)
            match param:
                case "created":
                    low, high = second, second
                case "created[gte]":
                    low = max(low, second)
                case "created[gt]":
                    low = max(low, second + 1)
                case "created[lte]":
                    high = min(high, second)
                case "created[lt]":
                    high = min(high, second - 1)
        return low, high

    def _test(self, name: str, query: Any, types: list[str]) -> Any:
        equal = {field: query[field] for field in FILTERS[name] if field in query and field not in ("types[]", "ids[]")}
        if name == "events":
            wanted = equal.get("type", "")
            equal.pop("delivery_success", None)
            if wanted.endswith("*"):
                return lambda raw: raw["type"].startswith(wanted[:-1])
            names = set(types) or ({wanted} if wanted else None)
            return (lambda raw: raw["type"] in names) if names else (lambda raw: True)
        ids = set(query.getall("ids[]", []))
        if not equal and not ids:
            return lambda raw: True

        def test(raw: Raw) -> bool:
            if ids and raw["id"] not in ids:
                return False
            return all(plain(raw.get(field)) == value for field, value in equal.items())

        return test

    def single(self, call: Call) -> web.Response:
        name, external_id = call.route.split("/")[2], call.args["id"]
        entry = self.state[name].get(external_id)
        if entry is not None and (name != "events" or entry.key[0] >= self.now() - EVENT_DAYS * DAY):
            return self.reply(entry.encoded)
        if name == "customers" and external_id in self.state[name].gone:
            return self.reply({"id": external_id, "object": "customer", "deleted": True})
        return self.missing(name, external_id)

    def missing(self, name: str, external_id: str) -> web.Response:
        return self.error(404, f"No such {KIND[name]}: '{external_id}'", code="resource_missing", param="id")

    def balance(self, call: Call) -> web.Response:
        amounts = [{"amount": 120_300, "currency": "eur", "source_types": {"card": 120_300}}]
        return self.reply(
            {"object": "balance", "available": amounts, "livemode": self.options["live"], "pending": amounts}
        )

    def account(self, call: Call) -> web.Response:
        return self.reply({"id": "acct_1Simulated0000", "object": "account", "country": "PT", "charges_enabled": True})

    # Changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        raw = Mint(self.dice, self.state, self.options["live"]).new(resource, int(self.now()), fields)
        return raw["id"], raw

    def create(self, resource: str, fields: Raw | None = None) -> str:
        external_id, raw = self.make(resource, fields)
        entry = self.state[resource].add(external_id, raw, raw["created"])
        self.mutated["create"] += 1
        self.announce("create", resource, None, entry)
        return external_id

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        return altered(self.dice, resource, raw, int(self.now())) if changes is None else merged(raw, changes)

    def deletable(self, resource: str) -> bool:
        return resource in ("customers", "products")

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        kind, old = KIND[resource], None
        if what == "create":
            name = "charge.succeeded" if resource == "charges" else f"{kind}.created"
        elif what == "delete":
            name = f"{kind}.deleted"
        else:
            name = f"{kind}.updated"
        snapshot = (after or before).raw  # type: ignore[union-attr]
        if what == "delete":
            snapshot = {**snapshot, "deleted": True}
        if what == "update" and before is not None and after is not None:
            old = previous(before.raw, after.raw)
            name = transition(resource, before.raw, after.raw) or name
            if not name.endswith(".updated"):
                old = None
        self._event(self.state, self.dice, name, snapshot, old, int(self.now()), post=True)

    def _event(
        self, world: World, dice: Dice, name: str, snapshot: Raw, old: Raw | None, at: int, *, post: bool = False
    ) -> None:
        data: Raw = {"object": snapshot}
        if old is not None:
            data["previous_attributes"] = old
        raw: Raw = {
            "id": PREFIX["events"] + dice.code(23),
            "object": "event",
            "api_version": self.options["version"],
            "created": at,
            "data": data,
            "livemode": self.options["live"],
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": self.current_key},
            "type": name,
        }
        entry = world["events"].add(raw["id"], raw, at)
        if post:
            self.deliveries.post(name, entry.encoded, raw["id"])

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        return {"Stripe-Signature": signature(body, target.secrets, int(self.now()))}

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        return Target(f"we_1{self.dice.code(23)}", url, secrets, events)


def plain(value: Any) -> str:
    """A field as a query parameter would spell it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def transition(resource: str, before: Raw, after: Raw) -> str:
    """The event of its own that some changes of status have."""
    was, now = before.get("status"), after.get("status")
    if was == now:
        return ""
    if resource == "invoices":
        names = {"open": "finalized", "paid": "paid", "void": "voided", "uncollectible": "marked_uncollectible"}
        return f"invoice.{names[now]}" if now in names else ""
    if resource == "payment_intents" and now in ("succeeded", "canceled"):
        return f"payment_intent.{now}"
    if resource == "refunds" and now == "failed":
        return "refund.failed"
    return ""


def signature(body: bytes, secrets: list[str], timestamp: int) -> str:
    """`t=...,v1=...` with one v1 for each secret; the secret is used as the text it is."""
    signed = str(timestamp).encode() + b"." + body
    parts = [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={timestamp}", *parts, "v0=" + "0" * 64])
