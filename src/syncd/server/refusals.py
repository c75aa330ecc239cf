"""Deliveries that fail verification while none passes: an expired or wrong secret, told apart from what the internet sends.

Only what bears a signature of the kind the partner makes counts: whoever tries addresses has none to show. An unknown
address is nobody's delivery and does not come here at all. One that passes ends it, so a lone forger is no news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from syncd.clock import Clock
from syncd.kit import Delivery

LEAST: Final = 5
"""Refused ones in a row before it is said."""
FORGET: Final = timedelta(hours=24)
"""After so long without another one nothing is known any more."""


@dataclass(slots=True)
class Refused:
    """What was refused of one integration's deliveries since the last one that was let in."""

    since: datetime
    last_at: datetime
    count: int = 0
    stale: int = 0
    """Of these were rightly signed, and too old."""


class Refusals:
    """Counts them, by integration."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Refused] = {}

    def refused(self, integration: str, reason: str) -> None:
        """One that bears a signature was not let in."""
        if reason not in ("signature", "stale"):
            return
        now = self._clock.now()
        known = self._known.get(integration)
        if known is None or now - known.last_at > FORGET:
            known = self._known[integration] = Refused(now, now)
        known.count += 1
        known.stale += reason == "stale"
        known.last_at = now

    def accepted(self, integration: str) -> None:
        """One was: whatever was refused before was somebody else's, or is over."""
        if self._known:
            self._known.pop(integration, None)

    def view(self) -> Mapping[str, Refused]:
        """Those of which enough were refused to be worth saying."""
        now = self._clock.now()
        return {
            name: known for name, known in self._known.items() if known.count >= LEAST and now - known.last_at <= FORGET
        }


def _signed(delivery: Delivery, header: str | None) -> bool:
    if header is not None:
        return bool(delivery.headers.get(header))
    return any("sign" in name or "hmac" in name for name in delivery.headers.lower)
