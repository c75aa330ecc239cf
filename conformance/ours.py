"""What syncd does with each answer of the table: a real session over a real connection, its clock moved by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from conformance.rows import Row
from conformance.server import Partner, partner
from syncd import drivers
from syncd.client import PartnerTransport, Session
from syncd.errors import BreakerOpenError, RateLimitError, TransientError
from syncd.kit import Errors, classify
from syncd.limits import Gate
from syncd.limits.waits import WaitDialect
from syncd.model import Request
from syncd.testing.clock import FakeClock

_QUIET_TURNS = 40
"""Turns of the loop without a sign of life, after which only the clock can change anything: all of it is in one process."""
_MOST_TRIES = 20


@dataclass(frozen=True)
class Measured:
    """Seconds (of the session's clock) between the answer and the next call that reached the partner."""

    seconds: float
    handed_back: bool
    """The wait was long: the work went back to its row with a time, and the call was made at that time."""


async def measured(row: Row) -> Measured:
    """Make the call as the engine does, until it is answered well."""
    clock = FakeClock()
    async with partner([row], clock.now) as server:
        arrivals: list[float] = []
        server.arrived = lambda path: arrivals.append(clock.monotonic())
        transport = PartnerTransport("partner", clock=clock)
        gate = Gate("partner", ["1000/s"], clock=clock)
        session = Session(
            transport,
            integration="partner/main",
            base_url=f"{server.base_url}/syncd",
            gate=gate,
            classify=_classify(row),
        )
        handed_back = False
        try:
            for _ in range(_MOST_TRIES):
                try:
                    await _moving(clock, session, Request(f"/{row.name}"), server)
                except (RateLimitError, TransientError, BreakerOpenError) as later:
                    handed_back = True
                    seconds = 0.0 if later.retry_at is None else (later.retry_at - clock.now()).total_seconds()
                    await clock.advance(max(seconds, 0.001))
                else:
                    return Measured(arrivals[1] - arrivals[0], handed_back)
        finally:
            await session.aclose()
            await transport.aclose()
    raise AssertionError(f"{row.name}: not answered in {_MOST_TRIES} tries")


def _classify(row: Row):  # type: ignore[no-untyped-def]
    if row.driver is not None:
        return drivers.load(row.driver).classify
    dialect = WaitDialect.parse(row.dialect)
    return lambda response, now: classify(response, now, Errors(), dialect=dialect)


async def _moving(clock: FakeClock, session: Session, request: Request, server: Partner) -> None:
    """Await the call; whenever nothing moves but time, let it pass until the next one wakes."""
    task = asyncio.ensure_future(session.call(request))
    quiet, seen = 0, -1
    try:
        while not task.done():
            await asyncio.sleep(0.0005)
            alive = sum(server.calls.values())
            quiet, seen = (0, alive) if alive != seen else (quiet + 1, alive)
            if quiet >= _QUIET_TURNS and (due := clock.next_due) is not None:
                await clock.advance(due - clock.monotonic())
                quiet = 0
    finally:
        if not task.done():
            task.cancel()
    task.result()
