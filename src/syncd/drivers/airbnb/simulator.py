"""An Airbnb host's account as the partner facts of 2026-11 describe it.

Tokens by a JSON exchange with Basic authentication, the two X-Airbnb headers, one call at a time and 200 in ten minutes,
lists that hide by default, a 403 for what is deleted, notifications signed with RSA, and a client secret that is rotated
by one of them. Writes and notifications are in `simulator_writes.py`, the account in `simulator_account.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.airbnb.simulator_data import DAY, SETTINGS, day
from syncd.drivers.airbnb.simulator_writes import AirbnbWrites
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Entry, Raw

ACCEPTED = ("accept",)
KNOWN = ("pending", "deny", "timeout", "accept", "cancelled_by_host", "cancelled_by_guest", "cancelled_by_admin")


class AirbnbSimulator(AirbnbWrites):
    """Options: `client_id`, `client_secret`, `refresh_token`, `code`, `token_seconds`, `history` (days of data), `shape`
    (old: listings each in an envelope, with `metadata` in place of `paging`), `cursors` (False: only offsets),
    `retry_after` (a 429 says when to come back), and counts of listings, reservations, threads, alterations, past
    (reservations whose stay is long over). `do/public_key` gives the key that notifications are verified with."""

    routes = (
        *AirbnbWrites.routes,
        ("GET", "/v2/listings", "listings"),
        ("GET", "/v2/listings/{id}", "listing_one"),
        ("GET", "/v2/listing_photos", "photos"),
        ("GET", "/v2/listing_rooms", "rooms"),
        ("GET", "/v2/calendars/{id}/{first}/{last}", "calendar"),
        ("GET", "/v2/listing_descriptions/{id}/{locale}", "setting"),
        ("GET", "/v2/booking_settings/{id}", "setting"),
        ("GET", "/v2/availability_rules/{id}", "setting"),
        ("GET", "/v2/pricing_settings/{id}", "setting"),
        ("GET", "/v2/reservations", "reservations"),
        ("GET", "/v2/reservations/{id}", "reservation_one"),
        ("GET", "/v2/reservation_alterations", "alterations"),
        ("GET", "/v2/reservation_alterations/{id}", "alteration_one"),
        ("GET", "/v2/threads", "threads"),
        ("GET", "/v2/threads/{id}", "thread_one"),
        ("GET", "/v2/threads/{id}/messages", "messages"),
    )

    # Pages

    def _paged(self, call: Call, resource: str, test: Callable[[Raw], bool], wrap: str = "") -> web.Response:
        """Oldest first from where the cursor says: the place of the last record, so that nothing is passed over."""
        try:
            limit, skip = int(call.query.get("_limit", 20)), int(call.query.get("_offset", 0))
            place = base64.urlsafe_b64decode(call.query.get("_cursor", "")).decode()
        except (ValueError, binascii.Error):
            return self.invalid("_limit, _offset or _cursor does not read")
        if not 1 <= limit <= 50 or skip < 0:
            return self.invalid("_limit is between 1 and 50")
        collection = self.listing(call, resource)
        after = collection.place(place) if place and not self.looping(call) else None
        if place and after is None and not self.looping(call):
            return self.invalid("_cursor is unknown")
        rows: Iterator[Entry] = iter(collection) if after is None else collection.after(after)
        found: list[Entry] = []
        more = False
        for entry in rows:
            if not test(entry.raw):
                continue
            if skip:
                skip -= 1
                continue
            if len(found) == limit:
                more = True
                break
            found.append(entry)
        page = self.page(call, found, (lambda entry: b'{"listing":' + entry.encoded + b"}") if wrap else None)
        more = more or self.looping(call)
        if wrap:
            total = self.total(call, sum(1 for entry in collection if test(entry.raw)))
            return self.reply(b'{"%s":[%s],"metadata":{"record_count":%d}}' % (resource.encode(), page, total))
        paging: Raw = {"limit": limit, "next_cursor": None, "prev_offset": None, "next_offset": None}
        if resource == "listings":
            paging["total_count"] = self.total(call, sum(1 for entry in collection if test(entry.raw)))
        if more and found and self.options["cursors"]:
            paging["next_cursor"] = base64.urlsafe_b64encode(found[-1].id.encode()).decode()
        elif more:
            paging["next_offset"] = int(call.query.get("_offset", 0)) + len(found)
        told = orjson.dumps(paging)
        return self.reply(b'{"%s":[%s],"paging":%s}' % (resource.encode(), page, told))

    def _one(self, call: Call, resource: str, name: str, missing: int = 403) -> web.Response:
        entry = self.state[resource].get(call.args["id"])
        if entry is None:
            return self.failure(missing, call)
        return self.reply(b'{"%s":%s,"metadata":{}}' % (name.encode(), entry.encoded))

    def _mine(self, call: Call, listing: str | None) -> str:
        if listing not in self.state["listings"].entries:
            raise Answer(self.failure(403, call))  # deleted or foreign: never 404
        return str(listing)

    # Listings and what belongs to them

    def listings(self, call: Call) -> web.Response:
        every = call.query.get("has_availability") == "false"
        wrap = "listing" if self.options["shape"] == "old" else ""
        return self._paged(call, "listings", lambda raw: every or bool(raw["has_availability"]), wrap)

    def listing_one(self, call: Call) -> web.Response:
        return self._one(call, "listings", "listing")

    def photos(self, call: Call) -> web.Response:
        listing = self._mine(call, call.query.get("listing_id"))
        return self.reply({"listing_photos": self.mint.photos(listing)})

    def rooms(self, call: Call) -> web.Response:
        listing = self._mine(call, call.query.get("listing_id"))
        return self.reply({"listing_rooms": self.mint.rooms(listing)})

    def setting(self, call: Call) -> web.Response:
        listing, resource = self._mine(call, call.args["id"]), call.route.split("/")[2]
        name = resource.removesuffix("s")
        return self.reply({name: self.mint.setting(resource, listing), "metadata": {}})

    def calendar(self, call: Call) -> web.Response:
        listing, first, last = self._mine(call, call.args["id"]), call.args["first"], call.args["last"]
        try:
            days = self.mint.days(listing, first, last, self.written.get(listing, {}))
        except ValueError:
            return self.invalid("dates are YYYY-MM-DD")
        told = {"listing_id": int(listing), "start_date": first, "end_date": last, "days": days}
        return self.reply({"calendar": told, "metadata": {}})

    # Reservations

    def reservations(self, call: Call) -> web.Response:
        query = call.query
        host, listing = query.get("host_id"), query.get("listing_id")
        if not host and not listing:
            return self.invalid("host_id or listing_id is required")
        if host and host != str(self.mint.host):
            return self.failure(403, call)
        every, only = query.get("all_status") == "true", query.get("include_only_status")
        if (every and only) or (only and only not in KNOWN):
            return self.invalid("include_only_status does not go with all_status")
        start = query.get("start_date", day(self.now()))
        end = query.get("end_date", day(self.now() + 365 * DAY))

        def test(raw: Raw) -> bool:
            shown = every or raw["status_type"] in ((only,) if only else ACCEPTED)
            mine = not listing or raw["listing_id_str"] == listing
            return bool(shown and mine and raw["end_date"] >= start and raw["start_date"] <= end)

        return self._paged(call, "reservations", test)

    def reservation_one(self, call: Call) -> web.Response:
        return self._one(call, "reservations", "reservation", 404)

    def alterations(self, call: Call) -> web.Response:
        codes = call.query.getall("confirmation_codes[]", [])
        if not codes:
            return self.invalid("confirmation_codes[] is required")
        found = [entry.raw for entry in self.state["alterations"] if entry.raw["confirmation_code"] in codes]
        return self.reply({"reservation_alterations": found})

    def alteration_one(self, call: Call) -> web.Response:
        return self._one(call, "alterations", "reservation_alteration", 404)

    # Threads

    def threads(self, call: Call) -> web.Response:
        late = call.request.headers["X-AIRBNB-REQ-API-VERSION"] >= "2025.06.30"
        if call.query.get("_format") != "for_api_partners" or (late and not call.query.get("_inbox_filter")):
            return self.invalid("_format or _inbox_filter is missing")
        return self._paged(call, "threads", lambda raw: True)

    def thread_one(self, call: Call) -> web.Response:
        entry = self.state["threads"].get(call.args["id"])
        if entry is None:
            return self.failure(403, call)
        apart = call.request.headers["X-AIRBNB-REQ-API-VERSION"] >= "2024.12.31"
        shown = {name: value for name, value in entry.raw.items() if not apart or name != "messages"}
        return self.reply({"thread": shown})

    def messages(self, call: Call) -> web.Response:
        entry = self.state["threads"].get(call.args["id"])
        if entry is None or call.request.headers["X-AIRBNB-REQ-API-VERSION"] < "2024.12.31":
            return self.failure(404, call)
        return self.reply({"messages": entry.raw["messages"], "paging": {"next_cursor": None}})

    # The truth

    def truth(self, resource: str) -> dict[str, Raw]:
        """Also of what is made from others; calendars of the next year, each day with its listing."""
        every = self.state["listings"]
        if resource == "listing_photos":
            return {raw["id"]: raw for entry in every for raw in self.mint.photos(entry.id)}
        if resource == "listing_rooms":
            return {raw["id_str"]: raw for entry in every for raw in self.mint.rooms(entry.id)}
        if resource in SETTINGS:
            return {entry.id: {**self.mint.setting(resource, entry.id), "listing_id": entry.id} for entry in every}
        if resource == "messages":
            said = [(entry.id, raw) for entry in self.state["threads"] for raw in entry.raw["messages"]]
            return {raw["id_str"]: {**raw, "thread_id": thread} for thread, raw in said}
        if resource == "calendar_days":
            first, last = day(self.now()), day(self.now() + 365 * DAY)
            days = [(each.id, raw) for each in every
                    for raw in self.mint.days(each.id, first, last, self.written.get(each.id, {}))]  # fmt: skip
            return {f"{listing}:{raw['date']}": {**raw, "listing_id": listing} for listing, raw in days}
        return super().truth(resource)


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `AirbnbSimulator` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return AirbnbSimulator(clock=clock, **options)
