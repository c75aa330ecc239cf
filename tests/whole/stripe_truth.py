"""What syncd keeps of what Stripe has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECRETS = {"client_secret", "confirmation_secret", "next_action"}


def stored(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object of the simulator's without what is never stored."""
    return {name: value for name, value in raw.items() if name not in SECRETS}
