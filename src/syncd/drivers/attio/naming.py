"""Which of our resources an event is of: its UUID names an object or a list, whose stored record has the slug we know.

An event carries UUIDs alone (facts, section 9.3), the configuration mostly slugs. Resources that are configured by UUID are
called by it and need nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from syncd.drivers.attio.configured import STANDARD, UUID, chosen, object_name
from syncd.kit import Event, Raw

_TABLES: Final = {"object_": "objects", "entries_": "lists"}


def named_by(event: Event) -> tuple[str, str] | None:
    """The object or list an event is of, as a record of ours."""
    for prefix, table in _TABLES.items():
        digits = event.resource.removeprefix(prefix)
        if event.resource != digits and UUID.fullmatch(digits) and "-" not in digits:
            return table, "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return None


def named(event: Event, record: Raw | None, own: Mapping[str, Any], given: Mapping[str, Any]) -> list[Event]:
    """The event once for each resource that holds what it is of; as it came where none does."""
    asked = named_by(event)
    if asked is None:
        return [event]
    table, uuid = asked
    slug = (record or {}).get("api_slug")
    names = {*([slug] if isinstance(slug, str) else []), uuid, uuid.replace("-", "")}
    found = _records(event, names, own, given) if table == "objects" else _entries(event, uuid, names, given)
    return list(found) or [event]


def _records(event: Event, names: set[str], own: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Event]:
    for standard in STANDARD:
        if standard in names:
            yield replace(event, resource=standard)
    for name, slug in chosen("objects", given["objects"]):
        if slug.lower() in names and not (slug in STANDARD and name == slug):
            yield replace(event, resource=object_name(name, own))


def _entries(event: Event, uuid: str, names: set[str], given: Mapping[str, Any]) -> Iterator[Event]:
    for name, slug in chosen("lists", given["lists"], "entries_"):
        if slug.lower() in names:
            yield replace(event, resource=name)
    if not given["lists"]:
        yield replace(event, resource="list_entries", parent_id=uuid)
