"""A driver's samples: what its partner really sends, and what is to become of it. One JSON file a case.

In the folder `samples/` beside the driver:

    <resource>.<case>.json      {"raw": {...}, "id": "...", "data": {...}}, optionally "updated_at", "version", "parent_id",
                                "deleted", "adapter", "options"; or {"raw": {...}, "reject": "words of the reason"}
    <resource>.<case>.pages.json   {"pages": [{"request": {...}, "answer": {...}}, ...], "ids": [...]}, optionally "since",
                                "options", "page_size", "parent_id" and "parent" of a child, "goes_on": true where the
                                listing has more; a request names path, method, params, json: what it leaves out is not
                                compared
    <case>.error.json           {"answer": {"status": 429, "headers": {...}, "body": ...}, "error": "RateLimitError"},
                                optionally "code", "wait_seconds"; "error": null is an answer that only looks like one
    <case>.webhook.json         {"body": "...", "headers": {...}, "secrets": ["..."], "now": "2026-..."}, optionally "url",
                                "route", "event_id", "events": [{"resource", "external_id", "deleted"}]
    <resource>.<case>.push.json {"kind": "status", "id": "...", "data": {...}, "request": {...}}, optionally "key",
                                "stored" (the record's normalized fields), "answer" and, of it, "confirms", "pushed" (the
                                id in it), "error"; or {"kind": "...", "data": {...}, "reject": "words of the refusal"}
    options.json                options under which all of these are played
A record or pages may have "published": why they are not as the partner's specification says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from syncd.codec import dumps
from syncd.kit import Headers, Response
from syncd.markup import Markup, without

Kind = Literal["record", "pages", "error", "webhook", "push"]
_ENDINGS: dict[str, Kind] = {"pages": "pages", "error": "error", "webhook": "webhook", "push": "push"}


SHARED = "options.json"


@dataclass(frozen=True, slots=True)
class Sample:
    """One file."""

    driver: str
    kind: Kind
    resource: str
    """Empty for errors and webhooks."""
    case: str
    content: Mapping[str, Any] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return "-".join(part for part in (self.driver, self.kind, self.resource, self.case) if part)


def read_samples(driver: str, folder: Path) -> list[Sample]:
    """All samples in a driver's folder, by name. Raises ValueError for a file whose name or content is none."""
    place = folder / "samples"
    if not place.is_dir():
        return []
    options = shared_options(place)
    files = [file for file in sorted(place.glob("*.json")) if file.name != SHARED]
    return [sample_of(driver, file.name, json.loads(file.read_bytes()), options) for file in files]


def shared_options(place: Path) -> dict[str, Any]:
    """The options under which all samples in a folder are played."""
    file = place / SHARED
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}


def sample_of(driver: str, name: str, content: Any, options: Mapping[str, Any]) -> Sample:
    """The sample in a file of that name. Raises ValueError for what is none."""
    if not isinstance(content, dict):
        raise ValueError(f"{name}: a sample is a JSON object")
    parts = name.removesuffix(".json").split(".")
    kind = _ENDINGS.get(parts[-1], "record")
    if kind in {"error", "webhook"}:
        resource, case = "", ".".join(parts[:-1])
    else:
        resource, case = parts[0], ".".join(parts[1 : None if kind == "record" else -1])
    return Sample(driver, kind, resource, case, content, {**options, **content.get("options", {})})


def answer(told: Mapping[str, Any], url: str = "", reads: Markup | None = None) -> Response:
    """An answer as a sample writes it: `status` (200), `headers`, and `body` (JSON), `text`, or `xml`, read by `reads`."""
    if "xml" in told:
        rules = reads or Markup()
        content = without(str(told["xml"]).encode(), rules)
        said = Headers({"content-type": "text/xml", **told.get("headers", {})})
        return Response(int(told.get("status", 200)), said, content, url=url, reads=rules)
    content = str(told["text"]).encode() if "text" in told else dumps(told.get("body"))
    headers = {"content-type": "application/json", **told.get("headers", {})}
    return Response(int(told.get("status", 200)), Headers(headers), content, url=url)


def moment(text: str | None) -> datetime | None:
    """A moment as a sample writes it; without an offset it is UTC."""
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
