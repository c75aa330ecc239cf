"""What figures are read from: sessions, gates, health, queues and the process. All of it is in memory already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd import metrics
from syncd.client import Recent
from syncd.clock import Clock
from syncd.limits import Gate
from syncd.sync.account import Account

OFTEN_SECONDS = 3600.0
"""A resource that is read at least so often tells the lag of its integration; what is read once a day would hide it."""


class Instruments:
    """`figures.Measured`, of what runs here."""

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        queues: Callable[[], Iterable[Mapping[str, Any]]],
        loop_lag_seconds: Callable[[], float],
        clock: Clock,
    ) -> None:
        """`loop_lag_seconds`: how late the loop was at worst since that was last asked."""
        self._accounts = accounts
        self._queues = queues
        self._loop_lag_seconds = loop_lag_seconds
        self._clock = clock

    def calls(self) -> Mapping[str, Recent]:
        return {account.name: account.session.recent for account in self._accounts()}

    def standing(self, now: datetime) -> Mapping[str, Mapping[str, float | None]]:
        accounts, mono = self._accounts(), self._clock.monotonic()
        shares = {account.scope: limit_share(account.gate, mono) for account in accounts}
        return {
            account.name: {"limit_share": shares[account.scope], "lag_seconds": lag_seconds(account, now)}
            for account in accounts
        }

    def queues(self) -> Iterable[Mapping[str, Any]]:
        return self._queues()

    def process(self) -> Mapping[str, float | None]:
        received = metrics.WEBHOOKS_RECEIVED.collect()
        came = sum(one.value for family in received for one in family.samples if one.name.endswith("_total"))
        resident = sum(one.value for family in metrics.RSS.collect() for one in family.samples)
        return {
            "rss_bytes": resident or None,
            "loop_lag_ms": self._loop_lag_seconds() * 1000,
            "deliveries": came,
        }


def limit_share(gate: Gate, now: float) -> float | None:
    """How full the limit is that is nearest to its budget; None where nothing is counted."""
    shares = [tier.used(now) / tier.budget for tier in gate.book.tiers if tier.budget]
    return min(max(shares), 1.0) if shares else None


def lag_seconds(account: Account, now: datetime) -> float | None:
    """Age of the last good run of the resource that is worst off, of those read often where there are any."""
    ages = {
        name: (now - at).total_seconds()
        for name in account.plans
        if (at := account.health.of(name).last_success_at) is not None
    }
    often = [age for name, age in ages.items() if (account.plans[name].schedule.every_seconds or 0.0) <= OFTEN_SECONDS]
    return max(often or ages.values(), default=None)
