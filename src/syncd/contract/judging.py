"""What a partner answers today against what the driver relies on: its samples, its mapping, and a published document.

Pure. Nothing here shows a value: what is told are fields, kinds and counts. A difference is what is certain; what a few
records, or an account that never used a field, would show just as well is a remark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from syncd.contract.specification import Problem, Specification
from syncd.errors import PayloadError, SyncdError
from syncd.kit import Driver, Resource
from syncd.kit.inferred import Inferred, difference
from syncd.kit.paths import MISSING, getter, steps
from syncd.kit.shape_tree import ENTRY, joined
from syncd.model import Response

What = Literal["unreadable", "missing", "retyped", "published"]
LISTED: Final = 20
"""Differences of one resource that are told one by one."""
ENOUGH: Final = 20
"""Records without a field before it can be gone: optional fields are missing from a few by chance."""
_FIELD: Final = re.compile(r"(?:field )?(\S+): (.+)", re.DOTALL)


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
    remarks: list[Drift] = field(default_factory=list)
    """What may be nothing: no difference by itself."""
    unknown: list[str] = field(default_factory=list)
    """Fields that no sample has: nothing relies on them."""
    note: str = ""
    """Why it could not be looked at."""
    error: SyncdError | None = None
    """The same, where it is known as an error."""
    later: bool = False
    """And whether the same look may succeed in a while."""

    def as_json(self) -> dict[str, Any]:
        return {
            "resource": self.resource,
            "records": self.records,
            "calls": self.calls,
            "drift": [asdict(one) for one in self.drift[:LISTED]],
            "more": max(len(self.drift) - LISTED, 0),
            "remarks": [asdict(one) for one in self.remarks[:LISTED]],
            "unknown": self.unknown,
            "note": self.note,
            "later": self.later,
        }


def judged(
    driver: Driver,
    resource: Resource,
    answers: Sequence[Response],
    known: Sequence[Mapping[str, Any]],
    *,
    adapter: str = "",
    learned: Inferred | None = None,
    specification: Specification | None = None,
    base_path: str = "",
) -> Findings:
    """What these answers to a listing show. `known`: raw records as samples have them. `learned`: the shape this account's
    records have had so far. `base_path`: where the document has the paths of this integration, where that is not where its
    calls go."""
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
            _published(found, specification, resource, response, base_path)
    found.records = len(raws)
    if not resource.feeds:
        _unreadable(found, driver, resource, raws, adapter)
        if raws and known:
            beside = _Beside(resource, raws, known, adapter, learned)
            _missing(found, beside)
            _compare(found, beside)
    found.drift, found.remarks = list(dict.fromkeys(found.drift)), list(dict.fromkeys(found.remarks))
    return found


def _unreadable(
    found: Findings, driver: Driver, resource: Resource, raws: Sequence[dict[str, Any]], adapter: str
) -> None:
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
        match = _FIELD.match(reason)
        place, told = match.groups() if match is not None else ("a record", reason)
        found.drift.append(Drift("unreadable", place, f"{told} ({count} of {len(raws)} records)"))
    if resource.updated is not None and undated and undated == len(raws):
        gone = Drift("missing", resource.updated.source, f"none of {len(raws)} records says when it changed")
        (found.drift if len(raws) >= ENOUGH else found.remarks).append(gone)


def _said(error: Exception) -> str:
    """Of a fault in the driver only its kind, since its text may hold a value."""
    return str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver"


@dataclass(frozen=True, slots=True)
class _Beside:
    """Records as they came, beside what samples have and what this account's own have had so far."""

    resource: Resource
    raws: Sequence[dict[str, Any]]
    known: Sequence[Mapping[str, Any]]
    adapter: str
    learned: Inferred | None

    def mapped(self, *, without_default: bool = False) -> list[str]:
        """The plain paths that the description reads; `without_default`: where it has nothing to put in their place."""
        paths = [
            mapped.source or name
            for name, mapped in self.resource.mapped(self.adapter).items()
            if not (without_default and mapped.default is not None)
        ]
        paths += [self.resource.id] if isinstance(self.resource.id, str) else list(self.resource.id)
        return [path for path in dict.fromkeys(paths) if steps(path)]

    def as_it_comes(self, path: str) -> bool:
        """Is what stands at this place stored whatever its kind is?"""
        fields = self.resource.mapped(self.adapter).items()
        return any(field.kind in {None, "json"} for name, field in fields if _place(field.source or name) == path)

    def was_so(self, path: str, kinds: str) -> bool:
        """Has this account had it of these kinds before? A free value is another kind in each account."""
        if self.learned is None or self.learned.records < ENOUGH:
            return False
        return any(each.path == path and set(kinds.split(" or ")) <= set(each.kinds) for each in self.learned.paths())


