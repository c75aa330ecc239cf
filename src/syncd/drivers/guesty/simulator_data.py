"""Made-up Guesty listings, guests and reservations, in the shapes of the partner facts of 2026-11 (sections 3 and 12)."""

from __future__ import annotations

from typing import Any

from syncd.testing.collection import Raw, World, merged
from syncd.testing.dice import ADJECTIVES, NOUNS, STREETS, Dice, epoch, iso

DAY = 86400.0
STATUSES = ("confirmed",) * 6 + ("inquiry", "reserved", "awaiting_payment", "canceled", "closed", "declined", "expired")
PLATFORMS = ("manual", "airbnb2", "bookingCom", "website")
PHOTOS = "https://img.example.test"


def object_id(dice: Dice) -> str:
    """24 hexadecimal digits, as Mongo's."""
    return dice.hexadecimal(24)


class Mint:
    """Makes records of one account. `shape` v2 gives listings the seed's second form (`id`, `location.formatted`)."""

    def __init__(self, dice: Dice, world: World, shape: str) -> None:
        self.dice = dice
        self.world = world
        self.shape = shape

    def some(self, resource: str) -> str | None:
        order = self.world[resource].order
        return self.dice.pick(order)[2] if order else None

    def new(self, resource: str, at: float, fields: Raw | None = None) -> tuple[str, Raw]:
        """Id and content of one record created at that second, the given fields laid over it."""
        made: Raw = getattr(self, f"_{resource}")(at)
        external_id = made["_id"]
        if resource == "listings" and self.shape == "v2":
            made = second_shape(made)
        if fields:
            made = merged(made, fields)
        return str(made.get("_id", made.get("id", external_id))), made

    def _listings(self, at: float) -> Raw:
        dice = self.dice
        city, country, _, zone, lat, lng = dice.city()
        street = f"{dice.pick(STREETS)} {dice.between(1, 180)}"
        external_id = object_id(dice)
        adjective, noun = dice.pick(ADJECTIVES), dice.pick(NOUNS)
        photos = [
            {
                "_id": object_id(dice),
                "thumbnail": f"{PHOTOS}/{external_id}/{n}-t.jpg",
                "original": f"{PHOTOS}/{external_id}/{n}.jpg",
                "caption": dice.sentence(2),
            }
            for n in range(dice.between(0, 4))
        ]
        address: Raw | None = {
            "full": f"{street}, {city}, {country}",
            "street": street,
            "city": city,
            "country": country,
            "lat": round(lat + dice.portion() / 50, 5),
            "lng": round(lng + dice.portion() / 50, 5),
        }
        if dice.chance(0.04):
            address = None  # seen for published properties too
        return {
            "_id": external_id,
            "accountId": self.world.facts["account"],
            "createdAt": iso(at),
            "nickname": f"{noun.capitalize()} {dice.between(1, 999)}{dice.pick('ABCD')}",
            "title": f"{adjective} {noun} in {city}",
            "active": dice.chance(0.92),
            "isListed": dice.chance(0.85),
            "propertyType": dice.pick(("Apartment", "House", "Cabin", "Villa")),
            "roomType": "Entire home/apartment",
            "accommodates": dice.between(1, 12),
            "bedrooms": dice.between(0, 5),
            "timezone": zone,
            "address": address,
            "defaultCheckInTime": "15:00",
            "defaultCheckOutTime": "11:00",
            "picture": {"thumbnail": photos[0]["thumbnail"]} if photos else {},
            "pictures": photos,
            "amenities": ["Wireless Internet", "Kitchen", "Heating"][: dice.between(0, 3)],
            "terms": {"minNights": dice.between(1, 5), "maxNights": 60, "cancellation": "moderate"},
            "prices": {"basePrice": dice.between(40, 600), "currency": "EUR", "cleaningFee": dice.between(0, 90)},
            "tags": [dice.pick(("sea", "city", "quiet", "pets"))] if dice.chance(0.5) else [],
            "pms": {"active": True},
            "publicDescription": {"summary": dice.sentence(12)},
            "customFields": {},
            "integrations": [],
        }

    def _guests(self, at: float) -> Raw:
        dice = self.dice
        first, last = dice.person()
        email = dice.email()
        return {
            "_id": object_id(dice),
            "accountId": self.world.facts["account"],
            "firstName": first,
            "lastName": last,
            "fullName": f"{first} {last}",
            "email": email,
            "emails": [email],
            "phone": dice.phone(),
            "address": {"city": dice.city()[0]},
            "hometown": dice.city()[0],
            "notes": dice.sentence(4) if dice.chance(0.2) else "",
            "tags": [],
            "preferredLanguage": dice.pick(("en", "pt", "de", "fr")),
            "createdAt": iso(at),
        }

    def _reservations(self, at: float) -> Raw:
        dice = self.dice
        listing, guest = self.some("listings"), self.some("guests")
        nights = dice.between(1, 14)
        arrival = (at // DAY + dice.between(0, 180)) * DAY
        known = self.world["guests"].get(guest) if guest else None
        platform = dice.pick(PLATFORMS)
        payout = nights * dice.between(50, 300)
        raw: Raw = {
            "_id": object_id(dice),
            "accountId": self.world.facts["account"],
            "listingId": listing,
            "guestId": guest,
            "status": dice.pick(STATUSES),
            "source": platform,
            "confirmationCode": f"GY-{dice.code(8)}",
            "checkIn": iso(arrival + 15 * 3600),
            "checkOut": iso(arrival + nights * DAY + 11 * 3600),
            "checkInDateLocalized": iso(arrival)[:10],
            "checkOutDateLocalized": iso(arrival + nights * DAY)[:10],
            "nightsCount": nights,
            "guestsCount": dice.between(1, 6),
            "integration": {"_id": object_id(dice), "platform": platform},
            "guest": {"_id": guest, "fullName": known.raw["fullName"] if known else None},
            "isReturningGuest": dice.chance(0.2),
            "money": {"currency": "EUR", "hostPayout": payout, "totalPaid": 0, "balanceDue": payout},
            "customFields": [],
            "createdAt": iso(at),
            "lastUpdatedAt": iso(at + dice.portion() * 3 * DAY),
        }
        if dice.chance(0.3):
            raw["plannedArrival"] = f"{dice.between(15, 22)}:30"
        return raw


def second_shape(raw: Raw) -> Raw:
    """The seed's V2 form of a listing; no public page shows it."""
    fresh = {name: value for name, value in raw.items() if name not in ("_id", "title", "address")}
    address = raw["address"] or {}
    rest = {name: value for name, value in address.items() if name != "full"}
    return {"id": raw["_id"], **fresh, "location": {"formatted": address["full"], **rest} if address else None}


def third_version(raw: Raw) -> Raw:
    """A reservation as `/reservations-v3` gives it: sparse, and without `listingId`."""
    seen: Raw = {
        "_id": raw["_id"],
        "accountId": raw["accountId"],
        "status": raw["status"],
        "source": raw["source"],
        "platform": "direct" if raw["source"] == "manual" else raw["source"],
        "confirmationCode": raw["confirmationCode"],
        "createdAt": raw["createdAt"],
        "alteredAt": raw["lastUpdatedAt"],
        "stay": [
            {
                "unitTypeId": raw["listingId"],
                "unitId": raw["listingId"],
                "checkInDateLocalized": raw["checkInDateLocalized"],
                "checkOutDateLocalized": raw["checkOutDateLocalized"],
                "guestsCount": raw["guestsCount"],
                "numberOfGuests": {"numberOfAdults": raw["guestsCount"]},
                "eta": raw["checkIn"],
                "etd": raw["checkOut"],
            }
        ],
    }
    for name in ("notes", "guestStay", "canceledAt", "canceledBy"):
        if raw.get(name):
            seen[name] = raw[name]
    if raw["customFields"]:
        seen["customFields"] = raw["customFields"]
    return seen


def altered(dice: Dice, resource: str, raw: Raw, changes: Raw | None, now: float) -> Raw:
    """The record after the given changes or after one it may see in real life; reservations get a later stamp."""
    more: dict[str, Any]
    if changes is not None:
        more = changes
    elif resource == "listings":
        more = dice.pick(
            (
                {"nickname": f"{dice.pick(NOUNS).capitalize()} {dice.between(1, 9999)}"},
                {"prices": {"basePrice": dice.between(40, 9000)}},
                {"accommodates": dice.between(1, 12), "publicDescription": {"summary": dice.sentence(9)}},
            )
        )
    elif resource == "guests":
        more = {"phone": dice.phone(), "notes": dice.sentence(3)}
    else:
        more = dice.pick(
            (
                {"status": dice.pick(STATUSES), "guestsCount": dice.between(1, 9)},
                {"guestsCount": dice.between(1, 9), "plannedArrival": f"{dice.between(15, 22)}:15"},
                {"money": {"totalPaid": dice.between(1, 9000)}},
            )
        )
    fresh = merged(raw, more)
    if resource == "reservations" and "lastUpdatedAt" not in (changes or {}):
        fresh["lastUpdatedAt"] = max(iso(now), iso(epoch(raw["lastUpdatedAt"]) + 0.001))
    return fresh


def build(dice: Dice, counts: dict[str, int], now: float, shape: str, days: int) -> World:
    """An account's records made over the last `days` days, oldest first."""
    world = World(("listings", "guests", "reservations"), account=object_id(dice))
    mint = Mint(dice, world, shape)
    for resource in ("listings", "guests", "reservations"):
        count = counts[resource]
        step = max(days - 4, 1) * DAY / max(count, 1)
        for number in range(count):
            at = now - days * DAY + (number + dice.portion()) * step
            external_id, raw = mint.new(resource, at)
            world[resource].add(external_id, raw, at)
    return world
