"""What of Guesty no description can say: filters that are JSON documents, listings that hide by default, two routes.

A walk may have several parts, each a listing of its own with other filters: its cursor is `part:skip`. Changed
reservations of the legacy route are walked by their stamp, cursor `stamp+skip`: they are sorted by what changes, so an
offset would pass over one record for each that changes meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any, Final
from urllib.parse import quote

from syncd.kit import (
    Change,
    Checkpoint,
    Delivery,
    DriverSpec,
    Event,
    GoneError,
    PartnerError,
    PayloadError,
    Raw,
    RejectedError,
    Request,
    Resource,
    Response,
    RestDriver,
    checked_options,
    coerce,
    error_for,
    since_text,
    with_params,
)

V3: Final = "reservations_v3"
FILTERS: Final = "filters"
CREATED: Final = "filter[createdAt][gte]"
ACCOUNT: Final = "/account_id/"
CALENDAR: Final = "calendar.updated.v2"
CHECK_OUT: Final = "filter[checkOut][gte]"
SHOWN: Final = tuple(
    {"active": active, "listed": listed, "pmsActive": pms}
    for active, listed, pms in product(("true", "false"), repeat=3)
)
"""Documented with default true and with "don't include for all", a contradiction: so every combination is asked for."""
RETIRED: Final = "the legacy route of reservations ends on 2027-03-01: set `options: {reservations: v3}`"


class Parted(Resource):
    """A resource whose listing is walked in several parts."""

    def part(self, number: int, since: datetime | None) -> Mapping[str, str] | None:
        """The filters of one part; None where there are not so many."""
        raise PayloadError(f"{self.name} has no parts")

    def after(self, params: Mapping[str, Any]) -> Mapping[str, str] | None:
        """The filters of the part after the one with these parameters."""
        raise PayloadError(f"{self.name} has no parts")


class Swept(Parted):
    """Listings, whatever is hidden by default."""

    def part(self, number: int, since: datetime | None) -> Mapping[str, str] | None:
        return SHOWN[number] if number < len(SHOWN) else None

    def after(self, params: Mapping[str, Any]) -> Mapping[str, str] | None:
        return self.part(1 + SHOWN.index({name: params[name] for name in SHOWN[0]}), None)


class Windowed(Parted):
    """Reservations of v3, which cannot filter by modification: what is new, then what has not been over for long."""

    window_days: int = 0

    def part(self, number: int, since: datetime | None) -> Mapping[str, str] | None:
        if since is None:
            return {} if number == 0 else None
        created = {CREATED: since_text(since, "iso")}
        return (created, self.after(created), None)[min(number, 2)]

    def after(self, params: Mapping[str, Any]) -> Mapping[str, str] | None:
        if CREATED not in params:
            return None
        day = date.fromisoformat(params[CREATED][:10]) - timedelta(days=self.window_days)
        return {CHECK_OUT: day.isoformat()}


class Guesty(RestDriver):
    """Listings and guests whole, reservations by what changed, on either of two routes."""

    def __init__(self, spec: DriverSpec) -> None:
        resources = dict(spec.resources)
        self.third = resources.pop(V3)
        super().__init__(spec.model_copy(update={"resources": resources}))

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        settings = checked_options(self.spec, options)
        found = dict(self.spec.resources)
        if settings["account_id"]:
            below = found["custom_fields"].path.replace(ACCOUNT, f"/{quote(settings['account_id'], safe='')}/")
            found["custom_fields"] = found["custom_fields"].model_copy(update={"path": below})
        if settings["listings"] == "swept":
            found["listings"] = Swept.model_construct(**known(found["listings"]))
        if settings["reservations"] == "v3":
            given = {**known(self.third), "name": "reservations", "window_days": settings["window_days"]}
            found["reservations"] = Windowed.model_construct(**given)
        return found

    # Asking.

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        cursor = checkpoint.cursor
        if ACCOUNT in resource.path:
            hint = "give the account's id: options.account_id"
            raise RejectedError(f"{resource.name}: nothing says of which account", hint=hint, resource=resource.name)
        if isinstance(resource, Parted):
            number, skip = place(resource, cursor)
            filters = resource.part(number, checkpoint.since)
            if filters is None:
                raise PayloadError(f"{resource.name}: the stored cursor is of another walk", resource=resource.name)
            whole = super().request(resource, replace(checkpoint, cursor=None, since=None))
            return at(with_params(whole, filters), skip, cursor)
        if resource.name == "reservations" and checkpoint.since is not None:
            first = super().request(resource, replace(checkpoint, cursor=None))
            stamp, plus, skip = (cursor or "").partition("+")
            if not plus:
                return at(changed_after(first, checkpoint.since), cursor or "0", cursor)
            return at(changed_after(first, coerce.moment(stamp) - MILLISECOND), skip, cursor)
        return super().request(resource, checkpoint)

    def following(self, resource: Resource, request: Request, response: Response) -> Request | None:
        if isinstance(resource, Parted):
            number, skip = place(resource, request.cursor)
            onward = super().following(resource, replace(request, cursor=skip), response)
            if onward is not None:
                return replace(onward, cursor=f"{number}:{onward.cursor}")
            params = dict(request.params)
            filters = resource.after(params)
            if filters is None:
                return None
            kept = {name: value for name, value in params.items() if name not in {CREATED, CHECK_OUT}}
            return at(replace(request, params={**kept, **filters}), "0", f"{number + 1}:0")
        if resource.name == "reservations" and FILTERS in dict(request.params):
            return self._changed_on(resource, request, response)
        return super().following(resource, request, response)

    def spread(self, resource: Resource, first: Request, response: Response) -> list[Request] | None:
        return None  # walks of several parts go page by page, and 120 calls a minute leave nothing to win

    def _changed_on(self, resource: Resource, request: Request, response: Response) -> Request | None:
        """On from the newest stamp of the page; within it by an offset, when it has more records than a page."""
        stamp, plus, skip = (request.cursor or "").partition("+")
        plain = request if not plus else replace(request, cursor=skip)
        onward = super().following(resource, plain, response)
        records = resource.reader.records(response)
        last = next((found for raw in reversed(records) if (found := resource.reader.ordered_at(raw))), None)
        if onward is None or last is None:
            return onward if onward is None or not plus else replace(onward, cursor=f"{stamp}+{onward.cursor}")
        if plus and last <= coerce.moment(stamp):
            return replace(onward, cursor=f"{stamp}+{onward.cursor}")
        return at(changed_after(request, last - MILLISECOND), "0", f"{since_text(last, 'iso')}+0")

    # Pushes.

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        super().check(resource, change, stored)
        for number, field in enumerate(wanted_fields(change), 1):
            if not field.get("fieldId") or "value" not in field:
                told = f"field custom_fields: number {number} needs fieldId and value"
                raise RejectedError(told, code="invalid", resource=resource.name)

    def confirms(self, resource: Resource, change: Change, response: Response) -> bool:
        """Custom fields come back as they were taken; one that is missing or different was not (200 proves nothing)."""
        wanted = wanted_fields(change)
        if wanted:
            answer = response.json()
            told = answer.get("customFields") if isinstance(answer, dict) else None
            if isinstance(told, list):
                found = {one.get("fieldId"): one.get("value") for one in told if isinstance(one, dict)}
                return all(found.get(one["fieldId"]) == one["value"] for one in wanted)
        return super().confirms(resource, change, response)

    # Reading answers.

    def record(self, resource: Resource, response: Response) -> Raw:
        if isinstance(resource, Windowed) and response.json() == []:
            raise GoneError("reservations: no reservation has that id", status=response.status_code)
        return super().record(resource, response)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        if response.status_code == 410 and response.url.partition("?")[0].endswith("/reservations"):
            return error_for("rejected", response, now, self.spec.errors, hint=RETIRED)
        return super().classify(response, now)

    def events(self, delivery: Delivery) -> list[Event]:
        """What happened to a calendar is told without a name: by the days it happened to."""
        told = delivery.json()
        listing = told.get("listingId") if isinstance(told, dict) and "dateRange" in told else None
        if isinstance(listing, str) and listing:
            return [Event("calendar", listing, CALENDAR, parent_id=listing)]
        return super().events(delivery)


def wanted_fields(change: Change) -> list[dict[str, Any]]:
    """The custom fields a push sets; none of another kind."""
    given = change.data.get("custom_fields") if change.kind == "custom_fields" else None
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]


def known(resource: Resource) -> dict[str, Any]:
    """What a resource is made of, checked already."""
    return {name: getattr(resource, name) for name in Resource.model_fields}


MILLISECOND: Final = timedelta(milliseconds=1)
"""Guesty's stamps have no finer ones, so "after one less" is "from": only $gt is documented."""


def changed_after(request: Request, moment: datetime) -> Request:
    """The same call for reservations changed after a moment."""
    wanted = {"field": "lastUpdatedAt", "operator": "$gt", "value": since_text(moment, "iso")}
    return with_params(request, {FILTERS: json.dumps([wanted], separators=(",", ":"))})


def at(request: Request, skip: str, cursor: str | None) -> Request:
    """The same call so many records further on."""
    if skip == "0":
        params = {name: value for name, value in dict(request.params).items() if name != "skip"}
        return replace(request, params=params, cursor=cursor)
    return replace(with_params(request, {"skip": skip}), cursor=cursor)


def place(resource: Resource, cursor: str | None) -> tuple[int, str]:
    """Part and offset of a cursor."""
    number, colon, skip = (cursor or "0:0").partition(":")
    if not colon:
        number, skip = "0", number
    if not (number.isdecimal() and skip.isdecimal() and len(cursor or "") < 20):
        raise PayloadError(f"{resource.name}: the stored cursor is of another walk", resource=resource.name)
    return int(number), skip
