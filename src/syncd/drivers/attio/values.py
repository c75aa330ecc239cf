"""Attio's values made plain: every attribute is a list of values, each with its history and the fields of its type.

What a value is, is told by the field it has and not by `attribute_type`: two of Attio's own examples carry the wrong label
(facts of 2026-11, section 3.1).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from syncd.kit import PayloadError, Raw, coerce

HISTORY: Final = frozenset({"active_from", "active_until", "created_by_actor", "attribute_type"})
PLACE: Final = (
    "line_1", "line_2", "line_3", "line_4", "locality", "region", "postcode", "country_code", "latitude", "longitude",
)  # fmt: skip
_PLAIN: Final = ("value", "email_address", "phone_number", "domain")
"""Fields that alone are the value: text, number, checkbox, date, timestamp and rating come as `value`."""
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def flat(raw: Raw, many: Collection[str], named: Collection[str]) -> Raw:
    """A record or list entry with plain values, for field paths to read; the raw itself stays as it is.

    `values` are all attributes, `others` those without a column of their own (not in `named`), `active_from` tells since
    when each attribute is what it is, `updated_at` is the newest of these moments and of `created_at`. Attributes in `many`
    are always lists. Raises PayloadError where there are no values.
    """
    held = raw["values"] if "values" in raw else raw.get("entry_values")
    if not isinstance(held, Mapping):
        raise PayloadError("field values: expected an object with a list for each attribute")
    values = {slug: _attribute(several(given), always=slug in many) for slug, given in held.items()}
    began = {slug: newest for slug, given in held.items() if (newest := _began(given))}
    moments = [*began.values(), *_moments([raw.get("created_at")])]
    return {
        **raw,
        "values": values,
        "others": {slug: value for slug, value in values.items() if slug not in named},
        "active_from": began,
        "updated_at": max(moments, key=_rank, default=None),
    }


def several(values: Any) -> list[Any]:
    """An attribute's values; null is none, and a bare value is one."""
    if values is None:
        return []
    return values if isinstance(values, list) else [values]


def _attribute(values: list[Any], *, always: bool) -> Any:
    """Null for an unset one, the value of a single one, a list where there are several or may be."""
    made = [plain(value) for value in values]
    return made if always or len(made) > 1 else made[0] if made else None


def plain(value: Any) -> Any:
    """One value without its history: a scalar, or an object with a few named parts."""
    if not isinstance(value, Mapping):
        return value
    for name in _PLAIN:
        if name in value:
            return value[name]
    if "status" in value:
        return _choice(value["status"], "status_id")
    if "option" in value:
        return _choice(value["option"], "option_id")
    if "currency_value" in value:
        return {"amount": _amount(value["currency_value"]), "currency": value.get("currency_code")}
    if "target_record_id" in value:
        return {"object": value.get("target_object"), "id": value["target_record_id"]}
    if "referenced_actor_id" in value:
        return {"type": value.get("referenced_actor_type"), "id": value["referenced_actor_id"]}
    if "interaction_type" in value or "interacted_at" in value:
        owner = value.get("owner_actor")
        return {"type": value.get("interaction_type"), "at": value.get("interacted_at"), "owner": owner}
    if "full_name" in value or "first_name" in value:
        return {name: value.get(name) for name in ("first_name", "last_name", "full_name")}
    if "locality" in value or "line_1" in value:
        return {name: value.get(name) for name in PLACE}
    return {name: part for name, part in value.items() if name not in HISTORY}


def _choice(choice: Any, id_name: str) -> Any:
    """A select's option or a status: an object, or no more than the UUID (the OpenAPI document allows both)."""
    if not isinstance(choice, Mapping):
        return {"id": choice, "title": None}
    ids = choice.get("id")
    return {"id": ids.get(id_name) if isinstance(ids, Mapping) else ids, "title": choice.get("title")}


def _amount(value: Any) -> Any:
    """Money as text with every digit. Recorded answers have a number, one example of the guide has text."""
    return coerce.decimal(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _began(values: Any) -> str:
    """The newest `active_from` among an attribute's values; empty where none is readable."""
    found = [value.get("active_from") for value in several(values) if isinstance(value, Mapping)]
    return max(_moments(found), key=_rank, default="")


def _moments(stamps: list[Any]) -> list[str]:
    return [stamp for stamp in stamps if isinstance(stamp, str) and _MOMENT.fullmatch(stamp)]


def _rank(stamp: str) -> str:
    """Attio's stamps are all UTC, so their text sorts as time; `Z` would sort a whole second above its fractions."""
    return stamp.removesuffix("Z")
