"""The simulated Cloudbeds' subscriptions, one for each event and property, and its deliveries, which nobody signs."""

from __future__ import annotations

from typing import ClassVar

import orjson
from aiohttp import web

from syncd.drivers.cloudbeds.simulator_account import CloudbedsAccount, form
from syncd.testing.base import Call, Route
from syncd.testing.collection import Entry, Raw
from syncd.testing.deliveries import Target

ACTIONS = {
    "reservation": "created status_changed dates_changed accommodation_status_changed accommodation_type_changed "
    "accommodation_changed deleted notes_changed custom_fields_changed",
    "guest": "created assigned removed details_changed accommodation_changed",
    "roomblock": "created removed details_changed",
    "housekeeping": "room_condition_changed housekeeping_room_occupancy_status_changed "
    "housekeeping_reservation_status_changed",
    "integration": "appstate_changed appsettings_changed",
    "night_audit": "completed",
}
EVENTS = frozenset(f"{entity}/{action}" for entity, actions in ACTIONS.items() for action in actions.split())
SPELLED = frozenset({"reservation/created", "reservation/status_changed"})
"""Their keys end in ID; those of all others in Id (recorded by public connectors)."""


class CloudbedsHooks(CloudbedsAccount):
    """What changes is told to whoever subscribed."""

    routes: ClassVar[tuple[Route, ...]] = (
        *CloudbedsAccount.routes,
        ("POST", "/api/v1.3/postWebhook", "hook_new"),
        ("GET", "/api/v1.3/getWebhooks", "hook_list"),
        ("DELETE", "/api/v1.3/deleteWebhook", "hook_remove"),
    )

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        raw = (after or before).raw  # type: ignore[union-attr]
        old = before.raw if before is not None else raw
        more: Raw = {}
        if resource == "reservations":
            names = {"create": "created", "delete": "deleted"}
            changed = "status_changed" if raw["status"] != old["status"] else "dates_changed"
            event = f"reservation/{names.get(what, changed)}"
            stay = {"startDate": raw["reservationCheckIn"], "endDate": raw["reservationCheckOut"]}
            if event == "reservation/status_changed":
                more = {"status": raw["status"], "actor": {"type": "user", "id": "700123"}}
            elif event != "reservation/deleted":
                more = stay
        elif resource == "guests":
            event = {"create": "guest/created"}.get(what, "guest/details_changed")
            more = {"guestId": int(raw["guestID"]), "guestId_str": raw["guestID"]}
        elif resource == "room_blocks":
            event = {"create": "roomblock/created", "delete": "roomblock/removed"}.get(
                what, "roomblock/details_changed"
            )
            more = {"roomBlockId": raw["roomBlockID"]}
        elif resource == "housekeeping":
            event, more = "housekeeping/room_condition_changed", {"roomId": raw["roomID"]}
        elif resource == "reservation_notes":
            event = "reservation/notes_changed"
        else:
            return
        self.tell(event, raw["propertyID"], raw.get("reservationID"), more)

    def tell(self, event: str, property_id: str, reservation_id: str | None, more: Raw) -> None:
        """Post one event. A delivery has no id: what makes it that one is what it says."""
        last = "ID" if event in SPELLED else "Id"
        body: Raw = {"version": "1.0", "event": event, "timestamp": round(self.clock.now().timestamp(), 6)}
        body |= {f"property{last}": int(property_id), f"property{last}_str": property_id}
        if reservation_id is not None:
            body[f"reservation{last}"] = reservation_id
        self.deliveries.post(f"{property_id}:{event}", orjson.dumps(body | more), f"sim_{self.dice.code(20)}")

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        return Target(f"sub_{self.dice.code(12)}", url, secrets, events)

    def hook_new(self, call: Call) -> web.Response:
        given = form(call)
        known, event = self.property(given, "propertyID"), f"{given.get('object')}/{given.get('action')}"
        if event not in EVENTS or not given.get("endpointUrl", "").startswith("http"):
            return self.fail("Invalid parameters")
        target = self.subscription(given["endpointUrl"], [], [f"{known}:{event}"])
        self.deliveries.targets[target.id] = target
        return self.reply({"success": True, "data": {"subscriptionID": target.id}})

    def hook_list(self, call: Call) -> web.Response:
        known = self.property(call.query, "propertyID")
        found = []
        for target in self.deliveries.targets.values():
            of, _, event = target.events[0].partition(":")
            entity, _, action = event.partition("/")
            shown = self.options["hook_list"]
            if of == known or shown != "property":
                key = (
                    {"type": shown, "id": "4400"}
                    if shown in {"association", "user"}
                    else {"type": "property", "id": of}
                )
                found.append({
                    "id": target.id, "key": key, "event": {"entity": entity, "action": action},
                    "owner": {"type": "client", "id": str(self.options["client_id"])}, "subscriptionType": "webhook",
                    "subscriptionData": {"endpoint": target.url},
                })  # fmt: skip
        return self.reply({"success": True, "data": found})

    def hook_remove(self, call: Call) -> web.Response:
        self.property(call.query, "propertyIDs")
        found = self.deliveries.targets.pop(call.query.get("subscriptionID", ""), None)
        return self.reply({"success": True}) if found else self.fail("Subscription not found")
