"""Which of two versions of a record is the later one, and when nothing tells: then its own URL is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from syncd.kit import Event
from syncd.store import Row
from syncd.store.records import Stamps
from syncd.sync.page import PageIn

Key = tuple[str, str]
"""(resource, external_id)"""
Version = tuple[int | None, datetime | None]
"""A number, and a time by the partner's clock; either may be unknown."""
_SECOND = timedelta(seconds=1)


def raises(stored: Stamps | None, page: PageIn) -> bool:
    """Would this bring a dead record back? The end may have had no time of its own: what its own URL says decides."""
    identity = page.items[0].identity
    if stored is None or not stored.deleted or identity is None:
        return False
    if identity.source_version is not None and stored.version is not None:
        return identity.source_version > stored.version
    if identity.source_updated_at is not None and stored.updated_at is not None:
        return identity.source_updated_at > stored.updated_at
    return True


def read_since(stored: Stamps | None, event: Event) -> bool:
    """Was the record, whose versions have no time, read alive after it is said to have gone?"""
    if stored is None or stored.deleted or stored.updated_at is not None or event.at is None:
        return False
    return event.at <= stored.fetched_at


def ties(rows: Sequence[Row], graves: Mapping[Key, Row], stored: Mapping[Key, Stamps]) -> set[Key]:
    """Records of which two versions cannot be told apart: that which came, its end, and the one stored."""
    versions: dict[Key, list[tuple[Version, bytes]]] = {}
    for row in rows:
        told = (row.source_version, row.source_updated_at)
        versions.setdefault((row.resource, row.external_id), []).append(
            (told, b"" if row.deleted else row.content_hash)
        )
    for key, row in graves.items():
        versions.setdefault(key, []).append(((None, row.source_updated_at), b""))
    alike: set[Key] = set()
    for key, came in versions.items():
        known = stored.get(key)
        if known is not None:
            came.append(((known.version, known.updated_at), b"" if known.deleted else known.content_hash))
        for number, (told, content) in enumerate(came):
            if any(content != other[1] and tied(told, other[0]) for other in came[:number]):
                alike.add(key)
    return alike


def tied(one: Version, other: Version) -> bool:
    """Does neither say that it is the later one? A stamp without a finer part stands for its whole second."""
    if one[0] is not None and other[0] is not None:
        return one[0] == other[0]
    if one[1] is None or other[1] is None:
        return False
    whole = not (one[1].microsecond and other[1].microsecond)
    return one[1] == other[1] or (whole and abs(one[1] - other[1]) < _SECOND)


def version_of(page: PageIn) -> Version:
    """Of the one record on a page."""
    identity = page.items[0].identity
    return (None, None) if identity is None else (identity.source_version, identity.source_updated_at)


def order(page: PageIn) -> tuple[int, datetime, datetime]:
    """The greater is the later version of a record."""
    version, updated_at = version_of(page)
    return (-1 if version is None else version, updated_at or page.fetched_at, page.fetched_at)


def moment(row: Row) -> datetime:
    """When a record ended, as far as known."""
    return row.source_updated_at or row.fetched_at
