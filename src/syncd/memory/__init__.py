"""The process's memory: how much there may be (ceiling.py), what happens above (keeper.py), where it went (trace.py)."""

from __future__ import annotations

from syncd.memory.ceiling import Ceiling, found
from syncd.memory.keeper import Keeper
from syncd.memory.trace import Trace
from syncd.memory.view import MemoryView

__all__ = ["Ceiling", "Keeper", "MemoryView", "Trace", "found"]
