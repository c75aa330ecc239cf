"""Made-up subscriptions, prices, disputes, payouts, balance transactions and invoice lines (facts, section 3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from syncd.testing.collection import Raw, World
from syncd.testing.dice import Dice

BILLING = ("prices", "subscriptions", "disputes", "payouts", "balance_transactions")
PREFIX = {
    "subscriptions": "sub_1",
    "prices": "price_1",
    "disputes": "dp_1",
    "payouts": "po_1",
    "balance_transactions": "txn_1",
}
KIND = {
    "subscriptions": "subscription",
    "prices": "price",
    "disputes": "dispute",
    "payouts": "payout",
    "balance_transactions": "balance_transaction",
}
EVENT = {"subscriptions": "customer.subscription", "disputes": "charge.dispute"}
"""What begins the names of events, where it is not the object's own name."""
FILTERS = {
    "subscriptions": {"customer", "price", "status", "collection_method"},
    "prices": {"active", "currency", "product", "type"},
    "disputes": {"charge", "payment_intent"},
    "payouts": {"status", "destination"},
    "balance_transactions": {"currency", "payout", "source", "type"},
}
COUNTS = {"prices": 8, "subscriptions": 12, "disputes": 3, "payouts": 6, "balance_transactions": 15}
SILENT = ("balance_transactions",)
"""Nothing tells of these."""
DAY = 86400


class Billing(ABC):
    """The part of a mint that makes these."""

    dice: Dice
    world: World

    @abstractmethod
    def some(self, resource: str) -> Raw | None:
        """Any one of the resource that there is."""

    def _prices(self, at: int) -> Raw:
        product, amount = self.some("products") or {"id": "prod_none"}, self.dice.between(500, 20000)
        return {
            "active": True, "billing_scheme": "per_unit", "currency": "eur", "lookup_key": None, "nickname": None,
            "product": product["id"], "recurring": None, "tax_behavior": "unspecified", "tiers_mode": None,
            "transform_quantity": None, "type": "one_time", "unit_amount": amount, "unit_amount_decimal": str(amount),
        }  # fmt: skip

    def _subscriptions(self, at: int) -> Raw:
        customer = self.some("customers") or {"id": "cus_none"}
        items = {"object": "list", "data": [], "has_more": False, "url": "/v1/subscription_items"}
        return {
            "application_fee_percent": None, "automatic_tax": {"enabled": False}, "billing_cycle_anchor": at,
            "billing_thresholds": None, "cancel_at": None, "cancel_at_period_end": False, "canceled_at": None,
            "collection_method": "charge_automatically", "current_period_end": at + 30 * DAY,
            "current_period_start": at, "customer": customer["id"], "days_until_due": None,
            "default_payment_method": None, "default_source": None, "discount": None, "ended_at": None, "items": items,
            "latest_invoice": None, "pause_collection": None, "pending_setup_intent": None, "pending_update": None,
            "schedule": None, "start_date": at, "status": self.dice.pick(("active", "active", "past_due")),
            "test_clock": None, "transfer_data": None, "trial_end": None, "trial_start": None,
        }  # fmt: skip

    def _disputes(self, at: int) -> Raw:
        charge = self.some("charges") or {"id": "ch_none", "amount": 500, "currency": "eur"}
        details = {"due_by": at + 10 * DAY, "has_evidence": False, "past_due": False, "submission_count": 0}
        return {
            "amount": charge["amount"], "balance_transactions": [], "charge": charge["id"],
            "currency": charge["currency"], "evidence": {}, "evidence_details": details, "is_charge_refundable": False,
            "payment_intent": charge.get("payment_intent"), "reason": "fraudulent", "status": "needs_response",
        }  # fmt: skip

    def _payouts(self, at: int) -> Raw:
        return {
            "amount": self.dice.between(10_000, 900_000), "arrival_date": at + DAY, "automatic": True,
            "balance_transaction": None, "currency": "eur", "description": "STRIPE PAYOUT", "destination": None,
            "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "method": "standard",
            "original_payout": None, "reversed_by": None, "source_type": "card", "statement_descriptor": None,
            "status": "paid", "type": "bank_account",
        }  # fmt: skip

    def _balance_transactions(self, at: int) -> Raw:
        amount = self.dice.between(500, 90_000)
        return {
            "amount": amount, "available_on": at + 7 * DAY, "currency": "eur", "description": None,
            "exchange_rate": None, "fee": 30, "fee_details": [], "net": amount - 30, "reporting_category": "charge",
            "source": None, "status": "available", "type": "charge",
        }  # fmt: skip


def line(dice: Dice, at: int) -> dict[str, Any]:
    """One line of an invoice."""
    return {
        "id": f"il_1{dice.code(23)}", "object": "line_item", "amount": dice.between(900, 30000), "currency": "eur",
        "description": dice.sentence(3), "discountable": True, "livemode": True, "metadata": {},
        "period": {"end": at, "start": at}, "proration": False, "quantity": 1, "type": "invoiceitem",
    }  # fmt: skip


def lines_of(invoice: Raw) -> list[Raw]:
    """All lines of an invoice; it holds its first ones only where `has_more` says so."""
    held = invoice["lines"]
    dice = Dice(f"lines of {invoice['id']}")
    more = [line(dice, invoice["created"]) for _ in range(held["total_count"] - len(held["data"]))]
    return [*held["data"], *more]
