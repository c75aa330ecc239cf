"""Made-up Stripe objects, in the shape of the API version 2026-06-24 (partner facts of 2026-11, section 3)."""

from __future__ import annotations

from syncd.drivers.stripe.simulator_billing import BILLING, Billing, line
from syncd.drivers.stripe.simulator_billing import KIND as BILLING_KIND
from syncd.drivers.stripe.simulator_billing import PREFIX as BILLING_PREFIX
from syncd.testing.collection import Raw, World, merged
from syncd.testing.dice import Dice

RESOURCES = ("customers", "products", "payment_intents", "charges", "invoices", "refunds", *BILLING)
PREFIX = {
    "customers": "cus_",
    "products": "prod_",
    "payment_intents": "pi_3",
    "charges": "ch_3",
    "invoices": "in_1",
    "refunds": "re_3",
    "events": "evt_1",
    **BILLING_PREFIX,
}
KIND = {
    "customers": "customer",
    "products": "product",
    "payment_intents": "payment_intent",
    "charges": "charge",
    "invoices": "invoice",
    "refunds": "refund",
    "events": "event",
    **BILLING_KIND,
}
CURRENCIES = ("eur", "eur", "usd", "dkk", "jpy", "gbp")
DAY = 86400


class Mint(Billing):
    """Makes objects of one account. `known` is the world made so far, to which new objects point."""

    def __init__(self, dice: Dice, world: World, live: bool) -> None:
        self.dice = dice
        self.world = world
        self.live = live

    def some(self, resource: str) -> Raw | None:
        order = self.world[resource].order
        return self.world[resource].entries[self.dice.pick(order)[2]].raw if order else None

    def id(self, resource: str) -> str:
        return PREFIX[resource] + self.dice.code(14 if resource in ("customers", "products") else 23)

    def new(self, resource: str, at: int, fields: Raw | None = None) -> Raw:
        """One object created at that second, the given fields laid over it."""
        raw: Raw = {"id": self.id(resource), "object": KIND[resource], "created": at, "livemode": self.live}
        raw.update(getattr(self, f"_{resource}")(at))
        if resource == "balance_transactions":  # the only ones without
            del raw["livemode"]
            return merged(raw, fields) if fields else raw
        raw["metadata"] = {"syncd_id": str(self.dice.between(1000, 9999))} if self.dice.chance(0.3) else {}
        return merged(raw, fields) if fields else raw

    def _address(self) -> Raw:
        city, _, country, *_ = self.dice.city()
        return {
            "city": city,
            "country": country,
            "line1": f"Havnegade {self.dice.between(1, 90)}",
            "line2": None,
            "postal_code": str(self.dice.between(10000, 99999)),
            "state": None,
        }

    def _customers(self, at: int) -> Raw:
        first, last = self.dice.person()
        return {
            "address": self._address() if self.dice.chance(0.7) else None,
            "balance": 0 if self.dice.chance(0.9) else -self.dice.between(100, 9000),
            "currency": self.dice.pick(CURRENCIES),
            "default_source": None,
            "delinquent": self.dice.chance(0.03),
            "description": None if self.dice.chance(0.6) else self.dice.sentence(4),
            "discount": None,
            "email": self.dice.email() if self.dice.chance(0.95) else None,
            "invoice_prefix": self.dice.hexadecimal(8).upper(),
            "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
            "name": self.dice.firm() if self.dice.chance(0.5) else f"{first} {last}",
            "next_invoice_sequence": self.dice.between(1, 40),
            "phone": self.dice.phone() if self.dice.chance(0.4) else None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }

    def _products(self, at: int) -> Raw:
        return {
            "active": self.dice.chance(0.9),
            "attributes": [],
            "default_price": None,
            "description": self.dice.sentence(8) if self.dice.chance(0.7) else None,
            "images": [f"https://img.example/{self.dice.hexadecimal(10)}.jpg"] if self.dice.chance(0.5) else [],
            "marketing_features": [],
            "name": f"{self.dice.sentence(2)} {self.dice.between(1, 999)}",
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": at,
            "url": None,
        }

    def _payment_intents(self, at: int) -> Raw:
        customer = self.some("customers")
        amount = self.dice.between(500, 90000)
        status = self.dice.pick(("succeeded",) * 7 + ("requires_capture", "canceled", "requires_payment_method"))
        pi = self.dice.code(20)
        return {
            "amount": amount,
            "amount_capturable": amount if status == "requires_capture" else 0,
            "amount_details": {"tip": {}},
            "amount_received": amount if status == "succeeded" else 0,
            "automatic_payment_methods": None,
            "canceled_at": at + 60 if status == "canceled" else None,
            "cancellation_reason": None,
            "capture_method": "manual" if status == "requires_capture" else "automatic",
            "client_secret": f"pi_3{pi}_secret_{self.dice.code(12)}",
            "confirmation_method": "automatic",
            "currency": self.dice.pick(CURRENCIES),
            "customer": customer["id"] if customer else None,
            "description": self.dice.sentence(3),
            "last_payment_error": None,
            "latest_charge": None,
            "next_action": None,
            "payment_method": f"pm_1{self.dice.code(23)}",
            "payment_method_types": ["card"],
            "receipt_email": None,
            "setup_future_usage": None,
            "status": status,
            "transfer_group": None,
        }

    def _charges(self, at: int) -> Raw:
        intent = self.some("payment_intents") or {}
        amount = intent.get("amount", self.dice.between(500, 90000))
        status = self.dice.pick(("succeeded",) * 8 + ("pending", "failed"))
        good = status == "succeeded"
        return {
            "amount": amount,
            "amount_captured": amount if good else 0,
            "amount_refunded": 0,
            "application_fee_amount": None,
            "balance_transaction": f"txn_3{self.dice.code(23)}" if good else None,
            "billing_details": {"address": self._address(), "email": self.dice.email(), "name": None, "phone": None},
            "captured": good,
            "currency": intent.get("currency", "eur"),
            "customer": intent.get("customer"),
            "description": self.dice.sentence(3),
            "disputed": self.dice.chance(0.01),
            "failure_code": None if status != "failed" else "card_declined",
            "failure_message": None if status != "failed" else "Your card was declined.",
            "outcome": {"network_status": "approved_by_network", "risk_level": "normal", "type": "authorized"},
            "paid": good,
            "payment_intent": intent.get("id"),
            "payment_method": intent.get("payment_method"),
            "payment_method_details": {
                "card": {
                    "brand": "visa",
                    "checks": None,
                    "country": "DK",
                    "exp_month": 1 + self.dice.below(12),
                    "exp_year": 2027 + self.dice.below(4),
                    "fingerprint": self.dice.code(16),
                    "funding": "debit",
                    "installments": None,
                    "last4": f"{self.dice.below(10**4):04d}",
                    "mandate": None,
                    "network": "visa",
                    "three_d_secure": None,
                    "wallet": None,
                },
                "type": "card",
            },
            "receipt_url": f"https://pay.example/receipts/{self.dice.code(20)}",
            "refunded": False,
            "status": status,
            "transfer_group": None,
        }

    def _invoices(self, at: int) -> Raw:
        customer = self.some("customers") or {}
        status = self.dice.pick(("paid",) * 6 + ("open", "draft", "void", "uncollectible"))
        lines = [line(self.dice, at) for _ in range(self.dice.between(1, 3))]
        more = at % 25 == 0  # such a one holds its first lines only
        total = sum(line["amount"] for line in lines)
        number = f"{customer.get('invoice_prefix', '00000000')}-{self.dice.between(1, 9999):04d}"
        return {
            "account_country": "PT",
            "amount_due": total,
            "amount_paid": total if status == "paid" else 0,
            "amount_remaining": 0 if status == "paid" else total,
            "attempt_count": int(status == "paid"),
            "auto_advance": False,
            "billing_reason": "manual",
            "collection_method": self.dice.pick(("charge_automatically", "send_invoice")),
            "currency": customer.get("currency", "eur"),
            "customer": customer.get("id"),
            "customer_email": customer.get("email"),
            "customer_name": customer.get("name"),
            "description": None,
            "due_date": at + 14 * DAY,
            "hosted_invoice_url": None if status == "draft" else f"https://pay.example/i/{self.dice.code(20)}",
            "lines": {
                "object": "list",
                "data": lines,
                "has_more": more,
                "total_count": len(lines) + 4 * more,
                "url": "",
            },
            "number": None if status == "draft" else number,
            "parent": None,
            "period_end": at,
            "period_start": at,
            "status": status,
            "status_transitions": {
                "finalized_at": None if status == "draft" else at + 3600,
                "marked_uncollectible_at": at + 40 * DAY if status == "uncollectible" else None,
                "paid_at": at + 7200 if status == "paid" else None,
                "voided_at": at + 9000 if status == "void" else None,
            },
            "subtotal": total,
            "total": total,
        }

    def _refunds(self, at: int) -> Raw:
        charge = self.some("charges") or {}
        return {
            "amount": max(charge.get("amount", 1000) // 2, 1),
            "balance_transaction": None,
            "charge": charge.get("id"),
            "currency": charge.get("currency", "eur"),
            "payment_intent": charge.get("payment_intent"),
            "reason": "requested_by_customer",
            "receipt_number": None,
            "status": self.dice.pick(("succeeded", "succeeded", "pending", "failed")),
        }


def altered(dice: Dice, resource: str, raw: Raw, now: int) -> Raw:
    """Some change that such an object may see in real life."""
    changes: Raw
    match resource:
        case "customers":
            changes = dice.pick(
                (
                    {"name": dice.firm()},
                    {"email": dice.email()},
                    {"balance": -dice.between(1, 9999)},
                    {"metadata": {"syncd_id": str(dice.between(1000, 9999))}},
                )
            )
        case "products":
            changes = {"name": f"{dice.sentence(2)} {dice.between(1, 9999)}", "updated": now}
        case "payment_intents" if raw["status"] == "requires_capture":
            changes = {"status": "succeeded", "amount_capturable": 0, "amount_received": raw["amount"]}
        case "invoices" if raw["status"] == "open":
            changes = {
                "status": "paid",
                "amount_paid": raw["total"],
                "amount_remaining": 0,
                "status_transitions": {"paid_at": now},
            }
        case _:
            changes = {"metadata": {"note": dice.sentence(3)}}
    return merged(raw, changes)


def previous(before: Raw, after: Raw) -> Raw:
    """`previous_attributes`: the old values of what changed, nested only where a mapping changed in part."""
    old: Raw = {}
    for name in {**before, **after}:
        was, now = before.get(name), after.get(name)
        if was != now:
            old[name] = previous(was, now) if isinstance(was, dict) and isinstance(now, dict) else was
    return old


def build(dice: Dice, counts: dict[str, int], now: float, live: bool, days: int = 400) -> World:
    """An account's objects, created over the last `days` days, oldest first."""
    world = World((*RESOURCES, "invoice_lines", "events"))
    mint = Mint(dice, world, live)
    for resource in RESOURCES:
        count = counts.get(resource, 0)
        step = days * DAY / max(count, 1)
        for number in range(count):
            at = int(now - days * DAY + (number + dice.portion()) * step) - 5
            raw = mint.new(resource, at)
            world[resource].add(raw["id"], raw, at)
    return world
