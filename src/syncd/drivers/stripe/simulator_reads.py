"""The reading half of the simulated Stripe: key, limits, error bodies, lists, single objects and the event log."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar

from aiohttp import web

from syncd.drivers.stripe.simulator_billing import COUNTS, EVENT, SILENT
from syncd.drivers.stripe.simulator_billing import FILTERS as BILLING_FILTERS
from syncd.drivers.stripe.simulator_data import DAY, KIND, RESOURCES, build
from syncd.drivers.stripe.simulator_events import StripeChanges
from syncd.testing.base import Answer, Call, Route
from syncd.testing.collection import Collection, Raw, World
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Counted, Refusal, Seats, Tier, each_route

VERSION = "2026-06-24.dahlia"
EVENT_DAYS = 30
TOLD = tuple(name for name in RESOURCES if name not in SILENT)
"""What makes events."""
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
    **BILLING_FILTERS,
    "events": {"type", "types[]", "delivery_success"},
}
LISTS: tuple[Route, ...] = tuple(("GET", f"/v1/{name}", "listed") for name in (*RESOURCES, "events"))
SINGLES: tuple[Route, ...] = tuple(("GET", f"/v1/{name}/{{id}}", "single") for name in (*RESOURCES, "events"))


def one_intent(call: Counted) -> str | None:
    """Changes of one payment intent share a book."""
    return call.args.get("id") if call.method == "POST" and call.route.startswith("/v1/payment_intents/{id}") else None


class StripeReads(StripeChanges):
    """Everything but POST and DELETE."""

    routes: ClassVar[tuple[Route, ...]] = (
        *LISTS,
        *SINGLES,
        ("GET", "/v1/balance", "balance"),
        ("GET", "/v1/account", "account"),
    )

    credentials: ClassVar[Mapping[str, str]] = {"api_key": "key"}

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
            **COUNTS,
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
            made = [(entry.key, name, entry) for name in TOLD for entry in world[name] if entry.key[0] >= since]
            for key, name, entry in sorted(made, key=lambda item: item[0]):
                kind = "charge.succeeded" if name == "charges" else f"{EVENT.get(name, KIND[name])}.created"
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
        crowded = isinstance(refusal.tier, Seats)
        reason = "global-concurrency" if crowded else refusal.tier.reason or "global-rate"
        response.headers["Stripe-Rate-Limited-Reason"] = reason
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
        if name == "subscriptions" and equal.get("status") == "all":
            del equal["status"]
        elif name == "subscriptions" and "status" not in equal:
            return lambda raw: raw["status"] != "canceled" and all(plain(raw.get(f)) == v for f, v in equal.items())
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


def plain(value: Any) -> str:
    """A field as a query parameter would spell it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
