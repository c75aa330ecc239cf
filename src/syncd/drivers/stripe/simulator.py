"""A Stripe account as its documentation describes it (partner facts of 2026-11), for tests, demo and benchmarks.

Reads and the event log (`simulator_reads.py`), and here the writes of the facts' section 10: form bodies,
idempotency keys, status actions, webhook endpoints. The documented limits hold: 100 calls a second (25 in a
sandbox), 25 for each endpoint, 1,000 changes an hour of one payment intent.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.stripe.simulator_billing import lines_of
from syncd.drivers.stripe.simulator_data import KIND
from syncd.drivers.stripe.simulator_hooks import StripeHooks
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Raw

CREATABLE = ("customers", "products", "refunds")
SETTABLE = {
    "customers": {"name", "email", "phone", "description", "balance", "metadata"},
    "products": {"name", "description", "active", "metadata"},
    "payment_intents": {"amount", "description", "metadata", "receipt_email"},
    "charges": {"description", "metadata", "receipt_email"},
    "invoices": {"description", "due_date", "metadata"},
    "refunds": {"metadata", "amount", "charge", "payment_intent", "reason"},
    "subscriptions": {"metadata", "cancel_at_period_end"},
    "prices": {"metadata", "active", "nickname"},
    "disputes": {"metadata"},
    "payouts": {"metadata"},
}
NUMBERS = {"balance", "amount", "due_date", "amount_to_capture"}
INVOICE = {
    "finalize": ("draft", "open", "finalized_at"),
    "pay": ("open", "paid", "paid_at"),
    "void": ("open", "void", "voided_at"),
    "mark_uncollectible": ("open", "uncollectible", "marked_uncollectible_at"),
    "send": ("open", "open", ""),
}


class StripeSimulator(StripeHooks):
    """Options: `key`, `restricted` ({key: [resources it may use]}), `live` (limits and `livemode`), `history` (days of
    data), `event_history` (events for objects made in the last 30 days), `version` (of events), and a count for each of
    customers, products, payment_intents, charges, invoices, refunds, prices, subscriptions, disputes, payouts,
    balance_transactions."""

    routes = (
        *StripeHooks.routes,
        *(("POST", f"/v1/{name}", "post_new") for name in CREATABLE),
        *(("POST", f"/v1/{name}/{{id}}", "post_change") for name in SETTABLE),
        ("GET", "/v1/invoices/{id}/lines", "lines"),
        *(("DELETE", f"/v1/{name}/{{id}}", "remove_one") for name in ("customers", "products", "invoices")),
        ("POST", "/v1/payment_intents/{id}/capture", "post_capture"),
        ("POST", "/v1/payment_intents/{id}/cancel", "post_cancel"),
        *(("POST", f"/v1/invoices/{{id}}/{action}", "post_invoice") for action in INVOICE),
    )

    # Objects

    def lines(self, call: Call) -> web.Response:
        """All lines of an invoice, of which it holds the first."""
        every = lines_of(self._found("invoices", call.args["id"]))
        ids = [one["id"] for one in every]
        after, limit = call.query.get("starting_after"), int(call.query.get("limit", "10"))
        start = ids.index(after) + 1 if after in ids else 0
        page, more = every[start : start + limit], start + limit < len(every)
        return self.reply({"object": "list", "url": call.request.path, "has_more": more, "data": page})

    def truth(self, resource: str) -> dict[str, Raw]:
        """Lines of invoices that hold only their first ones, as the others are in the invoices."""
        if resource != "invoice_lines":
            return super().truth(resource)
        cut = [entry.raw for entry in self.state["invoices"] if entry.raw["lines"]["has_more"]]
        return {one["id"]: {**one, "invoice": raw["id"]} for raw in cut for one in lines_of(raw)}

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


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `StripeSimulator` and `Simulator` for the options. Raises TypeError for unknown
    ones."""
    return StripeSimulator(clock=clock, **options)
