"""Puts the lists together: which apply, each line judged, what is summed, what somebody has acknowledged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncd.doctor.attio import ATTIO
from syncd.doctor.everyone import EVERYONE
from syncd.doctor.facts import Acknowledgement, Facts, Subject
from syncd.doctor.machine import MACHINE, NETWORK
from syncd.doctor.maintainx import MAINTAINX
from syncd.doctor.model import Answer, Checklist, Line, Result, Verdict, worst

CHECKLISTS: tuple[Checklist, ...] = (ATTIO, MAINTAINX, EVERYONE, MACHINE)
"""In the order they are shown."""


def ids() -> set[str]:
    """Of every line there is."""
    return {line.id for checklist in CHECKLISTS for group in checklist.groups for line in group.lines}


def in_scope(subjects: Sequence[Subject], asked: str) -> list[Subject]:
    """The integrations meant by a name, which may be a partner's; all for none."""
    return [one for one in subjects if not asked or asked in {one.name, one.partner.name}]


def examined(
    facts: Facts, subjects: Sequence[Subject], acknowledged: Mapping[str, Acknowledgement] | None = None
) -> list[Result]:
    """Every line that applies to these integrations and this installation, in order."""
    found: list[Result] = []
    for checklist in CHECKLISTS:
        mine = [one for one in subjects if checklist.applies is None or checklist.applies(one)]
        if not mine and checklist.applies is not None:
            continue
        judged: dict[str, Answer] = {}
        for group in checklist.groups:
            for line in group.lines:
                if facts.hosts is None and line.id in NETWORK:
                    continue
                answer = judged[line.id] = _judged(line, facts, mine, judged)
                found.append(
                    Result(
                        checklist=checklist.title,
                        group=group.title,
                        id=line.id,
                        title=line.title,
                        priority=line.priority,
                        integrations=tuple(one.name for one in mine) if checklist.applies is not None else (),
                        answer=answer,
                        source=line.source,
                        acknowledged=(acknowledged or {}).get(line.id),
                    )
                )
    return found


def _judged(line: Line, facts: Facts, subjects: Sequence[Subject], judged: Mapping[str, Answer]) -> Answer:
    if line.probe is not None:
        return line.probe(facts, subjects)
    parts = {name: judged[name] for name in line.sums}
    gravest = worst(list(parts.values()))
    if gravest.verdict in {Verdict.PASS, Verdict.NONE}:
        return Answer(gravest.verdict, f"as {', '.join(parts)} above")
    which = [name for name, answer in parts.items() if answer.verdict is gravest.verdict]
    return Answer(gravest.verdict, f"as {', '.join(which)} above: {gravest.detail}", gravest.do)
