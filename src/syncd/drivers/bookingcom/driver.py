"""What of Booking.com no description can say: its queues' envelopes, stays that name no dates, and failures inside 200."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncd.drivers.bookingcom.stays import booked_at, ota_stay, plain_stay
from syncd.kit import (
    Auth,
    Change,
    Checkpoint,
    Identity,
    Item,
    Limits,
    PartnerError,
    PayloadError,
    Raw,
    Record,
    Request,
    Resource,
    Response,
    RestDriver,
    checked_options,
    coerce,
    error_for,
)

ROOTS: Final = {
    "reservations": ("OTA_HotelResNotif", "HotelReservations", "HotelReservation"),
    "reservation_changes": ("OTA_HotelResModifyNotif", "HotelResModifies", "HotelResModify"),
}
"""What the two queues call themselves, the list of their messages and each of them."""
OTA: Final = {"@xmlns": "http://www.opentravel.org/OTA/2003/05", "@Target": "Production", "@Version": "2.001"}
RUID: Final = re.compile(
    rb'RUID:\s*\[?([\w/+=.-]{8,200})|<ruid>\s*([\w/+=.-]{8,200})|"ruid"\s*:\s*"([\w/+=.-]{8,200})"'
)
"""The request id that support asks for: in a comment, an element or `meta.ruid`."""


class BookingCom(RestDriver):
    """Queues of reservations that are acknowledged, or B.XML, where fetching is all; JSON for the rest."""

    # What there is.

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        settings = checked_options(self.spec, options)
        found = dict(super().resources(options))
        other = found.pop("reservations_bxml")
        if settings["family"] == "bxml":
            del found["reservation_changes"]
            pushes = {kind: rules for kind, rules in found["reservations"].pushes.items() if kind != "acknowledge"}
            found["reservations"] = other.model_copy(update={"name": "reservations", "pushes": pushes})
        for name, resource in found.items():
            if resource.host:
                every = resource.every if resource.queue is None else settings["queue_seconds"]
                found[name] = resource.model_copy(update={"host": settings["reservations_url"], "every": every})
        return found

    def limits(self, options: Mapping[str, Any]) -> Limits:
        """The queues' pauses on the scale the options say, and the general limit nobody has published."""
        settings = checked_options(self.spec, options)
        tiers = []
        for tier in self.spec.limits.tiers:
            rate, pause = tier.rate, tier.rate.window_seconds * settings["queue_seconds"] / 20
            own = type(rate)(1, pause) if rate.limit == 1 else type(rate)(settings["calls_per_minute"], 60.0)
            tiers.append(tier.model_copy(update={"rate": own}))
        return self.spec.limits.model_copy(update={"tiers": tuple(tiers)})

    def auth(self, options: Mapping[str, Any]) -> Auth:
        return self.spec.auth.model_copy(update={"token_path": checked_options(self.spec, options)["auth_url"]})

    # Asking.

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        request = super().request(resource, checkpoint)
        if resource.queue is None:
            return request
        return replace(request, repeatable=False)  # after a 5xx the next poll is soon enough, and B.XML must not repeat

    # Reading answers.

    def items(self, resource: Resource, response: Response) -> list[Item]:
        if resource.format == "json":
            found = super().items(resource, response)
            return found + [gone for item in found if (gone := self._deleted(resource, item)) is not None]
        if resource.name == "properties":
            return super().items(resource, response)
        told = response.json()
        if not isinstance(told, dict):
            raise PayloadError(f"{resource.name}: the answer is no document", resource=resource.name)
        if resource.name == "reservation_summaries":
            raws = [item.raw or {} for item in self._listed(resource, response, told)]
            return [Item(resource.name, raw) for raw in raws] + [
                Item("reservations", raw, who) for raw in raws if (who := self._first_told(resource, raw)) is not None
            ]
        at = sent_at(told, response)
        kind = "change" if resource.name == "reservation_changes" else "new"
        return [
            Item(
                "reservations",
                {**(item.raw or {}), "envelope": {"at": (at + timedelta(microseconds=n)).isoformat(), "kind": kind}},
            )
            for n, item in enumerate(self._listed(resource, response, told))
        ]

    def _listed(self, resource: Resource, response: Response, told: Mapping[str, Any]) -> list[Item]:
        """The messages of a document; none where its root holds none, as Booking.com and an empty body say it."""
        inner: Any = told
        for step in str(resource.records).split("."):
            inner = inner.get(step) if isinstance(inner, dict) else None
            if inner in (None, ""):
                return []
        return super().items(resource, response)

    @staticmethod
    def _deleted(resource: Resource, item: Item) -> Item | None:
        unit = (item.raw or {}).get("unit_id") if resource.name == "deleted_units" else None
        return Item("units", None, Identity(coerce.text(unit), deleted=True)) if isinstance(unit, int | str) else None

    def _first_told(self, resource: Resource, raw: Raw) -> Identity | None:
        """A summary tells of a reservation nothing else has told of: every message is newer, whatever the zone."""
        try:
            booked = coerce.moment(booked_at(raw)) - timedelta(days=1)
            return replace(self.identify(resource, raw), source_updated_at=booked)
        except PayloadError:
            return None

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        if resource.name not in ("reservations", "reservation_summaries"):
            return super().normalize(resource, raw, adapter)
        if "ResGlobalInfo" in raw or "RoomStays" in raw:
            return super().normalize(resource, {**raw, **ota_stay(raw)}, adapter)
        plain = self.spec.resources["reservations_bxml"].model_copy(update={"name": resource.name})
        shape = plain if resource.name == "reservations" else resource
        return super().normalize(shape, {**raw, **plain_stay(raw)}, adapter)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        error = super().classify(response, now)
        words, code = failure(response) if error is None or error.code is None else ("", None)
        if error is None and (words or code):
            error = error_for("rejected", response, now, self.spec.errors)
        if error is None:
            return None
        if words and words not in str(error):
            error.args = (f"{error} ({words})",)
        error.code = error.code or code
        if found := RUID.search(response.content):
            error.request_id = next(one for one in found.groups() if one).decode("ascii", "replace")
        return error

    # Acknowledging.

    def acknowledgement(self, resource: Resource, response: Response) -> Mapping[str, Any]:
        told = response.json()
        return {
            "queue": ROOTS[resource.name][0],
            "at": sent_at(told if isinstance(told, dict) else {}, response).isoformat(),
        }

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


