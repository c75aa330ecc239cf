"""What a person wants to see of one scope: every tier, the next call and what holds it, what was learned."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from syncd.model import Lane

if TYPE_CHECKING:
    from syncd.limits.gate import Gate


def view_of(gate: Gate) -> dict[str, Any]:
    """Everything a person wants to see of this scope; plain data."""
    now, wall = gate.clock.monotonic(), gate.clock.now()
    gate.book.ghosts(now)  # those whose time is over are gone, though nobody called since
    tiers = [tier.view(now) for tier in gate.book.tiers]
    for tier in tiers:
        lesson = tier["learned"]
        if lesson is not None:
            ago = lesson.pop("since_seconds")
            lesson["since"] = None if ago is None else wall - timedelta(seconds=ago)
    ends = max((tier.ramp_ends for tier in gate.book.tiers), default=-math.inf)
    return {
        "scope": gate.scope,
        "paused_until": gate.paused_until,
        "pause_reason": gate.room.pause_reason if gate.paused_until is not None else "",
        "next_call": next_call(gate, now),
        "ramp": {"share": min(tier.ramped(now) for tier in gate.book.tiers), "ends_in_seconds": ends - now}
        if ends > now
        else None,
        "seats": {
            "used": gate.book.seats_used,
            "doubted": sum(seats for _, seats in gate.book.ghosts(gate.clock.monotonic())),
            "limit": gate.book.seats,
            "configured": gate.book.concurrency,
            "learned": gate.lessons.seats,
        },
        "in_flight": len(gate.book.flying),
        "waiting": {lane.name.lower(): gate.book.waiting[lane] for lane in Lane},
        "tiers": tiers,
        "breakers": gate.breakers.view(now),
        "held": gate.breakers.held_view,
        "waited_seconds": dict(gate.room.waited),
        "busy_seconds": gate.room.busy_seconds(),
        "utilisation": gate.utilisation,
        "refusals": gate.lessons.refusals,
    }


def next_call(gate: Gate, now: float, lane: Lane = Lane.NORMAL) -> dict[str, Any]:
    """When a read of the lane may leave, and what holds it till then; None seconds: after the next answer."""
    if now < gate.room.paused_until:
        return {
            "in_seconds": gate.room.paused_until - now,
            "why": f"paused: {gate.room.pause_reason or 'told to wait'}",
        }
    at, why = gate.book.next_at(now, lane, ("read", "GET"))
    return {"in_seconds": at - now if math.isfinite(at) else None, "why": why}
