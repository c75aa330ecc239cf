"""The simulated Guesty's account: tokens, limits and their headers, error bodies."""

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

from syncd.drivers.guesty.simulator_data import build, object_id
from syncd.testing.base import Call, Route, Simulator
from syncd.testing.collection import Entry, Raw, World
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier, never, rate

WINDOWS = {1.0: "Second", 60.0: "Minute", 3600.0: "Hour"}
EXPIRED = "You don't have permission to access, please contact Guesty support."


class GuestyAccount(Simulator):
    """Who may call, and how often."""

    name = "guesty"
    token_route = "/oauth2/token"  # noqa: S105 - a path
    id_field = "_id"
    mutable = ("listings", "reservations", "guests")
    routes: ClassVar[tuple[Route, ...]] = (
        ("POST", "/oauth2/token", "token"),
        ("GET", "/v1/accounts/me", "me"),
    )

    credentials: ClassVar[Mapping[str, str]] = {"client_id": "client_id", "client_secret": "client_secret"}

    def __init__(self, **options: Any) -> None:
        self.tokens: dict[str, float] = {}
        """Token -> when it ends, on the monotonic clock."""
        self.requests = 0
        self.days: dict[str, list[Raw]] = {}
        """By listing, what was set of ranges of its days, oldest first."""
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
            stated = float(self.options["stated"].get(window, tier.told))
            left = self.enforcer.book(tier, "").left(now) - tier.limit + stated
            headers[f"X-RateLimit-Limit-{window}"] = str(int(stated))
            headers[f"X-RateLimit-Remaining-{window}"] = str(max(int(left), 0))

    def me(self, call: Call) -> web.Response:
        account = self.state.facts["account"]
        return self.reply({"id": account, "_id": account, "active": True, "name": "Simulated Stays", "timezone": "UTC"})
