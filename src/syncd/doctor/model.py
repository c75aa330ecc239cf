"""What a checklist is made of: lines with the words of their source, the probe behind each, and what a probe answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from syncd.doctor.facts import Acknowledgement, Facts, Subject


class Verdict(StrEnum):
    """What became of a line; the worst first."""

    FAIL = "fail"
    LATER = "later"
    """It could not be looked at now: no daemon, a host that does not answer."""
    WARN = "warn"
    MANUAL = "manual"
    """Only a person can tell; the line says what to look at, and where."""
    PASS = "pass"  # noqa: S105 - a word
    NONE = "none"
    """It does not apply here; the line says why."""

    @property
    def rank(self) -> int:
        """0 is worst."""
        return list(Verdict).index(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe found: never a verdict without the fact behind it."""

    verdict: Verdict
    detail: str
    do: str = ""
    """How to mend it, or where to look: one command or one line of YAML."""


Probe = Callable[[Facts, Sequence[Subject]], Answer]
"""Pure. It is given the integrations the line is about: all of them, or those of one partner's list."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to be sure of before going live."""

    id: str
    title: str
    probe: Probe | None = None
    """None: it is as good as the worst of the lines it `sums`."""
    source: str = ""
    """The line of the founding checklist, word by word; empty for what was added later."""
    priority: str = ""
    sums: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Checklist:
    """Groups in the order they are gone through."""

    name: str
    title: str
    groups: tuple[Group, ...]
    applies: Callable[[Subject], bool] | None = None
    """Which integrations it is for. None: for the installation as a whole."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line, judged."""

    checklist: str
    group: str
    id: str
    title: str
    priority: str
    integrations: tuple[str, ...]
    answer: Answer
    source: str = ""
    acknowledged: Acknowledgement | None = field(default=None)

    @property
    def verdict(self) -> Verdict:
        return self.answer.verdict

    @property
    def is_open(self) -> bool:
        """Does somebody still have to do something about it?"""
        return self.verdict in _OPEN and not (self.verdict in _EXCUSABLE and self.acknowledged is not None)


_EXCUSABLE = frozenset({Verdict.MANUAL, Verdict.WARN})
_OPEN = frozenset({Verdict.FAIL, Verdict.LATER, Verdict.WARN, Verdict.MANUAL})


def passed(detail: str) -> Answer:
    return Answer(Verdict.PASS, detail)


def failed(detail: str, do: str = "") -> Answer:
    return Answer(Verdict.FAIL, detail, do)


def warned(detail: str, do: str = "") -> Answer:
    return Answer(Verdict.WARN, detail, do)


def manual(detail: str, do: str) -> Answer:
    return Answer(Verdict.MANUAL, detail, do)


def later(detail: str, do: str) -> Answer:
    return Answer(Verdict.LATER, detail, do)


def beside(detail: str) -> Answer:
    """It does not apply, and why."""
    return Answer(Verdict.NONE, detail)


def worst(answers: Sequence[Answer]) -> Answer:
    """The gravest; of equals the first. There must be one."""
    return min(answers, key=lambda one: one.verdict.rank)


def together(found: Sequence[tuple[str, Answer]]) -> Answer:
    """One answer of those of several integrations: the gravest verdict, with the names and words of those that have it."""
    if not found:
        return beside("no integration is configured")
    gravest = worst([one for _, one in found]).verdict
    about = [(name, one) for name, one in found if one.verdict is gravest]
    said: dict[str, list[str]] = {}
    for name, one in about:
        said.setdefault(one.detail, []).append(name)
    if len(found) == 1 or (len(said) == 1 and len(about) == len(found)):
        detail = about[0][1].detail
    else:
        shown = [f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}: {text}" for text, names in said.items()]
        more = len(shown) - _SHOWN
        detail = "; ".join(shown[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return Answer(gravest, detail, next((one.do for _, one in about if one.do), ""))


_SHOWN = 3
