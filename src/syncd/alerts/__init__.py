"""Alerts and dashboards: one table of alerts, and what is printed from it.

`partners.py`, `process.py` and `told.py` hold the table, `rules.py` makes a Prometheus rules file of it, `routing.py` an
example for Alertmanager, `dashboards.py` what Grafana reads. Nothing here looks at a running daemon.
"""

from syncd.alerts.alert import Alert
from syncd.alerts.partners import PARTNERS
from syncd.alerts.process import PROCESS
from syncd.alerts.told import TOLD

ALERTS: tuple[Alert, ...] = (*TOLD, *PARTNERS, *PROCESS)
"""All there are, in the order of the rules file."""

__all__ = ["ALERTS", "Alert"]
