"""What `syncd check` says of schedules, and where it points."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd import drivers
from syncd.config import load
from syncd.planning import findings

EXAMPLES = sorted((Path(__file__).parents[2] / "config" / "partners").glob("*.yaml.example"))


def test_a_schedule_that_may_fit_is_not_mentioned(read):
    assert read().problems == ()
    assert read("resources: {things: {every: 1m}}\n").problems == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_shipped_examples_fit(example: Path, tmp_path: Path):
    (tmp_path / "partners").mkdir()
    (tmp_path / "partners" / example.name.removesuffix(".example")).write_text(example.read_text())
    assert load(tmp_path, drivers=drivers.facts(), env={}, advise=findings).problems == ()


def test_the_setting_is_pointed_at_where_it_stands(read):
    [problem] = read("limits: {tiers: [60/h]}\nresources:\n  things:\n    every: 10s\n").problems
    assert problem.severity == "warning"
    assert problem.source.strip() == "every: 10s"
    assert problem.message.startswith("every: 10s of things does not fit the limits: all of shop/acme ask for ")
    assert "60/h leaves 59" in problem.message
    assert problem.help == "resources: {things: {every: 2m}}; see syncd plan acme"


def test_below_an_integration_it_is_pointed_at_there(read):
    [problem] = read(
        "limits: {tiers: [60/h]}\nintegrations:\n  calm: {}\n  acme:\n    resources: {things: {every: 10s}}\n"
    ).problems
    assert "every: 10s" in problem.source
    assert problem.help.startswith("below integrations.acme: resources: {things: {every: ")


def test_where_the_driver_chose_the_interval_the_limit_is_pointed_at(read):
    problems = read("limits: {tiers: [10/d]}\n").problems
    assert problems
    assert {problem.source for problem in problems} == {"limits: {tiers: [10/d]}"}


def test_a_limit_under_which_nothing_fits_is_said_as_such(read):
    [problem] = read("limits: {tiers: [1/30d]}\n").problems
    assert problem.message.startswith("no schedule fits the limits: ")
    assert problem.help == "syncd plan acme"


def test_a_broken_partner_is_not_forecast(read):
    loaded = read("resources: {thing: {every: 10s}}\n")
    assert loaded.broken_partners == {"shop"}
    assert all(problem.severity == "error" for problem in loaded.problems)
