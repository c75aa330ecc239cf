"""Everything that is not as it should be, now: one list, which status, page, `/health`, metrics, alerts and log are made
from."""

from syncd.conditions.condition import Condition
from syncd.conditions.ledger import Conditions

__all__ = ["Condition", "Conditions"]
