"""What a partner answers today against what the driver relies on: its samples, its mapping, and a published document.

Pure. Nothing here shows a value: what is told are fields, kinds and counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from syncd.contract.specification import Problem, Specification
from syncd.errors import PayloadError
from syncd.kit import Driver, Resource
from syncd.kit.inferred import Inferred, difference
from syncd.kit.paths import MISSING, getter, steps
from syncd.model import Response

What = Literal["unreadable", "missing", "retyped", "published"]
LISTED: Final = 20
"""Differences of one resource that are told one by one."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as the driver relies on, or not as the partner has published."""

    what: What
    place: str
    """A field, or where in an answer."""
    told: str
    """In words, without a value."""

    @property
    def is_relied_on(self) -> bool:
        """False: only the document says otherwise, and documents are wrong more often than partners change."""
        return self.what != "published"


@dataclass(slots=True)
class Findings:
    """Of one resource."""

    resource: str
    records: int = 0
    calls: int = 0
    drift: list[Drift] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Fields that no sample has: nothing relies on them."""
    note: str = ""
    """Why it could not be looked at."""

    def as_json(self) -> dict[str, Any]:
        drift = [{"what": one.what, "place": one.place, "told": one.told} for one in self.drift[:LISTED]]
        return {
            "resource": self.resource,
            "records": self.records,
            "calls": self.calls,
            "drift": drift,
            "more": max(len(self.drift) - LISTED, 0),
            "unknown": self.unknown[:LISTED],
            "note": self.note,
        }


def judged(
    driver: Driver,
    resource: Resource,
    answers: Sequence[Response],
    known: Sequence[Mapping[str, Any]],
    *,
    adapter: str = "",
    specification: Specification | None = None,
    base_path: str = "",
) -> Findings:
    """What these answers to a listing show. `known`: raw records as samples have them. `base_path`: where the document has
    the paths of this integration, where that is not where its calls go."""
    found = Findings(resource.name, calls=len(answers))
    raws: list[dict[str, Any]] = []
    for response in answers:
        try:
            items = driver.items(resource, response)
        except Exception as error:  # whatever a driver makes of an answer nobody has seen before
            found.drift.append(Drift("unreadable", "the listing", _said(error)))
            continue
        raws += [item.raw for item in items if item.raw is not None and item.resource == resource.name]
        if specification is not None:
            found.drift += _published(specification, resource, response, base_path)
    found.records = len(raws)
    if not resource.feeds:
        found.drift += _unreadable(driver, resource, raws, adapter)
        found.drift += _missing(resource, raws, known, adapter)
        _compare(found, resource, raws, known, adapter)
    found.drift = list(dict.fromkeys(found.drift))
    return found


def _unreadable(driver: Driver, resource: Resource, raws: Sequence[dict[str, Any]], adapter: str) -> Iterator[Drift]:
    reasons: dict[str, int] = {}
    undated = 0
    for raw in raws:
        try:
            record = driver.normalize(resource, raw, adapter)
        except Exception as error:
            reasons[_said(error)] = reasons.get(_said(error), 0) + 1
            continue
        undated += record.identity.source_updated_at is None
    for reason, count in reasons.items():
        yield Drift("unreadable", reason.partition(":")[0], f"{reason} ({count} of {len(raws)} records)")
    if resource.updated is not None and undated and undated == len(raws):
        yield Drift("missing", resource.updated.source, "no record says when it changed")


def _said(error: Exception) -> str:
    """Of a fault in the driver only its kind, since its text may hold a value."""
    return str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver"


def _missing(
    resource: Resource, raws: Sequence[dict[str, Any]], known: Sequence[Mapping[str, Any]], adapter: str
) -> Iterator[Drift]:
    """Members that every sample has and no record has any more. A null is there: it is an answer."""
    if not raws or not known:
        return
    for path in _mapped(resource, adapter):
        get = getter(path)
        if all(get(raw) is not MISSING for raw in known) and all(get(raw) is MISSING for raw in raws):
            yield Drift("missing", path, f"in none of {len(raws)} records, and in every sample")


def _compare(
    found: Findings,
    resource: Resource,
    raws: Sequence[dict[str, Any]],
    known: Sequence[Mapping[str, Any]],
    adapter: str,
) -> None:
    if not raws or not known:
        return
    mapped = {".".join(str(step) for step in steps(path) or ()) for path in _mapped(resource, adapter)}
    for each in difference(Inferred.of(known), Inferred.of(raws)):
        if each.what == "unknown":
            if not (
                steps(each.path) and any(getter(each.path)(raw) is not MISSING for raw in known)
            ):  # a null is there
                found.unknown.append(each.path)
        elif each.what == "retyped" and (each.path in mapped or each.path.partition(".")[0].strip("[]") in mapped):
            found.drift.append(Drift("retyped", each.path, f"expected {each.expected}, got {each.got}"))


def _mapped(resource: Resource, adapter: str) -> list[str]:
    """The plain paths that the description reads."""
    paths = [mapped.source or name for name, mapped in resource.mapped(adapter).items()]
    paths += [resource.id] if isinstance(resource.id, str) else list(resource.id)
    return [path for path in dict.fromkeys(paths) if steps(path)]


def _published(specification: Specification, resource: Resource, response: Response, base_path: str) -> Iterator[Drift]:
    if not response.headers.get("content-type", "").partition(";")[0].strip().endswith("json"):
        return
    path = base_path + urlsplit(response.url).path
    if specification.operation(resource.method, path) is None:
        if not specification.partial:
            yield Drift("published", f"{resource.method} {resource.path}", "the document has no such path")
        return
    problems: Iterable[Problem] = specification.answer(resource.method, path, response.status_code, response.json())
    for problem in problems:
        yield Drift("published", problem.place, problem.told)


def sampled(folder: Path, resource: str) -> list[dict[str, Any]]:
    """The raw records that a driver's samples have of a resource; not those that are samples of what is wrong."""
    found: list[dict[str, Any]] = []
    for file in sorted((folder / "samples").glob(f"{resource}.*.json")):
        if file.stem.rpartition(".")[2] in {"pages", "error", "webhook", "push"}:
            continue
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        sound = isinstance(content, dict) and isinstance(content.get("raw"), dict) and "reject" not in content
        if sound and not content.get("adapter"):
            found.append(content["raw"])
    return found
