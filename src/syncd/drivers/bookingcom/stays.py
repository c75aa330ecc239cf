"""What a reservation's rooms add up to: dates that must be derived, amounts written as whole numbers, guests by age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from syncd.kit import MISSING, PayloadError, Raw, coerce, getter

ADULT, CHILD = "10", "8"
MOST_PLACES: Final = 6
ROOM: Final = {
    "index": "@IndexNumber",
    "room_type": "RoomTypes.RoomType[0].@RoomTypeCode",
    "name": "RoomTypes.RoomType[0].RoomDescription.@Name",
    "meal_plan": "RoomTypes.RoomType[0].RoomDescription.MealPlan",
    "currency": "Total.@CurrencyCode",
}
PLAIN_ROOM: Final = {
    "index": "roomreservation_id",
    "room_type": "id",
    **{name: name for name in ("name", "meal_plan")},
    "total": "totalprice",
    "currency": "currencycode",
    "commission": "commissionamount",
}
"""What of a room is taken as it stands, from OTA and from B.XML."""


def at(value: Any, path: str) -> Any:
    """What sits there; None where nothing does."""
    found = getter(path)(value)
    return None if found is MISSING or found == "" else found


def listed(value: Any, path: str) -> list[Any]:
    """The elements there."""
    found = at(value, path)
    return found if isinstance(found, list) else []


def known(**fields: Any) -> dict[str, Any]:
    """Only what is told: what a message leaves out stays as it is stored."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def amount(value: Any, name: str = "@Amount") -> str | None:
    """`13350` with two decimal places is 133.50; without a number of places the text is kept."""
    text, places = at(value, name), at(value, "@DecimalPlaces")
    if text is None or places is None:
        return None if text is None else coerce.text(text)
    if not 0 <= coerce.integer(places) <= MOST_PLACES:
        raise PayloadError("DecimalPlaces: out of range")
    return format(Decimal(coerce.integer(text)).scaleb(-coerce.integer(places)), "f")


def after_tax(value: Any) -> str | None:
    """The total, after tax where that is told."""
    return amount(value, "@AmountAfterTax") or amount(value, "@AmountBeforeTax")


def told(raw: Raw) -> Raw:
    """A message with what only it can say of itself: what is stored beside it later, of other messages, would hide that."""
    if "ResGlobalInfo" in raw or "RoomStays" in raw:
        return {**raw, "message": ota_status(raw)}
    return {**raw, **known(booked_at=booked_at(raw) if at(raw, "status") in (None, "new") else None)}


def ota_status(raw: Raw) -> str:
    """An OTA message without rooms is a cancellation; among new ones it was made before the first was acknowledged."""
    change = at(raw, "envelope.kind") == "change"
    off = "cancel" in str(at(raw, "@ResStatus") or "").lower() or not listed(raw, "RoomStays.RoomStay")
    return "cancelled" if off else "modified" if change else "new"


def ota_stay(raw: Raw) -> dict[str, Any]:
    """What is derived of an OTA message."""
    rooms = [ota_room(stay) for stay in listed(raw, "RoomStays.RoomStay")]
    commission = at(raw, "ResGlobalInfo.TotalCommissions")
    return summed(rooms) | known(
        status=at(raw, "message") or ota_status(raw),
        total=after_tax(at(raw, "ResGlobalInfo.Total")),
        commission=amount(at(commission, "CommissionPayableAmount") or commission),
    )


def ota_room(stay: Any) -> dict[str, Any]:
    """One RoomStay: its dates are the nights', unless it names them."""
    nights = listed(stay, "RoomRates.RoomRate")
    days = sorted(coerce.day(one) for night in nights if (one := at(night, "@EffectiveDate")) is not None)
    adults, children = guests(stay, ADULT), guests(stay, CHILD)
    return known(
        **{name: at(stay, path) for name, path in ROOM.items()},
        arrival=day(at(stay, "TimeSpan.@Start")) or (days[0] if days else None),
        departure=day(at(stay, "TimeSpan.@End")) or (day_after(days[-1]) if days else None),
        guests=adults + children,
        adults=adults,
        children=children,
        total=after_tax(at(stay, "Total")),
        commission=amount(at(stay, "RatePlans.RatePlan[0].Commission.CommissionPayableAmount")),
        nights=[
            known(
                date=at(night, "@EffectiveDate"),
                rate_plan=at(night, "@RatePlanCode"),
                price=after_tax(at(night, "Rates.Rate[0].Total")),
            )
            for night in nights
        ],
    )


def plain_stay(raw: Raw) -> dict[str, Any]:
    """What is derived of a B.XML reservation or summary, whose amounts are ordinary decimals."""
    first = at(raw, "status") in (None, "new")  # later its date is the change's
    return summed([plain_room(room) for room in listed(raw, "room")]) | known(
        booked_at=booked_at(raw) if first else None
    )


def plain_room(room: Any) -> dict[str, Any]:
    """One room of B.XML, with a price for each night."""
    nights = listed(room, "price")
    return known(
        **{name: at(room, path) for name, path in PLAIN_ROOM.items()},
        arrival=day(at(room, "arrival_date")),
        departure=day(at(room, "departure_date")),
        guests=count(at(room, "numberofguests")),
        nights=[known(date=at(one, "@date"), rate_plan=at(one, "@rate_id"), price=at(one, "$")) for one in nights],
    )


def summed(rooms: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all rooms together: from the first arrival to the last departure, who comes, and how it is paid."""
    plans = [str(night.get("rate_plan", "")) for room in rooms for night in room.get("nights", [])]
    people = {name: sum(room[name] for room in rooms if name in room) for name in ("guests", "adults", "children")}
    return known(
        rooms=rooms,
        arrival=min((room["arrival"] for room in rooms if "arrival" in room), default=None),
        departure=max((room["departure"] for room in rooms if "departure" in room), default=None),
        virtual_card=any(plan.endswith("VCC") for plan in plans) if plans else None,
        **{name: number for name, number in people.items() if any(name in room for room in rooms)},
    )


def booked_at(raw: Mapping[str, Any]) -> str | None:
    """`date` and `time`, whose zone is not stated: taken for UTC."""
    told, time = at(raw, "date"), at(raw, "time")
    return f"{told}T{time or '00:00:00'}+00:00" if told else None


def guests(stay: Any, age: str) -> int:
    counts = listed(stay, "GuestCounts.GuestCount")
    return sum(count(at(one, "@Count")) or 0 for one in counts if str(at(one, "@AgeQualifyingCode")) == age)


def count(value: Any) -> int | None:
    return None if value is None else coerce.integer(value)


def day(value: Any) -> str | None:
    return None if value is None else coerce.day(value)


def day_after(night: str) -> str:
    """The morning after."""
    try:
        return (date.fromisoformat(night) + timedelta(days=1)).isoformat()
    except OverflowError:
        raise PayloadError("EffectiveDate: out of range") from None
