"""The simulated Cloudbeds account: keys and tokens, the limit and what comes of exceeding it, failures with HTTP 200."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from aiohttp import web

from syncd.drivers.cloudbeds.simulator_data import RESOURCES, Mint, altered, build, key_of
from syncd.drivers.cloudbeds.simulator_house import local_text, utc_text
from syncd.testing.base import Answer, Call, Route, Simulator
from syncd.testing.collection import Collection, Entry, Raw, World
from syncd.testing.consent import Consents
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier, everything

DENIED = {"error": "access_denied", "message": "The resource owner or authorization server denied the request."}
EXPIRED = {"success": False, "message": "Access token is invalid or has expired."}
EXPIRED_CODE = {"error": "server_error", "error_description": "The authorization code is invalid or has expired."}
NO_PROPERTY = 'Please specify "propertyID" parameter for this call'
WRONG_PROPERTY = "None of the included property id's match the access_token user's property id"
NOT_AVAILABLE = {"error": "access_denied", "message": "Application is not available to be connected."}
CANCELED = "The property(ies) you are accessing have an invalid status. See details: canceled: "
SAME_MOMENT = 2.0
"""Seconds within which a second refresh with the same token counts as parallel to the first."""
TRIES = (60.0, 60.0, 60.0, 60.0)
"""Five tries, a minute apart (facts, section 9)."""
ANSWER_SECONDS = 2.0


class CloudbedsAccount(Simulator):
    """Who may call, and how often. Ids in `state` are `property:id`."""

    name = "cloudbeds"
    base_path = "/api/v1.3"
    token_route = "/api/v1.3/access_token"  # noqa: S105 - a path
    consent_route = "/api/v1.3/oauth"
    mutable = ("reservations", "guests", "housekeeping", "room_blocks")
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "api_key"}
    routes: ClassVar[tuple[Route, ...]] = (
        ("POST", "/api/v1.3/access_token", "token"),
        ("GET", "/api/v1.3/oauth", "consent"),
        ("GET", "/api/v1.3/oauth/metadata", "metadata"),
        ("GET", "/api/v1.3/userinfo", "userinfo"),
    )

    def __init__(self, **options: Any) -> None:
        self.mint: Mint
        self.tokens: dict[str, float] = {}
        """Access token -> when it ends, on the monotonic clock."""
        self.refresh = ""
        self.used: dict[str, float] = {}
        """Refresh tokens that were used, and when."""
        self.mails: list[str] = []
        """Reservations whose guest was told of a new status, each as often as a mail went."""
        self.offences = 0
        self.suspended = False
        self.requests = 0
        self.stamps: dict[str, float] = {}
        """When a record that was changed here was modified, by its id; of all others the seed tells."""
        self.removed: dict[str, Raw] = {}
        """Reservations that were deleted: `includeDeleted` shows them."""
        self.shut: dict[str, str] = {}
        """Properties that were cancelled, or that disconnected the application."""
        super().__init__(**options)
        self.refresh = str(self.options["refresh_token"])
        self.consents = Consents(self.clock, self.dice, client_id=str(self.options["client_id"]))
        self.deliveries.timeout_seconds = ANSWER_SECONDS
        if options.get("retry_seconds") is None:
            self.deliveries.retry_seconds = TRIES

    def defaults(self) -> dict[str, Any]:
        counts = {"hotels": 2, "room_types": 6, "rooms": 24, "reservations": 300, "guests": 120, "room_blocks": 12,
                  "rate_plans": 6, "custom_fields": 4, "reservation_notes": 4}  # fmt: skip
        return {
            "api_key": "cbat_simulated",
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
            "refresh_token": "simulated-refresh",
            "token_seconds": 28800.0,
            "per_second": 5,
            "suspend_after": 20,
            "guest_list": "map",
            "hook_list": "property",
            "history": 90,
            **counts,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        return [
            Tier("client", float(self.options["per_second"]), 1.0, key=everything, reason="calls a second of a client")
        ], []

    # The truth and its changes

    def make_world(self, dice: Dice) -> World:
        names = RESOURCES - {"housekeeping"}
        counts = {name: int(self.options[name]) for name in names}
        counts["reservation_notes"] = min(counts["reservation_notes"], counts["reservations"])
        world, self.mint = build(f"{self.name}-{self.seed}", counts, self.now(), int(self.options["history"]))
        return world

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        number, now, made = 10**6 + len(self.state[resource]) + self.state[resource].sequence, self.now(), {}
        given = fields or {}
        if resource == "reservations":
            made = self.mint.reservation_at(number, now, now)
        elif resource == "guests":
            made = self.mint.guest_at(number, now, now)
        else:
            made = getattr(
                self.mint, {"room_blocks": "room_block", "hotels": "hotel"}.get(resource, resource.rstrip("s"))
            )(number)
        made = {**made, **given}
        external_id = key_of(resource, made)
        self.stamps[external_id] = now
        return external_id, made

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        fresh, now = altered(self.dice, resource, raw, changes), self.now()
        if resource in ("reservations", "guests"):
            external_id = key_of(resource, fresh)
            now = max(now, self.modified(resource, external_id) + 1.0)
            self.stamps[external_id] = now
            fresh["dateModified"] = local_text(now, self.mint.zone_of(fresh["propertyID"]))
            if resource == "reservations":
                fresh["dateModifiedUTC"] = utc_text(now)
                if fresh["status"] == "canceled" and "dateCancelledUTC" not in fresh:
                    fresh["dateCancelledUTC"] = utc_text(now)
        return fresh

    def modified(self, resource: str, external_id: str) -> float:
        """When it was modified last, as far as Cloudbeds tells."""
        known = self.stamps.get(external_id)
        if known is not None:
            return known
        entry = self.state[resource].entries[external_id]
        count = int(self.options[resource])
        return self.mint.modified_at(entry.key[1] - 1, count)

    def delete(self, resource: str, external_id: str) -> None:
        if resource == "reservations":
            raw = self.alter(resource, self.state[resource].entries[external_id].raw, {"isDeleted": True})
            self.removed[external_id] = raw
        super().delete(resource, external_id)

    def deletable(self, resource: str) -> bool:
        return resource in ("reservations", "room_blocks")

    def truth(self, resource: str) -> dict[str, Raw]:
        """As a complete copy has it, with the property that a listing was asked for."""
        if resource in ("hotels", "hotel_details"):
            return {entry.id: self.hotel(entry, whole=resource == "hotel_details") for entry in self.state["hotels"]}
        if resource == "hotel_photos":
            found = [(entry.id, entry.raw["_details"]) for entry in self.state["hotels"]]
            return {
                f"{known}:{_escaped(photo['image'])}": {"propertyID": known, **photo}
                for known, details in found
                for photo in (*details["propertyImage"], *details["propertyAdditionalPhotos"])
            }
        if resource == "room_type_photos":
            return {
                f"{entry.id}:{_escaped(photo['image'])}": {**_own(entry.raw, "propertyID", "roomTypeID"), **photo}
                for entry in self.state["room_types"]
                for photo in entry.raw["_photos"]
            }
        return {entry.id: public(entry.raw) for entry in self.state[resource]}

    def hotel(self, entry: Entry, *, whole: bool) -> Raw:
        raw = public(entry.raw)
        return {**raw, **entry.raw["_details"]} if whole else raw

    # Credentials

    def authorise(self, call: Call) -> web.Response | None:
        given = call.request.headers.get("x-api-key", "")
        scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
        given = given or (token if scheme.lower() == "bearer" else "")
        if self.suspended:
            return self.reply(DENIED, 401)
        if hmac.compare_digest(given.encode(), str(self.options["api_key"]).encode()):
            return None
        ends = self.tokens.get(given)
        if ends is None:
            return self.reply(DENIED, 401)
        return self.reply(EXPIRED, 401) if self.clock.monotonic() >= ends else None

    def consent(self, call: Call) -> web.Response:
        """A property's user allows the application; `consents.denies`: not."""
        return self.consents.page(call)

    def token(self, call: Call) -> web.Response:
        """A code, or a refresh token: each use replaces it; a second one beside it spoils both."""
        given, now = form(call), self.clock.monotonic()
        known = (str(self.options["client_id"]), str(self.options["client_secret"]))
        if (given.get("client_id"), given.get("client_secret")) != known:
            return self.reply(DENIED, 401)
        if given.get("grant_type") == "authorization_code":
            if not self.consents.spend(given):
                return self.reply(EXPIRED_CODE, 401)
            return self._granted(now)
        if given.get("grant_type") != "refresh_token":
            return self.reply(DENIED, 401)
        told = given.get("refresh_token", "")
        if told != self.refresh:
            if now - self.used.get(told, now - 2 * SAME_MOMENT) < SAME_MOMENT:
                self.tokens.clear()
                self.refresh = ""
                self.counters.count("parallel_refreshes")
            return self.reply({"error": "invalid_request", "message": "The refresh token is invalid."}, 400)
        self.used[told] = now
        return self._granted(now)

    def _granted(self, now: float) -> web.Response:
        self.counters.count("tokens_issued")
        self.refresh = f"refresh-{self.dice.code(24)}"
        access = f"access-{self.dice.code(32)}"
        self.tokens[access] = now + float(self.options["token_seconds"])
        resources = [{"type": "property", "id": known} for known in self.mint.properties]
        return self.reply({
            "access_token": access, "token_type": "Bearer", "expires_in": int(self.options["token_seconds"]),
            "refresh_token": self.refresh, "resources": resources,
        })  # fmt: skip

    def action(self, name: str, params: Raw) -> Any:
        """`expire_tokens`; `rotate_key` ({"key"}); `silent` ({"resource", "id", "changes"}: a change without a stamp or an
        event); `disconnect` (all subscriptions vanish); `shut` ({"property", "how": canceled, disconnected; left out: it is
        open again)."""
        if name == "expire_tokens":
            self.tokens = dict.fromkeys(self.tokens, self.clock.monotonic())
        elif name == "rotate_key":
            self.options["api_key"] = params["key"]
        elif name == "silent":
            collection = self.state[params["resource"]]
            collection.replace(params["id"], {**collection.entries[params["id"]].raw, **params["changes"]})
        elif name == "disconnect":
            self.deliveries.targets.clear()
        elif name == "shut":
            self.shut.pop(params["property"], None)
            if params.get("how"):
                self.shut[params["property"]] = params["how"]
        else:
            return None
        return {"done": name}

    # Limits and failures

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        """Nothing is documented but that a person suspends who does it again and again; the 429 is assumed."""
        self.offences += 1
        self.suspended = self.suspended or self.offences >= int(self.options["suspend_after"])
        return self.reply({"success": False, "message": "Too many requests"}, 429, {"Retry-After": "2"})

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if status == 200:
            return self.fail(message or "Something went wrong")
        if status == 401:
            return self.reply(DENIED, 401)
        if status == 403:  # an edge firewall
            return web.Response(
                text="<!DOCTYPE html><title>Access denied</title>error code: 1020", status=403, content_type="text/html"
            )
        if status == 404:
            return web.Response(text="<html><body>Not Found</body></html>", status=404, content_type="text/html")
        return self.reply({"success": False, "message": message or f"error {status}"}, status)

    def fail(self, message: str) -> web.Response:
        """A failure as Cloudbeds tells it: with HTTP 200."""
        self.counters.count("failures_told")
        return self.reply({"success": False, "message": message})

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        self.requests += 1
        response.headers["X-Request-ID"] = f"{self.requests:08x}-0000-4000-8000-00000000c001"

    def property(self, given: Mapping[str, str], *names: str) -> str:
        """The property a call is about. Raises Answer where an account of several is not told, or has no such one."""
        told = next((given[name] for name in names if given.get(name)), "")
        if not told and len(self.mint.properties) == 1:
            return self.mint.properties[0]
        if not told:
            raise Answer(self.fail(NO_PROPERTY))
        if told not in self.state["hotels"].entries:
            raise Answer(self.fail(WRONG_PROPERTY))
        if told in self.shut:
            gone = self.shut[told] == "disconnected"
            raise Answer(self.reply(NOT_AVAILABLE, 401) if gone else self.fail(f"{CANCELED}{told}"))
        return told

    def of_property(self, collection: Collection, property_id: str) -> list[Entry]:
        prefix = f"{property_id}:"
        return collection.chosen(prefix, lambda: [entry for entry in collection if entry.id.startswith(prefix)])

    # Small answers

    def metadata(self, call: Call) -> web.Response:
        return self.reply({"success": True, "data": {"api": {"url": f"http://{call.request.host}/api/v1.3"}}})

    def userinfo(self, call: Call) -> web.Response:
        return self.reply(
            {"user_id": "700123", "first_name": "Sim", "last_name": "User", "email": "sim.user@hotel.example"}
        )


def form(call: Call) -> dict[str, str]:
    return dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))


def public(raw: Raw) -> Raw:
    """Without what the account keeps beside it."""
    return {name: value for name, value in raw.items() if not name.startswith("_")}


def _own(raw: Raw, *names: str) -> Raw:
    return {name: raw[name] for name in names}


def _escaped(part: str) -> str:
    return part.replace("%", "%25").replace(":", "%3A")
