"""What a contract check found, as one Explanation beside everything else that is known of an integration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from syncd.contract.judging import Drift
from syncd.explain import Explanation

SHOWN = 3
"""Differences that are named."""


def explained(integration: str, drift: Sequence[tuple[str, Drift]], since: datetime | None) -> Explanation | None:
    if not drift:
        return None
    told = sorted(drift, key=lambda one: not one[1].is_relied_on)
    named = "; ".join(f"{resource}: {each.place}: {each.told}" for resource, each in told[:SHOWN])
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    relied = any(each.is_relied_on for _, each in told)
    return Explanation(
        "contract-drift",
        f"the partner answers otherwise than its driver {'relies on' if relied else 'finds published'}: {named}{more}",
        since=since,
        cause="a new version of the partner's API"
        if relied
        else "a new version of the API, or a document that is older",
        action=f"syncd contract {integration}",
    )