def sent_at(told: Mapping[str, Any], response: Response) -> datetime:
    """When Booking.com wrote a document; where it does not say, its clock at the answer, or ours."""
    root = next(iter(told.values()), None)
    stamp = root.get("@TimeStamp") if isinstance(root, dict) else None
    try:
        return coerce.moment(stamp, UTC)
    except PayloadError:
        return response.date or response.requested_at or coerce.EPOCH


def failure(response: Response) -> tuple[str, str | None]:
    """What a body says of a failure: OTA's Errors, B.XML's fault or error, JSON's errors without data."""
    try:
        told = response.json()
    except PayloadError:
        return "", None
    if not isinstance(told, dict) or not told:
        return "", None
    if "errors" in told or "data" in told:
        errors = told.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and not told.get("data") else None
        return (str(first.get("message", first)), str(first.get("code"))) if isinstance(first, dict) else ("", None)
    name, root = next(iter(told.items()))
    if name in ("fault", "error"):
        root = {name: root}
    for found in (root.get("Errors"), root.get("fault"), root.get("error")) if isinstance(root, dict) else ():
        inner = found.get("Error") if isinstance(found, dict) and "Error" in found else found
        first = inner[0] if isinstance(inner, list) and inner else inner
        if first:
            code = first.get("@Code") or first.get("@code") if isinstance(first, dict) else None
            return str(first.get("@ShortText", first) if isinstance(first, dict) else first), code
    return "", None
