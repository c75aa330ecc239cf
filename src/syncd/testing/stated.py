"""A simulator that is stated and not written: what is listed where, how pages go on, what proves who calls, what is signed.

For a partner without oddities that is all; one that has some overrides a method (see `base.py`). What is stated comes from
the partner's documentation, not from the driver:

    class AcmeSimulator(StatedSimulator):
        name = "acme"
        base_path = "/v1"
        proof = Proof("bearer")
        rates = ("10/s",)
        rows = (Rows("things", "/things", paging=Paging("cursor", "cursor", next="next"), since="updated_since"),)
"""

from __future__ import annotations

import hashlib
import hmac
import secrets as chance
from base64 import b64decode
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, get_args
from urllib.parse import parse_qs, urlencode

import orjson
from aiohttp import web

from syncd.kit import Delivery as Signed
from syncd.kit import Headers, put
from syncd.kit.deliveries import Webhooks
from syncd.kit.signing import signed
from syncd.testing.account import Account
from syncd.testing.base import Call, Simulator
from syncd.testing.collection import Entry, Raw, World
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice, epoch, iso
from syncd.testing.limits_server import Refusal, Seats, Tier, tiers_from
from syncd.testing.stated_rows import Paging, Proof, Rows, place_of

__all__ = ["Paging", "Proof", "Rows", "StatedSimulator", "Webhooks", "example"]

WHAT = {"create": "created", "update": "updated", "delete": "deleted"}
TOKEN_SECONDS = 3600.0


def example(file: str, resource: str) -> Raw:
    """The raw record of a driver's sample `<resource>.plain.json` beside its `simulator.py` (`__file__`)."""
    found = orjson.loads((Path(file).parent / "samples" / f"{resource}.plain.json").read_bytes())["raw"]
    assert isinstance(found, dict)
    return found


