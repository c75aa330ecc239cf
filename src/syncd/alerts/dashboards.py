"""Dashboards as Grafana imports them. The data source is a variable; what was changed is marked on every panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from syncd.alerts.panels import OVERVIEW, PARTNER, Panel, Rows

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
MARKS = (
    ("Reloads", "changes(syncd_config_last_reload_timestamp_seconds[1m]) > 0", "blue"),
    ("Starts and new versions", "syncd_build_info unless syncd_build_info offset 1m", "green"),
    (
        "Pauses",
        'syncd_integration_health{state="paused"} == 1 unless syncd_integration_health{state="paused"} offset 1m == 1',
        "yellow",
    ),
    ("Credentials rotated", "increase(syncd_credential_rotations_total[1m]) > 0", "purple"),
)
"""Changes, drawn as lines on every panel."""
SCHEMA = 38
"""Of Grafana 10; later ones lift it by themselves."""


def overview() -> dict[str, Any]:
    """Everything: what is wrong, partners, queues, webhooks, the process."""
    return _dashboard("syncd-overview", "syncd: overview", OVERVIEW, [])


def partner() -> dict[str, Any]:
    """One partner and its integrations, chosen by variables."""
    names = _variable("partner", "label_values(syncd_integration_info, partner)")
    of_it = _variable("integration", 'label_values(syncd_integration_info{partner="$partner"}, integration)')
    return _dashboard(
        "syncd-partner", "syncd: one partner", PARTNER, [names, {**of_it, "multi": True, "includeAll": True}]
    )


DASHBOARDS: Mapping[str, Callable[[], dict[str, Any]]] = {"overview": overview, "partner": partner}


def _dashboard(uid: str, title: str, rows: Rows, variables: list[dict[str, Any]]) -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    top = 0
    for heading, row in rows:
        panels.append(_row(heading, len(panels) + 1, top))
        top, left, tallest = top + 1, 0, 0
        for panel in row:
            if left + panel.width > _COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            panels.append(_panel(panel, len(panels) + 1, left, top))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["syncd"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "utc",
        "templating": {"list": [source, *variables]},
        "annotations": {"list": [_marks(*one) for one in MARKS]},
        "links": [{"title": "syncd dashboards", "type": "dashboards", "tags": ["syncd"], "asDropdown": True}],
        "panels": panels,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
    }


def _marks(name: str, expr: str, colour: str) -> dict[str, Any]:
    return {"name": name, "datasource": _SOURCE, "enable": True, "expr": expr, "iconColor": colour, "step": "60s"}


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    table = panel.kind == "table"
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    settings: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        drawn = "dashed" if panel.limit is not None else "off"
        settings |= {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 8, "thresholdsStyle": {"mode": drawn}}}
    found: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": settings, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                **({"instant": True, "format": "table"} if table else {}),
            }
            for place, (legend, expr) in enumerate(panel.queries)
        ],
    }
    if panel.about:
        found["description"] = panel.about
    if table:
        hidden = {"Time": True, "Value": True}
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found
