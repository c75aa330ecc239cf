"""The upper bound of a range: in the place the partner wants it, and never so low that something is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.kit import Checkpoint, DriverSpec, RestDriver, coerce
from syncd.kit.moments import since_value, until_value

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, 12, 0, 0, 500, tzinfo=UTC)
FORMS = ["iso", "iso_seconds", "iso_ns", "plain", "epoch", "epoch_ms", "date"]
LONGEST = timedelta(days=1)


def moment(value: str | int, form: str) -> datetime:
    if isinstance(value, int):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            **{"milliseconds" if form == "epoch_ms" else "seconds": value}
        )
    text = value.removesuffix("000Z") + "Z" if form == "iso_ns" else value
    return coerce.moment(
        f"{text}T00:00:00Z" if form == "date" else f"{text.replace(' ', 'T')}Z" if form == "plain" else text
    )


@given(st.datetimes(datetime(1999, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)), st.sampled_from(FORMS))  # noqa: DTZ001
def test_it_is_rounded_up_and_the_lower_one_down(at: datetime, form: str):
    low, high = since_value(at, form), until_value(at, form)
    low_at, high_at = moment(low, form), moment(high, form)
    assert low_at <= at <= high_at
    assert high_at - low_at <= LONGEST
    assert (low == high) == (low_at == at)


def request(since: dict[str, Any], until: datetime | None = UNTIL, **more: Any) -> Any:
    things = {"path": "/things", "updated": "at", "since": since, **more}
    driver = RestDriver(DriverSpec.model_validate({"name": "acme", "resources": {"things": things}}))
    checkpoint = Checkpoint("acme", "things", since=SINCE, until=until)
    return driver.request(driver.spec.resources["things"], checkpoint)


def test_in_the_query():
    found = request({"param": "from", "until": "to"})
    assert found.params == {"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-31T12:00:00.001Z"}
    assert request({"param": "from", "until": "to"}, None).params == {"from": "2026-01-01T00:00:00.000Z"}
    assert request({"param": "from"}).params == {"from": "2026-01-01T00:00:00.000Z"}


def test_in_the_body_beside_the_lower_one():
    found = request({"body": "filter.at.$gte", "until": "filter.at.$lt", "format": "epoch"}, method="POST")
    assert found.json == {"filter": {"at": {"$gte": 1767225600, "$lt": 1769860801}}}


@pytest.mark.parametrize("resource", ["people", "companies"])
def test_attio_takes_both_bounds(resource: str):
    from syncd import drivers

    driver = drivers.load("attio")
    options = {name: option.default for name, option in driver.spec.options.items()}
    found = driver.resources(options)[resource]
    json = driver.request(found, Checkpoint("acme", resource, since=SINCE, until=UNTIL)).json
    assert json["filter"]["created_at"] == {
        "$gte": "2026-01-01T00:00:00.000000000Z", "$lt": "2026-01-31T12:00:00.000500000Z",
    }  # fmt: skip
