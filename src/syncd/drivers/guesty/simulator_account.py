"""The simulated Guesty's account: tokens, limits and their headers, error bodies, webhooks, writes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from syncd.drivers.guesty.simulator_data import Mint, altered, build, object_id, third_version
from syncd.testing.base import Call, Route, Simulator
from syncd.testing.collection import Entry, Raw, World
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice, iso
from syncd.testing.limits_server import Refusal, Seats, Tier, never, rate

WINDOWS = {1.0: "Second", 60.0: "Minute", 3600.0: "Hour"}
EXPIRED = "You don't have permission to access, please contact Guesty support."
EVENTS = {
    ("listings", "create"): ("listing.new",),
    ("listings", "update"): ("listing.updated",),
    ("listings", "delete"): ("listing.removed",),
    ("guests", "create"): ("guest.created",),
    ("guests", "update"): ("guest.updated",),
    ("guests", "delete"): ("guest.deleted",),
    ("reservations", "create"): ("reservation.new", "reservation.created.v2"),
    ("reservations", "update"): ("reservation.updated", "reservation.updated.v2"),
}
NAMES = {name for names in EVENTS.values() for name in names} | {
    "listing.calendar.updated",
    "calendar.updated.v2",
    "payments.failed",
    "payments.method.received",
    "reservation.messageReceived",
    "reservation.messageSent",
    "reservation_update_shortlist",
    "task.created",
    "task.deleted",
    "task.updated",
}


class GuestyAccount(Simulator):
    """Everything but the reads."""

    name = "guesty"
    token_route = "/oauth2/token"  # noqa: S105 - a path
    id_field = "_id"
    mutable = ("listings", "reservations", "guests")
    routes: ClassVar[tuple[Route, ...]] = (
        ("POST", "/oauth2/token", "token"),
        ("GET", "/v1/accounts/me", "me"),
        ("POST", "/v1/webhooks", "hook_new"),
        ("GET", "/v1/webhooks", "hook_list"),
        ("GET", "/v1/webhooks/{id}", "hook_one"),
        ("PUT", "/v1/webhooks/{id}", "hook_change"),
        ("DELETE", "/v1/webhooks/{id}", "hook_remove"),
        ("GET", "/v1/webhooks-v2/secret", "hook_secret"),
        ("PUT", "/v1/reservations/{id}", "put_reservation"),
        ("PUT", "/v1/reservations-v3/guest-stay", "put_stay"),
        ("PUT", "/v1/reservations-v3/{id}/status", "put_status"),
        ("PUT", "/v1/reservations-v3/{id}/notes", "put_notes"),
        ("PUT", "/v1/reservations-v3/{id}/custom-fields", "put_custom"),
        ("PUT", "/v1/guests-crud/{id}", "put_guest"),
    )

    def __init__(self, **options: Any) -> None:
        self.tokens: dict[str, float] = {}
        """Token -> when it ends, on the monotonic clock."""
        self.requests = 0
        self.narrowed: dict[Any, dict[str, tuple[Entry, bytes]]] = {}
        super().__init__(**options)

    def defaults(self) -> dict[str, Any]:
        return {
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
            "clients": {},
            "token_seconds": 86400,
            "tokens": "5/24h",
            "shape": "v1",
            "history": 300,
            "legacy": True,
            "bare_listings": False,
            "hide_inactive": False,
            "stated": {},
            "secret_delay": 1.0,
            "listings": 120,
            "guests": 150,
            "reservations": 400,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        tiers = [Tier("second", 15, 1.0), Tier("minute", 120, 60.0), Tier("hour", 5000, 3600.0)]
        if self.options["tokens"]:
            limit, window = rate(self.options["tokens"])
            tiers.append(Tier("token", limit, window, key=never))
        return tiers, [Seats("concurrency", 15)]

    def make_world(self, dice: Dice) -> World:
        counts = {name: int(self.options[name]) for name in ("listings", "guests", "reservations")}
        return build(dice, counts, self.now(), str(self.options["shape"]), int(self.options["history"]))

    # Tokens

    def token(self, call: Call) -> web.Response:
        """Client credentials; every known client has its own book of five in 24 hours."""
        given = {name: values[0] for name, values in parse_qs(call.body.decode("utf-8", "replace")).items()}
        if call.request.content_type != "application/x-www-form-urlencoded":
            return self.reply({"error": "invalid_request", "error_description": "a form body is required"}, 400)
        if given.get("grant_type") != "client_credentials" or given.get("scope") != "open-api":
            return self.reply({"error": "invalid_request", "error_description": "grant_type or scope is wrong"}, 400)
        clients = {self.options["client_id"]: self.options["client_secret"], **self.options["clients"]}
        client, secret = given.get("client_id", ""), given.get("client_secret", "")
        if client not in clients or not hmac.compare_digest(str(clients[client]).encode(), secret.encode()):
            self.counters.count("token_refusals")
            text = "The client credentials are invalid."
            return self.reply({"error": "invalid_client", "error_description": text}, 401)
        refusal = self.enforcer.spend("token", 1, self.clock.monotonic(), client)
        if refusal is not None:
            return self.refuse(refusal, call)
        self.counters.count("tokens_issued")
        life = float(self.options["token_seconds"])
        token = self._token(client, life)
        self.tokens[token] = self.clock.monotonic() + life
        return self.reply({"token_type": "Bearer", "expires_in": int(life), "access_token": token, "scope": "open-api"})

    def _token(self, client: str, life: float) -> str:
        now = int(self.now())
        number = self.counters.extra.get("tokens_issued", 0)
        claims = {"cid": client, "accountId": self.state.facts["account"], "iat": now, "exp": now + int(life)}
        parts = [orjson.dumps({"alg": "HS256", "typ": "JWT"}), orjson.dumps({**claims, "jti": f"sim-{number}"})]
        text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        seal = hmac.new(b"simulator", f"{text}{self.dice.code(8)}".encode(), hashlib.sha256).digest()
        return f"{text}.{base64.urlsafe_b64encode(seal).decode().rstrip('=')}"

    def authorise(self, call: Call) -> web.Response | None:
        scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
        ends = self.tokens.get(token) if scheme.lower() == "bearer" else None
        if ends is None:
            return self.failure(401, call)
        return self.reply({"message": EXPIRED}, 403) if self.clock.monotonic() >= ends else None

    def action(self, name: str, params: Raw) -> Any:
        """`expire_tokens` (403 from now on), `revoke_tokens` (401), `change_id` ({"id"}: a listing gets another one)."""
        count = len(self.tokens)
        if name == "expire_tokens":
            self.tokens = dict.fromkeys(self.tokens, self.clock.monotonic())
        elif name == "revoke_tokens":
            self.tokens.clear()
        elif name == "change_id":
            entry = self.state["listings"].entries[params["id"]]
            self.delete("listings", entry.id)
            field = "id" if self.options["shape"] == "v2" else "_id"
            return {"id": self.create("listings", {**entry.raw, field: object_id(self.dice)})}
        else:
            return None
        return {"tokens": count}

    # Limits and errors

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        wait = str(max(math.ceil(refusal.wait_seconds), 1))
        return self.reply({"message": "Too many requests"}, 429, {"Retry-After": wait})

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if status == 401:
            return self.reply({"error": {"code": "UNAUTHORIZED", "message": message or "Unauthorized"}}, 401)
        if status == 403:
            return self.reply({"message": message or EXPIRED}, 403)
        if status >= 500:
            return self.reply(orjson.dumps(message or "Internal Server Error"), status)
        return self.reply({"message": message or "Too many requests", "requestId": "Root=1-simulated"}, status)

    def invalid(self, message: str, status: int = 400) -> web.Response:
        details = [{"message": message, "type": "any.invalid"}]
        said = {"message": message, "code": "ValidationError", "details": details, "requestId": "Root=1-simulated"}
        return self.reply(said, status)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        self.requests += 1
        headers = response.headers
        headers["x-request-id"] = f"{self.requests:08x}-0000-4000-8000-000000000000"
        if call.budget == "token":
            return
        now = self.clock.monotonic()
        for tier in self.enforcer.tiers:
            window = WINDOWS.get(tier.window_seconds)
            if window is None or tier.name == "token":
                continue
            stated = float(self.options["stated"].get(window, tier.limit))
            left = self.enforcer.book(tier, "").left(now) - tier.limit + stated
            headers[f"X-RateLimit-Limit-{window}"] = str(int(stated))
            headers[f"X-RateLimit-Remaining-{window}"] = str(max(int(left), 0))

    # Changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        mint = Mint(self.dice, self.state, str(self.options["shape"]))
        stamped = {"lastUpdatedAt": iso(self.now()), **(fields or {})} if resource == "reservations" else fields
        return mint.new(resource, self.now(), stamped)

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        return altered(self.dice, resource, raw, changes, self.now())

    def deletable(self, resource: str) -> bool:
        return resource != "reservations"

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        raw = (after or before).raw  # type: ignore[union-attr]
        for event in EVENTS.get((resource, what), ()):
            body: Raw = {"event": event}
            if resource == "listings":
                body |= {"listing": raw, "meta": {"eventId": f"evt-{self.dice.code(8)}", "messageId": "msg-sim"}}
            elif resource == "guests":
                body |= {"guest": raw, "by": "simulator"}
            elif event.endswith(".v2"):
                stay = third_version(raw)["stay"][0]
                data = {
                    "reservationId": raw["_id"],
                    "status": raw["status"],
                    "confirmationCode": raw["confirmationCode"],
                }
                data |= {key: stay[key] for key in ("unitId", "checkInDateLocalized", "checkOutDateLocalized")}
                body |= {"data": data, "publishedAt": iso(self.now())}
            else:
                body["reservation"] = raw
            self.deliveries.post(event, orjson.dumps(body), f"msg_{self.dice.code(27)}")

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        moment = str(int(self.now()))
        return {
            "svix-id": message_id,
            "svix-timestamp": moment,
            "svix-signature": " ".join(svix(secret, message_id, moment, body) for secret in target.secrets),
        }

    # Webhook subscriptions

    def _shown(self, target: Target) -> Raw:
        return {
            "_id": target.id,
            "accountId": self.state.facts["account"],
            "url": target.url,
            "events": target.events,
        }

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        return Target(object_id(self.dice), url, secrets, events, facts={"made": self.clock.monotonic()})

    def _body(self, call: Call) -> Raw:
        try:
            given = call.json()
        except ValueError:
            return {}
        return given if isinstance(given, dict) else {}

    def hook_new(self, call: Call) -> web.Response:
        given = self._body(call)
        events = given.get("events")
        if not isinstance(events, list) or not events:
            return self.invalid("events are required")
        unknown = [event for event in events if event not in NAMES]
        if unknown or not str(given.get("url", "")).startswith("http"):
            return self.invalid(f"unknown events {unknown} or no url")
        secret = "whsec_" + base64.b64encode(self.dice.random.randbytes(24)).decode()
        target = self.subscription(given["url"], [secret], events)
        self.deliveries.targets[target.id] = target
        return self.reply(self._shown(target), 201)

    def hook_list(self, call: Call) -> web.Response:
        return self.reply([self._shown(target) for target in self.deliveries.targets.values()])

    def hook_one(self, call: Call) -> web.Response:
        target = self.deliveries.targets.get(call.args["id"])
        return self.reply(self._shown(target)) if target else self.reply(orjson.dumps("Not found"), 404)

    def hook_change(self, call: Call) -> web.Response:
        target = self.deliveries.targets.get(call.args["id"])
        if target is None:
            return self.reply(orjson.dumps("Not found"), 404)
        given = self._body(call)
        if given.get("url", target.url) != target.url:
            return self.invalid("url cannot be changed")
        target.events = list(given.get("events", target.events))
        return self.reply(self._shown(target))

    def hook_remove(self, call: Call) -> web.Response:
        found = self.deliveries.targets.pop(call.args["id"], None)
        return self.reply({}) if found else self.reply(orjson.dumps("Not found"), 404)

    def hook_secret(self, call: Call) -> web.Response:
        """404 for a short while after the subscription was made."""
        for target in self.deliveries.targets.values():
            if target.url == call.query.get("url"):
                age = self.clock.monotonic() - target.facts["made"]
                if age >= float(self.options["secret_delay"]):
                    return self.reply({"key": target.secrets[0]})
        return self.reply({"message": "Secret not found", "code": "NOT_FOUND"}, 404)

    # Writes

    def me(self, call: Call) -> web.Response:
        account = self.state.facts["account"]
        return self.reply({"id": account, "_id": account, "active": True, "name": "Simulated Stays", "timezone": "UTC"})

    def _reservation(self, external_id: str, changes: Raw, answer: Raw) -> web.Response:
        if external_id not in self.state["reservations"].entries:
            return self.reply(orjson.dumps("Reservation not found"), 404)
        self.update("reservations", external_id, changes)
        return self.reply(answer)

    def put_reservation(self, call: Call) -> web.Response:
        """The legacy route: nested `notes` are accepted and ignored."""
        changes = {
            name: value for name, value in self._body(call).items() if name in ("status", "keyCode", "plannedArrival")
        }
        external_id = call.args["id"]
        return self._reservation(external_id, changes, {"_id": external_id, **changes})

    def put_status(self, call: Call) -> web.Response:
        given = self._body(call)
        known = ("inquiry", "reserved", "awaiting_payment", "confirmed", "canceled", "closed", "declined", "expired")
        if given.get("status") not in known:
            return self.invalid('"status" must be a known status', 422)
        changes: Raw = {"status": given["status"]}
        if given["status"] == "canceled":
            changes |= {"canceledAt": iso(self.now()), "canceledBy": given.get("canceledBy")}
        answer = {"reservationId": call.args["id"], "status": given["status"]}
        return self._reservation(call.args["id"], changes, answer)

    def put_stay(self, call: Call) -> web.Response:
        given = self._body(call)
        if given.get("status") not in ("not_set", "checked_in", "checked_out", "no_show"):
            return self.invalid('"status" must be a known status', 422)
        changes = {"guestStay": {"status": given["status"], "updatedAt": iso(self.now())}}
        return self._reservation(str(given.get("reservationId")), changes, {})

    def put_notes(self, call: Call) -> web.Response:
        """404 for what came from a channel, although it can be read."""
        entry = self.state["reservations"].get(call.args["id"])
        if entry is None or entry.raw["source"] != "manual":
            return self.reply(orjson.dumps("Reservation not found"), 404)
        notes = self._body(call).get("notes", {})
        return self._reservation(entry.id, {"notes": notes}, {"reservationId": entry.id, "notes": notes})

    def put_custom(self, call: Call) -> web.Response:
        fields = [{"_id": object_id(self.dice), **field} for field in self._body(call).get("customFields", [])]
        answer = {"reservationId": call.args["id"], "customFields": fields}
        return self._reservation(call.args["id"], {"customFields": fields}, answer)

    def put_guest(self, call: Call) -> web.Response:
        external_id = call.args["id"]
        if external_id not in self.state["guests"].entries:
            return self.reply({"message": "Guest not found", "code": "GUEST_NOT_FOUND", "requestId": "sim"}, 404)
        allowed = ("firstName", "lastName", "fullName", "email", "phone", "notes", "tags")
        changes = {name: value for name, value in self._body(call).items() if name in allowed}
        return self.reply(self.update("guests", external_id, changes).encoded)


def svix(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,<base64>`: the secret is base64 after its prefix; id, timestamp and the raw body are signed."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
