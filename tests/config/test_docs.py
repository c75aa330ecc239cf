"""docs/configuration.md cannot drift: its tables are generated, its examples are loaded, its report is a real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncd.config import load, render
from syncd.config.reference import reference
from tests.config.facts import DRIVERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("kind", ["syncd", "partner"])
def test_the_tables_are_the_generated_ones(kind):
    found = re.search(rf"<!-- reference: {kind} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found
    assert found[1].strip() == reference(kind).strip(), "write it anew: syncd.config.reference"


def test_the_first_partner_of_the_page_loads_without_a_word(tmp_path):
    text = re.search(r"```yaml\n# config/partners/guesty\.yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    (tmp_path / "partners").mkdir()
    (tmp_path / "partners" / "guesty.yaml").write_text(text)
    assert load(tmp_path, drivers=DRIVERS, env={}).problems == ()


def test_the_report_of_the_page_is_what_check_says(tmp_path, monkeypatch):
    shown = re.search(r"```\n(config/partners/guesty\.yaml:.*?)```", PAGE, re.DOTALL)[1]
    partners = tmp_path / "config" / "partners"
    partners.mkdir(parents=True)
    line = re.search(r"\| (.*)", shown)[1]
    text = f"driver: guesty\n\n\nintegrations:\n  acme:\n\n{line}\n"
    (partners / "guesty.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert render(load(tmp_path / "config", drivers=DRIVERS, env={}).problems) == shown.strip()


def test_every_duration_size_and_rate_of_the_page_is_one():
    from syncd.config.units import parse_duration, parse_rate, parse_size

    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in PAGE.splitlines() if row.startswith("| ")}
    for name, parse in (("duration", parse_duration), ("size", parse_size), ("rate", parse_rate)):
        good, bad = (re.findall(r"`([^`]+)`", cell) for cell in rows[name])
        assert [parse(text) for text in good]
        for text in bad:
            with pytest.raises(ValueError, match="is not a"):
                parse(text)
