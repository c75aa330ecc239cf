"""What a reservation's rooms add up to: dates that must be derived, amounts written as whole numbers, guests by age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from syncd.kit import MISSING, PayloadError, Raw, coerce, getter

ADULT: Final = "10"
CHILD: Final = "8"
MOST_PLACES: Final = 6


def at(value: Any, path: str) -> Any:
    """What sits there; None where nothing does."""
    found = getter(path)(value)
    return None if found is MISSING or found == "" else found


def listed(value: Any, path: str) -> list[Any]:
    """The elements there, of which there may be one."""
    found = at(value, path)
    return found if isinstance(found, list) else [] if found is None else [found]


def told(**fields: Any) -> dict[str, Any]:
    """Only what is known: what a message leaves out stays as it is stored."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def amount(value: Any, path: str = "@Amount") -> str | None:
    """`13350` with two decimal places is 133.50; without a number of places the text is kept."""
    text, places = at(value, path), at(value, "@DecimalPlaces")
    if text is None:
        return None
    if places is None:
        return coerce.text(text)
    if not 0 <= coerce.integer(places) <= MOST_PLACES:
        raise PayloadError("DecimalPlaces: out of range")
    return format(Decimal(coerce.integer(text)).scaleb(-coerce.integer(places)), "f")


def after_tax(value: Any) -> str | None:
    """The total, after tax where that is told."""
    return amount(value, "@AmountAfterTax") or amount(value, "@AmountBeforeTax")


def ota_stay(raw: Raw) -> dict[str, Any]:
    """What is derived of an OTA message. One without rooms in the queue of changes is a cancellation."""
    stays = listed(raw, "RoomStays.RoomStay")
    rooms = [ota_room(stay) for stay in stays]
    change = at(raw, "envelope.kind") == "change"
    off = "cancel" in str(at(raw, "@ResStatus") or "").lower() or (change and not stays)
    commission = at(raw, "ResGlobalInfo.TotalCommissions")
    codes = [str(at(rate, "@RatePlanCode") or "") for stay in stays for rate in listed(stay, "RoomRates.RoomRate")]
    return {
        "status": "cancelled" if off else "modified" if change else "new",
        **span(rooms),
        **told(
            rooms=rooms,
            total=after_tax(at(raw, "ResGlobalInfo.Total")),
            commission=amount(at(commission, "CommissionPayableAmount") or commission),
            guests=sum(room["guests"] for room in rooms) if rooms else None,
            adults=sum(room["adults"] for room in rooms) if rooms else None,
            children=sum(room["children"] for room in rooms) if rooms else None,
            virtual_card=any(code.endswith("VCC") for code in codes) if codes else None,
        ),
    }


def ota_room(stay: Any) -> dict[str, Any]:
    """One RoomStay: its dates are the nights', unless it names them."""
    nights = listed(stay, "RoomRates.RoomRate")
    days = sorted(coerce.day(one) for night in nights if (one := at(night, "@EffectiveDate")) is not None)
    first, last = at(stay, "TimeSpan.@Start"), at(stay, "TimeSpan.@End")
    room = (listed(stay, "RoomTypes.RoomType") or [None])[0]
    adults, children = _guests(stay, ADULT), _guests(stay, CHILD)
    return told(
        index=at(stay, "@IndexNumber"),
        room_type=at(room, "@RoomTypeCode"),
        name=at(room, "RoomDescription.@Name"),
        meal_plan=at(room, "RoomDescription.MealPlan"),
        arrival=coerce.day(first) if first else days[0] if days else None,
        departure=coerce.day(last) if last else day_after(days[-1]) if days else None,
        guests=adults + children,
        adults=adults,
        children=children,
        total=after_tax(at(stay, "Total")),
        currency=at(stay, "Total.@CurrencyCode"),
        commission=amount(at((listed(stay, "RatePlans.RatePlan") or [None])[0], "Commission.CommissionPayableAmount")),
        nights=[
            told(
                date=at(night, "@EffectiveDate"),
                rate_plan=at(night, "@RatePlanCode"),
                price=after_tax(at((listed(night, "Rates.Rate") or [None])[0], "Total")),
            )
            for night in nights
        ],
    )


def plain_stay(raw: Raw) -> dict[str, Any]:
    """What is derived of a B.XML reservation or summary, whose amounts are ordinary decimals."""
    rooms = [
        told(
            index=at(room, "roomreservation_id"),
            room_type=at(room, "id"),
            name=at(room, "name"),
            meal_plan=at(room, "meal_plan"),
            arrival=_day(at(room, "arrival_date")),
            departure=_day(at(room, "departure_date")),
            guests=_count(at(room, "numberofguests")),
            total=at(room, "totalprice"),
            currency=at(room, "currencycode"),
            commission=at(room, "commissionamount"),
            nights=[
                told(date=at(one, "@date"), rate_plan=at(one, "@rate_id"), price=at(one, "$"))
                for one in listed(room, "price")
            ],
        )
        for room in listed(raw, "room")
    ]
    codes = [str(at(night, "rate_plan") or "") for room in rooms for night in room.get("nights", [])]
    return {
        **span(rooms),
        **told(
            rooms=rooms,
            guests=sum(room.get("guests", 0) for room in rooms) if rooms else None,
            virtual_card=any(code.endswith("VCC") for code in codes) if codes else None,
            booked_at=booked_at(raw) if at(raw, "status") in (None, "new") else None,  # later it is the change's
        ),
    }


def span(rooms: list[dict[str, Any]]) -> dict[str, Any]:
    """From the first arrival to the last departure."""
    return told(
        arrival=min((room["arrival"] for room in rooms if "arrival" in room), default=None),
        departure=max((room["departure"] for room in rooms if "departure" in room), default=None),
    )


def booked_at(raw: Mapping[str, Any]) -> str | None:
    """`date` and `time`, whose zone is not stated: taken for UTC."""
    day, time = at(raw, "date"), at(raw, "time")
    return f"{day}T{time or '00:00:00'}+00:00" if day else None


def _guests(stay: Any, age: str) -> int:
    counts = listed(stay, "GuestCounts.GuestCount")
    return sum(_count(at(one, "@Count")) or 0 for one in counts if str(at(one, "@AgeQualifyingCode")) == age)


def _count(value: Any) -> int | None:
    return None if value is None else coerce.integer(value)


def _day(value: Any) -> str | None:
    return None if value is None else coerce.day(value)


def day_after(day: str) -> str:
    """The morning after a night."""
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except OverflowError:
        raise PayloadError("EffectiveDate: out of range") from None
