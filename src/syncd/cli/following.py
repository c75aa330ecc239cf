"""Long work of the daemon, watched until it has ended: a line now and then; a daemon that restarts is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncd.cli.app import App
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

Row = Mapping[str, Any]

LINE_SECONDS = 10.0
"""From one line to the next."""
AWAY_SECONDS = 30.0
"""So long a daemon that does not answer is waited for."""
ENDED = frozenset({"done", "failed", "cancelled"})


def may_return(failure: Failure, away_seconds: float) -> bool:
    """Whether a daemon that was asked in vain is waited for: it restarts, which it does without its database at first, or its
    database is away."""
    return failure.exit_code in (Exit.UNREACHABLE, Exit.TRY_LATER) and away_seconds <= AWAY_SECONDS


async def until_ended(
    app: App,
    link: Link,
    what: str,
    ids: Sequence[int],
    line_of: Callable[[Row], str],
    *,
    look_seconds: float,
    line_at_once: bool = False,
) -> Sequence[Row]:
    """The rows of these ids once all have ended. `what` is their path and their name in its answer. Raises Failure.

    What the daemon knows no more is left out, and said.
    """
    seen_at = app.clock.monotonic()
    shown_at = seen_at - (LINE_SECONDS if line_at_once else 0)
    while True:
        now = app.clock.monotonic()
        rows: Sequence[Row] | None = None
        try:
            rows = link.get(what, [("id", one) for one in ids])[what]
            seen_at = now
        except Failure as failure:
            if not may_return(failure, now - seen_at):
                raise
        if rows is not None and all(row["state"] in ENDED for row in rows):
            if missing := len(ids) - len(rows):
                say(f"the daemon no longer knows {missing} of {len(ids)}, nor what came of it: syncd status")
            return rows
        if rows and now - shown_at >= LINE_SECONDS:
            for row in rows:
                say(line_of(row))
            shown_at = now
        await app.clock.sleep(look_seconds)
