"""The table of docs/alerts.md, written from the alerts, so the page cannot drift from the code."""

from __future__ import annotations

from syncd.alerts import ALERTS
from syncd.alerts.alert import Alert


def table() -> str:
    """Markdown: every alert with its expression, and where its threshold comes from."""
    rows = ["| alert | severity | fires where | for | runbook | threshold from |", "|---|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(alert) for alert in ALERTS)])


def _row(alert: Alert) -> str:
    expression = alert.expr.replace("|", "\\|")
    hold = "" if alert.hold == "0m" else alert.hold
    code = f"`{alert.code}`" if alert.code else "that of the condition"
    return f"| `{alert.name}` | {alert.severity} | `{expression}` | {hold} | {code} | {alert.source} |"
