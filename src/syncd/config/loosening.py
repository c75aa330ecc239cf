"""Limits in a file that would have more used than the driver does, which only `accept_risk: true` allows.

What counts is what is used: the rate times the share. A limit written in a file is ours, and all of it is used; of what
a partner states a driver uses a share, mostly 0.7, since others call there too.
"""

from __future__ import annotations

import math

from syncd.config.document import Document
from syncd.config.facts import Facts, KnownTier
from syncd.config.limits import LimitsConfig, TierConfig
from syncd.config.units import Rate

HELP = "or accept_risk: true under limits if your contract allows it"


def check_limits(document: Document, limits: LimitsConfig, facts: Facts) -> None:
    """Note each limit of the file that is looser than the driver's own, once a file."""
    if limits.accept_risk:
        return
    for number, tier in enumerate(limits.tiers):
        for known in facts.tiers:
            if found := _looser(tier, known):
                document.once(("limits", "tiers", number), found[0], help=found[1])
                break
    if limits.share is not None and facts.share is not None and limits.share > facts.share:
        message = f"share {limits.share:g} of what is stated is more than the {facts.share:g} this driver uses"
        document.once(("limits", "share"), message, help=f"lower it, {HELP}")
    if limits.concurrency is not None and facts.concurrency is not None and limits.concurrency > facts.concurrency:
        message = f"{limits.concurrency} calls at once are more than the {facts.concurrency} this driver makes"
        document.once(("limits", "concurrency"), message, help=f"lower it, {HELP}")


def _looser(tier: TierConfig, known: KnownTier) -> tuple[str, str] | None:
    """What is wrong with a written tier beside one that the driver knows, and what to write."""
    if (tier.budget or "", tier.weighted) != (known.budget, known.weighted):
        return None
    rate, held = tier.rate.limit * tier.share, (tier.burst or tier.rate.limit) * tier.share
    if tier.rate.window_seconds != known.rate.window_seconds:
        # Both hold then, and nothing becomes looser; but whoever writes more than the partner allows means another limit.
        windows = max(math.ceil(tier.rate.window_seconds / known.rate.window_seconds), 1)
        most = known.rate.limit * windows + (known.burst if known.bucket else 0.0)
        return _above(tier, known) if rate + (held if tier.kind == "bucket" else 0.0) > most else None
    if known.bucket:  # what a sliding limit lets through in one window is its refill, and its burst too
        return _more(tier, known, rate) or _more_held(held, known)
    # Within one window a bucket lets through what it held and what came back meanwhile.
    return _more(tier, known, rate + held if tier.kind == "bucket" else _floored(rate))


def _floored(calls: float) -> float:
    """Whole calls of a window, as the gate counts them."""
    return max(1.0, math.floor(calls + 1e-9))


def _above(tier: TierConfig, known: KnownTier) -> tuple[str, str]:
    return f"{tier.rate} is above the limit this driver knows, {known.rate}", f"lower it, {HELP}"


def _more(tier: TierConfig, known: KnownTier, mine: float) -> tuple[str, str] | None:
    used = known.rate.limit * known.share if known.bucket else _floored(known.rate.limit * known.share)
    if mine <= used + 1e-9:
        return None
    if mine > known.rate.limit:
        return _above(tier, known)
    least = Rate(max(1, int(used + 1e-9)), known.rate.window_seconds)
    message = f"{_calls(tier, mine)} would be used of the stated {known.rate}, and this driver uses {used:g}"
    return message, f"{least} or less, {HELP}; a rate written here is used whole unless it has a share of its own"


def _more_held(held: float, known: KnownTier) -> tuple[str, str] | None:
    used = max(1.0, known.burst * known.share)
    if held <= used + 1e-9:
        return None
    help = f"burst: {int(used)} or less, {HELP}"
    if held > known.burst:
        return f"a burst of {held:g} is above the {known.burst:g} that this driver knows", help
    return f"a burst of {held:g} calls would be used of the stated {known.burst:g}, and this driver uses {used:g}", help


def _calls(tier: TierConfig, mine: float) -> str:
    rate: Rate = tier.rate
    return str(rate) if tier.share == 1 and tier.kind != "bucket" else f"{mine:g} calls"
