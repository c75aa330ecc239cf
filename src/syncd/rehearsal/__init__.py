"""Deliveries as partners would send them, for `syncd webhook send`: made in `draft.py`, of an integration in `stage.py`."""

from __future__ import annotations

from syncd.rehearsal.draft import Rehearsal, Sample, Wish, rehearse, samples_of, types_of
from syncd.rehearsal.places import setting
from syncd.rehearsal.stage import Stage

__all__ = ["Rehearsal", "Sample", "Stage", "Wish", "rehearse", "samples_of", "setting", "types_of"]
