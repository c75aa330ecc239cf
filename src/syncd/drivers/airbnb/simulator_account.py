"""The simulated Airbnb's account: tokens by JSON, the two headers, limits, errors, and how its secret is rotated."""

from __future__ import annotations

import base64
import binascii
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from syncd.drivers.airbnb.simulator_data import Mint, build
from syncd.testing.base import Answer, Call, Route, Simulator
from syncd.testing.collection import Raw, World
from syncd.testing.consent import Consents
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier

VERSIONS = ("2022.12.31", "2023.06.30", "2024.06.30", "2024.12.31", "2025.06.30")
DENIED = "You do not have permission to access this resource."


class AirbnbAccount(Simulator):
    """Who may call, and how often."""

    name = "airbnb"
    base_path = "/v2"
    token_route = "/v2/oauth2/authorizations"  # noqa: S105 - a path
    consent_route = "/oauth2/auth"
    id_field = "id_str"
    mutable = ("listings", "reservations", "threads")
    routes: ClassVar[tuple[Route, ...]] = (
        ("GET", "/oauth2/auth", "consent"),
        ("POST", "/v2/oauth2/authorizations", "token"),
        ("GET", "/v2/oauth2/authorizations/{token}", "token_tested"),
        ("DELETE", "/v2/oauth2/authorizations/{token}", "token_revoked"),
        ("GET", "/v2/users/me", "me"),
    )
    credentials: ClassVar[Mapping[str, str]] = {
        "client_id": "client_id",
        "client_secret": "client_secret",
        "refresh_token": "refresh_token",
    }

    def __init__(self, **options: Any) -> None:
        self.tokens: dict[str, tuple[float, str]] = {}
        """Access token -> when it ends on the monotonic clock, and the client secret it was got with."""
        self.secrets: dict[str, float | None] = {}
        """Client secrets, and until when each is accepted; None: for ever."""
        self.uses: dict[str, int] = {}
        """Of a secret that is to fail soon: calls its tokens are still good for."""
        self.denied: str | None = None
        """What the beginning of calls' paths is that are refused for want of a right."""
        self.mint: Mint
        super().__init__(**options)
        self.secrets[str(self.options["client_secret"])] = None
        self.refresh = {str(self.options["refresh_token"])}
        self.consents = Consents(self.clock, self.dice, client_id=str(self.options["client_id"]), typed=False)

    def defaults(self) -> dict[str, Any]:
        return {
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
            "refresh_token": "simulated-refresh-token",
            "code": "simulated-code",
            "token_seconds": 86400,
            "history": 200,
            "shape": "new",
            "cursors": True,
            "retry_after": False,
            "listings": 30,
            "reservations": 200,
            "threads": 60,
            "alterations": 20,
            "past": 0,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        return [Tier("10 minutes", 200, 600.0)], [Seats("concurrency", 1)]

    def make_world(self, dice: Dice) -> World:
        counts = {
            name: int(self.options[name]) for name in ("listings", "reservations", "threads", "alterations", "past")
        }
        mint = build(f"{self.seed}-{dice.code(4)}", counts, self.now(), int(self.options["history"]))
        if not hasattr(self, "state"):
            self.mint = mint
        return mint.world

    # Tokens

    def _client(self, call: Call) -> str:
        """The client secret that is shown and good. Raises Answer."""
        scheme, _, told = call.request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, secret = base64.b64decode(told, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, secret = "", ""
        ends = self.secrets.get(secret, 0.0)
        good = ends is None or self.clock.monotonic() < ends
        if scheme != "Basic" or user != self.options["client_id"] or not good:
            self.counters.count("token_refusals")
            raise Answer(self.failure(401, call))
        return secret

    def _granted(self, call: Call, answer: Raw) -> web.Response:
        return self.reply(answer if call.query.get("_unwrapped") == "true" else {"oauth2_authorization": answer})

    def consent(self, call: Call) -> web.Response:
        """The host allows the application; `consents.denies`: not."""
        return self.consents.page(call)

    def token(self, call: Call) -> web.Response:
        """A code or a refresh token in a JSON body; nothing there is called a grant type."""
        secret = self._client(call)
        try:
            given = call.json()
        except ValueError:
            given = None
        if call.request.content_type != "application/json" or not isinstance(given, dict) or "grant_type" in given:
            return self.reply({"status": 400, "error": "Invalid Request"}, 400)
        allowed = given.get("code") == self.options["code"] or self.consents.spend(given, redirect=False)
        fresh = allowed or given.get("reset_refresh_token") == 1
        if not allowed and given.get("refresh_token") not in self.refresh:
            self.counters.count("token_refusals")
            return self.failure(404, call)
        self.counters.count("tokens_issued")
        life = float(self.options["token_seconds"])
        access = f"at-{self.dice.code(40)}"
        self.tokens[access] = (self.clock.monotonic() + life, secret)
        host = self.mint.host
        answer = {
            "access_token": access,
            "expires_at": int(self.now() + life),
            "user_id": host,
            "user_id_str": str(host),
        }
        if fresh:
            answer["refresh_token"] = f"rt-{self.dice.code(40)}"
            if given.get("reset_refresh_token") == 1:
                self.refresh.discard(str(given["refresh_token"]))
            self.refresh.add(str(answer["refresh_token"]))
        return self._granted(call, answer)

    def _known(self, call: Call) -> str:
        self._client(call)
        token = call.args["token"]
        if token not in self.tokens:
            raise Answer(self.failure(404, call))
        return token

    def token_tested(self, call: Call) -> web.Response:
        token, host = self._known(call), self.mint.host
        ends = self.tokens[token][0] - self.clock.monotonic()
        told = {"expires_at": int(self.now() + ends), "token": token, "token_type": "access_token", "user_id": host}
        return self._granted(call, {**told, "user_id_str": str(host), "valid": ends > 0})

    def token_revoked(self, call: Call) -> web.Response:
        del self.tokens[self._known(call)]
        return self.reply({"user_id": self.mint.host, "valid": False})

    def authorise(self, call: Call) -> web.Response | None:
        if call.route.startswith("/v2/oauth2/authorizations/"):
            return None
        headers = call.request.headers
        if headers.get("X-AIRBNB-REQ-API-VERSION") not in VERSIONS:
            return self.reply({"status": 400, "error": "Invalid Request"}, 400)
        ends, secret = self.tokens.get(headers.get("X-Airbnb-OAuth-Token", ""), (0.0, ""))
        if headers.get("X-Airbnb-API-Key") != self.options["client_id"] or self.clock.monotonic() >= ends:
            return self.failure(401, call)
        if secret in self.uses:
            self.uses[secret] -= 1
            if self.uses[secret] < 0:
                self.secrets[secret] = 0.0
                return self.failure(401, call)
        return self.failure(403, call) if self.denied and call.request.path.startswith(self.denied) else None

    def me(self, call: Call) -> web.Response:
        return self.reply({"user": self.state["hosts"].entries[str(self.mint.host)].raw})

    # What happens to an account

    def rotate(self, params: Raw) -> Raw:
        """A new client secret, announced; `works` False: it never will, `uses`: it fails after so many calls."""
        secret = str(params.get("secret") or f"secret-{self.dice.code(24)}")
        now, body = self.clock.monotonic(), dict(params.get("body") or {"integration_id": "airbnb"})
        if params.get("works", True):
            if "uses" in params:
                self.uses[secret] = int(params["uses"])
            else:
                for old in [one for one, ends in self.secrets.items() if ends is None]:
                    self.secrets[old] = now + float(params.get("grace", 3600.0))
            self.secrets[secret] = None
        self.notify(str(params.get("event", "")), {**body, str(params.get("at", "secret")): secret})
        return {"secret": secret}

    @abstractmethod
    def notify(self, action: str, body: Raw) -> None:
        """One notification; what no action names has none."""

    # Errors

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        wait = {"Retry-After": str(int(refusal.wait_seconds) + 1)} if self.options["retry_after"] else {}
        return self.reply({"error_code": 429, "error": "too_many_requests", "error_message": "Slow down."}, 429, wait)

    def special(self, kind: str, call: Call) -> web.Response | None:
        """Another write to the same listing is under way."""
        said = {"error_code": 429, "error_class": "ConcurrencyLimitError", "error_message": "Try again."}
        return self.reply(said, 429)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        said: Raw = {"error_code": status}
        if status == 401:
            said |= {"error": "authentication_required", "error_message": message or "Please login to continue."}
        elif status == 403:
            said |= {"error_type": "no_access", "error_message": message or DENIED, "error_id": "simulated",
                     "error_class": "ServiceRequestAuthorizationError", "error_title": None}  # fmt: skip
        elif status == 404:
            said |= {"error_type": "record_not_found", "error_class": "RecordNotFoundError", "error_id": "api_frwrk_sim",
                     "error_message": message or "Unfortunately, this is no longer available."}  # fmt: skip
        else:
            said |= {"error": "server_error", "error_message": message or "Something went wrong."}
        return self.reply(said, status)

    def invalid(self, message: str) -> web.Response:
        details = [{"error_message": message, "error_reason": "invalid"}]
        return self.reply({"error_code": 400, "error_type": "validation_error", "error_details": details}, 400)
