"""A MaintainX organization as its documentation and the partner facts of 2026-11 describe it.

A key that is a JWT in life and any text here, 100 calls a minute in a fixed window, work orders that are hidden while their
start lies ahead, lists that show less than single reads, one subscription for each type of event and no list of them, and a
status that only an address of its own changes.
"""

from __future__ import annotations

from typing import Any

from syncd.clock import Clock
from syncd.drivers.maintainx.simulator_reads import MaintainXReads
from syncd.testing.base import Simulator


class MaintainXSimulator(MaintainXReads):
    """Options: `key` (and `keys`, further ones that are accepted, as while one is rotated), `organization_required` (the key
    sees several: calls need the header), `history` (days of data), `approval` (subscriptions wait for it), `stamp`
    (`seconds` or `millis` in signatures), `foreign_uri` (the address that is signed, instead of ours), `patch_status`
    (`ignore` or `refuse`: what becomes of a status among the fields), and the count of each resource by the name it has in
    the driver."""


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated organization; see `MaintainXSimulator` and `Simulator`. Raises TypeError for unknown options."""
    return MaintainXSimulator(clock=clock, **options)
