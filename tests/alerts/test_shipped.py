"""What is shipped under monitoring/ is what the program prints, and all it names exists: metrics, labels, data source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client.metrics import MetricWrapperBase

import syncd.conditions.gauges  # registers its metrics
import syncd.limits.scraped  # noqa: F401  (likewise)
from syncd import metrics
from syncd.alerts import ALERTS
from syncd.alerts.dashboards import DASHBOARDS
from syncd.alerts.reference import table
from syncd.alerts.rules import rules_file
from syncd.cli.root import cli

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    "prometheus-rules.yml": ["alerts"],
    "alertmanager.yml": ["alerts", "--alertmanager"],
    "grafana-overview.json": ["dashboards", "overview"],
    "grafana-partner.json": ["dashboards", "partner"],
}
FOREIGN = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
SCRAPED = {"instance", "job", "le"}
"""Labels that Prometheus itself, or a histogram, adds."""


def declared() -> dict[str, set[str]]:
    """The labels of every metric there is, by each of its names in a scrape."""
    found: dict[str, set[str]] = dict(FOREIGN)
    for name, collector in metrics.REGISTRY._names_to_collectors.items():
        if isinstance(collector, MetricWrapperBase):
            found[name] = set(collector._labelnames)
        else:
            found |= {family.name: set(family._labelnames) for family in collector.describe()}  # type: ignore[attr-defined]
    return found


@cache
def recorded() -> dict[str, set[str]]:
    rules = yaml.safe_load(rules_file(ALERTS))["groups"][0]["rules"]
    return {rule["record"]: {"integration", "partner"} for rule in rules if "record" in rule}


NAME = re.compile(r"\b((?:syncd|integration|webhooks?)_\w+|syncd:\w+|up)\b(?:\{([^}]*)\})?(?!\s*\()")
CLAUSE = re.compile(r"\b(by|on|without|ignoring) \(([^)]*)\)")


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics of an expression with the labels it selects by."""
    bare = CLAUSE.sub("", re.sub(r"label_values\((.*), \w+\)", r"\1", expression))
    for match in NAME.finditer(bare):
        yield match[1], set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*[\"%]", match[2] or ""))


def wrong(expression: str) -> list[str]:
    known = declared() | recorded()
    metrics_used = list(used(expression))
    said = [f"{name}: no such metric" for name, _ in metrics_used if name not in known]
    there = SCRAPED.union(*(known.get(name, set()) for name, _ in metrics_used))
    for name, labels in metrics_used:
        said += [f"{name} has no label {label}" for label in labels - known.get(name, labels) - SCRAPED]
    for clause in CLAUSE.finditer(expression):
        named = {each.strip() for each in clause[2].split(",") if each.strip()}
        said += [f"nothing here has a label {label}" for label in named - there]
    return [f"{each} in {expression}" for each in said]


