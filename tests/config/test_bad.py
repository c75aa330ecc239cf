"""Sixty-odd configurations with one mistake each: every one is refused at the right place, with nothing else said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.config import ConfigProblems, load, render
from tests.config.facts import DRIVERS

BAD = Path(__file__).parent / "bad"
CASES = sorted(path for path in BAD.iterdir() if path.is_dir())


@dataclass(frozen=True)
class Expected:
    """The sidecar: `file:line:column`, a piece of the message, and a piece of the help where there is one."""

    file: str
    line: int
    column: int
    message: str
    help: str

    @classmethod
    def of(cls, case: Path) -> Expected:
        place, message, *rest = (case / "expected").read_text().splitlines()
        file, line, column = place.rsplit(":", 2)
        return cls(file, int(line), int(column), message, rest[0] if rest else "")


def test_there_are_at_least_forty_and_each_is_named_for_its_mistake():
    assert len(CASES) >= 40
    names = [case.name.partition("-")[2] for case in CASES]
    assert len(set(names)) == len(names)
    assert all(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_mistake_is_one_error_at_its_place(case):
    expected = Expected.of(case)
    found = load(case, drivers=DRIVERS, env={})
    assert not found.warnings, render(found.warnings)
    assert len(found.errors) == 1, render(found.errors)
    problem = found.errors[0]
    assert Path(problem.file) == _shown(case / expected.file)
    assert (problem.line, problem.column) == (expected.line, expected.column), render([problem])
    assert expected.message in problem.message
    assert expected.help in problem.help
    with pytest.raises(ConfigProblems) as refused:
        found.require()
    assert problem.message in str(refused.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_caret_stands_under_the_mistake(case):
    found = load(case, drivers=DRIVERS, env={})
    problem = found.errors[0]
    if not problem.source:
        # Nothing to show: the file as a whole, its empty last line, or bytes that are no text.
        assert problem.line == 0 or case.name.endswith(("-empty-file", "-missing-colon", "-not-utf8"))
        return
    _, shown, caret = problem.text().splitlines()[:3]
    assert shown.endswith(problem.source)
    assert len(caret.expandtabs(1)) == len(f"  {problem.line} | ") + problem.column


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reload_with_it_leaves_the_running_configuration_whole(case, good):
    old = load(good, drivers=DRIVERS, env={}).require()
    found = load(case, drivers=DRIVERS, env={})
    kept = found.keeping(old)
    assert list(kept.partners["guesty"].integrations) == ["acme"]
    assert kept.database == old.database
    if found.config is None:
        assert kept == old
    for name in found.broken_partners:
        assert kept.partners.get(name) == old.partners.get(name)


def _shown(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
