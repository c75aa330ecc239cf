"""A Booking.com machine account as its documentation and the partner facts of 2026-11 describe it.

A token exchange with thirty tokens an hour, two queues of reservations (one fetch in 20 seconds, never two at once, five
seconds after an acknowledgement, an e-mail to the property after 30 minutes), B.XML beside them, and JSON for content,
connections and messages.
"""

from __future__ import annotations

from typing import Any, Final
from xml.sax.saxutils import quoteattr

import defusedxml.ElementTree as ElementTree
from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.bookingcom.simulator_data import message_of
from syncd.drivers.bookingcom.simulator_queue import OTA, BookingComQueue
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Entry, Raw

CONVERSATIONS = 20
"""On one page."""

ADDRESS: Final = {"address_line": "Vaart 1", "country_code": "NL", "postal_code": "3511", "display_address": True}
DETAILS: Final[Raw] = {
    "target": "production", "property_category": 21, "booking_property_category": 204, "room_count": 4, "floor_count": 2,
    "stars": "4", "provider_property_id": "HOF-1", "primary_language": "nl", "languages_spoken": ["nl", "en"],
    "position": {"latitude": 52.09, "longitude": 5.12}, "check_in": {}, "check_out": {}, "legal_entity_id": 771,
    "url": "https://www.booking.com/hotel/nl/hof.html",
}  # fmt: skip


