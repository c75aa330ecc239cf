"""Made-up messages, calls and the rest of a Twilio account (partner facts of 2026-11, section 3), made when looked at.

A base record is its number and the second it was made at; its content is drawn from a seed each time somebody reads it, so
that a hundred thousand messages cost a few dozen megabytes. What was changed since is kept as it is.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import orjson

from syncd.testing.collection import Collection, Entry, Key, Raw

ACCOUNT = "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"
VERSION = "2010-04-01"
PREFIX = {
    "messages": "SM",
    "calls": "CA",
    "recordings": "RE",
    "conferences": "CF",
    "incoming_phone_numbers": "PN",
    "media": "ME",
}
PLACES = {
    "messages": "Messages",
    "calls": "Calls",
    "recordings": "Recordings",
    "conferences": "Conferences",
    "incoming_phone_numbers": "IncomingPhoneNumbers",
}
OPEN = {"messages": ("accepted", "scheduled", "queued", "sending"), "calls": ("queued", "ringing", "in-progress")}
FINAL = {
    "messages": ("delivered", "undelivered", "failed", "received", "read", "canceled"),
    "calls": ("completed", "busy", "failed", "no-answer", "canceled"),
}
TEXTS = (
    "Your cleaner arrives at 11:00.",
    "The key is in the box at the gate.",
    "Merci, à demain!",
    "Check-in from 15:00. Code: see the letter.",
)
MEDIA_EVERY = 40
"""One message of so many has a picture."""


class Made(Entry):
    """A base record that nobody has changed: its content is made anew each time it is read."""

    __slots__ = ("_make", "number")

    def __init__(self, external_id: str, key: Key, number: int, make: Callable[[int, float], Raw]) -> None:
        self.id, self.key, self.number, self._make = external_id, key, number, make

    @property
    def raw(self) -> Raw:  # type: ignore[override]
        return self._make(self.number, self.key[0])

    @property
    def encoded(self) -> bytes:
        return orjson.dumps(self.raw)


def fill(collection: Collection, ids: list[str], times: list[float], make: Callable[[int, float], Raw]) -> None:
    """Base records with these ids, made at these epoch seconds, which ascend."""
    for number, (external_id, at) in enumerate(zip(ids, times, strict=True)):
        key = (at, number + 1)
        collection.entries[external_id] = Made(external_id, key, number, make)
        collection.order.append((*key, external_id))
    collection.sequence = len(ids)
    collection.version += 1


def mail(at: float | None) -> str | None:
    """Epoch seconds as Twilio writes them: `Wed, 02 Sep 2026 09:00:01 +0000`."""
    return None if at is None else format_datetime(datetime.fromtimestamp(int(at), UTC))


def epoch(text: str | None) -> float | None:
    """The other way round."""
    return None if text is None else parsedate_to_datetime(text).timestamp()


class Mint:
    """Makes the records of one account from its seed."""

    def __init__(self, seed: str, account: str) -> None:
        self.seed = seed
        self.account = account
        self.numbers = [f"+4515550{number:03d}" for number in range(100, 108)]

    def sid(self, resource: str, number: int | str) -> str:
        prefix = PREFIX[resource]
        if resource == "messages" and isinstance(number, int) and number % MEDIA_EVERY == 7:
            prefix = "MM"  # with media; both are messages
        return prefix + hashlib.md5(f"{self.seed}-{resource}-{number}".encode(), usedforsecurity=False).hexdigest()

    def uri(self, resource: str, sid: str) -> str:
        return f"/{VERSION}/Accounts/{self.account}/{PLACES[resource]}/{sid}.json"

    def _chance(self, resource: str, number: int | str) -> random.Random:
        return random.Random(f"{self.seed}-{resource}-{number}")  # noqa: S311 - made-up data

    def blank(self, resource: str, sid: str, at: float) -> Raw:
        """A record of that second with nothing in it that chance decides; also what a test or a call of ours makes."""
        stamp = mail(at)
        raw: Raw = {"sid": sid, "account_sid": self.account, "date_created": stamp, "date_updated": stamp}
        raw.update(getattr(self, f"_{resource}")(sid, at))
        if resource in PLACES and resource != "incoming_phone_numbers":
            raw["uri"] = self.uri(resource, sid)
        return raw

    def base(self, resource: str) -> Callable[[int, float], Raw]:
        """How a base record of that number and second is made."""

        def make(number: int, at: float) -> Raw:
            raw = self.blank(resource, self.sid(resource, number), at)
            getattr(self, f"_drawn_{resource}")(raw, self._chance(resource, number), number, at)
            return raw

        return make

    # What each kind has

    def _messages(self, sid: str, at: float) -> Raw:
        return {
            "messaging_service_sid": None, "from": self.numbers[0], "to": "+4520550101", "body": TEXTS[0],
            "status": "queued", "direction": "outbound-api", "date_sent": None, "num_segments": "1", "num_media": "0",
            "price": None, "price_unit": "USD", "error_code": None, "error_message": None, "api_version": VERSION,
            "subresource_uris": {"media": self.uri("messages", sid).replace(".json", "/Media.json")},
        }  # fmt: skip

    def _drawn_messages(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        other = f"+45205{chance.randrange(10**5):05d}"
        raw["from"], raw["to"], raw["body"] = chance.choice(self.numbers), other, f"{chance.choice(TEXTS)} #{number}"
        raw["status"] = chance.choice(("delivered",) * 8 + ("undelivered", "failed", "received", "received"))
        if raw["status"] == "received":
            raw["direction"], raw["from"], raw["to"] = "inbound", raw["to"], raw["from"]
        elif raw["status"] != "delivered":
            raw["error_code"], raw["error_message"] = 30003, "Unreachable destination handset"
        if number % MEDIA_EVERY == 7:
            raw["num_media"] = "1"
        raw["date_sent"], raw["date_updated"] = mail(at + 3), mail(at + 6)
        raw["price"] = f"-0.0{chance.randrange(400, 900)}0"

    def _media(self, sid: str, at: float) -> Raw:
        return {"parent_sid": "", "content_type": "image/jpeg", "uri": ""}

    def _drawn_media(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        parent = self.sid("messages", number)
        raw["parent_sid"] = parent
        raw["uri"] = self.uri("messages", parent).replace(".json", f"/Media/{raw['sid']}.json")

    def _calls(self, sid: str, at: float) -> Raw:
        kinds = {name: self.uri("calls", sid).replace(".json", f"/{name.title()}.json") for name in ("recordings",)}
        return {
            "parent_call_sid": None, "from": self.numbers[0], "from_formatted": "(45) 1555-0100", "to": "+4520550101",
            "to_formatted": "(45) 2055-0101", "phone_number_sid": self.sid("incoming_phone_numbers", 0),
            "status": "queued", "direction": "outbound-api", "start_time": None, "end_time": None, "duration": None,
            "price": None, "price_unit": "USD", "answered_by": None, "forwarded_from": None, "group_sid": None,
            "caller_name": None, "queue_time": "0", "trunk_sid": None, "api_version": VERSION, "subresource_uris": kinds,
        }  # fmt: skip

    def _drawn_calls(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        lasted = chance.randrange(0, 900)
        raw["from"], raw["to"] = chance.choice(self.numbers), f"+45205{chance.randrange(10**5):05d}"
        raw["status"] = chance.choice(("completed",) * 6 + ("busy", "no-answer"))
        raw["direction"] = chance.choice(("inbound", "outbound-api", "outbound-dial"))
        raw["start_time"], raw["end_time"] = mail(at + 2), mail(at + 2 + lasted)
        raw["duration"], raw["queue_time"] = str(lasted), str(chance.randrange(2000))
        raw["date_updated"], raw["price"] = raw["end_time"], f"-0.0{chance.randrange(100, 400)}0"

    def _recordings(self, sid: str, at: float) -> Raw:
        return {
            "api_version": VERSION, "call_sid": self.sid("calls", 0), "conference_sid": None, "start_time": mail(at),
            "duration": "31", "price": "-0.00250", "price_unit": "USD", "status": "completed", "channels": 1,
            "source": "OutboundAPI", "error_code": None, "encryption_details": None, "subresource_uris": {},
            "media_url": f"https://api.twilio.com/{VERSION}/Accounts/{self.account}/Recordings/{sid}",
        }  # fmt: skip

    def _drawn_recordings(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        raw["duration"], raw["call_sid"] = str(chance.randrange(3, 900)), self.sid("calls", number)

    def _conferences(self, sid: str, at: float) -> Raw:
        return {
            "api_version": VERSION, "friendly_name": "Handover", "region": "ie1", "status": "completed",
            "reason_conference_ended": "last-participant-left", "call_sid_ending_conference": None, "subresource_uris": {},
        }  # fmt: skip

    def _drawn_conferences(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        raw["friendly_name"], raw["date_updated"] = f"Handover {number}", mail(at + chance.randrange(60, 3600))

    def _incoming_phone_numbers(self, sid: str, at: float) -> Raw:
        return {
            "phone_number": self.numbers[0], "friendly_name": "Office", "api_version": VERSION, "beta": False,
            "origin": "twilio", "capabilities": {"voice": True, "sms": True, "mms": False, "fax": False},
            "address_requirements": "none", "sms_url": "https://app.example/sms", "sms_method": "POST", "voice_url": None,
            "voice_method": "POST", "status_callback": None, "status_callback_method": "POST", "status": "in-use",
            "trunk_sid": None, "uri": self.uri("incoming_phone_numbers", sid),
        }  # fmt: skip

    def _drawn_incoming_phone_numbers(self, raw: Raw, chance: random.Random, number: int, at: float) -> None:
        raw["phone_number"] = f"+4515550{100 + number:03d}"
        raw["friendly_name"] = f"Office {number}"
