"""Limits in a file that would have more used than the driver does, which only `accept_risk: true` allows.

What counts is what is used: the rate times the share. A limit written in a file is ours, and all of it is used; of what
a partner states a driver uses a share, mostly 0.7, since others call there too.
"""

from __future__ import annotations

import math

from syncd.config.document import Document
from syncd.config.facts import Facts, KnownTier
from syncd.config.partner import LimitsConfig, TierConfig
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
    mine = tier.rate.limit * tier.share
    if tier.kind == "bucket":
        mine += (tier.burst or tier.rate.limit) * tier.share
    stated = known.rate.limit + (known.burst if known.bucket else 0.0)
    if tier.rate.window_seconds != known.rate.window_seconds:
        # Both hold then, and nothing becomes looser; but whoever writes more than the partner allows means another limit.
        windows = max(math.ceil(tier.rate.window_seconds / known.rate.window_seconds), 1)
        if mine <= stated * windows:
            return None
        return f"{tier.rate} is above the limit this driver knows, {known.rate}", f"lower it, {HELP}"
    used = max(1.0, math.floor(stated * known.share + 1e-9))
    if mine <= used:
        return None
    if mine > stated:
        return f"{tier.rate} is above the limit this driver knows, {known.rate}", f"lower it, {HELP}"
    least = Rate(int(used), known.rate.window_seconds)
    message = f"{_calls(tier, mine)} would be used of the stated {known.rate}, and this driver uses {used:g}"
    return message, f"{least} or less, {HELP}; a rate written here is used whole unless it has a share of its own"


def _calls(tier: TierConfig, mine: float) -> str:
    rate: Rate = tier.rate
    return str(rate) if tier.share == 1 and tier.kind != "bucket" else f"{mine:g} calls"
