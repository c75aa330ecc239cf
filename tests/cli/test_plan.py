"""`syncd plan` as a person meets it: the daemon's answer, the one worked out without a daemon, and what it reads like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.cli import plan as verb

CROWDED = """\
driver: rest
base_url: http://127.0.0.1:9/v1
rest:
  auth: {kind: api_key, header: X-Api-Key}
  limits: {tiers: [60/h, 10/s]}
  page_size: 100
  resources:
    things:
      path: /things
      records: data
      updated: changed
      total: total
      pages: {kind: offset, param: offset, size: limit}
      since: {param: since}
      every: 1h
    notes: {path: "/things/{parent.id}/notes", parent: things, records: data}
resources:
  things: {every: 10s}
integrations:
  shop: {credentials: {api_key: {file: shop/key}}}
"""


@pytest.fixture
def crowded(directory: Path) -> Path:
    (directory / "partners" / "plain.yaml").write_text(CROWDED)
    return directory


def test_the_daemons_plan_is_printed_and_fits_is_0(run, directory: Path, start):
    stage = start()
    done = run("plan", "acme/listings", "--json", "--config", directory)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == stage.status.planned
    assert stage.status.asked == [("plan", "acme", "listings")]


def test_a_plan_that_does_not_fit_is_1_and_an_unknown_name_is_2(run, directory: Path, start):
    stage = start()
    stage.status.planned["fits"] = False
    assert run("plan", "--config", directory).exit_code == 1
    assert stage.status.asked == [("plan", None, None)]
    done = run("plan", "acmee", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'acme'?" in done.stderr


def test_what_is_assumed_is_asked_of_the_daemon_which_knows_the_rest(run, directory: Path, start):
    stage = start()
    words = ("--assume", "listings=50_000", "--assume", "reservations=7")
    done = run("plan", "acme", *words, "--json", "--config", directory)
    assert done.exit_code == 0, done.output
    assert stage.status.asked == [("plan", "acme", None, {"listings": 50000, "reservations": 7})]
    assert "from the files" not in done.stderr
    done = run("plan", "--assume", "listing=5", "--config", directory)
    assert done.exit_code == 2
    assert "did you mean 'listings'?" in done.stderr


@pytest.mark.parametrize("named", [["shop"], []])
def test_an_assumption_of_no_such_resource_is_a_usage_error_without_a_daemon_too(run, crowded: Path, named: list[str]):
    done = run("plan", *named, "--files", "--assume", "thigns=5", "--config", crowded)
    assert done.exit_code == 2
    assert "no resource 'thigns'" in done.stderr
    assert "did you mean 'things'?" in done.stderr


def test_without_daemon_and_database_it_is_made_of_the_files_and_says_so(run, crowded: Path):
    done = run("plan", "shop", "--json", "--config", crowded)
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["source"] == "files"
    assert "from the files alone" in done.stderr
    [scope] = found["scopes"]
    assert scope["advice"]["lines"] == [{"below": "", "yaml": "resources: {things: {every: 2m}}"}]
    [limit] = scope["advice"]["limits"]
    assert limit["stated"] == 60
    assert not limit["allowed"]
    things, notes = scope["integrations"][0]["resources"]
    assert things["records"] == {"value": None, "known": "unknown"}
    assert things["calls_a_thousand_records"] == 10
    assert notes["calls_a_thousand_records"] is None  # a call a parent, whatever hangs below it
    assert things["crowded"] == ["60/3600s"]


def test_a_plan_without_a_daemon_knows_the_names_too(run, crowded: Path):
    done = run("plan", "shopp", "--files", "--config", crowded)
    assert done.exit_code == 2
    assert "did you mean 'shop'?" in done.stderr
    done = run("plan", "shop/thing", "--files", "--config", crowded)
    assert done.exit_code == 2
    assert "did you mean 'things'?" in done.stderr


def test_the_line_it_advises_makes_it_fit_when_written_into_the_file(run, crowded: Path):
    text = (crowded / "partners" / "plain.yaml").read_text()
    (crowded / "partners" / "plain.yaml").write_text(
        text.replace("resources:\n  things: {every: 10s}\n", "resources: {things: {every: 2m}}\n")
    )
    assert run("plan", "--files", "--config", crowded).exit_code == 0


def test_one_list_and_three_kinds_of_detail_below_a_hundred_records_are_301_calls(run, directory: Path):
    (directory / "partners" / "plain.yaml").write_text("""\
