"""A Twilio account as its documentation describes it (partner facts of 2026-11), for tests, demo and benchmarks.

Lists with page tokens and date filters, single records, and the writes of the facts' section 10. Data, limits, credentials
and callbacks: `simulator_account.py`. Counted as broken rules: page numbers without their token, parameters that the
specification does not know, paths without `.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from syncd.clock import Clock
from syncd.drivers.twilio.simulator_account import TwilioAccount
from syncd.drivers.twilio.simulator_data import PLACES, VERSION, epoch
from syncd.testing.base import Answer, Call, Route, Simulator
from syncd.testing.collection import Collection, Entry, Raw
from syncd.testing.dice import epoch as iso_epoch

ACCOUNT = f"/{VERSION}/Accounts/{{account}}"
PAGING = {"PageSize", "Page", "PageToken"}
FILTERS: dict[str, dict[str, str]] = {
    "messages": {"DateSent": "date_sent"},
    "calls": {"StartTime": "start_time", "EndTime": "end_time"},
    "recordings": {"DateCreated": "date_created"},
    "conferences": {"DateCreated": "date_created", "DateUpdated": "date_updated"},
    "media": {"DateCreated": "date_created"},
    "incoming_phone_numbers": {},
}
"""Date filters; each also with < (on or before that day) and > (on or after), in GMT."""
EQUAL: dict[str, dict[str, str]] = {
    "messages": {"To": "to", "From": "from"},
    "calls": {"To": "to", "From": "from", "ParentCallSid": "parent_call_sid", "Status": "status"},
    "recordings": {"CallSid": "call_sid", "ConferenceSid": "conference_sid"},
    "conferences": {"FriendlyName": "friendly_name", "Status": "status"},
    "media": {},
    "incoming_phone_numbers": {"FriendlyName": "friendly_name", "PhoneNumber": "phone_number", "Beta": "beta"},
}
SENT = {"To", "From", "MessagingServiceSid", "Body", "ContentSid", "ContentVariables", "MediaUrl", "StatusCallback",
        "SendAt", "ScheduleType"}  # fmt: skip
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
DAY = 86400.0
LISTS: tuple[Route, ...] = tuple(("GET", f"{ACCOUNT}/{place}.json", "listed") for place in PLACES.values())
NAMES = {f"{place}.json": name for name, place in PLACES.items()}


class TwilioSimulator(TwilioAccount):
    """See `TwilioAccount` for the options."""

    routes: ClassVar[tuple[Route, ...]] = (
        *LISTS,
        *(("GET", f"{ACCOUNT}/{place}/{{sid}}", "single") for place in PLACES.values()),
        ("GET", f"{ACCOUNT}/Messages/{{sid}}/Media.json", "media"),
        ("GET", f"{ACCOUNT}/Balance.json", "balance"),
        ("GET", f"/{VERSION}/Accounts/{{account}}", "account"),
        ("POST", f"{ACCOUNT}/Messages.json", "post_message"),
        ("POST", f"{ACCOUNT}/Messages/{{sid}}", "change_message"),
        ("DELETE", f"{ACCOUNT}/Messages/{{sid}}", "remove_message"),
        ("POST", f"{ACCOUNT}/Calls/{{sid}}", "change_call"),
    )

    def needs(self) -> dict[str, Any]:
        return {"account_sid": self.options["account_sid"]}

    # Lists

    def listed(self, call: Call) -> web.Response:
        return self._page(call, NAMES[call.route.rsplit("/", 1)[1]])

    def media(self, call: Call) -> web.Response:
        if self.state["messages"].get(call.args["sid"]) is None:
            return self.failure(404, call)
        return self._page(call, "media", parent=call.args["sid"])

    def _page(self, call: Call, name: str, parent: str = "") -> web.Response:
        """Newest first. A page goes on behind the record its token names, whatever came on top meanwhile."""
        query, collection = call.query, self.listing(call, name)
        size = min(self._whole(call, "PageSize", 50), 1000)
        page, token = self._whole(call, "Page", 0), query.get("PageToken", "")
        if page and not token:
            self.breaks("a page number without its token")
            return self.failure(400, call, "Page is for client state; follow next_page_uri")
        chosen = self._chosen(call, name, collection, self._place(call, collection, token), parent)
        found = list(islice(chosen, size + 1))
        more, found = len(found) > size, found[:size]
        if self.looping(call) and found:
            more, token_next = True, token or "PA" + found[0].id
        else:
            token_next = "PA" + found[-1].id if found else ""
        kept = [(key, value) for key, value in parse_qsl(call.request.query_string, True) if key not in PAGING]
        path = call.request.path

        def uri(number: int, its_token: str = "") -> str:
            told = [("PageSize", str(size)), ("Page", str(number)), *([("PageToken", its_token)] if its_token else [])]
            return f"{path}?{urlencode([*kept, *told])}"

        start = page * size
        facts: Raw = {
            "page": page, "page_size": size, "start": start, "end": start + max(len(found) - 1, 0),
            "uri": uri(page, token), "first_page_uri": uri(0), "next_page_uri": uri(page + 1, token_next) if more else None,
            "previous_page_uri": uri(page - 1, "PA" + found[0].id) if page and found else None,
        }  # fmt: skip
        member = "media_list" if name == "media" else name
        head = self.reply(facts).body
        assert isinstance(head, bytes)
        return self.reply(b'{"%s":[%s],%s' % (member.encode(), self.page(call, found), head[1:]))

    def _whole(self, call: Call, param: str, default: int) -> int:
        text = call.query.get(param, str(default))
        if not text.isdigit():
            raise Answer(self.failure(400, call, f"{param} is no number"))
        return int(text)

    def _place(self, call: Call, collection: Collection, token: str) -> tuple[float, int]:
        if not token:
            return (2.0**40, 0)
        place = collection.place(token[2:]) or self.state[collection.name].place(token[2:])
        if place is None or not token.startswith("PA"):
            raise Answer(self.failure(400, call, "PageToken is unknown"))
        return place

    def _chosen(
        self, call: Call, name: str, collection: Collection, start: tuple[float, int], parent: str
    ) -> Iterator[Entry]:
        dates, equal = FILTERS[name], EQUAL[name]
        known = PAGING | equal.keys() | {f"{date}{sign}" for date in dates for sign in ("", "<", ">")}
        if name == "recordings":
            known.add("IncludeSoftDeleted")
        for param in call.query:
            if param not in known:
                self.breaks(f"unknown parameter {param}")
        bounds = {
            dates[date]: self._bounds(call, date) for date in dates if any(p.startswith(date) for p in call.query)
        }
        wanted = {equal[param]: call.query[param] for param in equal if param in call.query}
        shows_deleted = call.query.get("IncludeSoftDeleted") == "true"
        for entry in collection.before(start):
            if not (bounds or wanted or parent or name == "recordings"):
                yield entry
                continue
            raw = entry.raw
            if (parent and raw["parent_sid"] != parent) or (raw.get("status") == "deleted" and not shows_deleted):
                continue
            if any(str(raw.get(field)) != value for field, value in wanted.items()):
                continue
            # What has no such date is in no list filtered by it.
            at = {field: epoch(raw.get(field)) for field in bounds}
            if all(low <= (at[field] or -1.0) < high for field, (low, high) in bounds.items()):
                yield entry

    def _bounds(self, call: Call, date: str) -> tuple[float, float]:
        low, high = 0.0, 2.0**40
        for sign in ("", "<", ">"):
            text = call.query.get(date + sign)
            if text is None:
                continue
            try:
                at = iso_epoch(text)
            except ValueError:
                raise Answer(self.failure(400, call, f"{date} is no date")) from None
            until = at + DAY if len(text) == 10 else at + 1  # a whole day, or a second
            low = max(low, at) if sign != "<" else low
            high = min(high, until) if sign != ">" else high
        return low, high

    # Single records

    def _found(self, call: Call) -> tuple[str, Entry]:
        name = next(name for name, place in PLACES.items() if f"/{place}/" in call.route)
        sid, dot, ending = call.args["sid"].partition(".")
        entry = self.state[name].get(sid)
        deleted = entry is not None and entry.raw.get("status") == "deleted" and name == "recordings"
        hidden = deleted and call.query.get("IncludeSoftDeleted") != "true"
        if entry is None or hidden or (dot, ending) != (".", "json"):
            raise Answer(self.failure(404, call))
        return name, entry

    def single(self, call: Call) -> web.Response:
        return self.reply(self._found(call)[1].encoded)

    def balance(self, call: Call) -> web.Response:
        return self.reply(next(iter(self.state["balance"])).encoded)

    def account(self, call: Call) -> web.Response:
        """What nobody should ask for: it tells the auth token."""
        sid = str(self.options["account_sid"])
        if call.args["account"] != f"{sid}.json":
            return self.failure(404, call)
        return self.reply({"sid": sid, "friendly_name": "Nordhavn Stays", "status": "active", "type": "Full",
                           "auth_token": self.options["auth_token"], "owner_account_sid": sid})  # fmt: skip

    # Writes

    def _form(self, call: Call, known: set[str]) -> dict[str, str]:
        if not call.request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            raise Answer(self.failure(400, call, "a form is expected"))
        form = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
        for param in form.keys() - known:
            self.breaks(f"unknown parameter {param}")
        return form

    def post_message(self, call: Call) -> web.Response:
        """Sends each time it is asked: there is no key by which a second time could be told."""
        form = self._form(call, SENT)
        if not E164.fullmatch(form.get("To", "")):
            return self.failure(400, call, "The 'To' number is not a valid phone number.")
        if not (form.get("From") or form.get("MessagingServiceSid")):
            return self.failure(400, call, "A 'From' phone number or a MessagingServiceSid is required.")
        if not (form.get("Body") or form.get("ContentSid") or form.get("MediaUrl")):
            return self.failure(400, call, "Message body is required.")
        service = form.get("MessagingServiceSid")
        status = "scheduled" if form.get("SendAt") else "accepted" if service else "queued"
        fields = {
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": service,
            "body": form.get("Body", f"(template {form.get('ContentSid')})"),
            "status": status,
        }
        sid = self.create("messages", fields)
        return self.reply(self.state["messages"].entries[sid].encoded, 201)

    def change_message(self, call: Call) -> web.Response:
        name, entry = self._found(call)
        form = self._form(call, {"Body", "Status"})
        if "Body" in form:
            if form["Body"]:
                return self.failure(400, call, "Only an empty Body is taken.")
            return self.reply(self.update(name, entry.id, {"body": ""}).encoded)
        if form.get("Status") != "canceled" or entry.raw["status"] not in (
            "scheduled",
            "accepted",
            "queued",
            "canceled",
        ):
            return self.failure(400, call, "The message cannot be canceled.")
        return self.reply(self.put(name, entry.id, self._went_on(name, entry.raw, "canceled")).encoded)

    def remove_message(self, call: Call) -> web.Response:
        name, entry = self._found(call)
        self.delete(name, entry.id)
        return web.Response(status=204)

    def change_call(self, call: Call) -> web.Response:
        name, entry = self._found(call)
        form = self._form(call, {"Status", "Url", "Method", "Twiml"})
        before, status = entry.raw["status"], form.get("Status")
        if status is None:
            if before not in ("queued", "ringing", "in-progress"):
                return self.failure(400, call, "The call is over.")
            return self.reply(self.update(name, entry.id, {}).encoded)
        allowed = {"canceled": ("queued", "ringing"), "completed": ("in-progress",)}.get(status, ())
        if before not in allowed:
            return self.failure(400, call, f"A call that is {before} cannot become {status}.")
        return self.reply(self.put(name, entry.id, self._went_on(name, entry.raw, status)).encoded)


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account; see `TwilioAccount` and `Simulator` for the options. Raises TypeError for unknown ones."""
    return TwilioSimulator(clock=clock, **options)
