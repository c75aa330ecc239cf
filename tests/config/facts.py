"""Drivers as these tests' configurations know them; no real driver is needed to check a file."""

from __future__ import annotations

from syncd.config import Facts, parse_rate
from syncd.config.facts import KnownTier

GUESTY = Facts(
    resources=("listings", "reservations", "guests"),
    credentials={"client_id": True, "client_secret": True},
    tiers=tuple(KnownTier(parse_rate(text), 0.7) for text in ("10/s", "120/min", "5000/h")),
    share=0.7,
    concurrency=4,
    off=("guests",),
    options=("reservations",),
    adapters=("v1", "v2"),
    base_url="https://open-api.guesty.com/v1",
)
DRIVERS = {
    "guesty": GUESTY,
    "attio": Facts(credentials={"token": True}, base_url="https://api.attio.com/v2"),
    "rest": Facts(),
}
