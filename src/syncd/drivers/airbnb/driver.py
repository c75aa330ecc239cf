"""What of Airbnb no description says: settings that change its calls, a 403 that depends on the address, odd deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from syncd.kit import (
    Change,
    Delivery,
    Event,
    PartnerError,
    PayloadError,
    RejectedError,
    Request,
    Resource,
    Response,
    RestDriver,
    Word,
    checked_options,
    coerce,
    error_for,
    getter,
    replaced,
)

MESSAGES_APART: Final = "2024.12.31"
"""From this version on messages are no part of their thread."""
MOST_DATES: Final = 731
"""Of one call that writes a calendar."""
AT_LISTINGS: Final[dict[str, Word]] = {
    "/users/me": "denied",
    "/reservations": "rejected",
    "/threads": "rejected",
    "/listings": "rejected",
}
"""What a 403 means where it cannot mean that one object is gone."""
NUMBERS: Final = {"calendar": "listing_id", "message": "thread_id"}
"""Ids that are sent as numbers, by the kind of push."""
CODE: Final = getter("thread.attachment.booking_details.reservation_confirmation_code")
LISTING: Final = getter("reservation.listing_id_str || reservation.listing_id")


class Airbnb(RestDriver):
    """Airbnb, for one host."""

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        told, found = checked_options(self.spec, options), dict(super().resources(options))
        found["reservations"] = replaced(found["reservations"], told["reservations"])
        if told["version"] >= MESSAGES_APART:
            found["messages"] = replaced(found["messages"], {"path": "/threads/{parent.id}/messages"})
        return found

    # Answers and deliveries.

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        path = response.url.partition("?")[0]
        word = next((word for end, word in AT_LISTINGS.items() if path.endswith(end)), None)
        if response.status_code == 403 and word is not None:
            return error_for(word, response, now, self.spec.errors)
        return super().classify(response, now)

    def events(self, delivery: Delivery) -> list[Event]:
        rules, kind = self.spec.webhooks, self.event_type(delivery)
        resource = rules.routes.get(kind) if rules is not None else None
        if rules is None or resource is None:
            return super().events(delivery)
        told = delivery.json()
        if str(LISTING(told)) == "0":  # a test
            return []
        named = getter(rules.id or "")(told)
        ids = [
            coerce.text(one) for one in (named if isinstance(named, list) else [named]) if one not in (None, "", 0, "0")
        ]
        if resource == "hosts":  # the address is the application's, and other hosts leave it too
            return [Event("listings", one, kind) for one in ids] + [Event("hosts", str(told.get("host_id") or 0), kind)]
        if resource != "listings" and not (named and ids):  # what is told of listings is not always public
            raise PayloadError(f"event {kind}: no record id at `{rules.id}`")
        found = [Event(resource, one, kind) for one in dict.fromkeys(ids) if named]
        code = CODE(told) if resource == "threads" else None
        if isinstance(code, str) and code:  # a message may come in place of its reservation's confirmation
            found.append(Event("reservations", code, kind, unless_stored=True))
        return found

    # Pushes.

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        if change.kind != "calendar":
            return
        operations = change.data["operations"]
        operations = operations if isinstance(operations, list) else [operations]
        if any(one.get("availability") == "unavailable" and not one.get("busy_subtype") for one in operations):
            raise RejectedError("field operations: a block needs busy_subtype", code="invalid", resource=resource.name)
        if any(one.get("busy_subtype") == "OUTSIDE_RESERVATION" and not one.get("platform") for one in operations):
            told = "field operations: OUTSIDE_RESERVATION needs platform"
            raise RejectedError(told, code="invalid", resource=resource.name)
        if sum(_days(told) for one in operations for told in one.get("dates") or [""]) > MOST_DATES:
            told = f"field operations: more than {MOST_DATES} dates"
            raise RejectedError(told, code="invalid", resource=resource.name)

    def push(self, resource: Resource, change: Change) -> Request:
        request = super().push(resource, change)
        named, id_ = NUMBERS.get(change.kind), change.external_id or ""
        if named is None or not id_.isdecimal() or not isinstance(request.json, dict):
            return request
        return replace(request, json={**request.json, named: int(id_)})


def _days(told: str) -> int:
    """Days of `2026-10-01:2026-10-05` (both count) or of one date. Raises RejectedError."""
    first, _, last = str(told).partition(":")
    try:
        return (date.fromisoformat(last or first) - date.fromisoformat(first)).days + 1
    except ValueError:
        raise RejectedError(
            "field operations: dates are YYYY-MM-DD or two of them with a colon", code="invalid"
        ) from None
