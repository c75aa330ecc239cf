"""A Guesty account as its documentation and the partner facts of 2026-11 describe it.

Client credentials (five tokens in 24 hours, an expired one is a 403), listings, reservations on the legacy and the v3
route, guests, webhooks signed the Svix way, and the documented limits 15/s, 120/min, 5,000/h and 15 at once, which all
tokens of the account share. Writes and webhook registration are in `simulator_writes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.guesty import simulator_queries as queries
from syncd.drivers.guesty.simulator_data import third_version
from syncd.drivers.guesty.simulator_writes import GuestyWrites
from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.collection import Collection, Entry, Raw
from syncd.testing.dice import epoch, iso

ALWAYS = ("_id", "id", "accountId")
ALWAYS_RESERVATION = (
    "_id",
    "accountId",
    "integration",
    "confirmationCode",
    "checkIn",
    "checkOut",
    "listingId",
    "guestId",
)


class GuestySimulator(GuestyWrites):
    """Options: `client_id`, `client_secret` (or `clients`, a mapping of several), `token_seconds` (life of a token),
    `tokens` (rate, default 5/24h, None for no limit), `shape` (v1 or v2 of listings), `history` (days of data),
    `legacy` (False: the legacy reservation routes are retired and answer 410), `bare_listings` (an array without
    envelope, as the specification says), `hide_inactive` (listings that are inactive or unlisted only show when
    asked for, as one reading of the documentation says), `stated` (what the limit headers claim, such as
    {"Minute": 600}), `secret_delay` (seconds of 404 after a registration), and counts of listings, guests,
    reservations."""

    routes = (
        *GuestyWrites.routes,
        ("GET", "/v1/listings", "listings"),
        ("GET", "/v1/listings/{id}", "listing_one"),
        ("GET", "/v1/reservations", "reservations"),
        ("GET", "/v1/reservations/{id}", "reservation_one"),
        ("GET", "/v1/reservations-v3", "by_ids"),
        ("GET", "/v1/reservations-v3/search", "searched"),
        ("GET", "/v1/guests-crud", "guests"),
        ("GET", "/v1/guests-crud/{id}", "guest_one"),
        ("GET", "/v1/accounts/{id}/custom-fields", "custom_fields"),
        ("GET", "/v1/properties-api/property-photos/property-photos/{id}", "photos"),
        ("GET", "/v1/availability-pricing/api/calendar/listings/minified/{id}", "calendar"),
    )

    # Common to all lists

    def _window(self, call: Call, most: int | None = 100) -> tuple[int, int]:
        """(limit, skip); 400 for what is out of range."""
        try:
            limit, skip = int(call.query.get("limit", 25)), int(call.query.get("skip", 0))
        except ValueError:
            raise Answer(self.invalid('"limit" and "skip" must be numbers')) from None
        if limit < 1 or skip < 0 or (most is not None and limit > most):
            raise Answer(self.invalid(f'"limit" must be between 1 and {most}, "skip" not negative'))
        return limit, 0 if self.looping(call) else skip

    def _ranked(self, collection: Collection, sort: str, test: queries.Test | None, token: Any) -> list[Entry]:
        """Filtered and sorted; kept while nothing changes."""

        def choose() -> list[Entry]:
            path = sort.lstrip("-")
            rows = collection.sorted_by(path) if path else list(collection)
            if sort.startswith("-"):
                rows = rows[::-1]
            return rows if test is None else [entry for entry in rows if test(entry.raw)]

        return collection.chosen((sort, token), choose)

    def _encoder(self, call: Call, always: tuple[str, ...]) -> Callable[[Entry], bytes] | None:
        """How `fields` narrows each record; None for the default set."""
        fields = call.query.get("fields", "").split()
        if not fields:
            return None
        key = (call.route, tuple(fields))
        kept = self.narrowed.setdefault(key, {})
        if len(self.narrowed) > 8:
            self.narrowed.pop(next(iter(self.narrowed)))

        def encode(entry: Entry) -> bytes:
            known = kept.get(entry.id)
            if known is None or known[0] is not entry:
                raw = self._enriched(entry.raw) if "reservations" in call.route else entry.raw
                known = kept[entry.id] = (entry, orjson.dumps(queries.projected(raw, fields, always)))
            return known[1]

        return encode

    def _enriched(self, raw: Raw) -> Raw:
        """A reservation with what only `fields` brings: the guest's and the listing's own fields."""
        guest, listing = self.state["guests"].get(raw["guestId"]), self.state["listings"].get(raw["listingId"])
        return {**raw, "guest": guest.raw if guest else raw["guest"], "listing": listing.raw if listing else None}

    def _envelope(self, call: Call, rows: list[Entry], always: tuple[str, ...]) -> web.Response:
        limit, skip = self._window(call)
        page = self.page(call, rows[skip : skip + limit], self._encoder(call, always))
        if self.options["bare_listings"] and call.route == "/v1/listings":
            return self.reply(b"[" + page + b"]")
        count = self.total(call, len(rows))
        return self.reply(b'{"results":[%s],"count":%d,"limit":%d,"skip":%d}' % (page, count, limit, skip))

    # Listings

    def listings(self, call: Call) -> web.Response:
        collection = self.listing(call, "listings")
        id_field = "id" if self.options["shape"] == "v2" else "_id"
        sort = call.query.get("sort", "nickname" if self.options["shape"] == "v2" else "title")
        if sort.lstrip("-") == "_id":
            sort = sort.replace("_id", id_field)
        tests: list[queries.Test] = []
        token: list[str] = []
        for param, path in (("active", "active"), ("pmsActive", "pms.active"), ("listed", "isListed")):
            value = call.query.get(param, "true" if self.options["hide_inactive"] else "")
            if value:
                tests.append(queries.one(path, "eq", value == "true"))
        for param, operator in (("ids", "in"), ("nids", "nin")):
            if param in call.query:
                tests.append(queries.one(id_field, operator, set(call.query[param].split(","))))
        if "city" in call.query:
            tests.append(queries.one("address.city", "eq", call.query["city"]))
        if "tags" in call.query:
            wanted = set(call.query["tags"].split(","))
            tests.append(lambda raw: bool(wanted & set(raw.get("tags", ()))))
        token = sorted(f"{k}={v}" for k, v in call.query.items() if k not in ("limit", "skip", "fields"))
        rows = self._ranked(collection, sort, queries.every(tests) if tests else None, tuple(token))
        return self._envelope(call, rows, ALWAYS)

    def listing_one(self, call: Call) -> web.Response:
        entry = self.state["listings"].get(call.args["id"])
        if entry is None:
            return self.reply({"message": "Listing not found", "code": "LISTING_NOT_FOUND", "requestId": "sim"}, 404)
        encode = self._encoder(call, ALWAYS)
        return self.reply(encode(entry) if encode else entry.encoded)

    def photos(self, call: Call) -> web.Response:
        entry = self.state["listings"].get(call.args["id"])
        if entry is None:
            return self.reply(orjson.dumps("Not Found"), 404)
        return self.reply([{"propertyId": entry.id, **photo} for photo in entry.raw["pictures"]])

    def custom_fields(self, call: Call) -> web.Response:
        """What custom fields there are, as a bare list."""
        if len(call.args["id"]) != 24:
            return self.reply(orjson.dumps("Forbidden"), 403)
        known = (
            ("65fab102a5284d73c6206db0", "Extra bed", "reservation"),
            ("65fab102a5284d73c6206db1", "Door", "listing"),
        )
        return self.reply([{"fieldId": field, "displayName": name, "key": name.lower().replace(" ", "_"), "object": kind,
                            "type": "text", "options": [], "isPublic": False} for field, name, kind in known])  # fmt: skip

    def calendar(self, call: Call) -> web.Response:
        entry = self.state["listings"].get(call.args["id"])
        if entry is None:
            return self.reply({"message": "Listing not found", "code": "LISTING_NOT_FOUND", "requestId": "sim"}, 404)
        start, end = call.query.get("startDate"), call.query.get("endDate")
        if not start or not end:
            name = "startDate" if not start else "endDate"
            return self.invalid(f'child "{name}" fails because ["{name}" is required]', 422)
        first, last = epoch(start), epoch(end)
        price = entry.raw["prices"]["basePrice"]
        days: list[Raw] = []
        while first <= last and len(days) < 800:
            day: Raw = {"date": iso(first)[:10], "price": price, "minNights": 1, "blocks": {}, "cta": False,
                        "ctd": False, "isBasePrice": True, "isBaseMinNights": True, "allotment": 1}  # fmt: skip
            for given in self.days.get(entry.id, ()):
                if given["startDate"] <= day["date"] <= given["endDate"]:
                    day |= {name: given[name] for name in ("price", "minNights", "cta", "ctd") if name in given}
                    day["blocks"] = {"m": True} if given.get("status") == "unavailable" else day["blocks"]
            days.append(day)
            first += 86400
        facts = {"listingId": entry.id, "startDate": start, "endDate": end, "currency": "EUR"}
        return self.reply({"days": {**facts, "calendar": days, "blocks": {}}})

    # Reservations

    def _retired(self) -> None:
        if not self.options["legacy"]:
            raise Answer(self.reply({"message": "This endpoint was retired on 1 March 2027."}, 410))

    def reservations(self, call: Call) -> web.Response:
        self._retired()
        text = call.query.get("filters", "")
        try:
            test = queries.legacy(text) if text else None
        except (ValueError, KeyError, AttributeError) as error:
            return self.invalid(str(error))
        rows = self._ranked(self.listing(call, "reservations"), call.query.get("sort", "_id"), test, text)
        return self._envelope(call, rows, ALWAYS_RESERVATION)

    def reservation_one(self, call: Call) -> web.Response:
        self._retired()
        entry = self.state["reservations"].get(call.args["id"])
        if entry is None:
            return self.reply(orjson.dumps("Reservation not found"), 404)
        encode = self._encoder(call, ALWAYS_RESERVATION)
        return self.reply(encode(entry) if encode else entry.encoded)

    def by_ids(self, call: Call) -> web.Response:
        ids = call.query.getall("reservationIds[]", [])
        if not ids:
            return self.invalid('"reservationIds" is required')
        if len(ids) > 10:
            return self.invalid('"reservationIds" must contain less than or equal to 10 items')
        collection = self.listing(call, "reservations")
        found = [entry for external_id in ids if (entry := collection.get(external_id)) is not None]
        return self.reply(b"[" + self.page(call, found, sparse) + b"]")

    def searched(self, call: Call) -> web.Response:
        limit, skip = self._window(call)
        sort = call.query.get("sort", "-_id")
        if sort.lstrip("-") not in queries.V3_SORTS:
            return self.invalid(f"unsupported sort value {sort}")
        for name in call.query:
            if name not in ("sort", "skip", "limit") and not name.startswith("filter"):
                return self.invalid(f'"{name}" is not allowed')
        params = list(call.query.items())
        try:
            test = queries.search(params)
        except ValueError as error:
            return self.invalid(str(error))
        path = ("-" if sort.startswith("-") else "") + queries.V3_SORTS[sort.lstrip("-")]
        token = tuple(pair for pair in params if pair[0].startswith("filter"))
        rows = self._ranked(self.listing(call, "reservations"), path, test, token)
        page = self.page(call, rows[skip : skip + limit], sparse)
        more = b"true" if skip + limit < len(rows) or self.looping(call) else b"false"
        total = self.total(call, len(rows))
        about = b'{"hasMore":%s,"limit":%d,"skip":%d,"total":%d}' % (more, limit, skip, total)
        return self.reply(b'{"results":[%s],"pagination":%s}' % (page, about))

    # Guests

    def guests(self, call: Call) -> web.Response:
        columns = call.query.get("columns", "").split()
        if not columns:
            return self.invalid('"columns" is required')
        limit, skip = self._window(call, None)
        text = call.query.get("filters", "")
        try:
            test = queries.guests(text) if text else None
        except (ValueError, AttributeError) as error:
            return self.invalid(str(error))
        rows = self._ranked(self.listing(call, "guests"), "", test, text)

        def encode(entry: Entry) -> bytes:
            aliases = {"id": entry.id, "guestEmail": entry.raw["email"], "guestPhone": entry.raw["phone"]}
            return orjson.dumps(queries.projected({**entry.raw, **aliases}, columns, ("_id",)))

        page = self.page(call, rows[skip : skip + limit], encode)
        return self.reply(b'{"results":[%s],"total":%d}' % (page, self.total(call, len(rows))))

    def guest_one(self, call: Call) -> web.Response:
        fields = call.query.get("fields", "").split()
        if not fields:
            return self.invalid('"fields" is required')
        entry = self.state["guests"].get(call.args["id"])
        if entry is None:
            return self.reply({"message": "Guest not found", "code": "GUEST_NOT_FOUND", "requestId": "sim"}, 404)
        return self.reply(queries.projected(entry.raw, fields, ("_id",)))

    def truth(self, resource: str) -> dict[str, Raw]:
        if resource == "reservations-v3":
            return {entry.id: third_version(entry.raw) for entry in self.state["reservations"]}
        return super().truth(resource)


def sparse(entry: Entry) -> bytes:
    return orjson.dumps(third_version(entry.raw))


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `GuestySimulator` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return GuestySimulator(clock=clock, **options)
