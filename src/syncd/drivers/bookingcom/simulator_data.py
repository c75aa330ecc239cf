"""The simulated Booking.com's world: a machine account's properties, their units and stays, and what guests wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from syncd.testing.collection import Collection, Entry, Key, Raw, World
from syncd.testing.dice import Dice

DAY: Final = 86400.0
FIRST: Final = ("Ilse", "Tomás", "Aiko", "Maren", "Noor", "Pavel", "Zoë", "Gustav")
LAST: Final = ("Verkade", "Hidalgo", "Mori", "Lindqvist", "de Boer", "Novák", "O'Hara & Sons", "Beck")
CURRENCIES: Final = (("EUR", 2), ("JPY", 0), ("KWD", 3), ("USD", 2))


def stamp(at: float) -> str:
    """A moment as the OTA documents write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def day(at: float, later: int = 0) -> str:
    """The date so many days later."""
    return (datetime.fromtimestamp(at, UTC) + timedelta(days=later)).date().isoformat()


def nights(stay: Raw) -> list[str]:
    """The dates a room is slept in."""
    first = datetime.fromisoformat(stay["arrival"])
    return [(first + timedelta(days=n)).date().isoformat() for n in range(stay["nights"])]


def build(dice: Dice, counts: dict[str, int], now: float) -> World:
    """So many of each."""
    world = World(("properties", "units", "deleted_units", "reservations", "conversations", "messages"), now=now)
    for number in range(counts["properties"]):
        world["properties"].add(str(8011855 + number), property_of(dice, 8011855 + number, now), now)
    properties = list(world["properties"].entries) or ["8011855"]
    for number in range(counts["units"]):
        owner = properties[number % len(properties)]
        unit = unit_of(dice, int(owner), number // len(properties) + 2)
        world["units"].add(str(unit["unit_id"]), unit, now)
    seed = dice.code(12)
    for number in range(counts["reservations"]):
        stay = Stay(str(4417730000 + number), (now, number + 1), seed, properties[number % len(properties)], now)
        world["reservations"].entries[stay.id] = stay
        world["reservations"].order.append((now, number + 1, stay.id))
    world["reservations"].sequence = counts["reservations"]
    for number in range(counts["conversations"]):
        owner = properties[number % len(properties)]
        world["conversations"].add(f"c-{90000 + number}", conversation_of(number, owner), now)
    for number in range(counts["messages"]):
        name = f"c-{90000 + number % max(counts['conversations'], 1)}"
        message = message_of(dice, f"m-{number}", world["conversations"].entries[name].raw, now - 60.0 * number)
        world["messages"].add(message["message_id"], message, now)
    return world


class Stay(Entry):
    """A reservation nobody has changed yet: made anew from the seed whenever it is looked at, so that many cost little."""

    __slots__ = ("_now", "_seed", "owner")

    def __init__(self, external_id: str, key: Key, seed: str, owner: str, now: float) -> None:
        self.id, self.key = external_id, key
        self._seed, self._now, self.owner = seed, now, owner

    @property
    def raw(self) -> Raw:  # type: ignore[override]
        return stay_of(Dice(f"{self._seed}-{self.id}"), self.id, self.owner, self._now)

    @property
    def encoded(self) -> bytes:
        return orjson.dumps(self.raw)


class Below:
    """Ids of a collection's records by what they are below; made anew when records were added."""

    def __init__(self, owner: Callable[[Entry], str]) -> None:
        self._owner = owner
        self._of: Collection | None = None
        self._sequence = -1
        self._ids: dict[str, list[str]] = {}

    def of(self, collection: Collection, owner: str) -> list[Raw]:
        if self._of is not collection or self._sequence != collection.sequence:
            self._of, self._sequence, self._ids = collection, collection.sequence, {}
            for entry in collection:
                self._ids.setdefault(self._owner(entry), []).append(entry.id)
        found = (collection.get(one) for one in self._ids.get(owner, ()))
        return [entry.raw for entry in found if entry is not None]


def owner_of(entry: Entry) -> str:
    """The property a record is below."""
    return entry.owner if isinstance(entry, Stay) else str(entry.raw["property"])


def talk_of(entry: Entry) -> str:
    """The conversation of a message."""
    return str(entry.raw["conversation"]["conversation_id"])


def property_of(dice: Dice, number: int, now: float) -> Raw:
    currency, _ = dice.pick(CURRENCIES)
    return {
        "property_id": number,
        "property_name": f"Hof {dice.pick(LAST)} <{number}>",
        "currency_code": currency,
        "status": "Open",
        "changed": stamp(now),
        "city": dice.pick(("Utrecht", "Lisboa", "Kyoto")),
        "connection": "connected",
    }


def unit_of(dice: Dice, owner: int, number: int) -> Raw:
    return {
        "unit_id": owner * 100 + number,
        "property": str(owner),
        "unit_name_id": 255,
        "number_of_units": 1 + number % 4,
        "smoking_policy": "NONSMOKING",
        "size": {"value": 20 + number % 9, "unit": "SQM"},
        "partner_reference_name": f"{dice.pick(('Garden', 'Canal', 'Attic'))} double {number}",
        "configuration": {
            "unit_type_id": 9,
            "rooms": [
                {
                    "type": "GUEST_ROOM",
                    "bed_configurations": [
                        {"beds": [{"bed_type_id": 3, "bed_count": 1}], "is_default_configuration": True}
                    ],
                }
            ],
        },
        "occupancy_details": {
            "max_guests": 3,
            "max_adults": 2,
            "max_children": 1,
            "max_infants": 1,
            "max_infants_on_top": 0,
        },
    }


def stay_of(dice: Dice, external_id: str, owner: str, now: float) -> Raw:
    """A reservation with a check-out to come, of one room or several."""
    currency, places = dice.pick(CURRENCIES)
    count = 2 if dice.portion() < 0.2 else 1
    return {
        "id": external_id,
        "property": owner,
        "status": "new",
        "arrival": day(now, 1 + int(dice.portion() * 200)),
        "nights": 1 + int(dice.portion() * 6),
        "rooms": [room_of(dice, n) for n in range(count)],
        "first": dice.pick(FIRST),
        "last": dice.pick(LAST),
        "currency": currency,
        "places": places,
        "booked": stamp(now - dice.portion() * 30 * DAY),
        "virtual": dice.portion() < 0.3,
    }


def room_of(dice: Dice, number: int) -> Raw:
    return {"index": str(91 + number), "price": 5000 + int(dice.portion() * 20000), "adults": 2, "children": number}


def conversation_of(number: int, owner: str) -> Raw:
    return {
        "conversation_id": f"c-{90000 + number}",
        "property": owner,
        "conversation_type": "reservation",
        "conversation_reference": str(4417730000 + number),
        "tags": [],
    }


def message_of(dice: Dice, name: str, conversation: Raw, at: float, content: str = "", guest: bool = True) -> Raw:
    return {
        "message_id": name,
        "message_type": "free_text",
        "timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "content": content or dice.pick(("Can we park next to the house?", "Is there a cot?", "We arrive late.")),
        "attachment_ids": [],
        "sender": {
            "participant_id": "p-501",
            "metadata": {"name": dice.pick(FIRST), "participant_type": "GUEST"}
            if guest
            else {"name": "Reception", "participant_type": "HOTEL"},
        },
        "conversation": {
            "property_id": conversation["property"],
            "conversation_id": conversation["conversation_id"],
            "conversation_type": conversation["conversation_type"],
            "conversation_reference": conversation["conversation_reference"],
        },
    }
