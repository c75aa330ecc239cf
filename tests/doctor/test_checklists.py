"""The founding checklists are covered line by line, in their order, and no line passes without saying what was seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncd.doctor import Checklist, Verdict, examined, in_scope
from syncd.doctor.attio import ATTIO
from syncd.doctor.examining import CHECKLISTS
from syncd.doctor.maintainx import MAINTAINX
from syncd.doctor.model import Line
from tests.doctor.made import sound

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"


def lines_of(checklist: Checklist) -> list[Line]:
    return [line for group in checklist.groups for line in group.lines]


def flat(text: str) -> str:
    return re.sub(r"[\s`]+", "", text)


def boxes(name: str) -> list[str]:
    """The text behind every box of a seed, flattened as it is."""
    path = SEEDS / name
    if not path.is_file():
        pytest.skip(f"the founding checklists are not beside the checkout: {path}")
    text = path.read_text("utf-8")
    found = re.findall(r"\[ \]\s*(.*?)(?=\s-?\s?\[ \]|\s```|\n[A-Z#0-9]|\n// |\n- \[|\s\*\*)", text + "\n", re.DOTALL)
    return [flat(one) for one in found]


@pytest.mark.parametrize(
    ("checklist", "seed", "count"),
    [(ATTIO, "attio-production-checklist.txt", 43), (MAINTAINX, "maintainx-production-checklist.txt", 30)],
    ids=["attio", "maintainx"],
)
def test_every_box_of_the_seed_is_a_line_in_its_order(checklist: Checklist, seed: str, count: int) -> None:
    wanted = boxes(seed)
    assert len(wanted) == count
    sources = [flat(line.source) for line in lines_of(checklist)]
    assert [box for box in wanted if box not in sources] == []
    assert [source for source in sources if source in wanted] == wanted


@pytest.mark.parametrize(
    ("checklist", "seed"),
    [(ATTIO, "attio-production-checklist.txt"), (MAINTAINX, "maintainx-production-checklist.txt")],
    ids=["attio", "maintainx"],
)
def test_whatever_a_line_quotes_stands_in_the_seed(checklist: Checklist, seed: str) -> None:
    boxes(seed)
    text = flat((SEEDS / seed).read_text("utf-8"))
    assert [line.id for line in lines_of(checklist) if not line.source or flat(line.source) not in text] == []


def test_the_go_live_table_is_covered_row_by_row_with_its_priorities() -> None:
    boxes("maintainx-production-checklist.txt")
    text = (SEEDS / "maintainx-production-checklist.txt").read_text("utf-8")
    rows = re.findall(r"\| \w+ \| [^|]+ \| P\d \|", text)
    assert len(rows) == 8
    ours = {line.source: line.priority for line in lines_of(MAINTAINX)}
    assert {row: ours.get(row) for row in rows} == {row: re.findall(r"P\d", row)[-1] for row in rows}


@pytest.mark.parametrize("phase", range(1, 10))
def test_each_phase_of_attio_has_lines(phase: int) -> None:
    assert [line for line in lines_of(ATTIO) if line.id.startswith(f"attio-{phase}.")]


def test_ids_are_told_once_and_every_line_has_a_probe_or_lines_it_sums() -> None:
    every = [line for checklist in CHECKLISTS for line in lines_of(checklist)]
    assert len({line.id for line in every}) == len(every)
    assert [line.id for line in every if (line.probe is None) == (not line.sums)] == []
    for checklist in CHECKLISTS:
        known: set[str] = set()
        for line in lines_of(checklist):
            assert set(line.sums) <= known, line.id
            known.add(line.id)
    assert [line.id for line in every if len(line.title) + len(line.priority) > 54] == []


def test_a_sound_installation_has_no_failing_line_and_no_line_is_silent(tmp_path: Path) -> None:
    facts = sound(tmp_path)
    results = examined(facts, facts.subjects)
    wrong = [(one.id, one.answer) for one in results if one.verdict in {Verdict.FAIL, Verdict.LATER, Verdict.WARN}]
    assert wrong == []
    assert [one.id for one in results if len(one.answer.detail) < 8] == []
    assert [one.id for one in results if one.verdict is Verdict.MANUAL and not one.answer.do] == []


def test_nothing_that_needs_the_daemon_or_the_database_passes_without_them(tmp_path: Path) -> None:
    facts = sound(tmp_path, daemon=None, no_daemon="no daemon answers", database=None, no_database="it is away")
    with_all = {one.id: one.verdict for one in examined(sound(tmp_path), facts.subjects)}
    without = {one.id: one for one in examined(facts, facts.subjects)}
    changed = {line: one.verdict for line, one in without.items() if one.verdict != with_all[line]}
    assert {verdict for line, verdict in changed.items() if line != "host-3.1"} <= {Verdict.LATER, Verdict.MANUAL}
    assert changed["host-3.1"] is Verdict.FAIL
    assert len(changed) > 40


def test_each_list_is_for_its_own_integrations_and_all_others_have_one(tmp_path: Path) -> None:
    facts = sound(tmp_path)
    found = {one.checklist: one.integrations for one in examined(facts, facts.subjects)}
    assert list(found.values()) == [("crm",), ("plant",), ("flats",), ()]
    assert [one.name for one in in_scope(facts.subjects, "guesty")] == ["flats"]
    alone = {one.id.partition("-")[0] for one in examined(facts, in_scope(facts.subjects, "flats"))}
    assert alone == {"partner", "host"}


def test_an_installation_without_integrations_is_looked_at_too(tmp_path: Path) -> None:
    facts = sound(tmp_path, partners={})
    results = examined(facts, facts.subjects)
    assert {one.checklist for one in results} == {"This installation"}


def test_a_row_of_the_table_is_as_good_as_the_worst_it_sums(tmp_path: Path) -> None:
    facts = sound(tmp_path, main={"log": {"format": "console"}})
    results = {one.id: one for one in examined(facts, facts.subjects)}
    assert results["maintainx-8.4"].verdict is Verdict.FAIL
    assert "maintainx-4.1" in results["maintainx-8.4"].answer.detail
    assert results["maintainx-8.2"].verdict is Verdict.PASS


def test_without_the_network_its_lines_are_left_out(tmp_path: Path) -> None:
    facts = sound(tmp_path, hosts=None)
    assert not {"host-2.4", "host-2.5", "host-2.6"} & {one.id for one in examined(facts, facts.subjects)}
