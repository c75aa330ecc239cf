"""What of Booking.com no description can say: its queues' envelopes, stays that name no dates, and failures inside 200."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncd.drivers.bookingcom.stays import at, booked_at, ota_stay, plain_stay, told
from syncd.kit import (
    Change,
    ConfigError,
    Item,
    Limits,
    PayloadError,
    Raw,
    Record,
    Request,
    Resource,
    Response,
    RestDriver,
    checked_options,
    coerce,
)

ROOTS: Final = {
    "reservations": ("OTA_HotelResNotif", "HotelReservations", "HotelReservation"),
    "reservation_changes": ("OTA_HotelResModifyNotif", "HotelResModifies", "HotelResModify"),
}
"""What the two queues call themselves, the list of their messages and each of them."""
LEAST_SECONDS: Final = 0.001
MOST_SECONDS: Final = 86_400
"""Between two reads of a queue: what is no span of time is refused where the file is checked."""
LAST: Final = datetime(9000, 1, 1, tzinfo=UTC)
OTA: Final = {"@xmlns": "http://www.opentravel.org/OTA/2003/05", "@Target": "Production", "@Version": "2.001"}


class BookingCom(RestDriver):
    """Queues of reservations that are acknowledged, or B.XML, where fetching is all; JSON for the rest."""

    # What there is.

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        settings = self._settings(options)
        found = dict(super().resources(options))
        for name, resource in found.items():
            if resource.host:
                every = resource.every if resource.queue is None else settings["queue_seconds"]
                found[name] = resource.model_copy(
                    update={"host": settings["reservations_url"].rstrip("/"), "every": every}
                )
        return found

    def limits(self, options: Mapping[str, Any]) -> Limits:
        """The queues' pauses on the scale the options say."""
        stated, scale = super().limits(options), self._settings(options)["queue_seconds"] / 20
        tiers = [
            tier.model_copy(update={"rate": type(tier.rate)(1, tier.rate.window_seconds * scale)})
            if tier.option is None
            else tier
            for tier in stated.tiers
        ]
        return stated.model_copy(update={"tiers": tuple(tiers)})

    def _settings(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with their defaults. Raises ConfigError."""
        found = checked_options(self.spec, options)
        if not LEAST_SECONDS <= found["queue_seconds"] <= MOST_SECONDS:
            told = f"bookingcom: option 'queue_seconds' must be {LEAST_SECONDS} to {MOST_SECONDS}"
            raise ConfigError(
                told, hint=f"queue_seconds: {self.spec.options['queue_seconds'].default}, or leave it out"
            )
        return found

    # Reading answers.

    def items(self, resource: Resource, response: Response) -> list[Item]:
        found = super().items(resource, response)
        if resource.name == "reservation_summaries":
            return found + [
                Item("reservations", raw) for item in found if (raw := first_told(item.raw or {}, response))
            ]
        if resource.queue is None:
            return found
        at, kind = sent_at(response), "change" if resource.name == "reservation_changes" else "new"
        moments = [(at + timedelta(microseconds=n)).isoformat() for n in range(len(found))]  # the later of two is newer
        raws = [
            told({**(item.raw or {}), "envelope": {"at": moment, "kind": kind}})
            for item, moment in zip(found, moments, strict=True)
        ]
        return [Item("reservations", raw) for raw in raws]

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        if resource.name not in ("reservations", "reservation_summaries"):
            return super().normalize(resource, raw, adapter)
        if "ResGlobalInfo" in raw or "RoomStays" in raw:
            later = plain_stay(raw) if at(raw, "envelope.kind") == "summary" else {}  # shown after the last message
            return super().normalize(resource, {**raw, **ota_stay(raw), **later}, adapter)
        shape = self.spec.alternatives["reservations_bxml"] if resource.name == "reservations" else resource
        return super().normalize(shape, {**raw, **plain_stay(raw)}, adapter)

    # Acknowledging.

    def acknowledgement(self, resource: Resource, response: Response) -> Mapping[str, Any]:
        return {"queue": ROOTS[resource.name][0], "at": sent_at(response).isoformat()}

    def push(self, resource: Resource, change: Change) -> Request:
        request = super().push(resource, change)
        if change.kind != "acknowledge":
            return request
        root, group, message = ROOTS[resource.name]
        ids = change.data["ids"] if isinstance(change.data.get("ids"), list) else [change.data.get("ids")]
        known = [
            {"ResGlobalInfo": {"HotelReservationIDs": {"HotelReservationID": {"@ResID_Value": one}}}} for one in ids
        ]
        document = {**OTA, "@TimeStamp": change.data.get("at"), "Success": "", group: {message: known}}
        # Its own route: the pause between two fetches is not one between a fetch and its acknowledgement.
        route = f"{request.path} (acknowledgement)"
        return replace(request, path=f"{resource.host}{request.path}", route=route, xml={f"{root}RS": document})


def first_told(summary: Raw, response: Response) -> Raw:
    """The reservation of a summary, for where nothing else has told of it: every message is newer, whatever the zone."""
    try:
        at = not_ahead(coerce.moment(booked_at(summary)), response) - timedelta(days=1)
    except (PayloadError, OverflowError):
        return {}
    return {**summary, "envelope": {"at": at.isoformat(), "kind": "summary"}}


def sent_at(response: Response) -> datetime:
    """When Booking.com wrote a document; where it does not say, its clock at the answer, or ours."""
    try:
        return not_ahead(coerce.moment(next(iter(response.json().values()))["@TimeStamp"], UTC), response)
    except (PayloadError, AttributeError, KeyError, TypeError, StopIteration):
        return response.date or response.requested_at or coerce.EPOCH


def not_ahead(moment: datetime, response: Response) -> datetime:
    """A moment, or the clock at the answer: what is stamped far ahead would keep out every later message."""
    clock = response.date or response.requested_at or LAST
    return min(moment, clock + timedelta(hours=1))
