"""The simulated Twilio account: who may call, how many at once, what it holds, and how messages and calls go on."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from aiohttp import web

from syncd.drivers.twilio.simulator_data import ACCOUNT, FINAL, MEDIA_EVERY, OPEN, VERSION, Mint, epoch, fill, mail
from syncd.testing.base import Call, Simulator
from syncd.testing.collection import Entry, Raw, World, merged
from syncd.testing.deliveries import Target
from syncd.testing.dice import Dice
from syncd.testing.limits_server import Refusal, Seats, Tier

COUNTED = ("messages", "calls", "recordings", "conferences", "incoming_phone_numbers")
NEXT = {
    "messages": {
        "accepted": "queued",
        "scheduled": "queued",
        "queued": "sending",
        "sending": "sent",
        "sent": "delivered",
    },
    "calls": {"queued": "ringing", "ringing": "in-progress", "in-progress": "completed"},
}
CALLBACK = {"messages": ("MessageSid", "MessageStatus"), "calls": ("CallSid", "CallStatus")}


class TwilioAccount(Simulator):
    """Options: `account_sid`, `auth_token` (the primary), `secondary_token`, `key` and `key_secret` (an API key), `history`
    (days of data), `seats` (requests at once), and how many messages, calls, recordings, conferences and
    incoming_phone_numbers there are. Of forty messages one has media."""

    name = "twilio"
    id_field = "sid"
    mutable = ("messages", "calls")
    credentials: ClassVar[Mapping[str, str]] = {"sid": "account_sid", "secret": "auth_token"}

    def __init__(self, **options: Any) -> None:
        self.rules_broken: dict[str, int] = {}
        """Calls that no limit forbids and the documentation does: page numbers of one's own, unknown parameters."""
        self.sequence: dict[str, int] = {}
        super().__init__(**options)
        self.base_path = f"/{VERSION}/Accounts/{self.options['account_sid']}"  # type: ignore[misc]

    def defaults(self) -> dict[str, Any]:
        return {
            "account_sid": ACCOUNT,
            "auth_token": "simulated-twilio-token-1",
            "secondary_token": "simulated-twilio-token-2",
            "key": "SK5c0de5c0de5c0de5c0de5c0de5c0de99",  # not-a-secret
            "key_secret": "simulated-twilio-key-secret",
            "history": 2.0,
            "seats": 10,
            "messages": 300,
            "calls": 80,
            "recordings": 20,
            "conferences": 5,
            "incoming_phone_numbers": 4,
        }

    def limits(self) -> tuple[list[Tier], list[Seats]]:
        """Requests at once; Twilio publishes no number."""
        return [], [Seats("concurrency", int(self.options["seats"]), reason="20429")]

    def stats(self) -> dict[str, Any]:
        said = super().stats()
        return {
            **said,
            "violations": said["violations"] + sum(self.rules_broken.values()),
            "rules_broken": dict(self.rules_broken),
        }

    def breaks(self, rule: str) -> None:
        self.rules_broken[rule] = self.rules_broken.get(rule, 0) + 1

    # Who calls

    def authorise(self, call: Call) -> web.Response | None:
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except ValueError:
            user = password = ""
        options = self.options
        is_key = user == options["key"]
        good = [options["key_secret"]] if is_key else [options["auth_token"], options["secondary_token"]]
        known = scheme.lower() == "basic" and (is_key or user == options["account_sid"])
        if not known or not any(hmac.compare_digest(password.encode(), str(one).encode()) for one in good if one):
            return self.failure(401, call)
        if call.route.endswith("/{account}") and is_key:
            return self.failure(401, call)
        if call.args.get("account", "").removesuffix(".json") not in ("", options["account_sid"]):
            return self.failure(404, call)
        return None

    def refuse(self, refusal: Refusal, call: Call) -> web.Response:
        return self.failure(429, call)

    def failure(self, status: int, call: Call, message: str = "") -> web.Response:
        """JSON where the path ends in .json, else XML as Twilio's 2010 API does."""
        code, usual = {
            400: (21211, "The request is invalid"),
            401: (20003, "Authenticate"),
            404: (20404, f"The requested resource {call.request.path} was not found"),
            429: (20429, "Too Many Requests"),
        }.get(status, (None, "Internal Server Error"))
        if call.request.path.endswith(".json"):
            said: Raw = {"message": message or usual, "status": status}
            if code is not None:  # it may be missing
                said |= {"code": code, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
            return self.reply(said, status)
        self.breaks("without .json")
        text = f"<Status>{status}</Status><Message>{escape(message or usual)}</Message>"
        body = f"<?xml version='1.0' encoding='UTF-8'?><TwilioResponse><RestException>{text}</RestException></TwilioResponse>"
        return web.Response(text=body, status=status, content_type="application/xml")

    # What there is

    def make_world(self, dice: Dice) -> World:
        now, mint = self.now(), Mint(dice.uuid(), str(self.options["account_sid"]))
        if not hasattr(self, "mint"):
            self.mint = mint
        world = World([*COUNTED, "media", "balance"])
        for name in COUNTED:
            count = int(self.options[name])
            span = float(self.options["history"]) * 86400 * (100 if name == "incoming_phone_numbers" else 1)
            times = [now - 1000 - span * (count - number) / max(count, 1) for number in range(count)]
            fill(world[name], [mint.sid(name, number) for number in range(count)], times, mint.base(name))
        with_media = [number for number in range(int(self.options["messages"])) if number % MEDIA_EVERY == 7]
        make = mint.base("media")
        for number in with_media:
            at = world["messages"].entries[mint.sid("messages", number)].key[0]
            world["media"].add(mint.sid("media", number), make(number, at), at)
        raw = {"account_sid": self.options["account_sid"], "balance": "118.43", "currency": "USD"}
        world["balance"].add(str(self.options["account_sid"]), raw, now)
        return world

    def truth(self, resource: str) -> dict[str, Raw]:
        return {sid: raw for sid, raw in super().truth(resource).items() if raw.get("status") != "deleted"}

    # How it changes

    def delete(self, resource: str, external_id: str) -> None:
        """Nothing is left of it but of a recording, which stays listed for who asks for deleted ones too."""
        if resource == "recordings":
            self.update(resource, external_id, {"status": "deleted"})
        else:
            super().delete(resource, external_id)

    def make(self, resource: str, fields: Raw | None) -> tuple[str, Raw]:
        sid = self.mint.sid(resource, f"new-{self.dice.hexadecimal(12)}")
        raw = merged(self.mint.blank(resource, sid, self.now()), fields or {})
        if resource in OPEN and not fields:
            raw = self._went_on(resource, raw, FINAL[resource][0])
        return sid, raw

    def alter(self, resource: str, raw: Raw, changes: Raw | None) -> Raw:
        if changes is None:
            status = raw.get("status", "")
            if status in NEXT.get(resource, {}):
                return self._went_on(resource, raw, NEXT[resource][status])
            changes = {"price": f"-0.0{self.dice.between(100, 999)}0"}  # billed late, or anew
        return {**merged(raw, changes), "date_updated": mail(max(self.now(), _updated(raw) + 1))}

    def _went_on(self, resource: str, raw: Raw, status: str) -> Raw:
        """The record with another status, and what comes with it. The price comes later than the delivery."""
        now = self.now()
        changes: Raw = {"status": status, "date_updated": mail(max(now, _updated(raw) + 1))}
        if (
            resource == "messages"
            and status in ("sent", "delivered", "undelivered", "received")
            and not raw["date_sent"]
        ):
            changes["date_sent"] = mail(now)
        if (
            resource == "calls"
            and status in ("in-progress", "completed", "busy", "no-answer")
            and not raw["start_time"]
        ):
            changes["start_time"] = mail(now)
        if resource == "calls" and status in FINAL["calls"]:
            changes |= {"end_time": mail(now), "duration": "0"}
        return merged(raw, changes)

    def deletable(self, resource: str) -> bool:
        """Not by chance: nothing tells of it but a complete pass."""
        return False

    def action(self, name: str, params: Raw) -> Any:
        """`advance`: every open message and call goes a step on (`to`: to that status). `promote`: the secondary token
        becomes the primary one, with which webhooks are signed. `inbound`: somebody writes to us."""
        if name == "advance":
            moved = 0
            for resource, following in NEXT.items():
                for entry in list(self.state[resource]):
                    if (status := entry.raw["status"]) in following:
                        to = params.get("to") or following[status]
                        self.put(resource, entry.id, self._went_on(resource, entry.raw, to))
                        moved += 1
            return {"moved": moved}
        if name == "promote":
            before, self.options["auth_token"] = self.options["auth_token"], self.options["secondary_token"]
            self.options["secondary_token"] = ""
            for target in self.deliveries.targets.values():
                target.secrets = [self.options["auth_token"] if one == before else one for one in target.secrets]
            return {"promoted": True}
        if name == "inbound":
            fields = {"from": params.get("from", "+4520550142"), "to": self.mint.numbers[0], "body": params.get("body", "Hi"),
                      "direction": "inbound", "status": "received", "date_sent": mail(self.now())}  # fmt: skip
            return {"sid": self.create("messages", fields)}
        return None

    # Telling of it

    def announce(self, what: str, resource: str, before: Entry | None, after: Entry | None) -> None:
        """A status callback for each new status, and the inbound message's own; nothing tells of a deletion or a price."""
        if after is None or resource not in CALLBACK:
            return
        raw, (sid_name, status_name) = after.raw, CALLBACK[resource]
        if before is not None and before.raw["status"] == raw["status"]:
            return
        form = {sid_name: raw["sid"], "AccountSid": raw["account_sid"], "From": raw["from"], "To": raw["to"],
                "ApiVersion": VERSION}  # fmt: skip
        if resource == "messages" and raw["direction"] == "inbound":
            form |= {"Body": raw["body"], "NumMedia": raw["num_media"]}
        else:
            form[status_name] = raw["status"]
        if resource == "calls":
            self.sequence[raw["sid"]] = number = self.sequence.get(raw["sid"], -1) + 1
            form |= {"SequenceNumber": str(number), "Timestamp": str(raw["date_updated"])}
            if raw["status"] == "completed":
                form["CallDuration"] = raw["duration"] or "0"
        elif raw["error_code"] is not None:
            form["ErrorCode"] = str(raw["error_code"])
        number_ = len(self.deliveries.done) + len(self.deliveries.waiting)
        self.deliveries.post(resource, urlencode(form).encode(), f"{raw['sid']}-{raw['status']}-{number_}")

    def sign(self, target: Target, body: bytes, message_id: str) -> Mapping[str, str]:
        """The address, then names and values in the order of the names, keyed by the primary token."""
        pairs = sorted(set(parse_qsl(body.decode(), keep_blank_values=True)))
        text = target.url.partition("#")[0] + "".join(name + value for name, value in pairs)
        seal = base64.b64encode(hmac.new(target.secrets[0].encode(), text.encode(), hashlib.sha1).digest()).decode()
        return {"X-Twilio-Signature": seal, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}


def _updated(raw: Raw) -> float:
    return epoch(raw["date_updated"]) or 0.0
