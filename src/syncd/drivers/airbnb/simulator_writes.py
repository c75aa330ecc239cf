"""How the simulated Airbnb changes: by its own API, by tests, and the signed notifications that tell of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from syncd.drivers.airbnb.simulator_account import AirbnbAccount
from syncd.drivers.airbnb.simulator_data import DAY, STATUSES, day, offset_iso
from syncd.testing.base import Call, Route
from syncd.testing.collection import Entry, Raw, merged
from syncd.testing.deliveries import Target
from syncd.testing.dice import epoch

CONFIRMED = {"pending": "reservation_requested", "accept": "reservation_acceptance_confirmation"}
REASONS = ("dates_not_available", "not_a_good_fit", "waiting_for_better_reservation", "not_comfortable")
ONLY_IDS = "2023.06.30"
"""From this version on the answer to a POST has an id and no more."""
PLATFORMS = ("VRBO", "BOOKING_COM", "OTHER")
NOT_OF_A_DAY = ("dates", "busy_subtype", "platform", "other_platform_name", "available_count")


class AirbnbWrites(AirbnbAccount):
    """Everything but the reads."""

    routes: ClassVar[tuple[Route, ...]] = (
        *AirbnbAccount.routes,
        ("PUT", "/v2/reservations/{id}", "put_reservation"),
        ("PUT", "/v2/reservation_alterations/{id}", "put_alteration"),
        ("POST", "/v2/messages", "post_message"),
        ("PUT", "/v2/listings/{id}", "put_listing"),
        ("POST", "/v2/calendar_operations_requests", "post_operations"),
    )

    def __init__(self, **options: Any) -> None:
        self._key: RSAPrivateKey | None = None
        self._wrong: RSAPrivateKey | None = None
        self.written: dict[str, dict[str, Raw]] = {}
        """Days of calendars that were written, by listing."""
        self.made = 0
        self.quiet = False
        super().__init__(**options)
        self.deliveries.accepts = lambda status, body: status == 200 and orjson.loads(body or b"0") == {"succeed": True}

    # Notifications

    @property
    def key(self) -> RSAPrivateKey:
        """Made when first needed: it takes a while."""
        if self._key is None:
            self._key = generate_private_key(65537, 2048)
        return self._key

    def public_key(self) -> str:
        """In PEM, as the partner portal gives it."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def notify(self, action: str, body: Raw) -> None:
        said = {"action": action, **body} if action else body
        self.deliveries.post(action or "credentials", orjson.dumps(said), f"n-{self.dice.code(20)}")

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        if self.quiet or after is None:
            return
        raw = after.raw
        if resource == "reservations":
            action = CONFIRMED.get(raw["status_type"], "reservation_alteration_confirmation")
            if raw["status_type"].startswith("cancelled"):
                action = "reservation_cancellation_confirmation"
            elif what == "update" and action != "reservation_requested":
                action = "reservation_alteration_confirmation"
            self.notify(action, {"reservation": raw})
        elif resource == "threads":
            thread = {name: value for name, value in raw.items() if name != "messages"}
            self.notify("message_added", {"thread": thread, "message": raw["messages"][-1]})
        elif resource == "listings" and before is not None:
            category = raw["synchronization_category"]
            if before.raw["synchronization_category"] != category:
                told = {"listing_id": raw["id"], "synchronization_category": category}
                self.notify("listing_synchronization_settings_updated", {"host_id": self.mint.host, "updates": [told]})

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        known = self.deliveries.targets.get(target.id)
        key = self.key
        if known is None or known.secrets != target.secrets:  # an attack
            self._wrong = key = self._wrong or generate_private_key(65537, 2048)
        parts, kind = urlsplit(target.url), "application/json"
        date = self.date(self.now() - self.clock.now().timestamp())
        said = "|".join((parts.hostname or "", parts.path, "POST", date, kind)).encode() + b"|" + body
        seal = base64.b64encode(key.sign(said, PKCS1v15(), SHA256())).decode()
        order = 'headers="host url method date content-type body",delimiter="|"'
        told = f'keyId="booking_web_hooks",algorithm="rsa-sha256",{order},signature="{seal}"'
        return {"Authorization": f"Signature {told}", "Date": date, "Content-Type": kind}

    def subscription(self, url: str, secrets: list[str], events: list[str]) -> Target:
        return super().subscription(url, secrets or ["the application's"], events)

    def action(self, name: str, params: Raw) -> Any:
        """`public_key`, `rotate`, `map` ({"id"}), `unlink` ({"id"}), `revoke`, `expire_tokens`, `test`, `deny` ({"on", "of":
        only calls whose path begins so, such as "reservations", as where a scope was lost}), `remove` ({"id"}: a listing is
        deleted without a word), `message_first` (of a reservation nobody was told of), `quietly` ({"resource", "id",
        "changes"}: without a notification), `notify` ({"event", "body"})."""
        match name:
            case "public_key":
                return {"pem": self.public_key()}
            case "rotate":
                return self.rotate(params)
            case "map":
                return self._mapped(str(params["id"]))
            case "unlink":
                self.quiet = True
                self.update("listings", str(params["id"]), {"synchronization_category": None})
                self.quiet = False
                self.notify("listings_unlinked", {"host_id": self.mint.host, "listing_ids": [int(params["id"])]})
            case "revoke":
                self.tokens.clear()
                self.refresh.clear()
                self.notify("authorization_revoked", {"host_id": self.mint.host, "listing_ids": []})
            case "expire_tokens":
                self.tokens = {token: (0.0, secret) for token, (_, secret) in self.tokens.items()}
            case "test":
                self.notify("test_notification", {"listing_id": 0})
                self.notify("reservation_requested", {"reservation": {"confirmation_code": "TEST", "listing_id": 0}})
            case "deny":
                self.denied = f"/v2/{params.get('of', '')}" if params.get("on", True) else None
            case "remove":
                self.quiet = True
                self.delete("listings", str(params["id"]))
                self.quiet = False
            case "message_first":
                self.quiet = True
                code = self.create("reservations", {"status_type": "accept"})
                self.quiet = False
                booking = {"reservation_confirmation_code": code}
                thread = self.create("threads", {"attachment": {"booking_details": booking}})
                return {"reservation": code, "thread": thread}
            case "quietly":
                self.quiet = True
                self.update(str(params["resource"]), str(params["id"]), dict(params["changes"]))
                self.quiet = False
            case "notify":
                self.notify(str(params.get("event", "")), dict(params.get("body", {})))
            case _:
                return None
        return {"ok": True}

    def _mapped(self, old: str) -> Raw:
        """The listing gets another id, and its reservations follow."""
        raw = self.state["listings"].entries[old].raw
        new = str(1_300_000_000_000_000_000 + len(self.state["listings"].gone))
        self.quiet = True
        self.delete("listings", old)
        self.state["listings"].add(new, {**raw, "id": int(new), "id_str": new}, self.now())
        for entry in [each for each in self.state["reservations"] if each.raw["listing_id_str"] == old]:
            self.update("reservations", entry.id, {"listing_id": int(new), "listing_id_str": new})
        self.quiet = False
        self.notify("listings_mapped", {"mappings": [{"listing_id": int(old), "updated_listing_id": int(new)}]})
        return {"id": new}

    # Changes

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        self.made += 1
        external_id = self.mint.fresh_id(resource, 100_000 + self.made)
        raw = getattr(self.mint, resource)(external_id, self.now() - 7200)
        if "updated_at" in raw:
            raw = {**raw, "updated_at": offset_iso(self.now())}
        if fields is None and resource == "reservations":
            raw = {**raw, "status_type": self.dice.pick(("pending", "accept"))}
        return external_id, merged(raw, fields or {})

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        stamp = offset_iso(max(self.now(), epoch(raw.get("updated_at", "2020-01-01")) + 1))
        if resource == "reservations":
            more = changes or {"status_type": self.dice.pick(STATUSES), "nights": self.dice.between(1, 20)}
            return merged(raw, {"updated_at": stamp, **more})
        if resource == "threads":
            number = len(raw["messages"])
            said = {"id": int(raw["id"]) * 10 + number, "id_str": f"{raw['id']}{number}", "message": self.dice.sentence(5),
                    "created_at": stamp, "user_id": self.mint.host, "attachment_images": []}  # fmt: skip
            told = changes or {"messages": [*raw["messages"], said]}
            return merged(raw, {"updated_at": stamp, "last_message_sent_at": stamp, **told})
        if resource == "alterations":
            return merged(raw, {"updated_at": stamp, "response_at": stamp, **(changes or {"status": "ACCEPTED"})})
        return merged(raw, changes or {"listing_price": self.dice.between(40, 900), "name": self.dice.sentence(3)})

    def deletable(self, resource: str) -> bool:
        return resource == "listings"

    # Writes

    def _given(self, call: Call) -> Raw:
        try:
            given = call.json()
        except ValueError:
            return {}
        return given if isinstance(given, dict) else {}

    def put_reservation(self, call: Call) -> web.Response:
        """The answer is empty: whoever wrote reads it again."""
        given, entry = self._given(call), self.state["reservations"].get(call.args["id"])
        if entry is None:
            return self.failure(403, call)
        asked = given.get("attempt_action")
        if asked in ("accept", "deny") and entry.raw["status_type"] != "pending":
            return self.invalid("the request is not pending")
        if asked == "deny" and (
            given.get("decline_reason") not in REASONS or not given.get("decline_message_to_guest")
        ):
            return self.invalid("a reason and a message to the guest are required")
        if asked not in ("accept", "deny") and (
            given.get("status_type") != "cancelled_by_host" or not given.get("reason")
        ):
            return self.invalid("nothing of this can be done")
        self.update("reservations", entry.id, {"status_type": asked or "cancelled_by_host"})
        return self.reply({})

    def put_alteration(self, call: Call) -> web.Response:
        entry = self.state["alterations"].get(call.args["id"])
        if entry is None:
            return self.failure(404, call)
        if self._given(call).get("status") not in ("ACCEPTED", "DECLINED", "CANCELED"):
            return self.invalid("no such status")
        self.update("alterations", entry.id, {"status": self._given(call)["status"]})
        return self.reply({})

    def post_message(self, call: Call) -> web.Response:
        given = self._given(call)
        entry = self.state["threads"].get(str(given.get("thread_id")))
        if entry is None or not given.get("message"):
            return self.failure(403, call) if entry is None else self.invalid("a message is required")
        messages = self.alter("threads", entry.raw, None)["messages"]
        messages[-1]["message"] = given["message"]
        self.update("threads", entry.id, {"messages": messages})
        since = call.request.headers["X-AIRBNB-REQ-API-VERSION"] >= ONLY_IDS
        return self.reply({"message": {"id": messages[-1]["id"]} if since else messages[-1]})

    def put_listing(self, call: Call) -> web.Response:
        entry = self.state["listings"].get(call.args["id"])
        if entry is None:
            return self.failure(403, call)
        given = self._given(call)
        if given.get("has_availability") is False and len(given) < 2:
            return self.invalid("a deactivation reason is required")
        self.update("listings", entry.id, {"has_availability": bool(given.get("has_availability"))})
        return self.reply({"listing": None})

    def post_operations(self, call: Call) -> web.Response:
        given, dates = self._given(call), 0
        listing = str(given.get("listing_id"))
        if listing not in self.state["listings"].entries:
            return self.failure(403, call)
        written: dict[str, Raw] = {}
        for one in given.get("operations") or []:
            if one.get("availability") == "unavailable" and not one.get("busy_subtype"):
                return self.invalid("a block needs busy_subtype")
            if one.get("busy_subtype") == "OUTSIDE_RESERVATION" and one.get("platform") not in PLATFORMS:
                return self.invalid("a block by a reservation outside names its platform")
            more = {name: value for name, value in one.items() if name not in NOT_OF_A_DAY}
            for told in one["dates"]:
                first, _, last = told.partition(":")
                at, end = epoch(first), epoch(last or first)
                while at <= end:
                    written[day(at)] = {**written.get(day(at), {}), **more}
                    at, dates = at + DAY, dates + 1
        if not 0 < dates <= 731:
            return self.invalid("between 1 and 731 dates")
        known = self.written.setdefault(listing, {})
        for date, more in written.items():
            known[date] = {**known.get(date, {}), **more}
        return self.reply({"success": True})
