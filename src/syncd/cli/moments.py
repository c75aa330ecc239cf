"""Moments as people write them: a date, a time, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from syncd.cli.app import Parameter


class Moment(Parameter):
    """2026-01-31, 2026-01-31T12:00:00Z, or 30d (ago). Without an offset it is UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return self._ago(text, param, ctx)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    def _ago(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from syncd.clock import SystemClock
        from syncd.config.units import parse_duration

        try:
            seconds = parse_duration(text)
            return (SystemClock().now() - timedelta(seconds=seconds)).replace(microsecond=0)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is neither a date (2026-01-31), a time (2026-01-31T12:00Z), nor how long ago (30d)",
                param,
                ctx,
            )
