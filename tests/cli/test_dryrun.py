"""What `syncd dryrun` prints of what was found, each kind of outcome in its own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from syncd.cli.dryrun import MARKS, WORDS, render
from syncd.dryrun import MOST_RECORDS, Outcome
from syncd.testing.driver_suite import partner_checks

PARTNER = """
driver: rest
rest: {base_url: https://api.yard.example, resources: {boats: {path: /boats, fields: {name: name}}}}
integrations: {yard: {}}
"""


def found(*records: dict[str, Any], **more: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for one in records:
        counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
    told = {"integration": "acme", "resource": "boats", "calls": 1, "ended": True, "counts": counts, "notes": []}
    return {**told, "records": list(records), **more}


def record(outcome: str, **more: Any) -> dict[str, Any]:
    return {"resource": "boats", "id": "b1", "outcome": outcome, "reason": "", "fields": [], **more}


def test_every_outcome_has_words_and_a_mark() -> None:
    assert set(WORDS) == {str(one) for one in Outcome}
    assert set(MARKS) == set(WORDS)


def test_what_is_unchanged_is_counted_and_shown_where_its_values_are_asked_for() -> None:
    dull = record("unchanged")
    assert render(found(dull)) == ["acme/boats: 1 record in 1 call: 1 unchanged; nothing was written"]
    told = render(found(record("unchanged", fields=[{"field": "name", "here": '"Wim"', "there": '"Wim"'}])))
    assert told[1:] == ["  = b1  unchanged", '      name: "Wim"']


def test_samples_of_an_installed_driver_stay_where_somebody_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    from syncd import drivers
    from syncd.cli import dryrun

    config, package = tmp_path / "config", tmp_path / "site-packages" / "syncd" / "drivers" / "stripe"
    (config / "partners").mkdir(parents=True)
    package.mkdir(parents=True)
    text = "driver: stripe\nintegrations: {shop: {credentials: {api_key: {env: KEY}}}}\n"
    (config / "partners" / "stripe.yaml").write_text(text)

    async def answered(*_: Any) -> dict[str, Any]:
        return found(record("added"), samples={"customers.live.error.json": {}})

    monkeypatch.setattr(dryrun, "_found", answered)
    monkeypatch.setattr(dryrun, "_played", lambda *_: None)
    monkeypatch.setattr(drivers, "folder", lambda name: package)
    monkeypatch.chdir(tmp_path)
    done = run("dryrun", "shop/customers", "--config", config, "--save")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "samples" / "stripe" / "customers.live.error.json").is_file()
    assert list(package.iterdir()) == []
    assert "copy them to stripe/samples" in done.stderr
    assert "pytest" not in done.stderr


def test_the_command_offers_as_many_records_as_the_desk_takes() -> None:
    from syncd.cli import dryrun

    assert dryrun.MOST_RECORDS == MOST_RECORDS


@pytest.mark.parametrize("case", ["../up", "a.pages", "A", "", "x/y"])
def test_a_samples_name_is_no_path(run: Any, case: str) -> None:
    done = run("dryrun", "acme/boats", "--save", "--case", case)
    assert (done.exit_code, "cannot be a sample's name" in done.stderr) == (2, True)


def test_a_sample_that_is_there_is_written_over_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    from syncd.cli import dryrun

    config = tmp_path / "config"
    (config / "partners").mkdir(parents=True)
    (config / "partners" / "yard.yaml").write_text(PARTNER)
    asked: list[dict[str, Any]] = []

    async def answered(app: Any, config: Any, said: dict[str, Any], since: Any) -> dict[str, Any]:
        asked.append(said)
        sample = {"raw": {"id": "b1", "name": "Wim"}, "id": "b1", "data": {"name": "Wim"}}
        wrong = {"raw": {"id": "b1", "name": "Wim"}, "id": "b2", "data": {}}
        return found(record("added"), samples={"boats.live.json": sample, "boats.odd.json": wrong})

    monkeypatch.setattr(dryrun, "_found", answered)
    words = ("dryrun", "yard/boats", "--config", config, "--save")
    first = run(*words)
    assert first.exit_code == 0, first.stderr
    assert "not saved: boats.odd.json" in first.stderr
    place = config / "partners" / "yard" / "samples" / "boats.live.json"
    assert sorted(place.parent.iterdir()) == [place]
    place.write_text("looked at")
    second = run(*words)
    assert (second.exit_code, "is there already" in second.stderr, len(asked)) == (2, True, 1)
    assert place.read_text() == "looked at"
    assert run(*words, "--force").exit_code == 0
    assert place.read_text() != "looked at"
    [check] = [one for one in partner_checks(config, "yard") if str(one) == "yard-record-boats-live"]
    check()
    elsewhere = tmp_path / "elsewhere"
    assert run("dryrun", "yard/boats", "--config", config, "--save", elsewhere).exit_code == 0
    assert (elsewhere / "boats.live.json").is_file()


@pytest.mark.parametrize("outcome", [str(one) for one in Outcome])
def test_a_record_is_one_line_and_the_sum_stands_above(outcome: str) -> None:
    lines = [click.unstyle(line) for line in render(found(record(outcome), ended=False))]
    assert lines[0].startswith("acme/boats: 1 record in 1 call, and there is more: 1 ")
    assert lines[0].endswith("nothing was written")
    assert len(lines) == (1 if outcome == "unchanged" else 2)


def test_fields_are_shown_as_they_are_here_and_there_and_reasons_beside_the_record() -> None:
    field = {"field": "name", "here": "text, 3 long", "there": "text, 5 long"}
    lines = [
        click.unstyle(line)
        for line in render(
            found(
                record("changed", fields=[field]),
                record("added", fields=[{**field, "here": "nothing"}]),
                record("rejected", id="", reason="field name: expected text"),
                record("named", resource="trips", id="t9"),
                notes=["listed below the first 3 of them"],
            )
        )
    ]
    assert lines[1:] == [
        "  ~ b1  would change",
        "      name: text, 3 long -> text, 5 long",
        "  + b1  would be added",
        "      name: text, 5 long",
        "  ! (no id)  would be rejected: field name: expected text",
        "  > trips t9  would be read by its id",
        "  listed below the first 3 of them",
    ]
