"""Made-up MaintainX records in the shapes of the partner facts of 2026-11 (sections 3 and 14).

What is kept of a record is what it has; each answer makes its own shape of that: lists leave out what only `expand` brings,
and a single read has other keys than a list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, Final

from syncd.testing.collection import Raw, World, merged
from syncd.testing.dice import Dice, epoch, iso

DAY: Final = 86400.0
STATUSES: Final = ("OPEN",) * 4 + ("IN_PROGRESS", "IN_PROGRESS", "ON_HOLD", "DONE", "DONE", "CANCELED", "SKIPPED")
WRITABLE: Final = ("OPEN", "IN_PROGRESS", "ON_HOLD", "DONE", "CANCELED")
PRIORITIES: Final = ("NONE", "LOW", "MEDIUM", "HIGH")
PART_STATUSES: Final = ("NO_PARTS", "ASSIGNED", "RESERVED", "KITTED", "STAGED", "ISSUED")
ORDER_STATUSES: Final = ("APPROVED", "CANCELED", "COMPLETED", "DECLINED", "PARTIALLY_FULFILLED", "PENDING", "REQUESTED")
ORDER_WRITABLE: Final = ORDER_STATUSES[:-1]
MACHINES: Final = tuple("Conveyor Pump Compressor Boiler Press Chiller Lift Oven Mixer Fan".split())  # noqa: SIM905
FAULTS: Final = ("belt drift", "oil leak", "noise", "no pressure", "sensor fault", "yearly check", "filter change")
TIMED: Final = ("work_orders", "assets", "parts", "purchase_orders")
"""What can be asked for by its stamps."""
COUNTERS: Final = {"OPEN": "openCount", "IN_PROGRESS": "inProgressCount", "ON_HOLD": "onHoldCount", "DONE": "doneCount"}
BEGUN: Final = {status: {counter: 1} for status, counter in COUNTERS.items()}
NOBODY: Final[list[Any]] = []
"""One list for all that are empty: contents are replaced, never edited."""
FIRST: Final = {
    "organizations": 4412, "locations": 60_001, "users": 88_001, "teams": 11, "vendors": 3_001, "categories": 701,
    "assets": 500_001, "parts": 910_001, "meters": 77_001, "work_orders": 7_300_001, "work_requests": 450_001,
    "purchase_orders": 33_001, "work_order_comments": 1_200_001,
}  # fmt: skip
"""Ids are counted up from here."""
ORDER: Final = (*FIRST, "team_members", "purchase_order_details", "vendor_details")
CHANGE: Final = ("title", "description", "priority", "assetId", "locationId", "dueDate", "startDate", "assignees",
                 "categories", "vendorIds", "extraFields", "estimatedTime", "partsUsed")  # fmt: skip
"""What WORK_ORDER_CHANGE tells of: not the status, and not everything else."""


class Mint:
    """Makes records of one account."""

    def __init__(self, dice: Dice, world: World) -> None:
        self.dice = dice
        self.world = world

    def number(self, resource: str) -> int:
        found: int = self.world.facts["next"][resource]
        self.world.facts["next"][resource] = found + 1
        return found

    def some(self, resource: str) -> int | None:
        order = self.world[resource].order
        return self.world[resource].entries[self.dice.pick(order)[2]].raw["id"] if order else None

    def new(self, resource: str, at: float, fields: Raw | None = None) -> tuple[str, Raw]:
        """Id and content of one record made at that second, the given fields laid over it."""
        made: Raw = getattr(self, f"_{resource}")(at)
        if resource != "team_members":
            made = {"id": self.number(resource), **made}
        made = merged(made, fields or {})
        return (f"{made['teamId']}:{made['id']}" if resource == "team_members" else str(made["id"])), made

    def _stamps(self, at: float) -> Raw:
        return {"createdAt": iso(at), "updatedAt": iso(at + self.dice.portion() * DAY)}

    def _organizations(self, at: float) -> Raw:
        return {"name": self.dice.firm(), "timeZone": self.dice.city()[3], "currency": "EUR"}

    def _locations(self, at: float) -> Raw:
        city = self.dice.city()
        return {"name": f"Hall {self.dice.between(1, 99)}, {city[0]}", "address": city[1], "parentId": None,
                "teamIds": [], "vendorIds": [], "extraFields": {}, **self._stamps(at)}  # fmt: skip

    def _users(self, at: float) -> Raw:
        first, last = self.dice.person()
        return {"firstName": first, "lastName": last, "email": self.dice.email(), "phoneNumber": self.dice.phone(),
                "authType": "NORMAL", "hourlyRate": self.dice.between(1500, 9000), "lastVisitedAt": iso(at),
                "role": self.dice.pick(("ADMIN", "MEMBER", "REQUESTER"))}  # fmt: skip

    def _teams(self, at: float) -> Raw:
        return {"name": f"Team {self.dice.pick(MACHINES)} {self.dice.between(1, 99)}"}

    def _team_members(self, at: float) -> Raw:
        user = self.dice.pick(list(self.world["users"].entries.values())).raw
        return {"id": user["id"], "teamId": self.some("teams"), "firstName": user["firstName"],
                "lastName": user["lastName"], "teamRole": self.dice.pick(("ADMIN", "MEMBER"))}  # fmt: skip

    def _vendors(self, at: float) -> Raw:
        return {"name": self.dice.firm(), "emails": [self.dice.email()], "phoneNumbers": [], "extraFields": {}}

    def _categories(self, at: float) -> Raw:
        return {"label": f"{self.dice.pick(MACHINES)}s {self.dice.between(1, 999)}"}

    def _assets(self, at: float) -> Raw:
        return {
            "name": f"{self.dice.pick(MACHINES)} {self.dice.between(1, 9999)}",
            "locationId": self.some("locations"),
            "serialNumber": self.dice.code(8),
            "status": {"id": self.dice.between(1, 10**6), "status": "ONLINE", "startedAt": iso(at)},
            "extraFields": {"Line no": str(self.dice.between(1, 9))},
            **self._stamps(at),
        }

    def _parts(self, at: float) -> Raw:
        stock = self.dice.between(0, 90)
        return {"name": f"{self.dice.pick(MACHINES)} seal {self.dice.between(1, 9999)}",
                "unitCost": self.dice.between(90, 90_000),
                "inStockQuantity": stock, "availableQuantity": stock, "minimumQuantity": 5,
                "locations": [{"locationId": self.some("locations"), "availableQuantity": stock}],
                "extraFields": {}, **self._stamps(at)}  # fmt: skip

    def _meters(self, at: float) -> Raw:
        reading = {"id": self.dice.code(6), "meterId": self.world.facts["next"]["meters"], "createdAt": iso(at),
                   "value": self.dice.between(1, 9999), "readingDate": iso(at)}  # fmt: skip
        return {"name": f"{self.dice.pick(MACHINES)} hours", "unit": "h", "measurementType": "MANUAL",
                "assetId": self.some("assets"), "lastReading": reading, **self._stamps(at)}  # fmt: skip

    def _work_orders(self, at: float) -> Raw:
        dice, status = self.dice, self.dice.pick(STATUSES)
        user, team = self.some("users"), self.some("teams")
        people = [_person("USER", user)] if user and dice.chance(0.7) else []
        people += [_person("TEAM", team)] if team and dice.chance(0.3) else []
        raw = {
            "title": f"{dice.pick(MACHINES)} {dice.between(1, 99)}: {dice.pick(FAULTS)}",
            "status": status,
            "priority": dice.pick(PRIORITIES),
            "type": dice.pick(("REACTIVE", "PREVENTIVE", "OTHER")),
            "assetId": self.some("assets") if dice.chance(0.8) else None,
            "locationId": self.some("locations"),
            "creatorId": self.some("users"),
            "assignees": people or NOBODY,
            "categories": NOBODY,
            "progress": BEGUN.get(status, {}),
            "partStatus": dice.pick(PART_STATUSES),
            **self._stamps(at),
        }
        if dice.chance(0.3):
            raw["description"] = dice.sentence(8)
        if dice.chance(0.2):
            raw["dueDate"] = iso(at + dice.between(1, 60) * DAY)
        if dice.chance(0.1):
            raw["startDate"] = iso(at + dice.between(200, 600) * DAY)  # some of them lie ahead
        if dice.chance(0.1):
            raw["extraFields"] = {"Cost centre": dice.code(4)}
        return raw

    def _work_order_comments(self, at: float) -> Raw:
        return {"workOrderId": self.some("work_orders"), "authorId": self.some("users") or 0,
                "content": self.dice.sentence(6), "createdAt": iso(at)}  # fmt: skip

    def _work_requests(self, at: float) -> Raw:
        return {"title": f"{self.dice.pick(MACHINES)}: {self.dice.pick(FAULTS)}", "priority": self.dice.pick(PRIORITIES),
                "requestStatus": "PENDING", "assetId": self.some("assets"), "locationId": self.some("locations"),
                "creatorContactInfo": {"type": "EMAIL", "value": self.dice.email()}, **self._stamps(at)}  # fmt: skip

    def _purchase_orders(self, at: float) -> Raw:
        items = [{"id": self.dice.between(1, 10**6), "partId": self.some("parts"), "quantityOrdered": self.dice.between(1, 9),
                  "unitCost": self.dice.between(90, 9000)} for _ in range(self.dice.between(1, 3))]  # fmt: skip
        return {"status": self.dice.pick(ORDER_STATUSES), "title": f"Order {self.dice.between(1, 9999)}", "items": items,
                "costs": [], "vendorId": self.some("vendors"), "creatorId": self.some("users") or 0,
                **self._stamps(at)}  # fmt: skip


@cache
def _person(kind: str, number: int) -> Raw:
    """The same object each time: there are many work orders and few people."""
    return {"type": kind, "id": number}


def altered(mint: Mint, resource: str, raw: Raw, changes: Raw | None, now: float) -> Raw:
    """The record after the given changes, or after one it may see in real life; with a later stamp where it has one."""
    dice = mint.dice
    random: dict[str, Callable[[], Raw]] = {
        "work_orders": lambda: dice.pick(
            ({"status": dice.pick(WRITABLE)}, {"title": f"{dice.sentence(3)}"}, {"priority": dice.pick(PRIORITIES)})
        ),
        "assets": lambda: {"name": f"{dice.pick(MACHINES)} {dice.between(1, 9999)}"},
        "parts": lambda: {"inStockQuantity": dice.between(0, 999)},
        "purchase_orders": lambda: {"status": dice.pick(ORDER_STATUSES), "note": dice.sentence(3)},
        "work_requests": lambda: {"requestStatus": dice.pick(("PENDING", "REJECTED", "APPROVED", "DONE"))},
        "meters": lambda: {"lastReading": {"value": dice.between(1, 9999), "readingDate": iso(now)}},
        "work_order_comments": dict,
    }
    more = (
        changes if changes is not None else random.get(resource, lambda: {"name": f"Renamed {dice.between(1, 9999)}"})()
    )
    fresh = merged(raw, more)
    status = fresh.get("status")
    if resource == "work_orders" and "status" in more and status in COUNTERS:
        counts = raw["progress"]
        fresh["progress"] = {**counts, COUNTERS[status]: counts.get(COUNTERS[status], 0) + 1}
    if "updatedAt" in raw and "updatedAt" not in (changes or {}):
        fresh["updatedAt"] = max(iso(now), iso(epoch(raw["updatedAt"]) + 0.001))
    return fresh


def build(dice: Dice, counts: dict[str, int], now: float, days: int) -> World:
    """An account's records made over the last `days` days, oldest first."""
    world = World(ORDER, next=dict(FIRST), comments={}, members={})
    mint = Mint(dice, world)
    for resource in (*FIRST, "team_members"):
        step = max(days - 2, 1) * DAY / max(counts[resource], 1)
        for number in range(counts[resource]):
            at = now - days * DAY + (number + dice.portion()) * step
            external_id, raw = mint.new(resource, at)
            if external_id not in world[resource].entries:  # a person drawn twice for one team
                world[resource].add(external_id, raw, at)
                linked(world, resource, external_id, raw)
    return world


def linked(world: World, resource: str, external_id: str, raw: Raw) -> None:
    """Note whose child a new record is."""
    if resource == "work_order_comments":  # lastMessageSentAt is the one stamp that moves with a comment
        order = world["work_orders"].entries[str(raw["workOrderId"])]
        world["work_orders"].replace(order.id, {**order.raw, "lastMessageSentAt": raw["createdAt"]})
        world.facts["comments"].setdefault(order.id, []).append(external_id)
    elif resource == "team_members":
        world.facts["members"].setdefault(str(raw["teamId"]), []).append(external_id)


def pick(raw: Raw, names: Collection[str]) -> Raw:
    """What of these a record has; the others are null."""
    return {name: raw.get(name) for name in names}


def without(raw: Raw, names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}
