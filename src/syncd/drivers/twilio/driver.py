"""What of Twilio no description can say: what a message needs, and whether one whose answer was lost has been sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from syncd.kit import (
    Change,
    PayloadError,
    RejectedError,
    Request,
    Resource,
    Response,
    RestDriver,
    UnknownOutcomeError,
    coerce,
    made_by_another,
)

ROUNDING: Final = timedelta(seconds=2)
"""Twilio's stamps have whole seconds, and so has the Date of its answers."""

NEEDED: Final = {
    "messages.send": (("from", "messaging_service_sid"), ("body", "content_sid", "media_url")),
    "calls.redirect": (("url", "twiml"),),
}
"""Of each group one has to be given. Twilio's specification of 2026-04."""


class Twilio(RestDriver):
    """Listings by the day something was sent or began: nothing tells what changed since."""

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        for names in NEEDED.get(f"{resource.name}.{change.kind}", ()):
            if not any(change.data.get(name) for name in names):
                text = f"field {names[0]}: is required, or one of {', '.join(names[1:])}"
                raise RejectedError(text, code="invalid", resource=resource.name)

    def look_up_each(self, resource: Resource, change: Change, response: Response) -> Sequence[Request] | None:
        """Was it sent? Twilio knows no key, so it is a message to that number, of these words, made since the try left.

        Raises UnknownOutcomeError where one was made with other words (a template has its own), and where more messages
        went there than one page shows: then only a person can tell.
        """
        if change.kind != "send":
            return super().look_up_each(resource, change, response)
        moment = since(change, response)
        recent = [
            one
            for one in resource.reader.records(response)
            if _may_be(one, moment) and not made_by_another(resource, change, one)
        ]
        for one in recent:
            if "body" in change.data and one.get("body") == change.data["body"]:
                found = self.one(resource, resource.reader.identify(one).external_id)
                return [found] if found is not None else None
        if recent:
            raise UnknownOutcomeError("a message to that number was made since then, in other words")
        if response.json().get("next_page_uri"):
            raise UnknownOutcomeError("more messages went to that number than one page shows")
        return []

    def already(self, resource: Resource, change: Change, response: Response) -> bool:
        return change.kind == "send" or super().already(resource, change, response)


def since(change: Change, response: Response) -> datetime:
    """When the first try left that may have arrived, by Twilio's clock."""
    if change.sent_at is None:
        raise UnknownOutcomeError("when it left is not known")
    ours, theirs = response.requested_at, response.date
    ahead = theirs - ours if theirs is not None and ours is not None else timedelta()
    return change.sent_at + ahead - ROUNDING


def _may_be(raw: Any, since: datetime) -> bool:
    """Was it made since then, by a call as ours? What cannot be read may be."""
    if not isinstance(raw, dict) or raw.get("direction") == "inbound":
        return False
    try:
        return coerce.mail_moment(raw.get("date_created")) >= since
    except PayloadError:
        return True
