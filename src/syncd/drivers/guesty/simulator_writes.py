"""How the simulated Guesty changes: by its own API, by tests, and the webhooks that tell of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar

import orjson
from aiohttp import web

from syncd.drivers.guesty.simulator_account import GuestyAccount
from syncd.drivers.guesty.simulator_data import Mint, altered, object_id, third_version
from syncd.testing.base import Call, Route
from syncd.testing.collection import Entry, Raw
from syncd.testing.deliveries import Target
from syncd.testing.dice import iso

EVENTS = {
    ("listings", "create"): ("listing.new",),
    ("listings", "update"): ("listing.updated",),
    ("listings", "delete"): ("listing.removed",),
    ("guests", "create"): ("guest.created",),
    ("guests", "update"): ("guest.updated",),
    ("guests", "delete"): ("guest.deleted",),
    ("reservations", "create"): ("reservation.new", "reservation.created.v2"),
    ("reservations", "update"): ("reservation.updated", "reservation.updated.v2"),
}
NAMES = {name for names in EVENTS.values() for name in names} | {
    "listing.calendar.updated",
    "calendar.updated.v2",
    "payments.failed",
    "payments.method.received",
    "reservation.messageReceived",
    "reservation.messageSent",
    "reservation_update_shortlist",
    "task.created",
    "task.deleted",
    "task.updated",
}


STAY_FACTS = {
    "dates": {"checkInDateLocalized", "checkOutDateLocalized", "plannedArrival", "plannedDeparture"},
    "relocate": {"listingId"},
    "guests": {"guestsCount"},
    "source": {"source"},
}
"""By the last part of the path: what such a call changes of a reservation."""
SUMS = ("fareAccommodationAdjustment", "fareAccommodationDiscount", "fareAccommodation", "fareAccommodationAdjusted",
        "fareCleaning", "hostServiceFee", "hostServiceFeeTax", "hostServiceFeeIncTax", "subTotalPrice", "hostPayout",
        "hostPayoutUsd", "totalTaxes", "totalRefunded", "totalPaid", "paymentsDue", "balanceDue")  # fmt: skip
TOLD = {"checkInDate": "checkInDateLocalized", "checkOutDate": "checkOutDateLocalized", "unitId": "listingId",
        "unitTypeId": "listingId", "pointOfSale": ""}  # fmt: skip
"""What the answers call what was changed."""


class GuestyWrites(GuestyAccount):
    """Everything but the reads."""

    routes: ClassVar[tuple[Route, ...]] = (
        *GuestyAccount.routes,
        ("POST", "/v1/webhooks", "hook_new"),
        ("GET", "/v1/webhooks", "hook_list"),
        ("GET", "/v1/webhooks/{id}", "hook_one"),
        ("PUT", "/v1/webhooks/{id}", "hook_change"),
        ("DELETE", "/v1/webhooks/{id}", "hook_remove"),
        ("GET", "/v1/webhooks-v2/secret", "hook_secret"),
        ("PUT", "/v1/reservations/{id}", "put_reservation"),
        ("PUT", "/v1/reservations-v3/guest-stay", "put_stay"),
        ("PUT", "/v1/reservations-v3/{id}/status", "put_status"),
        ("PUT", "/v1/reservations-v3/{id}/notes", "put_notes"),
        ("PUT", "/v1/reservations-v3/{id}/custom-fields", "put_custom"),
        ("PUT", "/v1/guests-crud/{id}", "put_guest"),
        *(("PUT", f"/v1/reservations-v3/{{id}}/{what}", "put_stay_facts") for what in STAY_FACTS),
        *(("POST", f"/v1/reservations/{{id}}/{what}", "post_answer") for what in ("approve", "decline")),
        ("PUT", "/v1/availability-pricing/api/calendar/listings/{id}", "put_calendar"),
    )

    # Changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        mint = Mint(self.dice, self.state, str(self.options["shape"]))
        stamped = {"lastUpdatedAt": iso(self.now()), **(fields or {})} if resource == "reservations" else fields
        return mint.new(resource, self.now(), stamped)

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        return altered(self.dice, resource, raw, changes, self.now())

    def deletable(self, resource: str) -> bool:
        return resource != "reservations"

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        raw = (after or before).raw  # type: ignore[union-attr]
        for event in EVENTS.get((resource, what), ()):
            body: Raw = {"event": event}
            if resource == "listings":
                body |= {"listing": raw, "meta": {"eventId": f"evt-{self.dice.code(8)}", "messageId": "msg-sim"}}
            elif resource == "guests":
                body |= {"guest": raw, "by": "simulator"}
            elif event.endswith(".v2"):
                stay = third_version(raw)["stay"][0]
                data = {
                    "reservationId": raw["_id"],
                    "status": raw["status"],
                    "confirmationCode": raw["confirmationCode"],
                }
                data |= {key: stay[key] for key in ("unitId", "checkInDateLocalized", "checkOutDateLocalized")}
                body |= {"data": data, "publishedAt": iso(self.now())}
            else:
                body["reservation"] = raw
            self.deliveries.post(event, orjson.dumps(body), f"msg_{self.dice.code(27)}")

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        moment = str(int(self.now()))
        return {
            "svix-id": message_id,
            "svix-timestamp": moment,
            "svix-signature": " ".join(svix(secret, message_id, moment, body) for secret in target.secrets),
        }

    # Webhook subscriptions

    def _shown(self, target: Target) -> Raw:
        return {
            "_id": target.id,
            "accountId": self.state.facts["account"],
            "url": target.url,
            "events": target.events,
        }

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        return Target(object_id(self.dice), url, secrets, events, facts={"made": self.clock.monotonic()})

    def _body(self, call: Call) -> Raw:
        try:
            given = call.json()
        except ValueError:
            return {}
        return given if isinstance(given, dict) else {}

    def hook_new(self, call: Call) -> web.Response:
        given = self._body(call)
        events = given.get("events")
        if not isinstance(events, list) or not events:
            return self.invalid("events are required")
        unknown = [event for event in events if event not in NAMES]
        if unknown or not str(given.get("url", "")).startswith("http"):
            return self.invalid(f"unknown events {unknown} or no url")
        secret = "whsec_" + base64.b64encode(self.dice.random.randbytes(24)).decode()
        target = self.subscription(given["url"], [secret], events)
        self.deliveries.targets[target.id] = target
        return self.reply(self._shown(target), 201)

    def hook_list(self, call: Call) -> web.Response:
        return self.reply([self._shown(target) for target in self.deliveries.targets.values()])

    def hook_one(self, call: Call) -> web.Response:
        target = self.deliveries.targets.get(call.args["id"])
        return self.reply(self._shown(target)) if target else self.reply(orjson.dumps("Not found"), 404)

    def hook_change(self, call: Call) -> web.Response:
        target = self.deliveries.targets.get(call.args["id"])
        if target is None:
            return self.reply(orjson.dumps("Not found"), 404)
        given = self._body(call)
        if given.get("url", target.url) != target.url:
            return self.invalid("url cannot be changed")
        target.events = list(given.get("events", target.events))
        return self.reply(self._shown(target))

    def hook_remove(self, call: Call) -> web.Response:
        found = self.deliveries.targets.pop(call.args["id"], None)
        return web.Response(status=204) if found else self.reply(orjson.dumps("Not found"), 404)

    def hook_secret(self, call: Call) -> web.Response:
        """404 for a short while after the subscription was made."""
        for target in self.deliveries.targets.values():
            if target.url == call.query.get("url"):
                age = self.clock.monotonic() - target.facts["made"]
                if age >= float(self.options["secret_delay"]):
                    return self.reply({"key": target.secrets[0]})
        return self.reply({"message": "Secret not found", "code": "NOT_FOUND"}, 404)

    # Writes

    def _reservation(self, external_id: str, changes: Raw, answer: Raw) -> web.Response:
        if external_id not in self.state["reservations"].entries:
            return self.reply(orjson.dumps("Reservation not found"), 404)
        self.update("reservations", external_id, changes)
        return self.reply(answer)

    def put_reservation(self, call: Call) -> web.Response:
        """The legacy route: nested `notes` are accepted and ignored."""
        changes = {
            name: value for name, value in self._body(call).items() if name in ("status", "keyCode", "plannedArrival")
        }
        external_id = call.args["id"]
        return self._reservation(external_id, changes, {"_id": external_id, **changes})

    def put_status(self, call: Call) -> web.Response:
        given = self._body(call)
        known = ("inquiry", "reserved", "awaiting_payment", "confirmed", "canceled", "closed", "declined", "expired")
        if given.get("status") not in known:
            return self.invalid('"status" must be a known status', 422)
        changes: Raw = {"status": given["status"]}
        if given["status"] == "canceled":
            changes |= {"canceledAt": iso(self.now()), "canceledBy": given.get("canceledBy")}
        answer = {"reservationId": call.args["id"], "status": given["status"]}
        return self._reservation(call.args["id"], changes, answer)

    def put_stay(self, call: Call) -> web.Response:
        given = self._body(call)
        if given.get("status") not in ("not_set", "checked_in", "checked_out", "no_show"):
            return self.invalid('"status" must be a known status', 422)
        changes = {"guestStay": {"status": given["status"], "updatedAt": iso(self.now())}}
        return self._reservation(str(given.get("reservationId")), changes, {})

    def put_notes(self, call: Call) -> web.Response:
        """404 for what came from a channel, although it can be read."""
        entry = self.state["reservations"].get(call.args["id"])
        if entry is None or entry.raw["source"] != "manual":
            return self.reply(orjson.dumps("Reservation not found"), 404)
        notes = self._body(call).get("notes", {})
        return self._reservation(entry.id, {"notes": notes}, {"reservationId": entry.id, "notes": notes})

    def put_custom(self, call: Call) -> web.Response:
        fields = [{"_id": object_id(self.dice), **field} for field in self._body(call).get("customFields", [])]
        answer = {"reservationId": call.args["id"], "customFields": fields}
        return self._reservation(call.args["id"], {"customFields": fields}, answer)

    def put_guest(self, call: Call) -> web.Response:
        external_id = call.args["id"]
        if external_id not in self.state["guests"].entries:
            return self.reply({"message": "Guest not found", "code": "GUEST_NOT_FOUND", "requestId": "sim"}, 404)
        allowed = ("firstName", "lastName", "fullName", "email", "phone", "notes", "tags")
        changes = {name: value for name, value in self._body(call).items() if name in allowed}
        return self.reply(self.update("guests", external_id, changes).encoded)

    def put_stay_facts(self, call: Call) -> web.Response:
        """Dates, listing, guests and source of a reservation, each by a call of its own."""
        taken = STAY_FACTS[call.route.rsplit("/", 1)[1]]
        changes = {name: value for name, value in self._body(call).items() if name in taken}
        if not changes:
            return self.invalid(f'"{min(taken)}" is required', 422)
        money = {**dict.fromkeys(SUMS, 0), "_id": {}, "reservationId": call.args["id"], "currency": "EUR",
                 "invoiceItems": [], "payments": [], "isFullyPaid": False, "settingsSnapshot": {}}  # fmt: skip
        told = {name: changes.get(given, "") for name, given in TOLD.items()}
        for name in ("checkInDate", "checkOutDate"):
            told[name] = f"{told[name] or '2026-12-01'}T15:00:00.000Z"
        people = self._body(call).get("numberOfGuests", {"numberOfAdults": 1})
        answer = {"reservationId": call.args["id"], "creationTime": iso(self.now()), "numberOfGuests": people, **told}
        return self._reservation(call.args["id"], changes, {**answer, "money": money, **changes})

    def post_answer(self, call: Call) -> web.Response:
        """A request of a channel is approved or declined, once."""
        entry = self.state["reservations"].get(call.args["id"])
        asked = call.route.rsplit("/", 1)[1]
        if entry is None:
            return self.reply(orjson.dumps("Reservation not found"), 404)
        if entry.raw["status"] not in ("inquiry", "reserved"):
            return self.reply(orjson.dumps(f"Reservation status is {entry.raw['status']} - can't {asked}"), 400)
        status = "confirmed" if asked == "approve" else "declined"
        return self._reservation(entry.id, {"status": status}, {"_id": entry.id, "status": status.upper()})

    def put_calendar(self, call: Call) -> web.Response:
        """Prices, blocks and least stays of a range of days; told of without a name."""
        entry, given = self.state["listings"].get(call.args["id"]), self._body(call)
        if entry is None:
            return self.reply({"message": "Listing not found", "code": "LISTING_NOT_FOUND", "requestId": "sim"}, 404)
        missing = next((name for name in ("startDate", "endDate") if not given.get(name)), None)
        if missing:
            return self.invalid(f'child "{missing}" fails because ["{missing}" is required]', 422)
        self.days.setdefault(entry.id, []).append(given)
        span = {"start": given["startDate"], "end": given["endDate"]}
        account = self.state.facts["account"]
        told = {"listingId": entry.id, "accountId": account, "currency": "EUR", "dateRange": span}
        self.deliveries.post("calendar.updated.v2", orjson.dumps(told), f"msg_{self.dice.code(27)}")
        return self.reply(orjson.dumps("ok"))


def svix(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,<base64>`: the secret is base64 after its prefix; id, timestamp and the raw body are signed."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
