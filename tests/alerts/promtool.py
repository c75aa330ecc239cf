"""Asks the real promtool. Few processes: one says of all cases at once which alerts fire."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd.alerts import ALERTS
from syncd.alerts.rules import rules_file
from tests.alerts.cases import BACKGROUND

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: package prometheus)")
STEP = "15s"
BY_NAME = {alert.name: alert for alert in ALERTS}

Scene = tuple[str, Mapping[str, Any]]
"""The alert it is about, and promtool's words for it."""


def ask(*words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *words], input=stdin, capture_output=True, timeout=60, check=False)


def firing(name: str) -> str:
    return f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'


def scene(title: str, series: Mapping[str, str], alert: str, expected: Mapping[str, int]) -> Scene:
    """One test: at each of these times so many alerts of this name fire."""
    return alert, {
        "name": title,
        "interval": STEP,
        "input_series": [{"series": one, "values": values} for one, values in {**BACKGROUND, **series}.items()],
        "promql_expr_test": [
            {
                "expr": firing(alert),
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
            for at, count in expected.items()
        ],
    }


def run_tests(folder: Path, scenes: Iterable[Scene]) -> str:
    """What promtool says of these tests; empty where all hold. Each alert is loaded with the recording rules and without the
    others, which would only be reckoned in vain."""
    files = []
    tests: dict[str, list[Mapping[str, Any]]] = {}
    for name, test in scenes:
        tests.setdefault(name, []).append(test)
    for name, of_it in tests.items():
        (folder / f"{name}.rules.yml").write_text(rules_file([BY_NAME[name]]), "utf-8")
        document = {"rule_files": [f"{name}.rules.yml"], "evaluation_interval": STEP, "tests": of_it}
        files.append(folder / f"{name}.yml")
        files[-1].write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    done = ask("test", "rules", *map(str, files))
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()


def texts(folder: Path, scenes: Iterable[tuple[str, Mapping[str, str], str]]) -> dict[str, dict[str, str]]:
    """Annotations of alerts as Prometheus writes them: `scenes` are an alert, the series and when to look.

    promtool is told to expect no alert, and prints those there are."""
    tests = [
        (
            alert,
            {
                "name": alert,
                "interval": STEP,
                "input_series": [{"series": one, "values": values} for one, values in {**BACKGROUND, **series}.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
            },
        )
        for alert, series, at in scenes
    ]
    said = run_tests(folder, tests)
    found: dict[str, dict[str, str]] = {}
    for match in re.finditer(r"alertname: (\w+), time: .*?got:\[(.*?)\n *\](?=\n|$)", said, re.DOTALL):
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2].partition("Annotations:")[2])
        found[match[1]] = {key: value.encode().decode("unicode_escape") for key, value in pairs}
    return found
