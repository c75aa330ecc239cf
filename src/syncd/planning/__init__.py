"""`syncd plan`: what the configured schedules cost, how long passes take, whether it fits, and what would make it fit.

One road for all who ask: the daemon (with its runs, gates and response times), the command line with a database and no
daemon, and `syncd check` with nothing but files. Nobody is called for a plan: it spends no quota.

`inputs` makes loads of a configuration, `report` a document of their forecast, `findings` the warnings of a check.
"""

from syncd.planning.findings import findings
from syncd.planning.inputs import BLIND, Sight, all_scopes, assuming, look, scopes_of
from syncd.planning.report import SCHEMA, Source, report

__all__ = ["BLIND", "SCHEMA", "Sight", "Source", "all_scopes", "assuming", "findings", "look", "report", "scopes_of"]
