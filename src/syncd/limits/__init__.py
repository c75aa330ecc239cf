"""How fast syncd may call a partner: one gate a scope, exact by construction (design: the quota book)."""

from syncd.limits.breaker import MANY, BreakerPolicy, BreakerState
from syncd.limits.breakers import Hold
from syncd.limits.gate import DEFAULT_LANES, Gate
from syncd.limits.slot import Slot
from syncd.limits.tiers import TierSpec, parse_rate
from syncd.limits.waiting import OverBudgetError

Tier = TierSpec

__all__ = [
    "DEFAULT_LANES",
    "MANY",
    "BreakerPolicy",
    "BreakerState",
    "Gate",
    "Hold",
    "OverBudgetError",
    "Slot",
    "Tier",
    "TierSpec",
    "parse_rate",
]
