"""The house a simulated Cloudbeds property is: itself, its rooms and what is kept of them; and how moments are written.

The same number always gives the same record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from syncd.testing.collection import Raw
from syncd.testing.dice import CITIES, NOUNS, Dice

DAY = 86400.0
FIRST_PROPERTY = 900000000101
ZONES = ("Europe/Lisbon", "America/Los_Angeles", "Pacific/Auckland")


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def utc_text(at: float) -> str:
    """Epoch seconds as Cloudbeds writes a moment: a space, no zone."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def local_text(at: float, name: str) -> str:
    return f"{datetime.fromtimestamp(at, zone(name)):%Y-%m-%d %H:%M:%S}"


def local_epoch(text: str, name: str) -> float:
    """A moment by the property's clock. Raises ValueError."""
    return datetime.fromisoformat(text).replace(tzinfo=zone(name)).timestamp()


def day(at: float) -> str:
    return utc_text(at)[:10]


class House:
    """Makes what stands still in an account."""

    def __init__(self, seed: str, counts: dict[str, int], now: float, days: int) -> None:
        self.seed, self.counts, self.now, self.days = seed, counts, now, days
        self.properties = [str(FIRST_PROPERTY + number) for number in range(counts["hotels"])]

    def of(self, number: int) -> tuple[str, int]:
        """The property a number falls to, and its number there."""
        return self.properties[number % len(self.properties)], number // len(self.properties)

    def zone_of(self, property_id: str) -> str:
        return ZONES[(int(property_id) - FIRST_PROPERTY) % len(ZONES)]

    def dice(self, resource: str, number: int) -> Dice:
        return Dice(f"{self.seed}-{resource}-{number}")

    def created_at(self, number: int, count: int) -> float:
        return self.now - self.days * DAY + number * max(self.days - 2, 1) * DAY / max(count, 1)

    def modified_at(self, number: int, count: int) -> float:
        at = self.created_at(number, count)
        return at + (number * 7919 % 1000) / 1000 * DAY

    def stamps(self, property_id: str, created: float, modified: float, *, utc: bool = True) -> Raw:
        name = self.zone_of(property_id)
        local = {"dateCreated": local_text(created, name), "dateModified": local_text(modified, name)}
        return {**local, "dateCreatedUTC": utc_text(created), "dateModifiedUTC": utc_text(modified)} if utc else local

    def hotel(self, number: int) -> Raw:
        property_id = self.properties[number]
        city, country, code, _, lat, lng = CITIES[number % len(CITIES)]
        images = f"https://img.example.test/{property_id}"
        return {
            "propertyID": property_id,
            "organizationID": "800000000001",
            "propertyName": f"Simulated {NOUNS[number % len(NOUNS)]} {city}",
            "propertyImage": f"{images}/main.jpg",
            "propertyDescription": "",
            "propertyTimezone": self.zone_of(property_id),
            "propertyCurrency": {"currencyCode": "EUR", "currencySymbol": "€", "currencyPosition": "after"},
            "_details": {
                "propertyType": "Hotel",
                "propertyImage": [{"thumb": f"{images}/main-t.jpg", "image": f"{images}/main.jpg"}],
                "propertyAdditionalPhotos": [
                    {"thumb": f"{images}/{one}-t.jpg", "image": f"{images}/{one}.jpg"} for one in range(3)
                ],
                "propertyPhone": "+351210000000",
                "propertyEmail": f"desk.{number}@hotel.example",
                "propertyAddress": {
                    "propertyAddress1": "Rua do Cais 1", "propertyAddress2": "", "propertyCity": city, "propertyState": "",
                    "propertyZip": "1000", "propertyCountry": code, "propertyLatitude": str(lat),
                    "propertyLongitude": str(lng),
                },
                "propertyPolicy": {"propertyCheckInTime": "15:00:00", "propertyCheckOutTime": "11:00:00"},
                "propertyAmenities": ["Wi-Fi", "Parking"],
                "taxID": country[:3].upper(),
            },
        }  # fmt: skip

    def room_type(self, number: int) -> Raw:
        property_id, own = self.of(number)
        kind = f"41000{own + 1}"
        image = f"https://img.example.test/{property_id}/{kind}"
        return {
            "roomTypeID": kind, "propertyID": property_id, "roomTypeName": f"Type {own + 1}",
            "roomTypeNameShort": f"T{own + 1}", "roomTypeDescription": "", "isPrivate": True, "maxGuests": 2 + own % 3,
            "adultsIncluded": 2, "childrenIncluded": 0,
            "_photos": [{"thumb": f"{image}-{one}-t.jpg", "image": f"{image}-{one}.jpg"} for one in range(2)],
        }  # fmt: skip

    def room(self, number: int) -> Raw:
        property_id, own = self.of(number)
        kinds = max(self.counts["room_types"] // len(self.properties), 1)
        kind, place = own % kinds + 1, own // kinds + 1
        return {
            "roomID": f"41000{kind}-{place}", "roomName": f"{kind}{place:02d}", "roomDescription": "", "maxGuests": 2,
            "isPrivate": True, "isVirtual": False, "roomBlocked": False, "roomTypeID": f"41000{kind}",
            "roomTypeName": f"Type {kind}", "roomTypeNameShort": f"T{kind}", "doorlockID": None, "propertyID": property_id,
        }  # fmt: skip

    def housekeeping(self, number: int) -> Raw:
        room = self.room(number)
        return {
            "date": day(self.now), "roomTypeID": room["roomTypeID"], "roomTypeName": room["roomTypeName"],
            "roomID": room["roomID"], "roomName": room["roomName"], "roomCondition": "dirty" if number % 3 else "clean",
            "roomOccupied": number % 2 == 0, "roomBlocked": False, "frontdeskStatus": "stayover", "housekeeperID": "0",
            "housekeeper": "", "doNotDisturb": False, "refusedService": False, "vacantPickup": False, "roomComments": "",
            "propertyID": room["propertyID"],
        }  # fmt: skip

    def room_block(self, number: int) -> Raw:
        property_id, own = self.of(number)
        starts = self.now + (own * 29 % 300) * DAY
        return {
            "roomBlockID": str(3300001 + own), "roomBlockType": "blocked_dates", "roomBlockReason": f"Paint {own}",
            "startDate": day(starts), "endDate": day(starts + 3 * DAY),
            "rooms": [{"eventID": f"e-{own}", "roomID": "410001-1", "roomTypeID": "410001"}], "propertyID": property_id,
        }  # fmt: skip

    def note(self, number: int) -> Raw:
        """One of each of the first reservations."""
        property_id, own = self.of(number)
        at = local_text(self.created_at(number, self.counts["reservations"]) + 60, self.zone_of(property_id))
        return {
            "reservationNoteID": str(990001 + own), "userName": "Sim User", "dateCreated": at, "dateModified": at,
            "reservationNote": f"Note {own}", "propertyID": property_id, "reservationID": str(7100000000011 + own),
        }  # fmt: skip

    def rate_plan(self, number: int) -> Raw:
        property_id, own = self.of(number)
        return {
            "rateID": f"rate-{own + 1}", "isDerived": False, "roomRate": 90.5, "totalRate": 90.5, "roomsAvailable": 3,
            "roomTypeID": f"41000{own + 1}", "propertyID": property_id, "ratePlanID": f"plan-{own + 1}",
            "ratePlanNamePublic": f"Plan {own + 1}", "ratePlanNamePrivate": f"Plan {own + 1}", "promoCode": None,
        }  # fmt: skip

    def custom_field(self, number: int) -> Raw:
        property_id, own = self.of(number)
        return {
            "propertyID": property_id, "name": f"Field {own}", "shortcode": f"field_{own}",
            "applyTo": "reservation" if own % 2 == 0 else "guest", "required": False, "isPersonal": own % 2 == 1,
            "maxCharacters": 255, "type": "input", "displayed": ["reservation"],
        }  # fmt: skip
