"""Conditions as metrics, read when scraped: a series lasts as long as its trouble.

At the public site everybody reads them. What the daemon says of itself names hosts, users and paths in its causes, so those
stay out there; who may see the admin site gets them too.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncd import metrics
from syncd.conditions.ledger import Conditions

OF_DATABASE: Final = frozenset({"database-down", "database-slow", "disk-full"})
"""Codes of which the daemon itself speaks for everybody, and whose causes quote PostgreSQL."""
_ALL: Final = ContextVar("everything may be shown", default=False)


class Gauges(Collector):
    """Of the daemon of this process: the latest one that was handed over, as long as it lives."""

    def __init__(self) -> None:
        self._conditions: weakref.ref[Conditions] | None = None

    def use(self, conditions: Conditions) -> None:
        """Show these from now on."""
        self._conditions = weakref.ref(conditions)

    def describe(self) -> list[GaugeMetricFamily]:
        """Names alone, so that registering looks at nothing."""
        return list(_families())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        lasting, since, info, authenticated = found = _families()
        conditions = self._conditions() if self._conditions is not None else None
        for one in conditions.look() if conditions is not None else ():
            told = one.told
            whose = [one.integration, one.resource, told.code]
            lasting.add_metric(
                [one.subject, one.integration, one.partner, one.company, one.resource, told.code, str(one.severity)],
                1.0,
            )
            if told.since is not None:
                since.add_metric(whose, told.since.timestamp())
            cause = told.cause if _ALL.get() or (one.integration and told.code not in OF_DATABASE) else ""
            info.add_metric([*whose, told.reason, cause, told.action], 1.0)
        for name, at in conditions.authenticated().items() if conditions is not None else ():
            authenticated.add_metric([name], at.timestamp())
        yield from found


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    made = (
        GaugeMetricFamily(name, text, labels=labels)
        for name, text, labels in (
            metrics.CONDITION, metrics.CONDITION_SINCE, metrics.CONDITION_INFO, metrics.LAST_AUTHENTICATED
        )
    )  # fmt: skip
    lasting, since, info, authenticated = made
    return lasting, since, info, authenticated


GAUGES = Gauges()
metrics.REGISTRY.register(GAUGES)


def exposition() -> bytes:
    """All metrics in the Prometheus text format, for those who may see everything; `metrics.exposition` is for everybody."""
    token = _ALL.set(True)
    try:
        return metrics.exposition()
    finally:
        _ALL.reset(token)
