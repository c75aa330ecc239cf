"""A made-up record that fits its schema: what the simulator shows and the samples hold."""

from __future__ import annotations

from typing import Any

from syncd.kit import put
from syncd.scaffold.document import Document
from syncd.scaffold.fields import MAIL_DATE

MOST_KEYS = 40
_STAMP = "2026-11-20T09:30:00Z"
_MAIL_STAMP = "Fri, 20 Nov 2026 09:30:00 +0000"
_EPOCH = 1_795_167_000
_TEXTS = {
    "date-time": _STAMP, MAIL_DATE: _MAIL_STAMP, "date": "2026-11-20", "time": "09:30:00", "email": "office@example.com",
    "uri": "https://example.com/1", "url": "https://example.com/1", "uuid": "3f2b8c1e-5a4d-4e6f-8b7a-1c2d3e4f5a6b",
}  # fmt: skip


def example_of(document: Document, schema: dict[str, Any], identity: str, updated: tuple[str, str]) -> dict[str, Any]:
    """One record."""
    made = _made(document, schema, 3)
    raw: dict[str, Any] = made if isinstance(made, dict) else {}
    path = identity.split(".")
    place: Any = raw
    for step in path:
        place = place.get(step) if isinstance(place, dict) else None
    if len(path) > 1 and not isinstance(raw.get(path[0]), dict):
        raw[path[0]] = {}
    put(raw, identity, 100_001 if isinstance(place, int) and not isinstance(place, bool) else "r_000001")
    name, kind = updated
    if name:
        raw[name] = {"timestamp": _STAMP, "mail_date": _MAIL_STAMP}.get(kind, _EPOCH)
    return raw


def _made(document: Document, node: Any, depth: int, name: str = "") -> Any:
    schema = document.schema(node)
    kind = document.kind(schema)
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return next((one for one in choices if isinstance(one, str | int | float | bool) and one != ""), choices[0])
    match kind:
        case "object":
            properties = schema.get("properties")
            if depth <= 0 or not isinstance(properties, dict):
                return {}
            return {
                str(key): _made(document, inner, depth - 1, str(key))
                for key, inner in list(properties.items())[:MOST_KEYS]
            }
        case "array":
            if depth <= 1:
                return []
            item = _made(document, schema.get("items"), depth - 1, name)
            return [item] if item not in (None, {}) else []
        case "integer":
            least = schema.get("minimum")
            return int(least) if isinstance(least, int | float) and least > 1 else 1
        case "number":
            return 12.5
        case "boolean":
            return True
        case "string":
            form = schema.get("format")
            text = _TEXTS.get(str(form)) or f"Some {name.replace('_', ' ').strip() or 'text'}"
            most = schema.get("maxLength")
            return text[: int(most)] if isinstance(most, int) and most > 0 and form not in _TEXTS else text
    return None