class BookingComSimulator(BookingComQueue):
    """Options: `client_id`, `client_secret`, `token_seconds` (life of a token), `says_expiry` (its JWT has `exp`), `tokens`
    (rate, default 30/h), `pace` (seconds between two fetches; the pause after an acknowledgement is a quarter of it),
    `deadline` (seconds until an unacknowledged message is e-mailed), `queued` (reservations that wait in the queue from the
    beginning), and counts of properties, units, reservations, conversations, messages."""

    routes = (
        *BookingComQueue.routes,
        ("POST", "/hotels/ota/OTA_HotelSearch", "search"),
        ("GET", "/property-api/properties/{id}", "details"),
        ("GET", "/property-api/properties/{id}/description", "description"),
        ("GET", "/connections-api/properties/{id}/status", "connection"),
        ("GET", "/rooms-api/properties/{id}/units", "units"),
        ("GET", "/rooms-api/properties/{id}/deleted-units", "deleted_units"),
        ("POST", "/photo-api/properties/{id}/pending/photos", "photos"),
        ("GET", "/messaging/properties/{id}/conversations", "conversations"),
        ("GET", "/messaging/properties/{id}/conversations/{conversation}", "conversation"),
        ("POST", "/messaging/properties/{id}/conversations/{conversation}", "reply_to"),
        ("PUT", "/messaging/properties/{id}/conversations/{conversation}/tags/{tag}", "tag"),
        ("DELETE", "/messaging/properties/{id}/conversations/{conversation}/tags/{tag}", "untag"),
    )

    # Properties

    def search(self, call: Call) -> web.Response:
        document = ElementTree.fromstring(call.body)
        pages = next((one for one in document.iter() if one.tag.endswith("}Pagination")), None)
        number, size = (int(pages.get("Page", 1)), int(pages.get("PageSize", 100))) if pages is not None else (1, 100)
        rows = list(self.listing(call, "properties"))[(number - 1) * size :][:size]
        inside = "".join(
            f'<Property HotelCode="{row.id}" HotelName={quoteattr(row.raw["property_name"])} '
            f'CurrencyCode="{row.raw["currency_code"]}"><TPA_Extensions HotelStatus="{row.raw["status"]}" '
            f'Created="2024-01-01" '
            f'LastChange="{row.raw["changed"]}" ContentScore="87" ConnectionStatus="{row.raw["connection"]}"/></Property>'
            for row in rows
        )
        listed = f"<Properties>{inside}</Properties>" if rows else "<Properties/>"
        return self.xml(f"<OTA_HotelSearchRS {OTA}><Success/>{listed}</OTA_HotelSearchRS>")

    def _property(self, call: Call) -> Entry:
        entry = self.state["properties"].get(call.args["id"])
        if entry is None:
            raise Answer(self.failure(403, call, "Access denied for hotel"))
        return entry

    def details(self, call: Call) -> web.Response:
        raw = self._property(call).raw
        told = {name: raw[name] for name in ("property_id", "property_name", "status", "currency_code")}
        return self.data({**DETAILS, **told, "physical_address": {**ADDRESS, "city_name": raw["city"]}})

    def description(self, call: Call) -> web.Response:
        raw = self._property(call).raw
        return self.data(
            {"text": f"{raw['property_name']} in {raw['city']}", "language_code": "en", "last_update": "2026-03-02"}
        )

    def connection(self, call: Call) -> web.Response:
        entry = self._property(call)
        return self.data(
            {"property_id": int(entry.id), "status": entry.raw["connection"], "connected_at": "2026-03-02T10:15:00Z"}
        )

    def units(self, call: Call) -> web.Response:
        return self._units(call, "units")

    def deleted_units(self, call: Call) -> web.Response:
        return self._units(call, "deleted_units")

    def _units(self, call: Call, which: str) -> web.Response:
        owner = self._property(call).id
        return self.data([shown(raw) for raw in self.below(call, which, owner)])

    def photos(self, call: Call) -> web.Response:
        self._property(call)
        photos = call.json().get("photos", [])
        if not photos or len(photos) > 299 or any("url" not in photo for photo in photos):
            return self.failure(400, call, "between 1 and 299 photos with a url")
        self.counters.count("photos", len(photos))
        return self.data({"accepted": len(photos)})

    # Messages

    def _current(self, call: Call) -> None:
        if call.request.headers.get("Accept-Version") not in ("1.2", "1.3"):
            raise Answer(self.failure(400, call, "this version of the Messaging API has ended"))

    def _conversation(self, call: Call) -> Raw:
        self._current(call)
        entry = self.state["conversations"].get(call.args["conversation"])
        if entry is None or entry.raw["property"] != self._property(call).id:
            raise Answer(self.failure(404, call, "conversation not found"))
        return entry.raw

    def _said(self, call: Call, raw: Raw) -> list[Raw]:
        return sorted(self.below(call, "messages", raw["conversation_id"]), key=lambda one: str(one["timestamp"]))

    def conversations(self, call: Call) -> web.Response:
        self._current(call)
        owner = self._property(call).id
        rows = self.below(call, "conversations", owner)
        at = 0 if self.looping(call) else int(call.query.get("page_id", 0))
        page = [{**shown(raw), "messages": self._said(call, raw)[-1:]} for raw in rows[at:][:CONVERSATIONS]]
        more = str(at + CONVERSATIONS) if at + CONVERSATIONS < len(rows) else None
        return self.data({"conversations": page, "next_page_id": more, "ok": True})

    def conversation(self, call: Call) -> web.Response:
        raw = self._conversation(call)
        return self.data({"conversation_id": raw["conversation_id"], "messages": self._said(call, raw), "ok": True})

    def reply_to(self, call: Call) -> web.Response:
        raw = self._conversation(call)
        content = call.json().get("message", {}).get("content")
        if not content:
            return self.failure(400, call, "message.content is required")
        name = f"m-{self.dice.code(10)}"
        said = message_of(self.dice, name, raw, self.now(), content, guest=False)
        entry = self.state["messages"].add(name, said, self.now())
        self.announce("create", "messages", None, entry)
        return self.data({"message_id": name, "guest_has_account": True, "ok": True})

    def tag(self, call: Call) -> web.Response:
        return self._tagged(call, add=True)

    def untag(self, call: Call) -> web.Response:
        return self._tagged(call, add=False)

    def _tagged(self, call: Call, *, add: bool) -> web.Response:
        raw, tag = self._conversation(call), call.args["tag"]
        if tag not in ("no_reply_needed", "message_read"):
            return self.failure(404, call, "unknown tag")
        tags = [one for one in raw["tags"] if one != tag] + [tag] * add
        self.state["conversations"].replace(raw["conversation_id"], {**raw, "tags": tags})
        return self.data({"ok": True})


def shown(raw: Raw) -> Raw:
    """A record without what only the simulator knows."""
    return {name: value for name, value in raw.items() if name not in ("property", "tags")}


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `BookingComSimulator` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return BookingComSimulator(clock=clock, **options)
