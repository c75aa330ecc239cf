"""Moments and days as a partner's filters want them: rounded so that nothing is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from syncd.kit.coerce import EPOCH

if TYPE_CHECKING:
    from syncd.kit.listing import Since

_FORMATS: Final = {"iso_seconds": "%Y-%m-%dT%H:%M:%SZ", "plain": "%Y-%m-%d %H:%M:%S", "date": "%Y-%m-%d"}


def since_value(moment: datetime, form: str) -> str | int:
    """A moment as the partner's filter wants it: rounded down, never up, so that nothing is skipped."""
    utc = moment.astimezone(UTC)
    match form:
        case "epoch":
            return int((utc - EPOCH).total_seconds() // 1)
        case "epoch_ms":
            whole = utc - EPOCH
            return whole.days * 86_400_000 + whole.seconds * 1000 + whole.microseconds // 1000
        case "iso":
            return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"
        case "iso_ns":
            return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond:06d}000Z"
    return f"{utc:{_FORMATS[form]}}"


_STEPS: Final = {
    "iso": timedelta(milliseconds=1),
    "epoch_ms": timedelta(milliseconds=1),
    "iso_ns": timedelta(microseconds=1),
    "date": timedelta(days=1),
}


def until_value(moment: datetime, form: str) -> str | int:
    """A moment as the partner's upper bound wants it: rounded up, never down, so that nothing before it is left out."""
    step = _STEPS.get(form, timedelta(seconds=1))
    over = (moment.astimezone(UTC) - EPOCH) % step
    return since_value(moment if not over else moment - over + step, form)


def since_text(moment: datetime, form: str) -> str:
    """`since_value` for a query parameter."""
    return str(since_value(moment, form))


def since_param(since: Since, moment: datetime) -> str:
    """The query parameter that asks for what changed since a moment."""
    text = since_text(moment, since.format)
    return text if since.text is None else since.text.replace("{since}", text)


def step_of(form: str) -> timedelta:
    """The least that two moments may differ by in a format."""
    return _STEPS.get(form, timedelta(seconds=1))