class StatedSimulator(Simulator):
    """Options: `records` (of each kind; of a child, of each parent), `key`, `user`, `secret`, `refresh`, `token_seconds`,
    `webhook_secret`."""

    rows: ClassVar[tuple[Rows, ...]] = ()
    proof: ClassVar[Proof] = Proof("none")
    rates: ClassVar[tuple[str, ...]] = ("10/s",)
    seats: ClassVar[int] = 8
    hooks: ClassVar[Webhooks | None] = None
    """How deliveries are signed; None: there are none."""
    error_path: ClassVar[tuple[str, str]] = ("error.code", "error.message")

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        base = cls.base_path.rstrip("/")
        named = [
            ("POST" if one.paging.place == "body" else one.method, f"{base}{place_of(one.path)}", one)
            for one in cls.rows
        ]
        cls.routes = (
            *((method, path, "get_list") for method, path, _ in named),
            *(("GET", f"{base}{place_of(one.one)}", "get_one") for one in cls.rows if one.one),
            *((("POST", cls.proof.token_path, "post_token"),) if cls.proof.token_path else ()),
        )
        cls._listed = {(method, path): one for method, path, one in named}
        cls._single = {f"{base}{place_of(one.one)}": one for one in cls.rows if one.one}
        cls.token_route = cls.proof.token_path
        cls.credentials = cls.proof.credentials
        cls.mutable = tuple(one.name for one in cls.rows if not one.parent)

    _listed: ClassVar[dict[tuple[str, str], Rows]] = {}
    _single: ClassVar[dict[str, Rows]] = {}

    def defaults(self) -> dict[str, Any]:
        return {
            "records": 25,
            "key": f"{self.name}-key-4e1c7a90",
            "user": f"{self.name}-user",
            "secret": f"{self.name}-secret-9b27d3f1",
            "refresh": f"{self.name}-refresh-51e08c6d",
            "token_seconds": TOKEN_SECONDS,
            "webhook_secret": "whsec_c3RhdGVkLXNpbXVsYXRvci1rZXk=",  # not-a-secret
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        return tiers_from(list(self.rates)), [Seats("concurrency", self.seats, reason="concurrency")]

    # What is there

    def make_world(self, dice: Dice) -> World:
        self._tokens: dict[str, float] = {}
        self._refresh = str(self.options["refresh"])
        world = World(one.name for one in self.rows)
        start, number = Account.now(self) - 86_400.0, 0
        for rows in self.rows:
            parents = [entry.id for entry in world[rows.parent]] if rows.parent else [""]
            for parent in parents[: 5 if rows.parent else 1]:
                for _ in range(3 if rows.parent else int(self.options["records"])):
                    number += 1
                    raw = rows.record(number, start + number, parent)
                    world[rows.name].add(rows.id_of(raw), raw, start + number)
        return world

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        rows = self._rows(resource)
        raw = rows.record(100_000 + self.mutated["create"], self.now(), "")
        raw |= fields or {}
        return rows.id_of(raw), raw

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        rows = self._rows(resource)
        fresh = deepcopy(super().alter(resource, raw, changes))
        if rows.updated:
            put(fresh, rows.updated, rows.stamp(self.now()))
        if changes is None and isinstance(fresh.get(rows.words), str):
            fresh[rows.words] = self.dice.sentence(2)
        return fresh

    def _rows(self, name: str) -> Rows:
        return next(one for one in self.rows if one.name == name)

    # Answers

    def get_list(self, call: Call) -> web.Response:
        rows = self._listed[call.method, call.route]
        given: dict[str, Any] = {name: call.query[name] for name in call.query}
        if rows.paging.place == "body":
            given = call.json()
        entries = list(self.listing(call, rows.name))
        parent = next((value for name, value in call.args.items() if name != "id"), "") if rows.parent else ""
        if rows.parent:
            if self.state[rows.parent].get(parent) is None:
                return self.failure(404, call, f"no such {rows.parent}")
            entries = [entry for entry in entries if rows.parent_of(entry.raw) == parent]
        if rows.since and (since := rows.given(given, rows.since)) is not None:
            try:
                entries = [entry for entry in entries if rows.changed_at(entry.raw) >= epoch(str(since))]
            except ValueError:
                return self.failure(400, call, f"{rows.since} is no moment")
        try:
            body, headers = rows.answer([entry.raw for entry in entries], given, str(call.request.url))
        except ValueError as error:
            return self.failure(400, call, str(error))
        return self.reply(body, headers=headers)

    def get_one(self, call: Call) -> web.Response:
        rows = self._single[call.route]
        entry = self.state[rows.name].get(call.args["id"])
        if entry is None:
            return self.failure(404, call, f"there is no {rows.name} {call.args['id']}")
        body: Raw = entry.raw
        if rows.one_records:
            body = {}
            put(body, rows.one_records, entry.raw)
        return self.reply(body)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        body: Raw = {}
        put(body, self.error_path[0], f"e{status}")
        put(body, self.error_path[1], message or f"error {status}")
        return self.reply(body, status)

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        answer = self.failure(429, call, "too many requests")
        answer.headers["Retry-After"] = str(int(refusal.wait_seconds) + 1)
        return answer

    # Who calls

    def authorise(self, call: Call) -> web.Response | None:
        return None if self._proven(call) else self.failure(401, call, "who is asking?")

    def _proven(self, call: Call) -> bool:
        told, proof = call.request.headers.get(self.proof.header, ""), self.proof
        key, user, secret = (str(self.options[name]) for name in ("key", "user", "secret"))
        match proof.kind:
            case "none":
                return True
            case "api_key" if proof.query:
                return hmac.compare_digest(call.query.get(proof.query, "").encode(), key.encode())
            case "api_key" | "bearer":
                return hmac.compare_digest(told.encode(), f"{proof.prefix}{key}".encode())
            case "basic":
                scheme, _, rest = told.partition(" ")
                try:
                    return scheme == "Basic" and b64decode(rest) == f"{user}:{secret}".encode()
                except ValueError:
                    return False
            case "signer":
                stamp = call.request.headers.get("X-Timestamp", "")
                text = f"{stamp}{call.method}{call.request.raw_path}".encode()
                return hmac.compare_digest(
                    told.encode(), hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode()
                )
        return self._tokens.get(told.removeprefix("Bearer "), 0.0) > self.clock.monotonic()

    def post_token(self, call: Call) -> web.Response:
        """RFC 6749: client credentials, or a refresh token that is good for one use."""
        text = call.body.decode()
        given = (
            orjson.loads(text) if text.startswith("{") else {name: values[0] for name, values in parse_qs(text).items()}
        )
        told = call.request.headers.get("Authorization", "")
        if told.startswith("Basic "):
            user, _, secret = b64decode(told[6:]).decode().partition(":")
            given |= {"client_id": user, "client_secret": secret}
        if (given.get("client_id"), given.get("client_secret")) != (self.options["user"], self.options["secret"]):
            return self.reply({"error": "invalid_client"}, 401)
        seconds = float(self.options["token_seconds"])
        answer: Raw = {"access_token": chance.token_urlsafe(24), "token_type": "Bearer", "expires_in": int(seconds)}
        if self.proof.kind == "oauth2_refresh":
            if given.get("refresh_token") != self._refresh:
                return self.reply({"error": "invalid_grant"}, 400)
            answer["refresh_token"] = self._refresh = chance.token_urlsafe(24)
        self._tokens[answer["access_token"]] = self.clock.monotonic() + seconds
        return self.reply(answer)

    # Webhooks

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        entry = after or before
        if self.hooks is None or entry is None:
            return
        event = f"{resource}.{WHAT[what]}"
        name = f"evt_{self.dice.code(16)}"
        told = {"id": name, "type": event, "at": iso(self.now(), 0)}
        if self.hooks.verify == "twilio":
            body = urlencode({**told, "data_id": entry.id}).encode()
        else:
            body = orjson.dumps({**told, "data": {"id": entry.id}})
        self.deliveries.post(event, body, name)

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        if self.hooks is None or self.hooks.known_by_url:
            return {}
        own = {"webhook-id": message_id} if self.hooks.verify == "standard" else {}
        if self.hooks.verify == "twilio":
            own["Content-Type"] = "application/x-www-form-urlencoded"
        delivery = Signed(body, Headers(own), target.url)
        return {**own, **signed(self.hooks, delivery, target.secrets[0], self.now())}


KINDS: tuple[str, ...] = get_args(Webhooks.model_fields["verify"].annotation)
"""Every scheme deliveries can be signed by."""
