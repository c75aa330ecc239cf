"""Every trouble that is named has a runbook, and every command a runbook names exists."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import syncd
from syncd.alerts import ALERTS
from syncd.explain import SEVERITIES
from syncd.runbooks import PARTS, meaning, pages

HOME = Path(syncd.__file__).parent


def codes() -> set[str]:
    """The first argument of every Explanation in the program."""
    found = set()
    for path in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Explanation"
                and node.args
            ):
                parts = path.relative_to(HOME.parent).with_suffix("").parts
                module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
                found |= set(values(node.args[0], module))
    return found


def values(node: ast.expr, module: Any) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from values(node.body, module)
        yield from values(node.orelse, module)
    elif isinstance(node, ast.Constant):
        yield node.value
    elif (name := ast.unparse(node)).rpartition(".")[2].isupper():
        yield eval(name, vars(module))
    # what is passed on, such as `found.code`, was made elsewhere


def test_every_trouble_and_every_alert_has_a_runbook_and_no_runbook_is_of_nothing():
    found = codes() | set(SEVERITIES)
    assert len(found) > 35
    assert set(pages()) == found | {alert.code for alert in ALERTS if alert.code}


@pytest.mark.parametrize(("name", "page"), pages().items())
def test_a_runbook_says_what_it_means_what_it_does_how_to_look_and_what_ends_it(name: str, page: str):
    assert tuple(re.findall(r"^\*\*(\w+)\.\*\*", page, re.MULTILINE)) == PARTS
    assert all(text.strip() for text in re.split(r"\*\*\w+\.\*\*", page)[1:])
    assert meaning(page), name
    assert len(page.splitlines()) <= 30, "longer than a page at night"


def test_the_runbook_of_an_alert_is_found_by_its_name(run):
    assert run("runbook", "SyncdHeartbeatLost").stdout == run("runbook", "workers-dead").stdout
    wrong = run("runbook", "SyncdHeartbeat")
    assert wrong.exit_code == 2
    assert "Did you mean 'SyncdHeartbeatLost'?" in wrong.stderr


def test_status_points_to_a_runbook_that_prints(run):
    done = run("runbook", "webhooks-silent")
    assert done.exit_code == 0
    assert "syncd webhook repair INTEGRATION" in done.stdout
    told = json.loads(run("runbook", "webhooks-silent", "--json").stdout)
    assert (told["schema"], told["name"]) == ("syncd.runbook/1", "webhooks-silent")
    assert told["text"] == pages()["webhooks-silent"]


def test_without_a_name_all_are_listed_and_a_wrong_one_is_a_usage_error(run):
    done = run("runbook")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(pages())
    assert json.loads(run("runbook", "--json").stdout)["names"] == list(pages())
    wrong = run("runbook", "webhook-silent")
    assert wrong.exit_code == 2
    assert "Did you mean 'webhooks-silent'?" in wrong.stderr
