"""The Prometheus rules file, made of the table of alerts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from syncd.alerts.alert import MUTED, PARTNER_MUTED, Alert
from syncd.alerts.process import JOB

PAGES = "/ui/runbooks"
"""Where the daemon's own page has the runbooks, on the admin site."""
EVERY = "5s"
"""How often rules are evaluated: with a scrape every 15 s a trouble is an alert 20 s after it is known at the latest."""
HEAD = """\
# Alerting rules of syncd, printed by `syncd alerts`: they fit the version that printed them. Not to be edited by hand.
# Severities: critical and page wake somebody, ticket waits for the day, note is worth knowing. `syncd alerts --alertmanager`
# shows how they are routed, and how a threshold is silent while a condition says the same.
"""

_PAUSED = 'syncd_integration_health{state="paused"} == 1'
_MAINTAINED = "syncd_maintenance == 1"
_RECORDED = (
    (MUTED, f"max by (integration) ({_PAUSED} or {_MAINTAINED})"),
    (
        PARTNER_MUTED,
        f"max by (partner) (syncd_integration_info and on (integration) ({_MAINTAINED}))"
        f" or (count by (partner) (syncd_integration_info and on (integration) ({_PAUSED}))"
        " == count by (partner) (syncd_integration_info))",
    ),
)


def rules_file(alerts: Iterable[Alert], *, runbooks: str = PAGES, job: str = "syncd") -> str:
    """The text of the file. `runbooks` is the address that a runbook's name is appended to, `job` the scrape job's name."""
    rules: list[dict[str, Any]] = [{"record": name, "expr": expr} for name, expr in _RECORDED]
    rules += [_rule(alert, runbooks.rstrip("/"), job) for alert in alerts]
    document = {"groups": [{"name": "syncd", "interval": EVERY, "rules": rules}]}
    return HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _rule(alert: Alert, runbooks: str, job: str) -> dict[str, Any]:
    code = alert.code or "{{ $labels.code }}"
    found: dict[str, Any] = {"alert": alert.name, "expr": alert.rule.replace(JOB, f'job="{job}"')}
    if alert.hold != "0m":
        found["for"] = alert.hold
    found["labels"] = {"severity": str(alert.severity)} | ({"code": alert.code} if alert.code else {})
    found["annotations"] = {
        "summary": alert.summary,
        "description": alert.description or _description(alert),
        "runbook": f"syncd runbook {code}",
        "runbook_url": f"{runbooks}/{code}",
    }
    return found


def _description(alert: Alert) -> str:
    return f"{alert.facts}Likely cause: {alert.cause}\nAction: {alert.action}\nRunbook: syncd runbook {alert.code}"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are written as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
