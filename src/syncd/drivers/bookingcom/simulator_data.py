"""The simulated Booking.com's world: a machine account's properties, their units and stays, and what guests wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from syncd.testing.collection import Raw, World
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
    for number in range(counts["reservations"]):
        external_id = str(4417730000 + number)
        world["reservations"].add(
            external_id, stay_of(dice, external_id, properties[number % len(properties)], now), now
        )
    for number in range(counts["conversations"]):
        owner = properties[number % len(properties)]
        world["conversations"].add(f"c-{90000 + number}", conversation_of(number, owner), now)
    for number in range(counts["messages"]):
        name = f"c-{90000 + number % max(counts['conversations'], 1)}"
        message = message_of(dice, f"m-{number}", world["conversations"].entries[name].raw, now - 60.0 * number)
        world["messages"].add(message["message_id"], message, now)
    return world


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