driver: rest
base_url: http://127.0.0.1:9/v1
rest:
  auth: {kind: api_key, header: X-Api-Key}
  limits: {tiers: [600/min], share: 0.6}
  page_size: 100
  resources:
    properties: {path: /properties, records: data, pages: {kind: offset, param: o, size: l}}
    details: {path: "/properties/{parent.id}", parent: properties}
    photos: {path: "/properties/{parent.id}/photos", parent: properties}
    reservations: {path: "/properties/{parent.id}/reservations", parent: properties}
integrations:
  shop: {credentials: {api_key: {file: shop/key}}}
""")
    done = run("plan", "shop", "--files", "--assume", "properties=100", "--json", "--config", directory)
    [integration] = json.loads(done.stdout)["scopes"][0]["integrations"]
    assert integration["calls"] == {"value": 301.0, "known": "assumed"}
    assert {each["name"]: each["full_calls"]["value"] for each in integration["resources"]} == {
        "properties": 1, "details": 100, "photos": 100, "reservations": 100,
    }  # fmt: skip
    text = run("plan", "shop", "--files", "--assume", "properties=100", "--config", directory).stdout
    assert "shop, all" in text
    assert "~301" in text


def test_what_it_reads_like(run, crowded: Path):
    text = run("plan", "shop", "--files", "--assume", "things=12_000", "--config", crowded).stdout
    assert "shop/notes (below things)" in text
    assert "~12,000" in text
    assert "every: 10s, full 1d" in text
    assert "of 60/h" in text
    assert "this would fit, in partners/plain.yaml:\n      resources: {" in text
    assert "if the partner agrees: above the 60 it states" in text
    assert text.endswith("✗ it does not fit\n")


def test_a_wrong_assumption_is_a_usage_error(run, crowded: Path):
    done = run("plan", "shop", "--assume", "things", "--config", crowded)
    assert done.exit_code == 2
    assert "listings=12000" in done.stderr


def test_a_line_below_an_integration_is_shown_where_it_belongs(run, directory: Path):
    text = CROWDED.replace("resources:\n  things: {every: 10s}\n", "").replace(
        "shop/key}}}",
        "shop/key}}, resources: {things: {every: 10s}}}\n  calm: {credentials: {api_key: {file: shop/two}}}",
    )
    (directory / "partners" / "plain.yaml").write_text(text)
    done = run("plan", "shop", "--files", "--config", directory)
    assert "      integrations:\n        shop:\n          resources: {things: {every: 2m}}" in done.stdout
    assert run("plan", "calm", "--files", "--config", directory).exit_code == 0


def test_check_warns_at_the_line_of_a_schedule_that_cannot_fit(run, crowded: Path):
    done = run("check", "--config", crowded)
    assert done.exit_code == 0
    assert "partners/plain.yaml:18:19: warning: every: 10s of things does not fit the limits" in done.stdout
    assert "help: resources: {things: {every: 2m}}; see syncd plan shop" in done.stdout
    assert run("check", "--strict", "--config", crowded).exit_code == 78


def test_check_says_nothing_of_schedules_that_may_fit(run, crowded: Path):
    text = (crowded / "partners" / "plain.yaml").read_text().replace("every: 10s", "every: 2m")
    (crowded / "partners" / "plain.yaml").write_text(text)
    assert run("check", "--config", crowded).stdout == ""


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"value": None, "known": "unknown"}, "?"),
        ({"value": 12400.0, "known": "measured"}, "12,400"),
        ({"value": 12400.0, "known": "stated"}, "12,400*"),
        ({"value": 124.0, "known": "assumed"}, "~124"),
        ({"value": 1.25, "known": "measured"}, "1.2"),
    ],
)
def test_every_figure_says_where_it_comes_from(told, shown):
    assert verb.figure(told) == shown


def test_a_plan_of_nothing_says_so():
    assert verb.render({"scopes": [], "fits": True, "source": "daemon"}) == [
        "nothing to plan: no integration of that name is switched on"
    ]
