"""One field that is not as it was known: told, counted until it is over, worded and stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from syncd.explain import Explanation
from syncd.kit.inferred import Departure

SHOWN = 3
"""Fields named in one line."""
SOUND_LEAST = 200
"""Of what is never read whole: so many sound records in a row, and twenty times the odd ones, end a change."""


@dataclass(frozen=True, slots=True)
class News:
    """One field that is not as it was known."""

    path: str
    what: str
    expected: str
    got: str
    since: datetime
    count: int
    last_at: datetime | None = None
    """When a record was so last, as far as known; None: when it was told."""
    sound: int = 0
    """Records since then in which it was as it had been known."""

    @classmethod
    def of(cls, found: Departure, now: datetime) -> News:
        """Told of for the first time."""
        return cls(found.path, found.what, found.expected, found.got, now, found.count)

    def again(self, found: Departure) -> News:
        """Found once more; an absence is counted whole each time."""
        got = " or ".join(dict.fromkeys([*self.got.split(" or "), *found.got.split(" or ")]))
        return replace(self, count=found.count if found.what == "missing" else self.count + found.count, got=got)

    def seen(self, now: datetime, *, odd: bool, counted: int, sound: int) -> News:
        """Records came that have it still (`odd`), so many of which are not counted yet; or only sound ones."""
        if odd:
            return replace(self, last_at=now, sound=0, count=self.count + counted)
        return replace(self, sound=self.sound + sound)

    @property
    def is_outnumbered(self) -> bool:
        """Have so many sound records come in a row that it is over, though nobody reads them all?"""
        return self.sound >= max(SOUND_LEAST, 20 * self.count)

    @property
    def kinds(self) -> frozenset[str]:
        """What came."""
        return frozenset(self.got.split(" or ")) - {""}

    @property
    def is_harmless(self) -> bool:
        """A field nobody has asked for is no trouble."""
        return self.what == "unknown"

    def __str__(self) -> str:
        return str(Departure(self.path, self.what, self.expected, self.got)).removeprefix("field ")

    def as_json(self) -> dict[str, Any]:
        last_at = self.last_at.isoformat() if self.last_at is not None else None
        return {**asdict(self), "since": self.since.isoformat(), "last_at": last_at}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> News:
        times = {name: datetime.fromisoformat(str(at)) for name in ("since", "last_at") if (at := stored.get(name))}
        return cls(**{**stored, **times})


def explained(integration: str, resource: str, news: Collection[News], *, kept_out: bool) -> Explanation | None:
    """What is said of these; None where there are none. `kept_out`: so are the records that have it."""
    if not news:
        return None
    told = sorted(news, key=lambda each: (each.is_harmless, each.path))
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    fields = "; ".join(f"field {each}" for each in told[:SHOWN])
    outside = ", and such records are kept out" if kept_out else ""
    return Explanation(
        "schema-changed",
        f"{resource}: schema changed: {fields}{more}{outside}",
        since=min(each.since for each in told),
        cause="the partner sends its records in another shape than before",
        action=f"syncd schema accept {integration}/{resource}",
    )
