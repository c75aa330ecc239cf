"""What one rate is: the words it is written in, and what its numbers promise. `windows.py` and `bucket.py` count.

How the counting is exact (R6). The partner counts a call when it arrives, and all we know is that it arrived between
the moment we sent it and the moment its answer came. A call is therefore counted from before the send until one window
after the answer. If the partner ever counted more than `limit` arrivals in one window, then at the send of the last of
these calls all the others had been answered less than one window ago, or not yet: they were all counted here, and the
call was not let go. And no exact rule can let calls go earlier: if `limit` calls were answered within the last window,
they may all have arrived at the moment of their answers, and one more might arrive at once.

What that costs is the latency: a slot serves one call per `window + latency`, so a tier yields `window / (window +
latency)` of its rate. 120 s windows lose 0.25 % at 300 ms, 10 s windows 3 %, 1 s windows 23 %. Two things win it back.
Where several tiers stand together the long one binds, and it loses nearly nothing. And where syncd spends only a share
of what is stated (70 % by default), exactness is kept against the written limit, while the share is paced by the
moments of sending: 70 of 100 a second stay 70 a second at any latency up to 428 ms, since 100 / 1.428 is still 70.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["sliding", "fixed", "bucket"]

_UNITS = {
    "ms": 0.001,
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
_RATE = re.compile(r"\s*(\d[\d_]*)\s*(?:/|\bper\b)\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.IGNORECASE)


def parse_rate(text: str) -> tuple[int, float]:
    """`"300/120s"` -> (300, 120.0); also `7/s`, `80/min`, `5/24h`, `100 per minute`. Raises ValueError saying why."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no rate: write calls/time, for example 7/s, 80/min, 300/120s or 5/24h")
    count, amount, unit = found.groups()
    scale = _UNITS.get(unit.lower())
    if scale is None:
        raise ValueError(f"{text!r} has an unknown unit of time {unit!r}: use ms, s, min, h, d or w (a month is 30d)")
    limit, window = int(count), float(amount or 1) * scale
    if limit < 1 or window <= 0:
        raise ValueError(f"{text!r} allows nothing: both numbers must be greater than zero")
    return limit, window


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One rate as configuration or a driver states it.

    At most `limit` calls (or points, where `weighted`) arrive in any `window_seconds`; syncd spends `share` of it
    (None: the gate's own share). `budget` names the calls it counts: `read`, `write`, `token`, a method, a route, a name of
    the driver's; empty counts all. A `fixed` window is held to the sliding rule, and so is safe for any phase and any
    clock. A `bucket` holds `burst` (default: `limit`) and refills `limit` in a window. `stated` is the partner's own
    figure, for display. Calls of the budget `after` are counted too, and go without waiting for the window: it follows them.
    """

    limit: float
    window_seconds: float
    kind: Kind = "sliding"
    burst: float | None = None
    budget: str = ""
    weighted: bool = False
    share: float | None = None
    stated: float | None = None
    after: str = ""

    def __post_init__(self) -> None:
        if not (self.limit >= 1 and math.isfinite(self.limit)):
            raise ValueError("a tier's limit must be at least 1")
        if not (self.window_seconds > 0 and math.isfinite(self.window_seconds)):
            raise ValueError("a tier's window must be longer than zero")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError("a tier's share lies above 0 and at most at 1")
        if self.burst is not None and not self.burst >= 1:
            raise ValueError("a bucket's burst must be at least 1")
        if self.kind not in ("sliding", "fixed", "bucket"):
            raise ValueError(f"unknown kind of tier {self.kind!r}: sliding, fixed or bucket")
        if self.after and (self.kind == "bucket" or self.weighted or not self.budget):
            raise ValueError("a tier with `after` counts calls of its `budget` in windows: neither points nor a bucket")

    @classmethod
    def parse(cls, value: str | Mapping[str, Any] | TierSpec) -> TierSpec:
        """Read `"7/s"` or `{rate: 60/min, kind: fixed, burst:, budget:, share:, weighted:, stated:}`."""
        if isinstance(value, TierSpec):
            return value
        if isinstance(value, str):
            limit, window = parse_rate(value)
            return cls(limit, window)
        rest = dict(value)
        if "rate" not in rest:
            raise ValueError("a tier needs `rate`, for example {rate: 60/min, kind: fixed}")
        limit, window = parse_rate(str(rest.pop("rate")))
        stated = rest.pop("stated", None)
        if isinstance(stated, str):
            stated = parse_rate(stated)[0]
        try:
            return cls(limit, window, stated=stated, **{k: v for k, v in rest.items() if v is not None})
        except TypeError:
            unknown = sorted(set(rest) - set(cls.__dataclass_fields__))
            raise ValueError(f"a tier has no such key: {', '.join(unknown)}") from None

    @property
    def name(self) -> str:
        """Short and stable while the numbers stay: `300/120s`, `write 25/1s`. The metric label."""
        rate = f"{self.limit:.10g}/{self.window_seconds:.10g}s"
        return f"{self.budget} {rate}" if self.budget else rate

    @property
    def key(self) -> str:
        """What stays the same when only the limit is changed, so that slots in use survive a reload."""
        return f"{self.budget}|{self.window_seconds:g}|{self.kind}|{'w' if self.weighted else ''}"

    @property
    def stated_or_limit(self) -> float:
        return self.limit if self.stated is None else self.stated

    @property
    def per_second(self) -> float:
        return self.limit / self.window_seconds
