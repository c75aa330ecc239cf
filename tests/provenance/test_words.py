"""What is said of a record's times, and of versions that were refused, is so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.provenance.story import order
from syncd.provenance.writers import why_refused
from syncd.store.records import StoredRecord

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def record(*, changed: float | None, asked: float, stored: float, cause: str = "run 7 page 1") -> StoredRecord:
    def at(seconds: float) -> datetime:
        return NOON + timedelta(seconds=seconds)

    return StoredRecord(
        "acme", "things", "a", {}, {}, b"", None, None if changed is None else at(changed), at(asked), at(stored), 1, None,
        None, "v1", cause,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "asked", "stored", "cause", "said"),
    [
        (
            0,
            90,
            90.04,
            "run 7",
            "The partner changed it 2026-11-01 12:00:00Z; it was asked for 1m 30s later and stored 40 ms",
        ),
        (
            0,
            2,
            5,
            "webhook e",
            "The partner changed it 2026-11-01 12:00:00Z; it came with a delivery 2s later and stored 3s",
        ),
        (60, 0, 1, "run 7", "The partner's stamp is 1m ahead of our clock"),
        (
            None,
            0,
            1,
            "run 7",
            "The partner gives it no stamp of its own; it was asked for 2026-11-01 12:00:00Z and stored 1s",
        ),
        (
            0,
            900,
            10,
            "run 7",
            "it was asked for 15m later. Nothing had changed since it was stored 2026-11-01 12:00:10Z",
        ),
    ],
)
def test_the_order_of_things_is_one_sentence(changed, asked, stored, cause, said):
    assert said in order(record(changed=changed, asked=asked, stored=stored, cause=cause))


@pytest.mark.parametrize(
    ("came", "held", "said"),
    [
        ({"source_version": 3}, {"source_version": 7}, "it is version 3, and version 7 was stored"),
        (
            {"source_updated_at": "2026-11-01T12:00:10.250+00:00"},
            {"source_updated_at": "2026-11-01T12:00:10.500+00:00"},
            "the partner stamped it 2026-11-01 12:00:10.250Z, and what was stored 2026-11-01 12:00:10.500Z",
        ),
        (
            {"fetched_at": "2026-11-01T12:00:10+00:00"},
            {"fetched_at": "2026-11-01T12:00:20+00:00", "gone": True, "missed_at": "2026-11-01T12:00:15+00:00"},
            "it was asked for 2026-11-01 12:00:10Z, and known to be gone 2026-11-01 12:00:15Z",
        ),
        (
            {"source_version": 3, "fetched_at": "2026-11-01T12:00:10+00:00"},
            {"source_version": 3, "fetched_at": "2026-11-01T12:00:20+00:00"},
            "it was asked for 2026-11-01 12:00:10Z, and what was stored 2026-11-01 12:00:20Z",
        ),
    ],
)
def test_a_refusal_names_the_stamps_that_decided_it(came: dict[str, Any], held: dict[str, Any], said: str):
    assert why_refused({**came, "held": held}) == said
