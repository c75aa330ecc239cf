"""What a pull would do, found out without doing it: a few records read live and compared with what is stored.

Nothing here writes a record, a checkpoint or a run. What answers showed can be kept as samples of the driver, scrubbed of
whoever they are about.
"""

from syncd.dryrun.desk import MOST_RECORDS, DryRuns
from syncd.dryrun.reading import DryRun, Outcome, Shown

__all__ = ["MOST_RECORDS", "DryRun", "DryRuns", "Outcome", "Shown"]
