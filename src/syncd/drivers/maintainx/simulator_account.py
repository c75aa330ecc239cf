"""The simulated MaintainX's account: keys, organizations, the limits of a fixed window, error bodies."""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from syncd.drivers.maintainx.simulator_data import Mint, build
from syncd.testing.base import Call, Simulator
from syncd.testing.collection import World
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier

ORGANIZATION: Final = "x-organization-id"
COUNTS: Final = {
    "organizations": 1, "locations": 12, "users": 30, "teams": 5, "team_members": 15, "vendors": 10, "categories": 8,
    "assets": 80, "parts": 60, "meters": 15, "work_orders": 300, "work_order_comments": 60, "work_requests": 40,
    "purchase_orders": 25, "purchase_order_details": 0, "vendor_details": 0,
}  # fmt: skip


class MaintainXAccount(Simulator):
    """Who may call, and how often."""

    name = "maintainx"
    mutable = ("work_orders", "assets", "parts", "purchase_orders", "work_requests", "work_order_comments")
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "key"}

    def defaults(self) -> dict[str, Any]:
        return {
            "key": "simulated-maintainx-key",
            "keys": [],
            "organization_required": False,
            "history": 400,
            "approval": False,
            "stamp": "seconds",
            "foreign_uri": "",
            "patch_status": "ignore",
            **COUNTS,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        user = Tier("user", 100, 60.0, "fixed", key=lambda call: "", reason="100 a minute of one user")
        all_users = Tier("organization", 500, 60.0, "fixed", key=lambda call: "", reason="500 a minute of all users")
        return [user, all_users], []

    def make_world(self, dice: Dice) -> World:
        counts = {name: int(self.options[name]) for name in COUNTS}
        self.told: dict[str, dict[int, Any]] = {}
        return build(dice, counts, self.now(), int(self.options["history"]))

    @property
    def mint(self) -> Mint:
        return Mint(self.dice, self.state)

    def authorise(self, call: Call) -> web.Response | None:
        scheme, _, key = call.request.headers.get("Authorization", "").partition(" ")
        known = [str(self.options["key"]), *map(str, self.options["keys"])]
        fits = [hmac.compare_digest(one.encode(), key.encode("utf-8", "surrogateescape")) for one in known]
        if scheme.lower() != "bearer" or not any(fits):
            return web.Response(status=401)  # without a body
        ours = {str(entry.raw["id"]) for entry in self.state["organizations"]}
        given = call.request.headers.get(ORGANIZATION)
        if given is None:
            wanted = self.options["organization_required"] and call.route != "/v1/organizations"
            return self.failure(400, call, "Missing x-organization-id header.") if wanted else None
        if given not in ours or "x-organization-ids" in call.request.headers:
            return self.failure(400, call, "Invalid x-organization-id header.")
        return None

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        wait = max(math.ceil(refusal.wait_seconds), 1)
        return self.reply({"error": f"Too many requests. Please retry in {wait} seconds"}, 429)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        if status == 401:
            return web.Response(status=401)
        if status in (400, 403):
            words = message or ("Bad request" if status == 400 else "User don't have the right permissions")
            return self.reply({"errors": [{"error": words, "fieldPath": None}]}, status)
        return self.reply(
            {"error": message or {404: "Not Found", 429: "Too many requests"}.get(status, "Internal")}, status
        )

    def invalid(self, path: str, value: Any, message: str = "") -> web.Response:
        """400 for one field."""
        shown = value if isinstance(value, str | int | float | bool) else str(value)
        said = {"error": message or f"Invalid {path}", "fieldPath": path, "fieldValue": shown}
        return self.reply({"errors": [said]}, 400)

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        now = self.clock.monotonic()
        tier = self.enforcer.tiers[0] if self.enforcer.tiers else None
        if tier is None:
            return
        window = tier.window_seconds
        response.headers["X-Rate-Limit-Limit"] = str(int(tier.told))
        response.headers["X-Rate-Limit-Remaining"] = str(int(self.enforcer.book(tier, "").left(now)))
        response.headers["X-Rate-Limit-Reset"] = str(math.ceil((now // window + 1) * window - now))
