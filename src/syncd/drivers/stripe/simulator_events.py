"""How the simulated Stripe changes: every mutation makes an event with a full snapshot, and a signed delivery of it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from syncd.drivers.stripe.simulator_billing import EVENT, SILENT
from syncd.drivers.stripe.simulator_data import KIND, PREFIX, Mint, altered, previous
from syncd.testing.base import Simulator
from syncd.testing.collection import Entry, Raw, World, merged
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice


class StripeChanges(Simulator):
    """Objects, the event log and webhooks; what is asked for over HTTP is in the classes above."""

    name = "stripe"
    mutable = ("customers", "products", "invoices", "charges", "payment_intents")
    current_key: str | None = None
    """The idempotency key of the POST being served: it shows in the event that the POST makes."""

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        raw = Mint(self.dice, self.state, self.options["live"]).new(resource, int(self.now()), fields)
        return raw["id"], raw

    def placed_at(self, raw: Raw) -> float:
        return float(raw["created"])

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        return altered(self.dice, resource, raw, int(self.now())) if changes is None else merged(raw, changes)

    def deletable(self, resource: str) -> bool:
        return resource in ("customers", "products")

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        if resource in SILENT:
            return
        kind, old = EVENT.get(resource, KIND[resource]), None
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


def transition(resource: str, before: Raw, after: Raw) -> str:
    """The event of its own that some changes of status have."""
    was, now = before.get("status"), after.get("status")
    if resource == "charges" and before["amount_refunded"] != after["amount_refunded"]:
        return "charge.refunded"
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
