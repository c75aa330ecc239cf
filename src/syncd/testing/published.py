"""The partners' published specifications, for tests and simulators: where they lie, and where they themselves are wrong.

The project has none of them: they are looked for in `$SYNCD_OPENAPI`, or in `shared/openapi` beside the checkout. A
defect is a place where the document contradicts the partner's own text, its own examples or its later versions; each
says how that is known. A new difference is no defect until somebody has found out which of the two is right.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from syncd.contract import Problem, Specification
from syncd.contract.defects import DEFECTS
from syncd.errors import ConfigError
from syncd.kit import Checkpoint, Driver
from syncd.testing import driver_calls as calls
from syncd.testing.samples import Sample

FILES: Final[dict[str, tuple[str, ...]]] = {
    "attio": ("attio.json",),
    "bookingcom": ("bookingcom_property_api_1.0_read_subset.json", "bookingcom_rooms_api_1.2_read_subset.json"),
    "cloudbeds": ("cloudbeds.yaml",),
    "guesty": ("guesty.json", "guesty-2026-selected.json"),
    "maintainx": ("maintainx.json",),
    "stripe": ("stripe_spec3_2022-04-12.json",),
    "twilio": ("twilio_api_v2010.json",),
}
"""By driver, the newest last. airbnb publishes none."""
PARTIAL: Final = frozenset({"bookingcom"})
"""Only the read operations of two of its APIs were transcribed: that a path is not among them proves nothing."""
VARIABLE: Final = "SYNCD_OPENAPI"
_IDS: Final = ("0c1d2e3f-4051-4263-a475-869708192a3b", "4711")
"""Ids of subscriptions that are only made up: of one of these kinds they are."""


def folder() -> Path | None:
    """Where the documents lie; None where they are not."""
    told = os.environ.get(VARIABLE)
    beside = Path(__file__).resolve().parents[4] / "shared" / "openapi"
    place = Path(told) if told else beside
    return place if place.is_dir() else None


def why_not(driver: str) -> str:
    """Why there is nothing to check a driver against; "" where there is."""
    if driver not in FILES:
        return f"{driver}: no specification is published"
    place = folder()
    if place is None:
        return f"no folder of published specifications: set {VARIABLE} to one"
    missing = [name for name in FILES[driver] if not (place / name).is_file()]
    return f"{place} has no {', '.join(missing)}" if missing else ""


@lru_cache(maxsize=16)
def specification(driver: str) -> Specification:
    """What a driver's partner has published. Raises ConfigError where it is not at hand: ask `why_not` first."""
    place, missing = folder(), why_not(driver)
    if place is None or missing:
        raise ConfigError(missing or "no folder of published specifications")
    files = [place / name for name in FILES[driver]]
    return Specification.read(*files, defects=DEFECTS.get(driver, ()), partial=driver in PARTIAL)


def strange_requests(name: str, driver: Driver, samples: Sequence[Sample]) -> Iterator[str]:
    """What of the calls a driver makes its partner does not document, in words; the same thing once."""
    told: set[Problem] = set()
    for options in _options(samples):
        made = [
            *calls.reads(driver, options, samples),
            *calls.writes(driver, options, samples),
        ]
        base = driver.base_url(options) or ""
        found = [(one, problem) for one in made for problem in calls.problems(specification(name), base, one)]
        by_id: list[list[tuple[calls.Made, Problem]]] = [list(_subscribing(name, driver, options, own)) for own in _IDS]
        least = min(by_id, key=len)
        found += least
        for one, problem in found:
            if problem not in told:
                told.add(problem)
                yield f"{one}: {problem}"


def _subscribing(
    name: str, driver: Driver, options: Mapping[str, Any], own: str
) -> Iterator[tuple[calls.Made, Problem]]:
    for one in calls.subscribing(driver, options, own):
        for problem in calls.problems(specification(name), driver.base_url(options) or "", one):
            yield one, problem


def strange_samples(name: str, driver: Driver, samples: Sequence[Sample]) -> Iterator[str]:
    """What of a driver's samples its partner does not document. A sample may be cut short, and excused in words."""
    for sample in samples:
        if sample.kind not in {"record", "pages"} or "reject" in sample.content:
            continue
        found = list(dict.fromkeys(map(str, _of_sample(specification(name), driver, sample))))
        excuse = str(sample.content.get("published", ""))
        if excuse and (not found or len(excuse.split()) < 4):
            yield f"{sample}: is excused, and " + ("is as documented" if not found else "gives no reason")
        elif not excuse:
            yield from (f"{sample}: {problem}" for problem in found)


def _of_sample(document: Specification, driver: Driver, sample: Sample) -> Iterator[Problem]:
    resource = driver.resources(sample.options)[sample.resource]
    base = urlsplit(driver.base_url(sample.options) or "").path.rstrip("/")
    if resource.parent is None:
        listing = driver.request(resource, Checkpoint("test", resource.name))
    else:
        listing = driver.child_request(resource, "1", None, dict.fromkeys(resource.placeholders, "1"))
    if sample.kind == "pages":
        for page in sample.content["pages"]:
            told = page.get("request", {})
            path, told_answer = told.get("path", listing.path), page["answer"]
            method, status = told.get("method", listing.method), told_answer.get("status", 200)
            yield from document.answer(method, base + path, status, told_answer.get("body"), whole=False)
        return
    raw = sample.content["raw"]
    places = resource.records if isinstance(resource.records, tuple) else (resource.records,)
    yield from min((document.record(listing.method, base + listing.path, place, raw) for place in places), key=len)
    one = driver.one(resource, str(sample.content["id"]))
    if one is not None and resource.one is not None:
        yield from document.record(one.method, base + one.path, resource.one.records, raw)


def _options(samples: Sequence[Sample]) -> list[Mapping[str, Any]]:
    """All options under which a driver's samples are played, each once."""
    found: list[Mapping[str, Any]] = []
    for sample in samples:
        if sample.options not in found:
            found.append(sample.options)
    return found or [{}]
