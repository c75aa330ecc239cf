"""A Stripe account as its documentation describes it (partner facts of 2026-11), for tests, demo and benchmarks.

Reads and the event log (`simulator_reads.py`), and here the writes of the facts' section 10: form bodies,
idempotency keys, status actions, webhook endpoints. The documented limits hold: 100 calls a second (25 in a
sandbox), 25 for each endpoint, 1,000 changes an hour of one payment intent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.stripe.simulator_data import KIND, RESOURCES
from syncd.drivers.stripe.simulator_reads import StripeReads
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Raw
from syncd.testing.deliveries import Target

CREATABLE = ("customers", "products", "refunds")
SETTABLE = {
    "customers": {"name", "email", "phone", "description", "balance", "metadata"},
    "products": {"name", "description", "active", "metadata"},
    "payment_intents": {"amount", "description", "metadata", "receipt_email"},
    "charges": {"description", "metadata", "receipt_email"},
    "invoices": {"description", "due_date", "metadata"},
    "refunds": {"metadata", "amount", "charge", "payment_intent", "reason"},
}
NUMBERS = {"balance", "amount", "due_date", "amount_to_capture"}
INVOICE = {
    "finalize": ("draft", "open", "finalized_at"),
    "pay": ("open", "paid", "paid_at"),
    "void": ("open", "void", "voided_at"),
    "mark_uncollectible": ("open", "uncollectible", "marked_uncollectible_at"),
    "send": ("open", "open", ""),
}


class StripeSimulator(StripeReads):
    """Options: `key`, `restricted` ({key: [resources it may use]}), `live` (limits and `livemode`), `history` (days of
    data), `event_history` (events for objects made in the last 30 days), `version` (of events), and a count for each of
    customers, products, payment_intents, charges, invoices, refunds."""

    routes = (
        *StripeReads.routes,
        *(("POST", f"/v1/{name}", "post_new") for name in CREATABLE),
        *(("POST", f"/v1/{name}/{{id}}", "post_change") for name in RESOURCES),
        *(("DELETE", f"/v1/{name}/{{id}}", "remove_one") for name in ("customers", "products", "invoices")),
        ("POST", "/v1/payment_intents/{id}/capture", "post_capture"),
        ("POST", "/v1/payment_intents/{id}/cancel", "post_cancel"),
        *(("POST", f"/v1/invoices/{{id}}/{action}", "post_invoice") for action in INVOICE),
        ("POST", "/v1/webhook_endpoints", "post_endpoint"),
        ("GET", "/v1/webhook_endpoints", "list_endpoints"),
        ("GET", "/v1/webhook_endpoints/{id}", "one_endpoint"),
        ("POST", "/v1/webhook_endpoints/{id}", "change_endpoint"),
        ("DELETE", "/v1/webhook_endpoints/{id}", "remove_endpoint"),
    )

    def __init__(self, **options: Any) -> None:
        self.kept: dict[str, tuple[str, int, bytes]] = {}
        super().__init__(**options)

    # The idempotency key: the first answer, also a 500, is the answer for ever; refused parameters are not kept

    def once(self, call: Call, act: Callable[[Raw], web.Response]) -> web.Response:
        """Do it, unless the same key has an answer already."""
        key = call.request.headers.get("Idempotency-Key", "")
        if len(key) > 255:
            return self.error(400, "Idempotency-Key may be at most 255 characters.", kind="idempotency_error")
        print_ = self._fingerprint(call)
        if key in self.kept:
            before, status, body = self.kept[key]
            if before != print_:
                text = f"Keys for idempotent requests can only be used with the same parameters; '{key}' was not."
                return self.error(400, text, kind="idempotency_error")
            return self.reply(body, status, {"Idempotent-Replayed": "true"})
        self.current_key = key or None
        try:
            response = act(form(call))
        finally:
            self.current_key = None
        if key and response.status not in (400, 401, 404, 429):
            self.kept[key] = (print_, response.status, bytes(response.body))  # type: ignore[arg-type]
        return response

    def _fingerprint(self, call: Call) -> str:
        return hashlib.sha256(f"{call.method} {call.request.path}\n".encode() + call.body).hexdigest()

    def forced(self, response: web.Response, call: Call) -> None:
        key = call.request.headers.get("Idempotency-Key", "")
        if call.method == "POST" and key and response.status >= 500:
            self.kept[key] = (self._fingerprint(call), response.status, bytes(response.body))  # type: ignore[arg-type]

    # Objects

    def post_new(self, call: Call) -> web.Response:
        return self.once(call, lambda given: self._new(call, given))

    def _new(self, call: Call, given: Raw) -> web.Response:
        name = call.route.split("/")[2]
        fields = self._settable(name, given)
        if name == "refunds":
            return self._refund(fields)
        external_id = self.create(name, fields)
        return self.reply(self.state[name].entries[external_id].encoded)

    def _refund(self, fields: Raw) -> web.Response:
        charges = self.state["charges"]
        wanted = fields.get("charge") or next(
            (entry.id for entry in charges if entry.raw["payment_intent"] == fields.get("payment_intent", 0)), ""
        )
        entry = charges.get(wanted)
        if entry is None:
            return self.error(404, f"No such charge: '{wanted}'", code="resource_missing", param="charge")
        left = entry.raw["amount_captured"] - entry.raw["amount_refunded"]
        amount = fields.get("amount", left)
        if amount > left or left <= 0:
            return self.error(400, "The refund is more than what is left.", code="charge_already_refunded")
        more = {
            "charge": wanted,
            "amount": amount,
            "status": "succeeded",
            "currency": entry.raw["currency"],
            "payment_intent": entry.raw["payment_intent"],
        }
        external_id = self.create("refunds", {**fields, **more})
        refunded = entry.raw["amount_refunded"] + amount
        self.update("charges", wanted, {"amount_refunded": refunded, "refunded": refunded == entry.raw["amount"]})
        return self.reply(self.state["refunds"].entries[external_id].encoded)

    def _settable(self, name: str, given: Raw) -> Raw:
        fields: Raw = {}
        for field, value in given.items():
            if field not in SETTABLE[name]:
                text = f"Received unknown parameter: {field}"
                raise Answer(self.error(400, text, code="parameter_unknown", param=field))
            fields[field] = value
            if field in NUMBERS:
                try:
                    fields[field] = int(value)
                except ValueError:
                    text = f"Invalid integer: {value}"
                    raise Answer(self.error(400, text, code="parameter_invalid_integer", param=field)) from None
            elif field == "active":
                fields[field] = value == "true"
        return fields

    def _found(self, name: str, external_id: str) -> Raw:
        entry = self.state[name].get(external_id)
        if entry is None:
            raise Answer(self.missing(name, external_id))
        return entry.raw

    def post_change(self, call: Call) -> web.Response:
        return self.once(call, lambda given: self._change(call, given))

    def _change(self, call: Call, given: Raw) -> web.Response:
        name, external_id = call.route.split("/")[2], call.args["id"]
        raw = self._found(name, external_id)
        changes = self._settable(name, given)
        if changes.get("metadata") == "":
            changes["metadata"] = dict.fromkeys(raw["metadata"], "")
        entry = self.update(name, external_id, changes) if changes else self.state[name].entries[external_id]
        return self.reply(entry.encoded)

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        fresh = super().alter(resource, raw, changes)
        if "" in fresh["metadata"].values():  # an empty value removes the key
            fresh["metadata"] = {key: value for key, value in fresh["metadata"].items() if value != ""}
        return fresh

    def remove_one(self, call: Call) -> web.Response:
        name, external_id = call.route.split("/")[2], call.args["id"]
        raw = self._found(name, external_id)
        if name == "invoices" and raw["status"] != "draft":
            return self.error(400, "You can only delete draft invoices.", code="invoice_not_editable")
        self.delete(name, external_id)
        return self.reply({"id": external_id, "object": KIND[name], "deleted": True})

    def post_capture(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            raw = self._found("payment_intents", call.args["id"])
            if raw["status"] != "requires_capture":
                text = f"This PaymentIntent could not be captured because it has a status of {raw['status']}."
                return self.error(400, text, code="payment_intent_unexpected_state")
            amount = int(given.get("amount_to_capture") or raw["amount_capturable"])
            changes = {"status": "succeeded", "amount_capturable": 0, "amount_received": amount}
            return self.reply(self.update("payment_intents", call.args["id"], changes).encoded)

        return self.once(call, act)

    def post_cancel(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            raw = self._found("payment_intents", call.args["id"])
            if raw["status"] in ("succeeded", "canceled"):
                text = f"You cannot cancel this PaymentIntent because it has a status of {raw['status']}."
                return self.error(400, text, code="payment_intent_unexpected_state")
            changes = {
                "status": "canceled",
                "canceled_at": int(self.now()),
                "amount_capturable": 0,
                "cancellation_reason": given.get("cancellation_reason"),
            }
            return self.reply(self.update("payment_intents", call.args["id"], changes).encoded)

        return self.once(call, act)

    def post_invoice(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            raw = self._found("invoices", call.args["id"])
            needed, then, stamp = INVOICE[call.route.rsplit("/", 1)[1]]
            if raw["status"] != needed:
                text = f"Invoice is {raw['status']}, not {needed}."
                return self.error(400, text, code="invoice_not_editable")
            changes: Raw = {"status": then}
            if stamp:
                changes["status_transitions"] = {stamp: int(self.now())}
            if then == "paid":
                changes |= {"amount_paid": raw["total"], "amount_remaining": 0}
            if then == "open" and raw["number"] is None:
                changes["number"] = f"SIM-{self.dice.between(1, 99999):05d}"
            return self.reply(self.update("invoices", call.args["id"], changes).encoded)

        return self.once(call, act)

    # Webhook endpoints

    def post_endpoint(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            events = listed(given.get("enabled_events"))
            if "url" not in given or not events:
                return self.error(400, "Missing required param: url or enabled_events.", code="parameter_missing")
            secret = f"whsec_{self.dice.code(32)}"
            target = self.subscription(given["url"], [secret], events)
            target.facts["api_version"] = given.get("api_version")
            self.deliveries.targets[target.id] = target
            return self.reply({**endpoint(target), "secret": secret})

        return self.once(call, act)

    def list_endpoints(self, call: Call) -> web.Response:
        """Newest first, as all of Stripe's lists."""
        every = list(self.deliveries.targets.values())[::-1]
        ids = [target.id for target in every]
        after = call.query.get("starting_after")
        start = ids.index(after) + 1 if after in ids else 0
        limit = min(int(call.query.get("limit", "10")), 100)
        page = every[start : start + limit]
        more = start + limit < len(every)
        data = [endpoint(target) for target in page]
        return self.reply({"object": "list", "url": "/v1/webhook_endpoints", "has_more": more, "data": data})

    def _endpoint(self, call: Call) -> Target | web.Response:
        text = f"No such webhook endpoint: '{call.args['id']}'"
        return self.deliveries.targets.get(call.args["id"]) or self.error(
            404, text, code="resource_missing", param="id"
        )

    def one_endpoint(self, call: Call) -> web.Response:
        found = self._endpoint(call)
        return self.reply(endpoint(found)) if isinstance(found, Target) else found

    def change_endpoint(self, call: Call) -> web.Response:
        def act(given: Raw) -> web.Response:
            found = self._endpoint(call)
            if not isinstance(found, Target):
                return found
            found.url = given.get("url", found.url)
            found.events = listed(given.get("enabled_events")) or found.events
            if "disabled" in given:
                found.status = "disabled" if given["disabled"] == "true" else "active"
            return self.reply(endpoint(found))

        return self.once(call, act)

    def remove_endpoint(self, call: Call) -> web.Response:
        found = self._endpoint(call)
        if not isinstance(found, Target):
            return found
        del self.deliveries.targets[found.id]
        return self.reply({"id": found.id, "object": "webhook_endpoint", "deleted": True})


def endpoint(target: Target) -> Raw:
    return {
        "id": target.id,
        "object": "webhook_endpoint",
        "api_version": target.facts.get("api_version"),
        "url": target.url,
        "enabled_events": target.events,
        "status": "enabled" if target.status == "active" else "disabled",
    }


def listed(given: Any) -> list[str]:
    """`types[]=a&types[]=b` and `types[0]=a&types[1]=b` are the same list."""
    return [str(one) for one in (given.values() if isinstance(given, dict) else given or [])]


def form(call: Call) -> Raw:
    """`metadata[a]=1&types[]=x` as a mapping with mappings and lists."""
    found: Raw = {}
    for name, value in parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True):
        head, bracket, rest = name.partition("[")
        if not bracket:
            found[head] = value
        elif rest == "]":
            found.setdefault(head, []).append(value)
        else:
            found.setdefault(head, {})[rest[:-1]] = value
    return found


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `StripeSimulator` and `Simulator` for the options. Raises TypeError for unknown
    ones."""
    return StripeSimulator(clock=clock, **options)