def _missing(found: Findings, beside: _Beside) -> None:
    """Members that every sample has and no record has any more. A null is there: it is an answer.

    Partners leave out what is optional, and an account without barcodes never shows one. So a field is gone only where this
    account's own records had it, and are without it for longer than they ever were. All else is a remark.
    """
    raws, learned = beside.raws, beside.learned
    gone = _gone(learned, Inferred.of(raws)) if learned is not None and learned.records >= ENOUGH else None
    for path in beside.mapped(without_default=True):
        get = getter(path)
        if all(get(raw) is not MISSING for raw in beside.known) and all(get(raw) is MISSING for raw in raws):
            told = f"in none of {len(raws)} records, and in every sample"
            if gone is not None and not gone.isdisjoint(_places(path)):
                found.drift.append(Drift("missing", path, told))
            else:
                why = (
                    "too little was read of this account to say more" if gone is None else "it is not always there here"
                )
                found.remarks.append(Drift("missing", path, f"{told}; {why}"))


def _gone(learned: Inferred, now: Inferred) -> set[str]:
    """The places that no longer come, and those that nothing stands below any more: what they hold is another thing now."""
    kinds = {each.path: set(each.kinds) for each in now.paths()}
    return {
        each.path
        for each in difference(learned, now)
        if each.what == "missing"
        or (each.what == "retyped" and kinds[each.path].isdisjoint(each.expected.split(" or ")))
    }


def _compare(found: Findings, beside: _Beside) -> None:
    known = beside.known
    mapped = {_place(path) for path in beside.mapped()}
    for each in difference(Inferred.of(known), Inferred.of(beside.raws)):
        if each.what == "unknown":
            if not any(each.path.startswith((f"{path}.", f"{path}[")) for path in mapped) and not (
                steps(each.path) and any(getter(each.path)(raw) is not MISSING for raw in known)
            ):  # stored as it comes, whatever is in it; and a null is there
                found.unknown.append(each.path)
        elif each.what == "retyped":
            told = Drift("retyped", each.path, f"expected {each.expected}, got {each.got}")
            if each.path in mapped:
                usual = beside.as_it_comes(each.path) and beside.was_so(each.path, each.got)
                (found.remarks if usual else found.drift).append(told)
            elif each.path.partition(".")[0].partition("[")[0] in mapped:
                found.remarks.append(told)  # inside what is stored as it comes: a custom field's value may be anything


def _places(path: str) -> list[str]:
    """The places on the way to it, and last its own, as differences of shapes name them."""
    keys = (step if isinstance(step, str) else ENTRY for step in steps(path) or ())
    return list(accumulate(keys, joined, initial=""))[1:]


def _place(path: str) -> str:
    """As differences of shapes name it; empty where it is no plain path."""
    return _places(path)[-1] if steps(path) else ""


def _published(
    found: Findings, specification: Specification, resource: Resource, response: Response, base_path: str
) -> None:
    if not response.headers.get("content-type", "").partition(";")[0].strip().endswith("json"):
        return
    path = base_path + urlsplit(response.url).path
    if specification.operation(resource.method, path) is None:
        if not specification.partial:  # it was answered: the documents are older, or not all that there are
            told = "no document that was given has such a path"
            found.remarks.append(Drift("published", f"{resource.method} {resource.path}", told))
        return
    problems: Iterable[Problem] = specification.answer(resource.method, path, response.status_code, response.json())
    found.drift += [Drift("published", problem.place, problem.told) for problem in problems]


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
