"""Long work of the daemon, watched until it has ended: a line now and then; a daemon that restarts is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncd.cli.app import App
from syncd.cli.output import say

if TYPE_CHECKING:
    from syncd.cli.link import Link

Row = Mapping[str, Any]

LINE_SECONDS = 10.0
"""From one line to the next."""
AWAY_SECONDS = 30.0
"""So long a daemon that does not answer is waited for."""
ENDED = frozenset({"done", "failed", "cancelled"})


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
    """The rows of these ids once all have ended. `what` is their path and their name in its answer. Raises Unreachable.

    Empty where the daemon knows none of them any more.
    """
    from syncd.cli.link import Unreachable

    seen_at = app.clock.monotonic()
    shown_at = seen_at - (LINE_SECONDS if line_at_once else 0)
    while True:
        now = app.clock.monotonic()
        rows: Sequence[Row] | None = None
        try:
            rows = link.get(what, [("id", one) for one in ids])[what]
            seen_at = now
        except Unreachable:
            if now - seen_at > AWAY_SECONDS:
                raise
        if rows is not None and all(row["state"] in ENDED for row in rows):
            return rows
        if rows and now - shown_at >= LINE_SECONDS:
            for row in rows:
                say(line_of(row))
            shown_at = now
        await app.clock.sleep(look_seconds)
