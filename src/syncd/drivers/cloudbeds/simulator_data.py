"""Made-up Cloudbeds properties, rooms, guests and reservations, in the shapes of the partner facts of 2026-11 (3 and 12).

Reservations and guests are made again from the seed each time they are looked at, so 125,000 of them need little memory.
Ids of the state are `property:id`, since Cloudbeds' own are unique in a property only: here they do repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from syncd.drivers.cloudbeds.simulator_house import DAY, House, day
from syncd.testing.collection import Collection, Entry, Key, Raw, World, merged
from syncd.testing.dice import Dice

STATUSES = ("confirmed",) * 6 + ("checked_out", "checked_in", "not_confirmed", "canceled", "no_show")
SOURCES = (
    ("Website", "s-1", "direct"),
    ("Booking.com", "s-2", "ota"),
    ("Airbnb", "s-3", "ota"),
    ("Walk-In", "s-4", "direct"),
)
RESOURCES = frozenset({
    "hotels", "room_types", "rooms", "reservations", "guests", "room_blocks", "housekeeping", "rate_plans", "custom_fields",
    "reservation_notes",
})  # fmt: skip


class Seeded(Entry):
    """A record that was never changed: made from its number whenever it is looked at."""

    __slots__ = ("_make", "_number")

    def __init__(self, external_id: str, key: Key, number: int, make: Callable[[int], Raw]) -> None:
        self.id, self.key = external_id, key
        self._number, self._make = number, make

    @property
    def raw(self) -> Raw:  # type: ignore[override]
        return self._make(self._number)

    @property
    def encoded(self) -> bytes:
        return orjson.dumps(self.raw)


class Mint(House):
    """Makes records of one account."""

    def reservation(self, number: int) -> Raw:
        count = self.counts["reservations"]
        return self.reservation_at(number, self.created_at(number, count), self.modified_at(number, count))

    def reservation_at(self, number: int, created: float, modified: float) -> Raw:
        dice = self.dice("reservation", number)
        property_id, own = self.of(number)
        reservation_id = str(7100000000011 + own)
        nights = dice.between(1, 9)
        arrival = (created // DAY + dice.between(0, 120)) * DAY
        total = nights * dice.between(60, 240) + dice.below(100) / 100
        paid = round(total * dice.pick((0, 0.2, 1)), 2)
        status = dice.pick(STATUSES)
        name, source_id, category = dice.pick(SOURCES)
        first, last = dice.person()
        guest_id = str(52000000901 + (own % max(self.counts["guests"] // len(self.properties), 1)))
        kind = dice.between(1, max(self.counts["room_types"] // len(self.properties), 1))
        room_status = {"checked_in": "in_house", "checked_out": "checked_out", "canceled": "cancelled"}
        room = {
            "roomTypeID": f"41000{kind}", "roomTypeName": f"Type {kind}", "roomTypeIsVirtual": False,
            "subReservationID": reservation_id, "isRoomLocked": False, "guestID": guest_id, "guestName": f"{first} {last}",
            "rateID": f"rate-{kind}", "rateName": "Standard", "adults": str(dice.between(1, 3)),
            "children": str(dice.below(3)), "reservationRoomID": str(88100001 + own), "roomID": f"41000{kind}-1",
            "roomName": f"{kind}01", "roomCheckIn": day(arrival), "roomCheckOut": day(arrival + nights * DAY),
            "roomStatus": room_status.get(status, "not_checked_in"),
        }  # fmt: skip
        return {
            "propertyID": property_id,
            "reservationID": reservation_id,
            "isDeleted": False,
            **self.stamps(property_id, created, modified),
            "status": status,
            "reservationCheckIn": day(arrival),
            "reservationCheckOut": day(arrival + nights * DAY),
            "guestID": guest_id,
            "profileID": f"6{guest_id[1:]}",
            "guestCountry": dice.city()[2],
            "sourceName": name,
            "source": {"name": name, "paymentCollect": "hotel", "sourceID": source_id, "category": category},
            "sourceReservationID": "" if category == "direct" else dice.code(9),
            "propertyCurrency": "EUR",
            "balanceDetailed": {
                "suggestedDeposit": "0.00", "subTotal": round(total * 0.94, 2), "additionalItems": 0,
                "taxesFees": round(total * 0.06, 2), "grandTotal": total, "paid": paid,
            },
            "rooms": [room],
            "origin": name,
            "thirdPartyIdentifier": "",
            "estimatedArrivalTime": None,
            "customFields": [],
            "total": total,
            "balance": round(total - paid, 2),
        }  # fmt: skip

    def guest(self, number: int) -> Raw:
        count = self.counts["guests"]
        return self.guest_at(number, self.created_at(number, count), self.modified_at(number, count))

    def guest_at(self, number: int, created: float, modified: float) -> Raw:
        dice = self.dice("guest", number)
        property_id, own = self.of(number)
        first, last = dice.person()
        return {
            "propertyID": property_id,
            "reservationID": str(7100000000011 + own),
            "guestName": f"{first} {last}",
            "guestEmail": dice.email(first),
            "guestID": str(52000000901 + own),
            **self.stamps(property_id, created, modified, utc=False),
            "isMainGuest": True,
            "isAnonymized": False,
            "guestFirstName": first,
            "guestLastName": last,
            "guestGender": dice.pick(("M", "F", "N/A")),
            "guestPhone": dice.phone(),
            "guestCellPhone": "",
            "guestAddress1": "",
            "guestCity": dice.city()[0],
            "guestCountry": dice.city()[2],
            "guestZip": str(dice.between(1000, 9999)),
            "companyName": "",
            "status": dice.pick(STATUSES),
            "isMerged": False,
            "newGuestID": "",
        }


KEYS = {
    "hotels": "propertyID", "room_types": "roomTypeID", "rooms": "roomID", "reservations": "reservationID",
    "guests": "guestID", "room_blocks": "roomBlockID", "housekeeping": "roomID", "rate_plans": "rateID",
    "custom_fields": "shortcode", "reservation_notes": "reservationNoteID",
}  # fmt: skip


def key_of(resource: str, raw: Raw) -> str:
    """The id of a record as syncd keys it."""
    if resource == "hotels":
        return str(raw["propertyID"])
    if resource == "reservation_notes":
        return f"{raw['propertyID']}:{raw['reservationID']}:{raw['reservationNoteID']}"
    return f"{raw['propertyID']}:{raw[KEYS[resource]]}"


def build(seed: str, counts: dict[str, int], now: float, days: int) -> tuple[World, Mint]:
    """An account's records made over the last `days` days, oldest first."""
    world = World(RESOURCES)
    mint = Mint(seed, counts, now, days)
    makers: dict[str, Callable[[int], Raw]] = {
        "hotels": mint.hotel, "room_types": mint.room_type, "rooms": mint.room, "room_blocks": mint.room_block,
        "housekeeping": mint.housekeeping, "reservation_notes": mint.note, "rate_plans": mint.rate_plan,
        "custom_fields": mint.custom_field,
    }  # fmt: skip
    for resource, make in makers.items():
        for number in range(counts["rooms" if resource == "housekeeping" else resource]):
            raw = make(number)
            world[resource].add(key_of(resource, raw), raw, now - days * DAY)
    for resource, base, make in (
        ("reservations", 7100000000011, mint.reservation),
        ("guests", 52000000901, mint.guest),
    ):
        collection = world[resource]
        for number in range(counts[resource]):
            property_id, own = mint.of(number)
            _seed(collection, f"{property_id}:{base + own}", mint.created_at(number, counts[resource]), number, make)
    return world, mint


def _seed(collection: Collection, external_id: str, at: float, number: int, make: Callable[[int], Raw]) -> None:
    collection.sequence += 1
    key = (at, collection.sequence)
    collection.entries[external_id] = Seeded(external_id, key, number, make)
    collection.order.append((*key, external_id))


def altered(dice: Dice, resource: str, raw: Raw, changes: Raw | None) -> Raw:
    """The record after the given changes, or after one it may see in real life; without its stamps."""
    more: dict[str, Any] = changes or {}
    if changes is None and resource == "reservations":
        more = dice.pick(
            ({"status": dice.pick(STATUSES)}, {"balance": dice.between(1, 9000) / 100, "estimatedArrivalTime": "18:30"})
        )
    elif changes is None and resource == "guests":
        more = {"guestPhone": dice.phone(), "guestCity": dice.city()[0]}
    elif changes is None and resource == "housekeeping":
        more = {"roomCondition": "clean" if raw["roomCondition"] == "dirty" else "dirty"}
    elif changes is None:
        more = {"roomBlockReason": dice.sentence(2)}
    return merged(raw, more)
