"""What is read of each answer inside the gate: what the driver makes of it, what the call cost, what it tells of limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from syncd import codec
from syncd.client import border
from syncd.client.classify import REDIRECTS, request_id, unreadable
from syncd.client.classify import classify as by_status
from syncd.client.trip import Trip
from syncd.clock import Clock
from syncd.errors import GoneError, PartnerError, SyncdError, TransientError
from syncd.limits import Gate, Slot
from syncd.limits.dialects import LimitDialect
from syncd.limits.readings import read_limits
from syncd.model import Response

_MOST_COST = 1e9
_MOST_COSTS = 100
_HALF_A_SECOND = 0.5
"""A Date has whole seconds, cut off: on average it is so much behind."""
Classify = Callable[[Response, datetime], PartnerError | None]


class Answers:
    """Of one session's calls."""

    def __init__(
        self, clock: Clock, gate: Gate, *, classify: Classify, cost_header: str | None, told: LimitDialect
    ) -> None:
        """`cost_header` names the header with what a call cost; `told` is how answers tell of the limit itself."""
        self._clock = clock
        self._gate = gate
        self._classify = classify
        self._cost_header = cost_header
        self._costs: dict[str, float] = {}
        """By route: what a call of a weighted limit cost lately, and so may cost again."""
        self._told = told
        self.skew_seconds: float | None = None
        """How far the partner's clock was ahead of ours at its latest answer with a Date, to about half a second."""

    @property
    def tells_cost(self) -> bool:
        """Is it only known from the answer what a call cost?"""
        return self._cost_header is not None

    def weight(self, trip: Trip) -> float:
        """What the call is expected to cost: what its route cost lately, never more than can ever pass."""
        weight = max(trip.request.weight, self._costs.get(trip.route, 0.0))
        return weight if weight <= trip.request.weight else min(weight, self._gate.book.limit_of(trip.budgets))

    def read(self, trip: Trip, slot: Slot, response: Response) -> PartnerError | None:
        """What is wrong with it, if anything; the gate learns what it says."""
        theirs = response.date
        if theirs is not None and theirs.tzinfo is not None and not response.on_purpose:
            ours = self._clock.now().timestamp() - response.elapsed_seconds / 2
            self.skew_seconds = theirs.timestamp() + _HALF_A_SECOND - ours
        error = self._judged(trip, response)
        self._price(trip, slot, response)
        self._heed(slot, response)
        return error

    def _judged(self, trip: Trip, response: Response) -> PartnerError | None:
        """What the driver says of an answer, completed with what it cannot know."""
        if response.status_code in REDIRECTS and "location" in response.headers:
            return None
        try:
            judge = self._classify if trip.into is None else by_status
            error = judge(response, self._clock.now())
        except PartnerError as refused:
            error = refused
        except Exception as trouble:  # a driver's defect is this answer's trouble, not the daemon's
            error = unreadable(trouble)
        if error is None:
            return None
        error.status = error.status or response.status_code
        error.request_id = error.request_id or request_id(response)
        if isinstance(error, GoneError):
            error.requested_at = response.requested_at
        if isinstance(error, TransientError) and border.unclear(trip.request.method, response.status_code):
            error.unknown = True
        return error

    def _price(self, trip: Trip, slot: Slot, response: Response) -> None:
        if self._cost_header is None or self._cost_header not in response.headers:
            return
        try:
            cost = float(response.headers[self._cost_header])
        except ValueError:
            return
        if math.isfinite(cost) and 0 <= cost <= _MOST_COST:
            slot.cost(cost)
            before = self._costs.get(trip.route, 0.0)
            if trip.route in self._costs or len(self._costs) < _MOST_COSTS:
                self._costs[trip.route] = cost if cost >= before else before - (before - cost) / 4

    def _heed(self, slot: Slot, response: Response) -> None:
        """Let the gate know what the answer says of the partner's limits."""
        if self._told.silent:
            return
        body: object = None
        if self._told.wants_body and response.content[:1] in (b"{", b"["):
            try:
                body = codec.loads(response.content)
            except SyncdError:
                body = None
        readings = read_limits(response.headers, body, self._clock.now(), self._told)
        if readings:
            slot.told(readings)
