"""A look at several resources of one partner, one dry run after the other, under one bound: what it is at, and what it
waits for. To wait for a limit is no failure; a partner that does not answer is not asked on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.clock import Clock
from syncd.contract.judging import ENOUGH, Findings
from syncd.dryrun.reading import DryRun
from syncd.errors import BreakerOpenError, RateLimitError, StoreError, SyncdError, TransientError
from syncd.sync.account import Account
from syncd.sync.plan import ResourcePlan

RECORDS = ENOUGH
"""Records of each resource that are read."""
CALLS = 10
"""Calls for each at most: of a child, one for each parent."""


class Look:
    """`seconds` for all of it, limits included."""

    def __init__(self, account: Account, resources: Sequence[str], seconds: float, clock: Clock) -> None:
        self.account = account
        self.unreachable: SyncdError | None = None
        """No answer came: nothing else is asked."""
        self._resources = list(resources)
        self._seconds = seconds
        self._clock = clock
        self._ends_at = clock.monotonic() + seconds
        self._name = ""
        self._dry: DryRun | None = None

    @property
    def left_seconds(self) -> float:
        return max(self._ends_at - self._clock.monotonic(), 0.0)

    def begins(self, plan: ResourcePlan) -> DryRun:
        """The next resource. A limit that lasts longer than the look is not waited for: another one may have none."""
        self._name = plan.name
        self._dry = DryRun(self.account, plan, RECORDS, keep=True, calls=CALLS, longest_seconds=self.left_seconds)
        return self._dry

    def failed(self, error: SyncdError) -> Findings:
        """Its resource could not be looked at."""
        note, later = str(error), isinstance(error, TransientError | BreakerOpenError | StoreError)
        if isinstance(error, RateLimitError) and not error.hopeless:
            later = True
            note = f"a limit lasts{_until(error.retry_at) or ' longer'}: {note}"
        if isinstance(error, TransientError) and error.status is None:
            self.unreachable = error
        return Findings(self._name, note=note, error=error, later=later)

    def over(self) -> Findings:
        """Its time is."""
        why, until = self._waits(in_line=True)
        soonest = f"{_until(until)} or later" if until is not None else ""  # others go first
        waited = f", waiting for a limit{soonest}: {why}" if why else ""
        return Findings(self._name, note=f"the {self._seconds:g} s were over{waited}", later=True)

    def as_json(self) -> dict[str, Any]:
        """`waits_for` is empty where no limit is in the way; `until`, where that is known."""
        gate = self.account.gate.view()
        why, until = self._waits(in_line=gate["waiting"]["low"] > 0)
        return {
            "resource": self._name,
            "number": self._resources.index(self._name) + 1 if self._name else 0,
            "of": len(self._resources),
            "left_seconds": round(self.left_seconds, 1),
            "waits_for": why,
            "until": until,
        }

    def _waits(self, *, in_line: bool) -> tuple[str, datetime | None]:
        """`in_line`: our call is at the gate, or was."""
        dry, now = self._dry, self._clock.now()
        if dry is not None and dry.waits_until is not None and dry.waits_until > now:
            return dry.waits_for, dry.waits_until
        if not in_line:
            return "", None
        following = self.account.gate.view()["next_call"]
        seconds = following["in_seconds"]
        if not following["why"]:
            return "", None
        return following["why"], None if seconds is None else now + timedelta(seconds=seconds)


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f" until {moment:%Y-%m-%d %H:%M:%S}Z"