def expressions(thing: Any) -> Iterator[str]:
    """Every PromQL of a dashboard or a rules file, the queries within annotations among them."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if key in {"expr", "definition"}:
                yield value
            elif isinstance(value, str) and "query }}" in value:
                yield from re.findall(r'printf "(.*?)" \$labels', value)
            else:
                yield from expressions(value)
    elif isinstance(thing, list):
        for each in thing:
            yield from expressions(each)


def test_every_metric_and_label_of_rules_and_dashboards_exists():
    things = [yaml.safe_load(rules_file(ALERTS)), *(make() for make in DASHBOARDS.values())]
    found = [each for thing in things for each in expressions(thing)]
    assert len(found) > 80
    assert [said for each in found for said in wrong(each)] == []


@pytest.mark.parametrize(
    "expression",
    ["syncd_no_such > 1", 'syncd_calls_total{endpoint="x"}', "sum by (scope) (syncd_calls_total)", "syncd:gone == 1"],
)
def test_what_does_not_exist_is_seen(expression: str):
    assert len(wrong(expression)) == 1


@pytest.mark.parametrize(("file", "words"), SHIPPED.items())
def test_the_files_under_monitoring_are_what_the_program_prints(file: str, words: list[str]):
    printed = CliRunner().invoke(cli, words)
    assert printed.exit_code == 0, printed.stderr
    shipped = (ROOT / "monitoring" / file).read_text("utf-8")
    assert shipped == printed.stdout, f"make it anew: syncd {' '.join(words)} > monitoring/{file}"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_what_grafana_needs_and_belongs_to_no_data_source(name: str):
    made = json.loads(json.dumps(DASHBOARDS[name]()))
    assert re.fullmatch(r"[a-z-]{1,40}", made["uid"])
    assert made["schemaVersion"] >= 36
    assert made["title"]
    assert "id" not in made
    assert made["templating"]["list"][0] == {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
    }  # fmt: skip
    ids = [panel["id"] for panel in made["panels"]]
    assert len(set(ids)) == len(ids)
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels for target in panel["targets"])
    assert all(mark["datasource"]["uid"] == "${datasource}" for mark in made["annotations"]["list"])
    taken = set()
    for panel in made["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


def test_variables_that_queries_use_are_there():
    for name, make in DASHBOARDS.items():
        made = make()
        known = {variable["name"] for variable in made["templating"]["list"]}
        assert {each for text in expressions(made) for each in re.findall(r"\$(\w+)", text)} <= known, name


def test_the_example_for_alertmanager_names_only_alerts_and_labels_there_are():
    example = yaml.safe_load((ROOT / "monitoring" / "alertmanager.yml").read_text("utf-8"))
    text = str(example)
    names = {alert.name for alert in ALERTS}
    said = set(re.findall(r"Syncd[A-Za-z]+", text.replace("SyncdCondition.*", "").replace("Syncd.*", "")))
    assert said <= names
    receivers = {one["name"] for one in example["receivers"]}
    assert {example["route"]["receiver"], *(one["receiver"] for one in example["route"]["routes"])} <= receivers


def test_the_table_of_the_page_is_the_generated_one():
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    found = re.search(r"<!-- alerts -->\n(.*?)\n<!-- end -->", page, re.DOTALL)
    assert found
    assert found[1] == table(), "write it anew: syncd.alerts.reference"


def test_a_sample_reaches_the_address_under_alerts_and_what_does_not_is_said(tmp_path: Path):
    posted: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    def ask(**environ: str) -> Result:
        return CliRunner().invoke(cli, ["alerts", "test", "--config", str(tmp_path)], env=environ)

    (tmp_path / "syncd.yaml").write_text("alerts: {url: {env: ALERTS_URL}}\n")
    (tmp_path / "partners").mkdir()
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        done = ask(ALERTS_URL=f"http://127.0.0.1:{server.server_port}/hook")
        thread.join(10)
    assert done.exit_code == 0, done.stderr
    assert "delivered, not signed" in done.stderr
    assert json.loads(posted[0])["began"][0]["reason"] == "this is a sample: nothing is wrong"
    refused = ask(ALERTS_URL="http://127.0.0.1:9/hook")
    assert refused.exit_code == 1
    assert "cannot be reached" in refused.stderr
    assert "127.0.0.1:9" not in refused.stderr, "such addresses are secrets"
    (tmp_path / "syncd.yaml").write_text("{}\n")
    assert ask().exit_code == 78


def test_the_address_of_alerts_is_among_the_secrets_that_check_looks_for(tmp_path: Path):
    (tmp_path / "syncd.yaml").write_text("alerts: {url: {env: ALERTS_NOWHERE}}\n")
    (tmp_path / "partners").mkdir()
    done = CliRunner().invoke(cli, ["check", "--env", "--embedded", "--config", str(tmp_path)])
    assert done.exit_code != 0
    assert "alerts.url" in done.stdout + done.stderr
