"""What names a record, when it changed, and which of its values are kept: guessed from its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from syncd.scaffold.document import Document

MOST_FIELDS = 15
_PLAIN = re.compile(r"[A-Za-z_$][\w$]*\Z")
_UPDATED = re.compile(
    r"(?:last_?)?(?:updated|modified|changed)(?:_?(?:at|on|date|time|date_?time|timestamp))?\Z"
    r"|date_?(?:updated|modified|changed)\Z|(?:update|modification|change)_?(?:date|time)\Z|last_?(?:update|change)\Z",
    re.IGNORECASE,
)
MAIL_DATE = "date-time-rfc-2822"
_MOMENTS = {"date-time": "timestamp", MAIL_DATE: "mail_date"}
_SECRET = re.compile(r"token|secret|password|passwd|api_?key|private_?key", re.IGNORECASE)
"""Such a value is not for a column."""
_NUMBERS = {"integer": "integer", "number": "number", "boolean": "boolean"}


def id_of(document: Document, properties: Mapping[str, Mapping[str, Any]], singular: str) -> str | None:
    """The path of a record's id; None where nothing looks like one."""
    by_name = {name.lower().replace("_", ""): name for name in properties if _PLAIN.match(name)}
    one = singular.lower().replace("_", "")
    last = singular.rsplit("_", 1)[-1].lower()
    wanted = ("id", "uuid", "guid", "sid", f"{one}id", f"{last}id", f"{one}uuid", "key", "code", "reference")
    for name in wanted:
        found = by_name.get(name)
        if found is None:
            continue
        schema = properties[found]
        if document.kind(schema) == "object":
            inner = schema.get("properties")
            return _deeper(document, found, inner if isinstance(inner, dict) else {}, last)
        if document.kind(schema) in {"string", "integer", "number", ""}:
            return found
    return next((name for name in properties if re.search(r"(?:_id|Id|ID)\Z", name) and _PLAIN.match(name)), None)


def _deeper(document: Document, name: str, inner: Mapping[str, Any], last: str) -> str | None:
    """An id that is a mapping names the account first and the record last."""
    keys = [
        key for key, node in inner.items() if _PLAIN.match(key) and document.kind(document.schema(node)) == "string"
    ]
    own = [key for key in keys if last and last in key.lower()]
    chosen = (own or keys[::-1])[:1]
    return f"{name}.{chosen[0]}" if chosen else None


def updated_of(document: Document, properties: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """When a record changed, and how that is written; ("", "timestamp") where nothing tells."""
    found = [name for name in properties if _PLAIN.match(name) and _UPDATED.fullmatch(name)]
    for name in sorted(found, key=len):
        schema = properties[name]
        kind = document.kind(schema)
        if kind == "string" and schema.get("format") != "date":
            return name, "mail_date" if schema.get("format") == MAIL_DATE else "timestamp"
        if kind == "integer":
            return name, "epoch"
    return "", "timestamp"


def fields_of(
    document: Document, properties: Mapping[str, Mapping[str, Any]], identity: str
) -> dict[str, dict[str, str]]:
    """Values worth a column, by the name they get: plain ones only, the first dozen or so."""
    found: dict[str, dict[str, str]] = {}
    for name, schema in properties.items():
        kind = document.kind(schema)
        if (
            name == identity
            or not _PLAIN.match(name)
            or _SECRET.search(name)
            or kind not in {"string", *_NUMBERS}
            or len(found) >= MOST_FIELDS
        ):
            continue
        column = _column(name)
        if column in found or not column:
            continue
        told = {} if column == name else {"from": name}
        form = schema.get("format")
        if kind != "string":
            told["as"] = _NUMBERS[kind]
        elif form in _MOMENTS:
            told["as"] = _MOMENTS[str(form)]
        found[column] = told
    return found


def _column(name: str) -> str:
    """A key as a column: dateCreated is date_created."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:48]
    return text if re.match(r"[a-z]", text) else ""
