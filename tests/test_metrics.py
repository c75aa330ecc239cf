"""The metrics of limits: complete, documented, bounded, and gone with their scope."""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from syncd import metrics
from syncd.limits import Gate
from syncd.testing.clock import FakeClock

OPERATIONS = (Path(__file__).resolve().parent.parent / "docs" / "operations.md").read_text("utf-8")


def exposed(scope: str) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """The samples of one scope by name, read back from the text a scrape gets."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if sample.labels.get("scope") == scope:
                labels = {name: value for name, value in sample.labels.items() if name != "scope"}
                found.setdefault(sample.name, []).append((labels, sample.value))
    return found


def gate_of(scope: str, **options: Any) -> Gate:
    return Gate(scope, ["10/s", {"rate": "600/min", "budget": "write"}], clock=FakeClock(), **options)


def names() -> set[str]:
    """Every metric about limits that there is, as a scrape names it."""
    declared = {metric.name for metric in metrics.REGISTRY.collect()}
    counters = {metric.name for metric in metrics.REGISTRY.collect() if metric.type == "counter"}
    return {
        f"{name}_total" if name in counters else name
        for name in declared
        if name.startswith(("syncd_limit", "syncd_rate_limited", "syncd_breaker"))
    }


def test_every_metric_of_limits_is_in_the_operations_page_and_the_page_names_no_other():
    section = OPERATIONS.partition("### Metrics of limits")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(syncd_\w+)`", "\n".join(line for line in section.splitlines() if "|" in line)))
    assert documented == names()


async def test_a_scope_shows_each_tier_and_how_the_next_call_stands():
    gate = gate_of("metrics/shown", concurrency=4)
    async with gate.admit():
        seen = exposed("metrics/shown")
        assert ({"tier": "10/1s"}, 1.0) in seen["syncd_limit_used"]
        assert seen["syncd_limit_seats_used"] == [({}, 1.0)]
    assert [labels["tier"] for labels, _ in seen["syncd_limit_budget"]] == ["10/1s", "write 600/60s"]
    assert [value for _, value in seen["syncd_limit_budget"]] == [7.0, 420.0]
    assert [value for _, value in seen["syncd_limit_ceiling"]] == [10.0, 600.0]
    assert [value for _, value in seen["syncd_limit_stated"]] == [10.0, 600.0]
    assert seen["syncd_limit_next_call_seconds"] == [({}, 0.0)]
    assert seen["syncd_limit_paused"] == [({}, 0.0)]
    assert seen["syncd_limit_ramp_ratio"] == [({}, 1.0)]
    assert sorted(labels["lane"] for labels, _ in seen["syncd_limit_waiting"]) == ["high", "low", "normal"]
    assert "syncd_limit_learned" not in seen, "nothing was learned"


async def test_a_429_shows_as_a_pause_a_learned_limit_and_a_smaller_budget():
    gate = gate_of("metrics/limited")
    for _ in range(5):
        async with gate.admit():
            pass
    gate.limited(30.0, "GET /rooms answered 429")
    seen = exposed("metrics/limited")
    assert seen["syncd_limit_paused"] == [({}, 1.0)]
    assert seen["syncd_limit_next_call_seconds"][0][1] > 29
    [(labels, learned)] = seen["syncd_limit_learned"]
    assert labels == {"tier": "10/1s"}
    assert learned < 7
    assert seen["syncd_limit_budget"][0][1] < 7
    assert seen["syncd_limit_stated"][0][1] == 10


async def test_what_is_closed_or_forgotten_leaves_no_gauge_behind():
    gate = gate_of("metrics/closed")
    assert "syncd_limit_used" in exposed("metrics/closed")
    gate.close()
    assert "syncd_limit_used" not in exposed("metrics/closed")
    gate_of("metrics/forgotten")
    gc.collect()
    assert "syncd_limit_used" not in exposed("metrics/forgotten")


async def test_a_scope_built_anew_is_shown_once_and_the_old_gates_end_does_not_hide_it():
    old = gate_of("metrics/anew")
    new = gate_of("metrics/anew")
    old.close()
    assert len(exposed("metrics/anew")["syncd_limit_used"]) == 2, "a sample a tier"
    new.close()
