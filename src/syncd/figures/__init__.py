"""Figures over time: what calls, queues and the process did within the last hour and the last day, in bounded memory.

Nothing is stored: after a restart they begin anew. What has to last is Prometheus's, and the tables'.
"""

from syncd.figures.figures import FIGURES_SCHEMA, SAMPLE_SECONDS, WINDOWS, Figures
from syncd.figures.hours import Hour
from syncd.figures.instruments import Instruments
from syncd.figures.rings import Rings

__all__ = ["FIGURES_SCHEMA", "SAMPLE_SECONDS", "WINDOWS", "Figures", "Hour", "Instruments", "Rings"]
