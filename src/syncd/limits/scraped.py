"""The gauges of gates, read when scraped. Their names stand with all others, in `metrics.py`."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncd import metrics


class Scope(Protocol):
    """A gate, as far as metrics look at it."""

    @property
    def scope(self) -> str: ...
    def view(self) -> Mapping[str, Any]: ...


class Scopes(Collector):
    """The gauges of every living gate, read when scraped: a call pays nothing for them, and a closed gate leaves none."""

    def __init__(self) -> None:
        self._gates: dict[str, weakref.ref[Scope]] = {}

    def add(self, gate: Scope) -> None:
        """Show this gate under its scope's name, in place of an earlier one."""
        self._gates[gate.scope] = weakref.ref(gate)

    def discard(self, gate: Scope) -> None:
        """Show it no longer."""
        known = self._gates.get(gate.scope)
        if known is not None and known() is gate:
            del self._gates[gate.scope]

    def describe(self) -> list[GaugeMetricFamily]:
        """Names alone, so that registering asks no gate."""
        return list(self._families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._families()
        for name, known in list(self._gates.items()):
            gate = known()
            if gate is None:
                del self._gates[name]
            else:
                _measure(found, name, gate.view())
        yield from found.values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        tiers = {key: GaugeMetricFamily(*told, labels=["scope", "tier"]) for key, told in metrics.TIER_GAUGES.items()}
        scopes = {key: GaugeMetricFamily(*told, labels=["scope"]) for key, told in metrics.SCOPE_GAUGES.items()}
        learned = GaugeMetricFamily(*metrics.LEARNED, labels=["scope", "tier"])
        return {
            **tiers,
            **scopes,
            "learned": learned,
            "waiting": GaugeMetricFamily(*metrics.LANES, labels=["scope", "lane"]),
        }


def _measure(found: Mapping[str, GaugeMetricFamily], scope: str, view: Mapping[str, Any]) -> None:
    for tier in view["tiers"]:
        for key in metrics.TIER_GAUGES:
            found[key].add_metric([scope, tier["name"]], float(tier[key]))
        if tier["learned"] is not None:
            found["learned"].add_metric([scope, tier["name"]], float(tier["learned"]["limit"]))
    for lane, count in view["waiting"].items():
        found["waiting"].add_metric([scope, lane], float(count))
    seats, ramp = view["seats"], view["ramp"]
    told = {
        "utilisation": view["utilisation"],
        "next_call": view["next_call"]["in_seconds"],
        "ramp": 1.0 if ramp is None else ramp["share"],
        "paused": float(view["paused_until"] is not None),
        "seats_used": seats["used"],
        "seats": seats["limit"],
    }
    for key, value in told.items():
        if value is not None:
            found[key].add_metric([scope], float(value))


SCOPES = Scopes()
metrics.REGISTRY.register(SCOPES)
