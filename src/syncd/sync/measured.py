"""What earlier runs tell a forecast: calls and records of a complete pass and of the runs in between, and their pace.

Only runs that ended well count, and a pass only as a whole: one that was cut in three is the sum of its three runs, and one
of which the first part is no longer on record is not counted at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from syncd.config.units import format_duration
from syncd.model import Mode, Outcome
from syncd.store import Run
from syncd.sync.loads import Figure, Known
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule

LATEST = 25
"""So many of the latest runs that ended well are looked at, beside the last complete pass."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One resource, as far as its runs and rows tell. None: not measured."""

    live: int = 0
    """Records stored now."""
    stated: int | None = None
    """Records the partner said there are, in a listing under way."""
    assumed: int | None = None
    """Records a person asks us to reckon with, where none were counted."""
    pass_calls: int | None = None
    pass_records: int = 0
    run_calls: float | None = None
    """Mean of the latest incremental runs."""
    runs: int = 0
    """So many."""
    changed_per_second: float | None = None
    """Records that were new or changed, after the first pass."""


NOTHING = Measured()


def measure(runs: Sequence[Run], *, live: int = 0, stated: int | None = None) -> Measured:
    """From the runs of one resource, newest first: the latest, and those of its last pass, which may be far older."""
    found = Measured(live, stated, changed_per_second=_changed(runs))
    if whole := _last_pass(runs):
        found = replace(
            found,
            pass_calls=sum(run.calls for run in whole),
            pass_records=sum(map(records_of, whole)),
        )
    between = [run for run in runs if run.mode == Mode.INCREMENTAL and run.outcome == Outcome.DONE]
    if between:
        found = replace(
            found,
            run_calls=sum(run.calls for run in between) / len(between),
            runs=len(between),
        )
    return found


def records_of(run: Run) -> int:
    """Records its pages held."""
    return run.added + run.updated + run.unchanged + run.stale + run.rejected


def seconds_of(run: Run) -> float:
    return (run.ended_at - run.started_at).total_seconds() if run.ended_at is not None else 0.0


def lagging(plan: ResourcePlan, run: Run, now: datetime, *, fed: bool = False) -> str | None:
    """What to say where the last run lasted longer than its schedule allows, or has by now; None where it did not."""
    took = ((run.ended_at or now) - run.started_at).total_seconds()
    if run.outcome not in (Outcome.DONE, Outcome.RUNNING):
        return None
    whole = plan.strategy is Strategy.INCREMENTAL and run.mode == Mode.FULL
    schedule = plan.paced(fed=fed)
    allowed = plan.full_every_seconds if whole else schedule.seconds_after(run.started_at)
    if took <= allowed:
        return None
    setting = f"full_every: {format_duration(plan.full_every_seconds)}" if whole else written(schedule)
    return f"a run took {format_duration(float(math.ceil(took)))}, longer than {setting}"


def written(schedule: Schedule) -> str:
    """A schedule as a person writes it."""
    if schedule.every_seconds is not None:
        return f"every: {format_duration(schedule.every_seconds)}"
    return f'cron: "{schedule.cron}"'


def _last_pass(runs: Sequence[Run]) -> list[Run]:
    """All runs of the last complete pass, or none if not all of them are on record."""
    for number, run in enumerate(runs):
        if run.mode == Mode.FULL and run.outcome == Outcome.DONE:
            began = run.pass_id or run.id
            same = [one for one in runs[number:] if one.mode == Mode.FULL and (one.pass_id or one.id) == began]
            return same if same[-1].id == began else []
    return []


def _changed(runs: Sequence[Run]) -> float | None:
    """Records a second that were new or changed, from the latest runs after the oldest of them.

    Between these and a pass that is older lie runs that are not looked at: what they brought is not known here.
    """
    done = [run for run in runs if run.outcome == Outcome.DONE][:LATEST]
    if len(done) < 2:
        return None
    span = (done[0].started_at - done[-1].started_at).total_seconds()
    return sum(run.added + run.updated for run in done[:-1]) / span if span > 0 else None


