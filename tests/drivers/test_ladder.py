"""The quality ladder: each rule is asked for by its name, excused in words, and told in the documentation."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from syncd import drivers
from syncd.kit import RestDriver
from syncd.kit.reading import parse
from syncd.testing.ladder import RULES, shortfalls, table
from syncd.testing.samples import read_samples

TODAY = date(2026, 11, 22)
SPEC: dict[str, Any] = {
    "name": "acme",
    "auth": {"kind": "bearer"},
    "limits": {"tiers": ["10/s"]},
    "resources": {
        "boats": {
            "path": "/boats",
            "updated": "changed",
            "since": "since",
            "pushes": {"rename": {"method": "PATCH", "path": "/boats/{id}", "idempotency": "natural"}},
        },
        "places": {"path": "/places", "every": "1d"},
        "log": {"path": "/log", "strategy": "feed", "feeds": ["boats"], "order": "at", "since": "since"},
        "berths": {"path": "/boats/{parent.id}/berths", "parent": "boats"},
    },
    "webhooks": {
        "verify": "hmac_sha256",
        "header": "X-Sig",
        "event_id": "id",
        "type": "type",
        "routes": {"x": "boats"},
    },
    "quality": {"tier": "gold", "owner": "the harbour team", "checked": "2026-10-05"},
}
SAMPLES: dict[str, Any] = {
    **{f"{name}.plain": {"raw": {"id": "1"}, "id": "1", "data": {}} for name in ("boats", "places", "berths")},
    "auth.error": {"answer": {"status": 401}, "error": "AuthError"},
    "limited.error": {"answer": {"status": 429}, "error": "RateLimitError"},
    "sick.error": {"answer": {"status": 503}, "error": "TransientError"},
    "gone.webhook": {"body": "{}", "headers": {}, "secrets": [], "event_id": "e1"},
}
README = "# Acme\n" + "".join(
    f"## {heading}\n\n2026-11: nothing.\n\n### More\n\n"
    for heading in ("Limits", "Auth", "Oddities", "Webhooks", "Support")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    (tmp_path / "README.md").write_text(README)
    for name, content in SAMPLES.items():
        (tmp_path / "samples" / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def changed(**parts: Any) -> dict[str, Any]:
    spec = json.loads(json.dumps(SPEC))
    for way, value in parts.items():
        at = spec
        *steps, last = way.split("__")
        for step in steps:
            at = at[step]
        at[last] = value
    return spec


def wrong(spec: dict[str, Any], folder: Path) -> list[str]:
    driver = RestDriver(parse(spec))
    samples = read_samples("acme", folder)
    return list(shortfalls(driver, folder, samples, driver.resources({}), today=TODAY))


def test_a_driver_that_keeps_every_rule_is_gold(folder: Path) -> None:
    assert wrong(SPEC, folder) == []


FAULTS: dict[str, Any] = {
    "samples": lambda folder: (folder / "samples/places.plain.json").unlink(),
    "owner": changed(quality__owner=" "),
    "readme": lambda folder: (folder / "README.md").write_text(README.replace("## Oddities", "## Strange")),
    "dated": lambda folder: (folder / "README.md").write_text(README.replace("2026-11", "lately", 1)),
    "sample-401": lambda folder: (folder / "samples/auth.error.json").unlink(),
    "sample-429": lambda folder: (folder / "samples/limited.error.json").unlink(),
    "sample-5xx": lambda folder: (folder / "samples/sick.error.json").unlink(),
    "limits": changed(limits__share=0.9),
    "incremental": changed(resources__places__every="1h"),
    "webhooks-verified": lambda folder: (folder / "samples/gone.webhook.json").unlink(),
    "webhooks-deduplicated": changed(webhooks__event_id=None),
    "push-idempotent": changed(resources__boats__pushes__rename__idempotency="none"),
    "reconcile": changed(resources__log__feeds=["boats", "sails"]),
    "checked": changed(quality__checked="2026-08-20"),
}  # fmt: skip


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_is_asked_for_by_its_name_and_can_be_excused(rule: str, folder: Path) -> None:
    fault = FAULTS[rule]
    spec = json.loads(json.dumps(SPEC))
    if callable(fault):
        fault(folder)
    else:
        spec = fault
    found = wrong(spec, folder)
    assert any(f"asks for {rule} (" in told for told in found), found
    spec["quality"]["excused"] = {rule: "it is not to be had"}
    assert not any(f"asks for {rule} (" in told for told in wrong(spec, folder))


@pytest.mark.parametrize(("tier", "asked"), [("none", set()), ("bronze", {"bronze"}), ("silver", {"bronze", "silver"})])
def test_a_rung_asks_for_no_more_than_its_own(tier: str, asked: set[str], folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "samples/sick.error.json").unlink()
    (folder / "samples/gone.webhook.json").unlink()
    found = wrong(changed(quality__tier=tier), folder)
    assert {told.split(" asks for ")[0] for told in found} == asked


def test_an_excuse_gives_a_reason_names_a_rule_and_is_needed(folder: Path) -> None:
    (folder / "samples/sick.error.json").unlink()
    excuses = {"sample-5xx": "no", "owner": "nobody wants it", "colour": "it is not red"}
    found = wrong(changed(quality__excused=excuses), folder)
    assert [told.split(",")[0] for told in found] == [
        "the excuse from 'sample-5xx' gives no reason",
        "excused from 'colour'",
        "excused from 'owner'",
    ]


@pytest.mark.parametrize(("day", "good"), [("2026-08-24", True), ("2026-08-23", False), (None, False)])
def test_a_check_of_the_real_partner_is_good_for_ninety_days(day: str | None, good: bool, folder: Path) -> None:
    assert (wrong(changed(quality__checked=day), folder) == []) is good


def lines_of_python(folder: Path) -> int:
    """Of a driver's own code, its simulator left out, as `wc -l` counts."""
    own = (file for file in folder.glob("*.py") if not file.name.startswith("simulator"))
    return sum(file.read_text("utf-8").count("\n") for file in own)


def test_the_median_drivers_python_is_at_most_120_lines() -> None:
    folders = [file.parent for file in Path(drivers.__file__).parent.glob("*/driver.yaml")]
    counted = {folder.name: lines_of_python(folder) for folder in folders}
    assert len(counted) >= 8
    assert median(counted.values()) <= 120, counted


def test_the_documentation_has_all_rules() -> None:
    written = (Path(__file__).parents[2] / "docs/writing-a-driver.md").read_text("utf-8")
    assert f"<!-- ladder -->\n{table()}<!-- end of ladder -->" in written, "print(syncd.testing.ladder.table())"
