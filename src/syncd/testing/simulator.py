"""Simulated partners: the names to import, and `python -m syncd.testing.simulator NAME`.

served = await serve(create(customers=500))          # in this loop, tests that look inside
with spawn("stripe", customers=500) as simulator:     # in a process of its own
    ...                                               # simulator.base_url
    control = Control(simulator.url); await control.stats()
"""

from __future__ import annotations

from syncd.testing.base import Answer, Call, Simulator
from syncd.testing.control import Control
from syncd.testing.process import Served, Spawned, main, make, run, serve, spawn

__all__ = ["Answer", "Call", "Control", "Served", "Simulator", "Spawned", "main", "make", "run", "serve", "spawn"]

if __name__ == "__main__":
    main()