def pages_of(records: float, page: float) -> float:
    """Calls that list so many records; an empty listing takes one too."""
    return max(1.0, math.ceil(records / page - 1e-9))


def records_figure(found: Measured) -> Figure:
    """How many records there are: what is stored says so only after a complete pass."""
    if found.pass_calls is not None and found.assumed is None:
        return Figure(float(found.live), Known.MEASURED)
    if found.stated is not None and found.assumed is None:
        return Figure(float(found.stated), Known.STATED)
    if found.assumed is not None:
        return Figure(float(found.assumed), Known.ASSUMED)
    return Figure()


def page_figure(found: Measured, asked_for: int | None) -> Figure:
    """Records a call brings: as measured over a pass of several pages, else as asked for."""
    if found.pass_calls is not None and found.pass_calls > 1 and found.pass_records:
        return Figure(found.pass_records / found.pass_calls, Known.MEASURED)
    return Figure(float(asked_for), Known.ASSUMED) if asked_for else Figure()


def full_figure(found: Measured, asked_for: int | None) -> Figure:
    """Calls of the next complete pass: those of the last one, and what has been added since."""
    records, page = records_figure(found), page_figure(found, asked_for)
    if found.pass_calls is not None and found.assumed is None:
        before = found.pass_records
        size = float(asked_for or 0)
        if not size or pages_of(before, size) > found.pass_calls:  # pages are larger than we know
            size = page.value or max(before, 1.0)
        more = pages_of(found.live, size) - pages_of(before, size)
        return Figure(max(1.0, found.pass_calls + more), Known.MEASURED)
    if records.value is not None and page.value is not None:
        return Figure(
            pages_of(records.value, page.value), Known.ASSUMED if page.known is Known.ASSUMED else records.known
        )
    return Figure()


def below_figure(found: Measured, parents: Figure) -> Figure:
    """How many children there are: counted as soon as a pass of the parents has brought theirs."""
    if found.assumed is not None:
        return Figure(float(found.assumed), Known.ASSUMED)
    if found.pass_calls is None and parents.known is not Known.MEASURED:
        return Figure()
    return Figure(float(found.live), Known.MEASURED)


def children_figure(found: Measured, parents: Figure, asked_for: int | None) -> Figure:
    """Calls of a pass below every parent: one each at the least, more where a parent has more than a page."""
    if found.pass_calls is not None and found.assumed is None:
        return Figure(max(float(found.pass_calls), parents.least(0.0)), Known.MEASURED)
    if parents.value is None:
        return Figure()
    live = found.live if found.assumed is None else found.assumed
    each = pages_of(live / parents.value, asked_for) if asked_for and parents.value else 1.0
    return Figure(max(1.0, parents.value * each), Known.ASSUMED)


def run_figure(found: Measured) -> Figure:
    """Calls of a run that is no complete pass."""
    return Figure(found.run_calls, Known.MEASURED) if found.run_calls is not None else Figure()


def paces(runs: Mapping[tuple[str, str], Sequence[Run]]) -> dict[str, tuple[float, int]]:
    """By integration: how long its calls took in all, and how many. Of runs that hardly waited for a limit.

    The time of a run less its waiting holds the reading and storing too, so this is the pace of a page by page walk.
    """
    found: dict[str, tuple[float, int]] = {}
    for (integration, _), some in runs.items():
        for run in some:
            seconds = seconds_of(run)
            if run.outcome == Outcome.DONE and run.calls and run.waited_seconds <= 0.05 * seconds:
                before = found.get(integration, (0.0, 0))
                found[integration] = (before[0] + seconds, before[1] + run.calls)
    return found


def mean(pairs: Iterable[tuple[float, int]]) -> Figure:
    """The mean response time of (seconds in all, calls)."""
    known = [(seconds, calls) for seconds, calls in pairs if calls > 0]
    calls = sum(count for _, count in known)
    return Figure(sum(seconds for seconds, _ in known) / calls, Known.MEASURED) if calls else Figure()
