"""What Attio is sent: values always in lists, as its specification asks, and personal names whole (facts, section 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncd.kit import Change, RejectedError, Resource

PEOPLE: Final = "/objects/people/records/query"
_PARTS: Final = ("first_name", "last_name")


def check_name(resource: Resource, change: Change) -> None:
    """A text without a comma would become a first name. Raises RejectedError."""
    name = change.data.get("name")
    names = name if isinstance(name, list) else [name]
    if resource.path == PEOPLE and any(isinstance(one, str) and "," not in one for one in names):
        raise RejectedError(
            "field name: Attio takes a text without a comma as the first name alone",
            hint="give an object with first_name and last_name, or 'Last, First'",
            code="invalid",
            resource=resource.name,
        )


def values_of(resource: Resource, data: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute as a list of its values; an empty one unsets it."""
    made = {
        slug: value if isinstance(value, list) else [] if value is None else [value] for slug, value in data.items()
    }
    if resource.path == PEOPLE and "name" in made:
        made["name"] = [_whole(one) for one in made["name"]]
    return made


def _whole(name: Any) -> Any:
    """A personal name with all three of its parts, which Attio wants together."""
    if not isinstance(name, Mapping):
        return name
    parts = {part: name.get(part) or "" for part in _PARTS}
    return {**parts, "full_name": name.get("full_name") or " ".join(filter(None, parts.values()))}
