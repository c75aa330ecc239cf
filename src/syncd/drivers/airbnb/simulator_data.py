"""Made-up Airbnb records in the shapes of the partner facts of 2026-11 (sections 3 and 12).

Most records are made from their seed whenever somebody asks for them, so that an account with a hundred thousand
reservations needs little memory; one that was changed is kept as it is.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from syncd.testing.collection import Collection, Entry, Key, Raw, World
from syncd.testing.dice import ADJECTIVES, NOUNS, STREETS, Dice, epoch

DAY = 86400.0
CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
STATUSES = ("accept",) * 7 + ("pending", "deny", "timeout", "cancelled_by_guest", "cancelled_by_host", "at_checkpoint")
RESOURCES = ("hosts", "listings", "reservations", "alterations", "threads")
SETTINGS = ("listing_descriptions", "booking_settings", "availability_rules", "pricing_settings")


def offset_iso(at: float) -> str:
    """Epoch seconds as `2026-07-14T09:21:05+00:00`."""
    return datetime.fromtimestamp(int(at), UTC).isoformat()


def day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


class Grown(Entry):
    """A record that is made anew whenever it is looked at."""

    __slots__ = ("_grow",)

    def __init__(self, external_id: str, key: Key, grow: Any) -> None:
        self.id = external_id
        self.key = key
        self._grow = grow
        self._encoded = None

    @property
    def raw(self) -> Raw:  # type: ignore[override]
        made: Raw = self._grow(self.id, self.key[0])
        return made

    @property
    def encoded(self) -> bytes:
        return orjson.dumps(self.raw)


class Mint:
    """Makes the records of one account."""

    def __init__(self, seed: str, world: World, counts: dict[str, int], began: float) -> None:
        self.seed = seed
        self.world = world
        self.counts = counts
        self.today = began // DAY * DAY
        self.host = 88_000_000 + Dice(f"{seed}-host").below(900_000)

    def dice(self, what: str) -> Dice:
        return Dice(f"{self.seed}-{what}")

    def hosts(self, external_id: str, at: float) -> Raw:
        name = self.dice("host name").person()[0]
        picture = f"https://a0.example.test/{external_id}.jpg"
        return {"id": int(external_id), "id_str": external_id, "first_name": name, "picture_url": picture,
                "picture_url_large": f"{picture}?large"}  # fmt: skip

    def listings(self, external_id: str, at: float) -> Raw:
        dice = self.dice(f"listing {external_id}")
        city, _, code, _, lat, lng = dice.city()
        noun = dice.pick(NOUNS)
        return {
            "id": int(external_id),
            "id_str": external_id,
            "name": f"{dice.pick(ADJECTIVES)} {noun} in {city}",
            "listing_nickname": f"{noun} {dice.between(1, 99)}",
            "property_type_group": "apartments",
            "property_type_category": noun,
            "room_type_category": dice.pick(("entire_home", "private_room")),
            "bedrooms": dice.between(0, 5),
            "bathrooms": dice.between(2, 8) / 2,
            "beds": dice.between(1, 8),
            "amenity_categories": ["wifi", "kitchen", "heating"][: dice.between(0, 3)],
            "check_in_option": {"category": "lockbox", "instruction": dice.sentence(4)},
            "has_availability": dice.chance(0.85),
            "street": f"{dice.pick(STREETS)} {dice.between(1, 180)}",
            "apt": None,
            "city": city,
            "state": None,
            "zipcode": f"{dice.between(1000, 9999)}",
            "country_code": code,
            "lat": round(lat + dice.portion() / 50, 5),
            "lng": round(lng + dice.portion() / 50, 5),
            "person_capacity": dice.between(1, 12),
            "listing_currency": "EUR",
            "listing_price": dice.between(40, 600),
            "tier": "marketplace",
            "synchronization_category": "sync_all" if dice.chance(0.9) else None,
            "requested_approval_status_category": "approved",
            "total_inventory_count": 1,
            "property_external_id": f"P-{external_id[-6:]}",
            "house_manual": dice.sentence(6),
            "wifi_network": "guests",
            "wifi_password": dice.code(10),
        }

    def listing_of(self, dice: Dice) -> str:
        """One of the first, by number: what is made anew must not depend on what was changed since."""
        return self.fresh_id("listings", dice.below(max(self.counts["listings"], 1)))

    def reservation_of(self, dice: Dice) -> str:
        return self.fresh_id("reservations", dice.below(max(self.counts["reservations"], 1)))

    def reservations(self, external_id: str, at: float) -> Raw:
        dice = self.dice(f"reservation {external_id}")
        listing, nights = self.listing_of(dice), dice.between(1, 14)
        arrives = self.today + dice.between(-20, 300) * DAY
        if external_id.startswith("PAST"):
            arrives = self.today - dice.between(90, 400) * DAY
        first, last = dice.person()
        thread = 770_000_000 + int.from_bytes(external_id.encode()) % 10**9
        base = nights * dice.between(4000, 30000)
        return {
            "confirmation_code": external_id,
            "status_type": dice.pick(STATUSES),
            "created_at": offset_iso(at),
            "booked_at": offset_iso(at + 900),
            "updated_at": offset_iso(at + 3600),
            "start_date": day(arrives),
            "end_date": day(arrives + nights * DAY),
            "nights": nights,
            "guest_details": {"number_of_adults": 2, "number_of_children": dice.between(0, 2), "number_of_infants": 0,
                              "localized_description": "guests"},
            "guest_id": 55_000_000 + dice.below(10**6),
            "guest_first_name": first,
            "guest_last_name": last,
            "guest_email": f"{dice.code(8).lower()}@guest.airbnb.com",
            "guest_phone_numbers": [dice.phone()],
            "guest_preferred_locale": "da",
            "host_id": self.host,
            "host_currency": "EUR",
            "listing_id": int(listing),
            "listing_id_str": listing,
            "thread_id": thread,
            "thread_id_str": str(thread),
            "listing_base_price": base // 100,
            "listing_base_price_accurate": f"{base / 100:.2f}",
            "expected_payout_amount_accurate": f"{base * 0.97 / 100:.2f}",
            "standard_fees_details": [{"fee_type": "PASS_THROUGH_CLEANING_FEE", "amount_native": 65.0}],
            "cancellation_policy_category": "moderate",
            "check_in_datetime": f"{day(arrives)}T15:00+02:00[Europe/Copenhagen]",
            "time_zone": "Europe/Copenhagen",
        }  # fmt: skip

    def threads(self, external_id: str, at: float) -> Raw:
        dice = self.dice(f"thread {external_id}")
        code = self.reservation_of(dice)
        guest = 55_000_000 + dice.below(10**6)
        said = [
            {"id": int(external_id) * 10 + n, "id_str": f"{external_id}{n}", "message": dice.sentence(6),
             "created_at": offset_iso(at + n * 60), "user_id": guest, "attachment_images": []}
            for n in range(dice.between(1, 2))
        ]  # fmt: skip
        return {
            "id": int(external_id),
            "id_str": external_id,
            "business_purpose": "booking_direct_thread",
            "updated_at": said[-1]["created_at"],
            "last_message_sent_at": said[-1]["created_at"],
            "users": [{"id": guest, "first_name": dice.person()[0], "preferred_locale": "da", "location": "Aarhus",
                       "role": "guest"}, {"id": self.host, "first_name": "Host", "role": "owner"}],
            "attachment": {"type": "Reservation", "status": "accept",
                           "booking_details": {"reservation_confirmation_code": code, "nights": 2}},
            "messages": said,
        }  # fmt: skip

    def alterations(self, external_id: str, at: float) -> Raw:
        dice = self.dice(f"alteration {external_id}")
        return {
            "id": int(external_id),
            "id_str": external_id,
            "confirmation_code": self.reservation_of(dice),
            "status": "PENDING",
            "initiated_by": "guest",
            "created_at": offset_iso(at),
            "updated_at": offset_iso(at),
            "response_at": None,
        }

    def photos(self, listing: str) -> list[Raw]:
        dice = self.dice(f"photos {listing}")
        return [
            {"id": f"{listing}_{900_001 + n}", "listing_id": int(listing), "listing_id_str": listing,
             "caption": dice.sentence(2), "sort_order": n, "thumbnail_url": f"https://a0.example.test/{listing}/{n}-t.jpg",
             "small_url": f"https://a0.example.test/{listing}/{n}-s.jpg",
             "extra_medium_url": f"https://a0.example.test/{listing}/{n}.jpg"}
            for n in range(dice.between(0, 3))
        ]  # fmt: skip

    def rooms(self, listing: str) -> list[Raw]:
        room = int(listing) % 10**9
        return [
            {
                "id": room,
                "id_str": str(room),
                "listing_id": int(listing),
                "room_number": 1,
                "beds": [{"type": "queen_bed"}],
            }
        ]

    def setting(self, resource: str, listing: str) -> Raw:
        dice = self.dice(f"{resource} {listing}")
        if resource == "listing_descriptions":
            return {"locale": "en", "summary": dice.sentence(9)}
        return {"listing_id": int(listing), "value": dice.between(1, 30)}

    def days(self, listing: str, first: str, last: str, written: dict[str, Raw]) -> list[Raw]:
        price = self.world["listings"].entries[listing].raw["listing_price"]
        found, at, end = [], epoch(first), epoch(last)
        while at <= end:
            date = day(at)
            usual = {"date": date, "availability": "available", "availability_type": None, "availability_sub_type": None,
                     "closed_to_arrival": False, "closed_to_departure": False, "daily_price": price, "min_nights": 2,
                     "max_nights": 30, "notes": None}  # fmt: skip
            found.append({**usual, **written.get(date, {})})
            at += DAY
        return found

    def fresh_id(self, resource: str, number: int) -> str:
        if resource == "reservations":
            chance = hashlib.blake2b(f"{self.seed}-{number}".encode(), digest_size=4).digest()
            return f"H{''.join(CODE[byte % len(CODE)] for byte in chance)}{number:05X}"
        if resource == "listings":  # newer ids have 18 or 19 digits
            return str(1_200_000_000_000_000_000 + number if number % 3 == 2 else 40_000_000 + number)
        return str({"threads": 770_100_000, "alterations": 330_000_000}[resource] + number)

    def sprout(self, resource: str, external_id: str, at: float) -> Entry:
        """Put a record into its collection without making it."""
        collection: Collection = self.world[resource]
        collection.sequence += 1
        entry = Grown(external_id, (at, collection.sequence), getattr(self, resource))
        collection.entries[external_id] = entry
        collection.order.append((at, collection.sequence, external_id))
        collection.version += 1
        return entry


def build(seed: str, counts: dict[str, int], now: float, days: int) -> Mint:
    """An account's records made over the last `days` days, oldest first."""
    world = World(RESOURCES)
    mint = Mint(seed, world, counts, now)
    mint.sprout("hosts", str(mint.host), now - days * DAY)
    for resource in RESOURCES[1:]:
        step = max(days - 1, 1) * DAY / max(counts[resource], 1)
        for number in range(counts[resource]):
            mint.sprout(resource, mint.fresh_id(resource, number), now - days * DAY + number * step)
    for number in range(counts["past"]):
        mint.sprout("reservations", f"PAST{number:06d}", now - days * DAY + number)
    world["reservations"].order.sort()
    return mint
