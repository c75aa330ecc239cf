"""The simulated Booking.com's account: the token exchange, limits, and how it says no."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar
from xml.sax.saxutils import quoteattr

import aiohttp
import orjson
from aiohttp import web

from syncd.drivers.bookingcom.simulator_data import Below, build, owner_of, talk_of
from syncd.testing.base import Call, Route, Simulator
from syncd.testing.collection import Raw, World
from syncd.testing.deliveries import Delivery, Target
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier, never, rate

EXCHANGE = "/token-based-authentication/exchange"
NEW, CHANGED, PLAIN = "/hotels/ota/OTA_HotelResNotif", "/hotels/ota/OTA_HotelResModifyNotif", "/hotels/xml/reservations"
QUEUES = {("GET", NEW), ("GET", CHANGED), ("POST", PLAIN)}
"""The calls that fetch."""


class BookingComAccount(Simulator):
    """Who may call, and how often."""

    name = "bookingcom"
    base_path = ""
    token_route = EXCHANGE
    id_field = "id"
    mutable = ("reservations",)
    routes: ClassVar[tuple[Route, ...]] = (("POST", EXCHANGE, "token"),)
    credentials: ClassVar[Mapping[str, str]] = {"client_id": "client_id", "client_secret": "client_secret"}

    def __init__(self, **options: Any) -> None:
        self.tokens: dict[str, float] = {}
        """Token -> when it ends, on the monotonic clock."""
        self._below = {name: Below(owner_of) for name in ("units", "deleted_units", "reservations", "conversations")}
        self._below["messages"] = Below(talk_of)
        super().__init__(**options)
        self.deliveries.before = self.introduce

    def defaults(self) -> dict[str, Any]:
        return {
            "client_id": "simulated-machine",
            "client_secret": "simulated-machine-secret",
            "token_seconds": 3600,
            "says_expiry": True,
            "tokens": "30/h",
            "pace": 20.0,
            "deadline": 1800.0,
            "queued": 0,
            "properties": 3,
            "units": 12,
            "reservations": 40,
            "conversations": 6,
            "messages": 12,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        pace = float(self.options["pace"])

        def fetch(call: Any) -> str | None:
            return call.route if (call.method, call.route) in QUEUES else None

        def one_account(call: Any) -> str | None:
            return "" if (call.method, call.route) in QUEUES else None

        limit, window = rate(self.options["tokens"])
        return [
            Tier("fetch", 1, pace, key=fetch),
            Tier("pause", 1, pace / 4, key=never),
            Tier("token", limit, window, key=never),
        ], [Seats("fetches at once", 1, key=one_account)]

    def make_world(self, dice: Dice) -> World:
        names = ("properties", "units", "reservations", "conversations", "messages")
        return build(dice, {name: int(self.options[name]) for name in names}, self.now())

    # Tokens

    def token(self, call: Call) -> web.Response:
        """Client id and secret as JSON for a JWT of one hour; no `expires_in`; thirty in an hour."""
        try:
            given = call.json()
        except ValueError:
            given = None
        if not isinstance(given, dict) or set(given) != {"client_id", "client_secret"}:
            return self.failure(400, call, "client_id and client_secret are expected, and nothing else")
        known = {name: str(self.options[name]) for name in ("client_id", "client_secret")}
        if not all(hmac.compare_digest(str(given[name]).encode(), known[name].encode()) for name in known):
            self.counters.count("token_refusals")
            return self.failure(401, call, "Invalid credentials")
        refusal = self.enforcer.spend("token", 1, self.clock.monotonic())
        if refusal is not None:
            return self.refuse(refusal, call)
        self.counters.count("tokens_issued")
        life, now = float(self.options["token_seconds"]), int(self.now())
        claims = {
            "iss": "urn://connectivity-modern-auth/v1",
            "iat": now,
            "machine_account_id": 7,
            "jti": self.dice.code(12),
        }
        if self.options["says_expiry"]:
            claims["exp"] = now + int(life)
        parts = [orjson.dumps({"alg": "RS256"}), orjson.dumps(claims), b"signature of Booking.com"]
        text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        self.tokens[text] = self.clock.monotonic() + life
        return self.reply({"jwt": text, "ruid": self.ruid()})

    def authorise(self, call: Call) -> web.Response | None:
        scheme, _, token = call.request.headers.get("Authorization", "").partition(" ")
        ends = self.tokens.get(token) if scheme == "Bearer" else None
        if ends is None or self.clock.monotonic() >= ends:
            return self.failure(401, call, "Authorization token missing, invalid or expired")
        return None

    # Notifications: it has no signature, and asks the receiver for a token instead

    async def introduce(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        """A token of the receiver's, asked for once, and again when a delivery was not taken."""
        target = delivery.target
        if target.facts.get("token") and delivery.attempts < 2:
            return
        form = {"grant_type": "client_credentials", "client_id": "booking", "client_secret": target.secrets[0]}
        async with session.post(f"{target.url}/token", data=form) as answer:
            self.counters.count("receiver_tokens")
            target.facts["token"] = str((await answer.json())["jwt"]) if answer.status == 200 else ""

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        known = self.deliveries.targets.get(target.id)
        fits = known is not None and known.secrets == target.secrets
        return {"Authorization": f"Bearer {target.facts.get('token', '') if fits else 'a.forged.one'}"}

    def below(self, call: Call, resource: str, owner: str) -> list[Raw]:
        """The records of a listing below one property, or of one conversation."""
        return self._below[resource].of(self.listing(call, resource), owner)

    # How it answers

    def ruid(self) -> str:
        return f"UmFuZG9t{self.dice.code(16)}"

    def xml(self, body: str, status: int = 200) -> web.Response:
        """A document with its request id in a comment."""
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n<!-- RUID: [{self.ruid()}] -->'
        return web.Response(text=text, status=status, content_type="text/xml")

    def fail(self, root: str, code: str, text: str, status: int = 200) -> web.Response:
        """An OTA failure, which may come with 200."""
        error = f'<Errors><Error Type="6" Code={quoteattr(code)} ShortText={quoteattr(text)}/></Errors>'
        return self.xml(f'<{root} xmlns="http://www.opentravel.org/OTA/2003/05">{error}</{root}>', status)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if call.route.startswith("/hotels/ota/"):
            return self.fail("OTA_ErrorRS", str(status), message or f"error {status}", status)
        if call.route.startswith("/hotels/xml/"):
            return self.xml(f"<fault code={quoteattr(str(status))} string={quoteattr(message or 'error')}/>", status)
        errors = [{"message": message or f"error {status}", "code": str(status), "details": None}]
        return self.reply({"meta": {"ruid": self.ruid()}, "warnings": [], "errors": errors, "data": None}, status)

    def data(self, data: Any, **more: Any) -> web.Response:
        return self.reply({"meta": {"ruid": self.ruid()}, "warnings": [], "errors": [], "data": data, **more})

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        return self.failure(429, call, f"Too many requests: {refusal.tier.name}")

    def budget(self, method: str, route: str) -> str:
        return "token" if route == EXCHANGE else "read" if method == "GET" else "write"
