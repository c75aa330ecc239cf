"""The queues at the foot of the status: a line of figures, and a sentence for each that does not flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from syncd.cli.output import lasting, number, paint, plural

LONG_SECONDS = 60.0
"""A queue that empties sooner needs no estimate."""


def render(
    queues: Sequence[Mapping[str, Any]], workers: Mapping[str, Any], known: Collection[str] | None = None
) -> list[str]:
    """Lines for people; nothing where there are no queues. `known`: the integrations above."""
    tables = [queue for queue in queues if queue.get("kind") != "pool"]
    shown = [*tables, *(queue for queue in queues if queue.get("kind") == "pool" and queue.get("waiting"))]
    if not shown:
        return []
    lines = [f"queues  {'   '.join(_figures(queue) for queue in shown)}"]
    for queue in queues:
        told = _trouble(queue, workers, known)
        if told:
            lines.append(told)
    return lines


def _figures(queue: Mapping[str, Any]) -> str:
    waiting, capacity = queue.get("waiting", 0), queue.get("capacity")
    more = [f"{round(100 * waiting / capacity)} %"] if capacity and waiting else []
    drains = queue.get("drains_in_seconds")
    if drains and drains >= LONG_SECONDS and queue.get("state") == "flows":
        more.append(f"drains in {lasting(drains)}")
    return f"{queue.get('name', '?')} {number(waiting)}" + (f" ({', '.join(more)})" if more else "")


def _trouble(queue: Mapping[str, Any], workers: Mapping[str, Any], known: Collection[str] | None) -> str | None:
    """What a person has to know of a queue that does not simply flow."""
    state, name = queue.get("state"), queue.get("name", "?")
    if state in (None, "empty", "flows"):
        return None
    waits = plural(queue.get("waiting", 0), "item")
    if queue.get("oldest_seconds"):  # what a removed integration left has no age
        waits += f", the oldest for {lasting(queue['oldest_seconds'])}"
    own = queue.get("workers") or workers
    alive = f"workers {own.get('alive', '?')}/{own.get('total', '?')}"
    if state == "no_workers":
        return (
            f"{paint('✗', 'red')} {name}: {waits}, and too few that work on it ({alive}); do: systemctl restart syncd"
        )
    if state == "held":
        strange = [each for each in queue.get("integrations") or () if known is not None and each not in known]
        told = [f"no integration {', '.join(strange)} is configured"] if strange else []
        if len(strange) < len(queue.get("integrations") or ()) or not strange:
            told.append(
                f"its {'other ' if strange else ''}integrations are paused, barred or another instance's, see above"
            )
        return f"{name} is held: {waits}; {'; '.join(told)}"
    drains = queue.get("drains_in_seconds")
    when = f", drains in {lasting(drains)}" if drains else ", and nothing leaves it" if drains is None else ""
    bound = f" (bound by {queue['bound_by']})" if queue.get("bound_by") else ""
    rate = queue.get("rate_per_second")
    pace = f" at {rate:.3g}/s" if rate and not bound else ""
    return f"{paint('⚠', 'yellow')} {name} is full: {waits}; {alive} live{when}{pace}{bound}"
