"""The fetching stage of a run: a listing's answers in order, each with the step that follows it.

The next page is asked for as soon as its cursor is known, whether or not the page before it is stored yet. How far that
may run ahead is bounded by the line the answers are handed to; how fast, by the gate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncd.kit import Response
from syncd.sync.ahead import Ahead
from syncd.sync.cancelling import SelfCancelledError, by_itself
from syncd.sync.inflight import Hold
from syncd.sync.line import Line
from syncd.sync.listing import ChildListing, Listing, Step

PAGES_AHEAD = 4
"""Independent pages in flight at once: bounds memory, the gate bounds the rate."""


@dataclass(slots=True)
class Fetched:
    """One answer."""

    step: Step
    response: Response | None
    """None: the parent of this listing is gone, or what it was to list refuses to be listed."""
    calls: int
    waited_seconds: float
    following: Step | None = None
    """The next step; None where the listing ends with this answer."""
    kept: Sequence[str] = ()
    """Ids of what is stored below a parent that is there and refuses to be listed: nothing of it is missed."""

    size: int = field(init=False)
    """Bytes of the answer, also after it was let go."""

    def __post_init__(self) -> None:
        self.size = len(self.response.content) if self.response is not None else 0


Fetch = Callable[[Step], Coroutine[Any, Any, Fetched]]


async def walk(listing: Listing | ChildListing, first: Step, fetch: Fetch, out: Line[Fetched], hold: Hold) -> None:
    """Fetch the whole listing into `out`, as far as `hold` lets it in, and end it.

    With the error where there is one, without when cancelled.
    """
    try:
        await _walk(listing, first, fetch, out, hold)
    except asyncio.CancelledError:
        if by_itself():  # pages are missing: that is no end of the listing
            out.end(SelfCancelledError())
            return
        out.end()
        raise
    except BaseException as error:
        out.end(error)
    else:
        out.end()


async def _walk(listing: Listing | ChildListing, first: Step, fetch: Fetch, out: Line[Fetched], hold: Hold) -> None:
    named: deque[Step] = deque()
    flying: deque[Step] = deque()
    async with Ahead[Fetched]() as ahead:

        async def asked(step: Step) -> Fetched:
            await hold.ask()
            return await fetch(step)

        def send(step: Step) -> None:
            flying.append(step)
            ahead.push(asked(step))

        send(first)
        while flying:
            fetched = await ahead.pop()
            await hold.take(fetched.size)
            flying.popleft()
            if not flying and not named and fetched.response is not None:
                named.extend(listing.ahead(fetched.step, fetched.response))
            while named and len(flying) < PAGES_AHEAD:
                send(named.popleft())
            if flying and fetched.response is not None and _moved(listing, fetched, flying[0]):
                await ahead.clear()
                hold.drop()
                flying.clear()
                named.clear()
            if flying:
                fetched.following = flying[0]
            else:
                fetched.following = await listing.after(fetched.step, fetched.response)
                if fetched.following is not None:
                    send(fetched.following)
            await out.put(fetched)


def _moved(listing: Listing | ChildListing, fetched: Fetched, expected: Step) -> bool:
    """Did the listing change under the pages named ahead? Then the walk goes on one by one from here."""
    if not isinstance(listing, Listing) or fetched.response is None:
        return False
    if listing.expects(fetched.step, fetched.response) == expected.cursor:
        return False
    listing.restart()
    return True
