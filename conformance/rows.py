"""The table of waits (waits.yaml) as values: a row, and what stands in its answer at a given moment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
_MOMENT = re.compile(r"\{(\w+)([+-]\d+)\}")
_EST, _CET = timezone(timedelta(hours=-5)), timezone(timedelta(hours=1))


@dataclass(frozen=True)
class Row:
    """One answer. `wait` is what it asks for in seconds, None where it says nothing that makes sense."""

    name: str
    says: str
    source: str
    wait: float | None
    status: int = 429
    headers: dict[str, str | list[str]] = field(default_factory=dict)
    body: Any = None
    skew: float = 0.0
    date: str | bool = True
    driver: str | None = None
    dialect: dict[str, Any] | None = None
    shown: bool = False

    @property
    def dated(self) -> bool:
        """Whether a date with whole seconds is in it: a tool without the `Date` to compare may be off by one."""
        return any("{" in str(value) for value in self.headers.values())

    def answer(self, now: datetime) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body at this moment of our clock."""
        theirs = (now + timedelta(seconds=self.skew)).replace(microsecond=0)
        found = [("Content-Type", "application/json")]
        for name, value in self.headers.items():
            each = value if isinstance(value, list) else [value]
            found += [(name, _MOMENT.sub(lambda match: written(match[1], int(match[2]), theirs), one)) for one in each]
        if self.date is not False:
            found.append(("Date", self.date if isinstance(self.date, str) else format_datetime(theirs, usegmt=True)))
        return found, json.dumps({} if self.body is None else self.body).encode()


def rows(path: Path = HERE / "waits.yaml") -> list[Row]:
    """Every row of the table, in its order."""
    return list(_rows(yaml.safe_load(path.read_text("utf-8"))["rows"]))


def _rows(table: dict[str, dict[str, Any]]) -> Iterator[Row]:
    for name, told in table.items():
        known = {key: value for key, value in told.items() if key != "from"}
        yield Row(name, source=told["from"], **known)


def written(form: str, offset: int, theirs: datetime) -> str:
    """A moment so many seconds from the partner's now, in one of the forms of waits.yaml."""
    at = theirs + timedelta(seconds=offset)
    match form:
        case "http":
            return format_datetime(at, usegmt=True)
        case "rfc850":
            return f"{at:%A, %d-%b-%y %H:%M:%S} GMT"
        case "asctime":
            return f"{at:%a %b} {at.day:2d} {at:%H:%M:%S %Y}"
        case "est":
            return f"{at.astimezone(_EST):%a, %d %b %Y %H:%M:%S} EST"
        case "cet":
            return f"{at.astimezone(_CET):%a, %d %b %Y %H:%M:%S} CET"
        case "iso":
            return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case "offset":
            return at.astimezone(_CET).isoformat()
        case "epoch":
            return str(int(at.timestamp()))
        case "epoch_ms":
            return str(int(at.timestamp() * 1000))
        case "digits":
            return "5" * offset
    raise ValueError(f"no such form of a moment: {form}")
