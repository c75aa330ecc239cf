"""One call on its way through the gate: what the caller holds, and what it tells of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from syncd.errors import PartnerError
from syncd.limits.book import Call
from syncd.limits.breaker import Pass
from syncd.limits.readings import Reading
from syncd.model import Lane

if TYPE_CHECKING:
    from syncd.limits.gate import Gate


class Slot(Call):
    """A call at the gate: first it waits, then it has a place that is good for one request. An async context manager.

    The methods may be called until the block ends. Leaving the block never waits, so it cannot be cut short.
    """

    leave: Pass
    """The breaker's."""
    waited_seconds = 0.0
    """How long the call waited to be let go."""
    judged = False
    """Has the breaker been told how it went?"""
    _heard = False
    """Did the partner surely count it already?"""

    def __init__(
        self, gate: Gate, lane: Lane, member: str, weight: float, budgets: Sequence[str], group: str,
        deadline_at: float | None,
    ) -> None:  # fmt: skip
        self._gate = gate
        self.lane = lane
        self.member = member
        self.weight = weight
        self.budgets = budgets
        self.group = group
        self.deadline_at = deadline_at

    async def __aenter__(self) -> Slot:
        gate = self._gate
        now = self.asked_at = gate.clock.monotonic()
        self.leave = gate.breakers.permit(self.group, now)
        if now < gate.room.paused_until or not gate.book.take(self, now):
            await gate.stand(self, now)
        elif gate.recorder.note(self, now):
            await gate.record(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        heard = error is None or self._heard or (isinstance(error, PartnerError) and error.status is not None)
        self._gate.leave(self, heard=heard)

    @property
    def waited_by(self) -> str:
        """The last thing it waited for: a tier's name, `concurrency`, `lane`, `paused`; empty if it went at once."""
        return self.blocked_by

    @property
    def probe(self) -> bool:
        """Is this the call by which a half-open breaker finds out?"""
        return self.leave.probe

    def answered(self) -> None:
        """The response began (its head is here): the partner has counted the call, the windows run from now.

        Optional: without it they run from the end of the block, so a long download holds its slots for longer.
        """
        self._heard = True
        self._gate.answered(self)

    def cost(self, weight: float) -> None:
        """What the partner says the call cost; corrects the weighted tiers. Call it before `answered`."""
        self._gate.book.correct(self, max(weight, 0.0))

    def told(self, readings: Iterable[Reading]) -> None:
        """What the answer said of the partner's limits."""
        self._gate.told(self, readings)

    def success(self) -> None:
        """The partner is alive: any complete answer that is not a 5xx, a refusal included."""
        if not self.judged:
            self.judged = self._heard = True
            self._gate.verdict(self, good=True)

    def failure(self, why: str = "") -> None:
        """The partner is sick: 5xx, time-out, refused or broken connection. Never for a 4xx or a 429.

        `why` is the error in words without secrets; the last ones are kept for who asks what is wrong.
        """
        if not self.judged:
            self.judged = True
            self._gate.verdict(self, good=False, why=why)
