"""How much one sweep may bury without asking, and what a held one says. Pure.

While something is held, the limit it was held by stays: records that a wrong listing brought in must not make the missing
ones look few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Guard:
    """How much one sweep may bury without asking: a share of the live records or a number, whichever is less."""

    share: float = 0.2
    records: int = 500

    def limit(self, live: int) -> int:
        return min(int(live * self.share), self.records)


USUAL: Final = Guard()


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did."""

    deleted: int = 0
    held: int = 0
    """Records missed but not touched: more than the guard allows, or an empty listing."""
    missed: int = 0
    """Live records the last complete pass did not show."""
    total: int = 0
    """Live records before the sweep."""
    reason: str = ""
    """Why something is held."""
    asked: int = 0
    """Records that are read by their ids because this pass did not show them any more."""


def objection(found: Mapping[str, Any], gone: int, guard: Guard, held: Mapping[str, Any] | None) -> tuple[str, int]:
    """Why these deletions must not be believed (empty: they may), and the number that was allowed."""
    allowed = guard.limit(found["older"])
    if held is not None:
        allowed = min(allowed, int(held.get("limit", allowed)))
    if found["seen"] == 0 and found["live"] > 0:
        return f"the listing is empty, {found['live']} records are stored", allowed
    if found["missed"] > allowed:
        return f"{found['missed']} of {found['older']} records are missing from the listing", allowed
    twice = min(allowed, guard.limit(found["oldest"]))
    if gone > twice:
        return f"{gone} of {found['oldest']} records have been missing from two listings", twice
    return "", allowed


def objection_to_parts(
    parts: Sequence[Mapping[str, Any]], guard: Guard, held: Mapping[str, Any] | None
) -> tuple[str, dict[str, int]]:
    """The same of each part of a listing that is walked in parts: what is a small share of all may be all of one property.

    The number allowed is given for each part that is objected to, or was before. One record may always be missing from a
    part that shows others: of three rooms one is closed, and the guard of the whole counts too.
    """
    former = (held or {}).get("parts", {})
    reason, limits = "", {}
    for part in parts:
        name, missed, older = part["place"], part["missed"], part["older"]
        allowed = min(max(guard.limit(older), 1), int(former.get(name, older)))
        if not missed or (part["shown"] and missed <= allowed):
            continue
        limits[name] = allowed
        if not reason:
            said = "is empty" if not part["shown"] else f"lacks {missed}"
            reason = f"the listing of {name} {said}, {part['live']} records of it are stored"
    return reason, limits


def held_note(missed: int, live: int, limit: int, reason: str, since: str, examples: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says of a sweep that was held, for `status` and for the next one."""
    return {
        "missed": missed,
        "live": live,
        "limit": limit,
        "reason": reason,
        "since": since,
        "examples": list(examples),
    }
