"""A Cloudbeds account of one or several properties, as its documentation and the partner facts of 2026-11 describe it.

RPC paths under v1.3, forms for writes, failures with HTTP 200, API keys and OAuth tokens whose refresh token is replaced with
each use, five calls a second with suspension, property-local times, and webhooks that nothing signs. Writes are in
`simulator_writes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.cloudbeds.simulator_account import public
from syncd.drivers.cloudbeds.simulator_house import local_epoch, local_text
from syncd.drivers.cloudbeds.simulator_writes import CloudbedsWrites
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Entry, Raw

OUTER = ("propertyID",)
"""What lists leave out of their rows, since the call says it."""


class CloudbedsSimulator(CloudbedsWrites):
    """Options: `api_key`, `client_id`, `client_secret`, `refresh_token`, `token_seconds`, `per_second` (5; 10 of a partner),
    `suspend_after` (so many offences), `guest_list` (`map` as the definition has it; `list` as was recorded, in which every
    fifth guest stands twice), `hook_list` (`property`: subscriptions of the one asked for; `all`: whatever is asked;
    `association`, `user`: the same, under a key of that type), `history` (days of data), and counts of hotels, room_types,
    rooms, reservations, guests, room_blocks, rate_plans, custom_fields."""

    routes = (
        *CloudbedsWrites.routes,
        ("GET", "/api/v1.3/getHotels", "hotels"),
        ("GET", "/api/v1.3/getHotelDetails", "hotel_details"),
        ("GET", "/api/v1.3/getRoomTypes", "room_types"),
        ("GET", "/api/v1.3/getAvailableRoomTypes", "available"),
        ("GET", "/api/v1.3/getRooms", "rooms"),
        ("GET", "/api/v1.3/getReservationsWithRateDetails", "reservations"),
        ("GET", "/api/v1.3/getReservation", "reservation"),
        ("GET", "/api/v1.3/getReservationNotes", "notes"),
        ("GET", "/api/v1.3/getGuestList", "guests"),
        ("GET", "/api/v1.3/getRoomBlocks", "room_blocks"),
        ("GET", "/api/v1.3/getHousekeepingStatus", "housekeeping"),
        ("GET", "/api/v1.3/getRatePlans", "rate_plans"),
        ("GET", "/api/v1.3/getCustomFields", "custom_fields"),
    )

    def needs(self) -> dict[str, Any]:
        return {"properties": [entry.id for entry in self.state["hotels"]]}

    # Common to all lists

    def _page(self, call: Call, rows: Sequence[Entry], size: int, most: int) -> Sequence[Entry]:
        try:
            number, wanted = int(call.query.get("pageNumber", 1)), int(call.query.get("pageSize", size))
        except ValueError:
            raise Answer(self.fail("pageNumber and pageSize must be numbers")) from None
        wanted = max(min(wanted, most), 1)
        number = 1 if self.looping(call) else max(number, 1)
        return rows[(number - 1) * wanted : number * wanted]

    def _list(
        self, call: Call, rows: Sequence[Entry], size: int, most: int, encode: Callable[[Entry], bytes] | None = None
    ) -> web.Response:
        page = list(self._page(call, rows, size, most))
        body = self.page(call, page, encode or _without_property)
        total = self.total(call, len(rows))
        return self.reply(b'{"success":true,"data":[%s],"count":%d,"total":%d}' % (body, len(page), total))

    def _since(
        self, call: Call, rows: list[Entry], resource: str, property_id: str, params: tuple[str, str]
    ) -> list[Entry]:
        """Those modified in a stretch that is read by the property's clock."""
        begin, end = (call.query.get(name, "") for name in params)
        if not begin and not end:
            return rows
        name = self.mint.zone_of(property_id)
        try:
            first = local_epoch(begin, name) if begin else float("-inf")
            last = local_epoch(end, name) if end else float("inf")
        except ValueError:
            raise Answer(self.fail(f"Invalid value for {params[0]}")) from None
        return [entry for entry in rows if first <= self._modified(resource, entry) <= last]

    def _modified(self, resource: str, entry: Entry) -> float:
        # Texts have whole seconds, and so has what is compared.
        return float(int(self.stamps.get(entry.id) or self.modified(resource, entry.id)))

    # Properties, rooms, rates

    def hotels(self, call: Call) -> web.Response:
        wanted = [one for one in call.query.get("propertyIDs", "").split(",") if one]
        rows = [entry for entry in self.listing(call, "hotels") if not wanted or entry.id in wanted]
        if wanted and not rows:
            return self.fail("None of the included property id's match the access_token user's property id")
        return self._list(call, rows, 20, 100, lambda entry: orjson.dumps(self.hotel(entry, whole=False)))

    def hotel_details(self, call: Call) -> web.Response:
        entry = self.state["hotels"].entries[self.property(call.query, "propertyID")]
        return self.reply({"success": True, "data": self.hotel(entry, whole=True)})

    def room_types(self, call: Call) -> web.Response:
        """Without count and total, as the published definition has it."""
        rows = self.of_property(self.listing(call, "room_types"), self.property(call.query, "propertyIDs"))
        page = [public(entry.raw) for entry in self._page(call, rows, 20, 100)]
        return self.reply({"success": True, "data": page})

    def available(self, call: Call) -> web.Response:
        if any(not call.query.get(name) for name in ("startDate", "endDate", "rooms", "adults", "children")):
            return self.fail("Missing required parameters")
        known = self.property(call.query, "propertyIDs")
        if self._page(call, [None], 20, 100) == []:  # type: ignore[list-item]
            return self.reply({"success": True, "data": [], "roomCount": 0, "count": 0, "total": 1})
        rows = self.of_property(self.listing(call, "room_types"), known)
        rooms = [
            {
                **{name: value for name, value in public(entry.raw).items() if name != "propertyID"},
                "roomTypePhotos": entry.raw["_photos"], "roomTypeFeatures": ["Desk"], "roomRate": 90.5, "roomsAvailable": 3,
            }
            for entry in rows
        ]  # fmt: skip
        currency = [{"currencyCode": "EUR", "currencySymbol": "€", "currencyPosition": "after"}]
        data = [{"propertyID": known, "propertyCurrency": currency, "propertyRooms": rooms}]
        return self.reply({"success": True, "data": data, "roomCount": len(rooms), "count": 1, "total": 1})

    def rooms(self, call: Call) -> web.Response:
        """Count and total are of properties; how many rooms there are nothing tells."""
        known = self.property(call.query, "propertyIDs")
        page = self._page(call, self.of_property(self.listing(call, "rooms"), known), 20, 100)
        rows = [{name: value for name, value in entry.raw.items() if name != "propertyID"} for entry in page]
        data = [{"propertyID": known, "rooms": rows}] if rows else []
        return self.reply({"success": True, "data": data, "count": len(data), "total": 1})

    def rate_plans(self, call: Call) -> web.Response:
        if not call.query.get("startDate") or not call.query.get("endDate"):
            return self.fail("Missing required parameters")
        rows = self.of_property(self.listing(call, "rate_plans"), self.property(call.query, "propertyIDs"))
        prices = {"roomRate": self.dice.between(60, 200), "totalRate": self.dice.between(60, 200)}
        return self.reply({"success": True, "data": [{**entry.raw, **prices} for entry in rows]})

    def custom_fields(self, call: Call) -> web.Response:
        rows = self.of_property(self.listing(call, "custom_fields"), self.property(call.query, "propertyID"))
        wanted = call.query.get("shortcode")
        return self.reply(
            {"success": True, "data": [one.raw for one in rows if wanted in (None, one.raw["shortcode"])]}
        )

    # Reservations and guests

    def reservations(self, call: Call) -> web.Response:
        """`status` and `checkInFrom` are silently ignored here."""
        known, query = self.property(call.query, "propertyID"), call.query
        collection = self.listing(call, "reservations")
        token = ("reservations", known, *sorted(pair for pair in query.items() if not pair[0].startswith("page")))

        def choose() -> list[Entry]:
            rows = list(self.of_property(collection, known))
            if query.get("includeDeleted") == "true":
                rows += [Entry(one, (0.0, 0), raw) for one, raw in self.removed.items() if one.startswith(f"{known}:")]
            rows = self._since(call, rows, "reservations", known, ("modifiedFrom", "modifiedTo"))
            if query.get("reservationID"):
                wanted = {f"{known}:{one}" for one in query["reservationID"].split(",")}
                rows = [entry for entry in rows if entry.id in wanted]
            first = query.get("reservationCheckOutFrom", "")
            return [entry for entry in rows if not first or entry.raw["reservationCheckOut"] >= first]

        custom = query.get("includeCustomFields") == "true"

        def encode(entry: Entry) -> bytes:
            raw = entry.raw
            return orjson.dumps(
                raw if custom else {name: value for name, value in raw.items() if name != "customFields"}
            )

        return self._list(call, collection.chosen(token, choose), 100, 100, encode)

    def reservation(self, call: Call) -> web.Response:
        known = f"{self.property(call.query, 'propertyID')}:{call.query.get('reservationID', '')}"
        entry = self.state["reservations"].get(known)
        return self.fail("Reservation not found") if entry is None else self.reply({"success": True, "data": entry.raw})

    def notes(self, call: Call) -> web.Response:
        known, reservation = self.property(call.query, "propertyID"), call.query.get("reservationID", "")
        if not reservation:
            return self.fail("Missing required parameters")
        prefix = f"{known}:{reservation}:"
        rows = [entry.raw for entry in self.listing(call, "reservation_notes") if entry.id.startswith(prefix)]
        hidden = ("propertyID", "reservationID")
        data = [{name: value for name, value in raw.items() if name not in hidden} for raw in rows]
        return self.reply({"success": True, "data": data})

    def guests(self, call: Call) -> web.Response:
        known, query = self.property(call.query, "propertyIDs"), call.query
        collection = self.listing(call, "guests")
        token = ("guests", known, query.get("resultsFrom"), query.get("resultsTo"))

        def choose() -> list[Entry]:
            rows = self._since(call, self.of_property(collection, known), "guests", known, ("resultsFrom", "resultsTo"))
            return sorted(rows, key=lambda entry: self._modified("guests", entry))

        rows = collection.chosen(token, choose)
        if self.options["guest_list"] == "list":
            earlier = (
                []
                if query.get("resultsFrom")
                else [_stayed(entry) for entry in rows if int(entry.raw["guestID"]) % 5 == 1]
            )
            return self._list(call, [*earlier, *rows], 100, 100)
        page = list(self._page(call, rows, 100, 100))
        body: Raw | list[Raw] = {entry.raw["guestID"]: _less(entry.raw) for entry in page} or []  # PHP's empty map
        return self.reply({"success": True, "data": body, "count": len(page), "total": self.total(call, len(rows))})

    # What looks like a calendar

    def room_blocks(self, call: Call) -> web.Response:
        known = self.property(call.query, "propertyID")
        today = local_text(self.now(), self.mint.zone_of(known))[:10]  # the house's, and not ours
        try:
            first = date.fromisoformat(call.query.get("startDate", f"{today}"))
            last = date.fromisoformat(call.query.get("endDate", f"{today}"))
        except ValueError:
            return self.fail("Invalid date")
        if last - first >= timedelta(days=35) or last < first:
            return self.fail("Date range must be 35 days or less")
        rows = [
            entry
            for entry in self.of_property(self.listing(call, "room_blocks"), known)
            if entry.raw["startDate"] <= f"{last}" and entry.raw["endDate"] >= f"{first}"
        ]
        if room := call.query.get("roomID"):
            rows = [entry for entry in rows if any(one.get("roomID") == room for one in entry.raw["rooms"])]
        page = self._page(call, rows, 20, 100)
        data = {"propertyID": known, "roomBlocks": [_less(entry.raw) for entry in page]}
        return self.reply({"success": True, "data": data, "count": len(page), "total": len(rows)})

    def housekeeping(self, call: Call) -> web.Response:
        rows = self.of_property(self.listing(call, "housekeeping"), self.property(call.query, "propertyID"))
        return self._list(call, rows, 100, 5000)


def _stayed(entry: Entry) -> Entry:
    """The row of an earlier reservation of the same guest: in a list a guest stands once for each."""
    at = datetime.fromisoformat(entry.raw["dateModified"]) - timedelta(days=9)
    raw = {
        **entry.raw,
        "reservationID": f"{entry.raw['reservationID']}9",
        "status": "checked_out",
        "dateModified": f"{at}",
    }
    return Entry(entry.id, entry.key, raw)


def _less(raw: Raw) -> Raw:
    return {name: value for name, value in raw.items() if name not in OUTER}


def _without_property(entry: Entry) -> bytes:
    return orjson.dumps(_less(entry.raw))


def create(*, clock: Clock | None = None, **options: object) -> Simulator:
    """A simulated account; see `CloudbedsSimulator` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return CloudbedsSimulator(clock=clock, **options)
