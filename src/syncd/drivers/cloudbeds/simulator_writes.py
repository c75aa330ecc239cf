"""How the simulated Cloudbeds changes by its own API: forms, and failures with HTTP 200."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qsl

from aiohttp import web

from syncd.drivers.cloudbeds.simulator_account import form
from syncd.drivers.cloudbeds.simulator_data import key_of
from syncd.drivers.cloudbeds.simulator_hooks import CloudbedsHooks
from syncd.drivers.cloudbeds.simulator_house import local_text
from syncd.testing.base import Call, Route
from syncd.testing.collection import Entry, Raw

STATUSES = ("confirmed", "not_confirmed", "canceled", "checked_in", "checked_out", "no_show")


class CloudbedsWrites(CloudbedsHooks):
    """Everything but the reads."""

    routes: ClassVar[tuple[Route, ...]] = (
        *CloudbedsHooks.routes,
        ("PUT", "/api/v1.3/putReservation", "put_reservation"),
        ("POST", "/api/v1.3/postReservationNote", "post_note"),
        ("PUT", "/api/v1.3/putReservationNote", "put_note"),
        ("DELETE", "/api/v1.3/deleteReservationNote", "delete_note"),
        ("POST", "/api/v1.3/postRoomCheckIn", "check_in"),
        ("POST", "/api/v1.3/postRoomCheckOut", "check_out"),
        ("PUT", "/api/v1.3/putGuest", "put_guest"),
        ("POST", "/api/v1.3/postHousekeepingStatus", "post_housekeeping"),
        ("POST", "/api/v1.3/postCustomField", "post_custom_field"),
        ("POST", "/api/v1.3/postAppState", "post_app_state"),
        ("POST", "/api/v1.3/postRoomBlock", "post_block"),
        ("PUT", "/api/v1.3/putRoomBlock", "put_block"),
        ("POST", "/api/v1.3/deleteRoomBlock", "delete_block"),
    )

    # Writes

    def _entry(self, given: dict[str, str], resource: str, name: str) -> Entry | None:
        return self.state[resource].get(f"{self.property(given, 'propertyID')}:{given.get(name, '')}")

    def put_reservation(self, call: Call) -> web.Response:
        given = form(call)
        entry = self._entry(given, "reservations", "reservationID")
        if entry is None:
            return self.fail("Reservation not found")
        changes: Raw = {}
        if "status" in given:
            if given["status"] not in STATUSES:
                return self.fail("Invalid value for status")
            changes["status"] = given["status"]
        for name, own in (("estimatedArrivalTime", "estimatedArrivalTime"), ("checkoutDate", "reservationCheckOut")):
            if name in given:
                changes[own] = given[name]
        fields = _listed(call, "customFields")
        known = {
            one.raw["shortcode"]: one.raw
            for one in self.state["custom_fields"]
            if one.id.startswith(given.get("propertyID", ""))
        }
        for field in fields:
            name, value = field.get("customFieldName", ""), field.get("customFieldValue", "")
            if name not in known:
                return self.fail(f"Custom field {name} does not exist")
            if len(value) > 12 and value.isdigit() and _passes_luhn(value):
                return self.fail("Custom field value looks like payment data")
        if fields:
            told = [{"customFieldName": known[one["customFieldName"]]["name"], "shortcode": one["customFieldName"],
                     "customFieldValue": one["customFieldValue"], "isActive": True} for one in fields]  # fmt: skip
            fresh = {one["shortcode"] for one in told}
            kept = [one for one in entry.raw["customFields"] if one["shortcode"] not in fresh]
            changes["customFields"] = kept + told
        if given.get("sendStatusChangeEmail") == "true" and "status" in changes:
            self.mails.append(entry.id)
        after = self.update("reservations", entry.id, changes)
        return self.reply({"success": True, "data": after.raw})

    def _rooms(self, call: Call, status: str) -> web.Response:
        given = form(call)
        entry = self._entry(given, "reservations", "reservationID")
        rooms = [dict(room) for room in entry.raw["rooms"]] if entry is not None else []
        mine = [
            room
            for room in rooms
            if room["subReservationID"] == given.get("subReservationID") or room["roomID"] == given.get("roomID")
        ]
        if entry is None or not mine:
            return self.fail("Room not found")
        if any(room["roomStatus"] == status for room in mine):
            return self.fail("Room is in that state already")
        for room in mine:
            room["roomStatus"] = status
        changes: Raw = {"rooms": rooms}
        if all(room["roomStatus"] == status for room in rooms):
            changes["status"] = "checked_in" if status == "in_house" else "checked_out"
        self.update("reservations", entry.id, changes)
        return self.reply({"success": True})

    def check_in(self, call: Call) -> web.Response:
        return self._rooms(call, "in_house")

    def check_out(self, call: Call) -> web.Response:
        return self._rooms(call, "checked_out")

    def post_note(self, call: Call) -> web.Response:
        given = form(call)
        entry = self._entry(given, "reservations", "reservationID")
        if entry is None or not given.get("reservationNote"):
            return self.fail("Reservation not found")
        known = entry.raw["propertyID"]
        now = local_text(self.now(), self.mint.zone_of(known))
        note = {
            "reservationNoteID": str(991001 + self.state["reservation_notes"].sequence), "userName": "Sim User",
            "dateCreated": now, "dateModified": now, "reservationNote": given["reservationNote"],
            "propertyID": known, "reservationID": entry.raw["reservationID"],
        }  # fmt: skip
        made = self.state["reservation_notes"].add(key_of("reservation_notes", note), note, self.now())
        self.announce("create", "reservation_notes", None, made)
        return self.reply({"success": True, "reservationNoteID": note["reservationNoteID"]})

    def _note(self, given: dict[str, str]) -> Entry | None:
        known = [self.property(given, "propertyID"), given.get("reservationID", ""), given.get("reservationNoteID", "")]
        return self.state["reservation_notes"].get(":".join(known))

    def put_note(self, call: Call) -> web.Response:
        given = form(call)
        entry = self._note(given)
        if entry is None:
            return self.fail("Note not found")
        self.put("reservation_notes", entry.id, {**entry.raw, "reservationNote": given.get("reservationNote", "")})
        return self.reply({"success": True})

    def delete_note(self, call: Call) -> web.Response:
        entry = self._note(dict(call.query))
        if entry is None:
            return self.fail("Note not found")
        self.delete("reservation_notes", entry.id)
        return self.reply({"success": True})

    def put_guest(self, call: Call) -> web.Response:
        given = form(call)
        entry = self._entry(given, "guests", "guestID")
        changes: Raw = {
            name: value
            for name, value in given.items()
            if entry is not None and name in entry.raw and name != "propertyID"
        }
        if entry is None or len(changes) < 2:
            return self.fail("Guest not found or nothing to change")
        self.update("guests", entry.id, changes)
        return self.reply({"success": True})

    def post_housekeeping(self, call: Call) -> web.Response:
        """Without a condition it turns the current one round, as documented."""
        given = form(call)
        entry = self._entry(given, "housekeeping", "roomID")
        if entry is None:
            return self.fail("Room not found")
        turned = "clean" if entry.raw["roomCondition"] == "dirty" else "dirty"
        changes: Raw = {"roomCondition": given.get("roomCondition", turned)}
        changes |= {
            name: given[name] == "true" for name in ("doNotDisturb", "refusedService", "vacantPickup") if name in given
        }
        changes |= {"roomComments": given["roomComments"]} if "roomComments" in given else {}
        after = self.update("housekeeping", entry.id, changes).raw
        shown = ("date", "roomID", "roomCondition", "roomComments", "doNotDisturb", "refusedService", "vacantPickup")
        return self.reply({"success": True, "data": {name: after[name] for name in shown}})

    def post_custom_field(self, call: Call) -> web.Response:
        given = form(call)
        field = {"required": False, "isPersonal": False, "maxCharacters": 255, "type": "input", "displayed": [],
                 "applyTo": "reservation", "propertyID": self.property(given, "propertyID"), "name": given.get("name", ""),
                 "shortcode": given.get("shortcode", "")}  # fmt: skip
        known = key_of("custom_fields", field)
        if known in self.state["custom_fields"].entries:
            return self.fail("Custom field already exists")
        self.state["custom_fields"].add(known, field, self.now())
        return self.reply(
            {"success": True, "data": {"fieldID": "1", "name": field["name"], "shortcode": field["shortcode"]}}
        )

    def post_app_state(self, call: Call) -> web.Response:
        given = form(call)
        self.property(given, "propertyID")
        if given.get("app_state") not in ("enabled", "disabled", "installing", "pending"):
            return self.fail("Invalid value for app_state")
        if given["app_state"] == "disabled":
            self.tokens.clear()
            self.deliveries.targets.clear()
        return self.reply({"success": True})

    def post_block(self, call: Call) -> web.Response:
        given = form(call)
        known = self.property(given, "propertyID")
        block = {
            "roomBlockID": str(3400001 + self.state["room_blocks"].sequence),
            "rooms": _listed(call, "rooms"),
            "propertyID": known,
        }
        block |= {name: given.get(name, "") for name in ("roomBlockType", "roomBlockReason", "startDate", "endDate")}
        if not all(block.values()):
            return self.fail("Missing required parameters")
        self.create("room_blocks", block)
        return self.reply({"success": True, **block})

    def put_block(self, call: Call) -> web.Response:
        given = form(call)
        entry = self._entry(given, "room_blocks", "roomBlockID")
        if entry is None:
            return self.fail("Room block not found")
        changes: Raw = {name: given[name] for name in ("roomBlockReason", "startDate", "endDate") if name in given}
        after = self.update(
            "room_blocks", entry.id, changes | ({"rooms": rooms} if (rooms := _listed(call, "rooms")) else {})
        )
        return self.reply({"success": True, **after.raw})

    def delete_block(self, call: Call) -> web.Response:
        entry = self._entry(form(call), "room_blocks", "roomBlockID")
        if entry is None:
            return self.fail("Room block not found")
        self.delete("room_blocks", entry.id)
        return self.reply({"success": True})


def _listed(call: Call, name: str) -> list[dict[str, str]]:
    """`name[0][key]=value` as a list of mappings."""
    found: dict[str, dict[str, str]] = {}
    for field, value in parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True):
        head, _, rest = field.partition("[")
        if head == name and "][" in rest:
            number, _, key = rest.rstrip("]").partition("][")
            found.setdefault(number, {})[key] = value
    return [found[number] for number in sorted(found, key=int)]


def _passes_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
