"""What every driver must do whatever its partner: listings end, waits are read in every form, what is new changes nothing,
two tries of one thing are the same thing. What comes in by webhook: `forgeries.py`.

Each function raises AssertionError when a driver does otherwise. All are pure; what needs an engine is tested with one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from syncd.kit import (
    Change,
    Checkpoint,
    Driver,
    Mode,
    PartnerError,
    PayloadError,
    RateLimitError,
    Resource,
)
from syncd.testing import driver_calls as calls
from syncd.testing.sample_plays import NOW
from syncd.testing.samples import Sample, answer, moment

MOST_PAGES: Final = 2_000
"""Calls after which a listing whose pages repeat must have ended."""
_WAITS: Final = {"retry-after", "date"}


# Listings.


def ends_when_pages_repeat(driver: Driver, sample: Sample) -> None:
    """A partner that answers every call with the same page ends a run with an error, not with a loop."""
    resource = driver.resources(sample.options)[sample.resource]
    since = moment(sample.content.get("since"))
    mode = Mode.FULL if since is None else Mode.INCREMENTAL
    checkpoint = Checkpoint("test", resource.name, mode=mode, since=since)
    if resource.parent is None:
        request = driver.request(resource, checkpoint)
    else:
        request = driver.child_request(resource, sample.content["parent_id"], checkpoint, sample.content.get("parent"))
    walk = driver.pages(resource, request)
    next(walk)
    page = sample.content["pages"][0]
    response = answer(page["answer"], page.get("url", ""), driver.spec.xml.markup)
    for _ in range(MOST_PAGES):
        try:
            walk.send(response)
        except (StopIteration, PartnerError):
            return
    raise AssertionError(f"{sample}: after {MOST_PAGES} times the same page the listing goes on")


# Waits.


def reads_every_wait(driver: Driver, samples: Sequence[Sample]) -> None:
    """Seconds and dates (by the partner's own clock) are read where `Retry-After` is; else the form is sampled."""
    told = _refusal(driver, samples)
    if told is None:
        return
    dialect = driver.spec.limits.waits
    if not any(name.lower() == "retry-after" for name in dialect.headers):
        sampled = any(one.kind == "error" and one.content.get("wait_seconds") is not None for one in samples)
        assert sampled, "limits.dialect leaves Retry-After out, and no sample shows where a wait stands instead"
        return
    theirs = NOW + timedelta(hours=1)  # a partner's clock is its own affair
    forms = {
        "seconds": {"Retry-After": "7"},
        "a date": {"Retry-After": _http(theirs + timedelta(seconds=7)), "Date": _http(theirs)},
    }
    least = max(7.0 + dialect.buffer_seconds, dialect.floor_seconds)
    for form, headers in forms.items():
        found = driver.classify(answer({**told, "headers": {**_plain(told), **headers}}), NOW)
        assert isinstance(found, RateLimitError), f"{form}: became {found!r}"
        assert found.retry_at is not None, f"{form}: not read"
        waited = (found.retry_at - NOW).total_seconds()
        assert waited == min(least, dialect.cap_seconds), f"{form}: waits {waited} s instead of {least}"


def survives_senseless_waits(driver: Driver, samples: Sequence[Sample]) -> None:
    """A wait that makes no sense is none, or one that is bounded: never an exception, never for ever."""
    told = _refusal(driver, samples) or {"status": 429, "body": {}}
    longest = driver.spec.limits.waits.cap_seconds
    for value in (
        "",
        "soon",
        "-5",
        "nan",
        "inf",
        "9" * 400,
        "Thu, 99 Foo 2026 25:61:61 GMT",
        "\udcff",
        "1e400",
        "0x10",
    ):
        found = driver.classify(answer({**told, "headers": {**_plain(told), "Retry-After": value}}), NOW)
        assert isinstance(found, PartnerError), f"Retry-After {value[:20]!r}: passed for a sound answer"
        until = getattr(found, "retry_at", None)
        assert until is None or until <= NOW + timedelta(seconds=longest), f"Retry-After {value[:20]!r}: until {until}"


def _refusal(driver: Driver, samples: Sequence[Sample]) -> Mapping[str, Any] | None:
    """How its partner refuses for too many calls: a sample of it, else the plainest."""
    for sample in samples:
        if sample.kind == "error" and sample.content["error"] == "RateLimitError":
            return dict(sample.content["answer"])
    plain = {"status": 429, "body": {"message": "too many"}}
    return plain if isinstance(driver.classify(answer(plain), NOW), RateLimitError) else None


def _plain(told: Mapping[str, Any]) -> dict[str, str]:
    """Its headers without those that name a wait."""
    return {name: value for name, value in told.get("headers", {}).items() if name.lower() not in _WAITS}


def _http(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC), usegmt=True)


# Records of another shape.


def ignores_what_is_new(driver: Driver, sample: Sample) -> None:
    """A member nobody knows changes nothing of what is normalized; one that is gone costs at most this record."""
    resource, adapter = driver.resources(sample.options)[sample.resource], str(sample.content.get("adapter", ""))
    raw = sample.content["raw"]
    if "reject" not in sample.content:
        known = driver.normalize(resource, raw, adapter)
        more = {**copy.deepcopy(raw), "syncd_has_never_heard_of": {"a": [1, {"b": None}]}}
        found = driver.normalize(resource, more, adapter)
        assert found == known, f"{sample}: a new member changed the record"
    for name in raw:
        without = {other: value for other, value in raw.items() if other != name}
        try:
            driver.normalize(resource, without, adapter)
        except PayloadError:
            continue


# Pushes.


def pushes_the_same_twice(driver: Driver, resource: Resource, change: Change, samples: Sequence[Sample]) -> None:
    """Two tries are the same call; where a key makes them one, it is in the call, and another push has another."""
    first, second = driver.push(resource, change), driver.push(resource, change)
    assert first == second, f"push {change.kind}: two tries are two different calls"
    rules = resource.pushes.get(change.kind)
    if rules is not None and rules.by_key:
        other = driver.push(resource, replace(change, idempotency_key="another-key"))
        assert other != first, f"push {change.kind}: the key is not in the call"
    if rules is not None and rules.idempotency == "look_up":
        assert driver.look_up(resource, change) is not None, f"push {change.kind}: nothing can be looked up"
        assert not driver.idempotent(resource, change), f"push {change.kind}: is sent twice without a look"
    if not driver.idempotent(resource, change) and driver.look_up(resource, change) is None:
        assert not first.safe_to_repeat, f"push {change.kind}: is sent again although twice may be twice"


def every_push(
    driver: Driver, options: Mapping[str, Any], samples: Sequence[Sample]
) -> Iterator[tuple[Resource, Change]]:
    """A change of each kind there is, sampled or made up; one that is refused before it is sent is left out."""
    for resource, change in calls.pushes(driver, options, samples):
        try:
            driver.check(resource, change, None)
        except PartnerError:
            continue
        yield resource, change
