"""What a dry run waits for, and what it does not: somebody sits and watches it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import BreakerOpenError, RateLimitError, TransientError
from syncd.store import Store
from tests.dryrun.test_dry_run import dry_runs, opened


async def test_a_limit_is_waited_out_and_counted(store: Store) -> None:
    desk = await opened(store)
    refused: list[int] = []

    async def limited(request: Any) -> None:
        if not refused:
            refused.append(1)
            raise RateLimitError("429", retry_at=desk.clock.now() + timedelta(seconds=7))

    desk.partner.before = limited
    found = await dry_runs(desk).dry_run("acme", "things", 3)
    assert (len(found["records"]), found["calls"]) == (3, 2)
    assert 6 < found["waited_seconds"] < 8


async def test_a_limit_that_outlasts_the_wait_is_named(store: Store) -> None:
    desk = await opened(store)

    async def limited(request: Any) -> None:
        raise RateLimitError("five tokens a day are spent", retry_at=desk.clock.now() + timedelta(hours=3))

    desk.partner.before = limited
    with pytest.raises(TransientError, match="nothing came within 5 s: five tokens a day are spent") as caught:
        await dry_runs(desk).dry_run("acme", "things", 3, seconds=5.0)
    assert "--wait" in caught.value.hint


async def test_a_sick_partner_is_said_at_once(store: Store) -> None:
    desk = await opened(store)

    async def sick(request: Any) -> None:
        raise TransientError("answered 503")

    desk.partner.before = sick
    with pytest.raises(TransientError, match="answered 503"):
        await dry_runs(desk).dry_run("acme", "things", 3)
    assert len(desk.partner.calls) == 1


async def test_an_open_breaker_is_said_at_once_and_no_longer_wait_is_advised(store: Store) -> None:
    desk = await opened(store)

    async def broken(request: Any) -> None:
        raise BreakerOpenError("the breaker of acme is open", retry_at=desk.clock.now() + timedelta(seconds=20))

    desk.partner.before = broken
    with pytest.raises(BreakerOpenError, match="is open") as caught:
        await dry_runs(desk).dry_run("acme", "things", 3)
    assert (len(desk.partner.calls), desk.clock.skipped) == (1, 0.0)
    assert caught.value.hint == "syncd status acme"
