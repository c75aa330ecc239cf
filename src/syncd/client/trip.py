"""One call on its way: what it asks for, how patient it is, and what it has been through so far."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from syncd.client.addresses import Target
from syncd.client.stats import CallStats
from syncd.client.transport import Sink, Timeouts
from syncd.errors import SyncdError
from syncd.model import Lane, Request, Response

Judging = Callable[[], AbstractAsyncContextManager[None]]
"""Entered round whatever is done with an answer, from the moment it is complete: for work that may end the process."""
Leaving = Callable[[], Awaitable[None]]
"""Called inside the gate right before each try is sent; what it raises keeps the try from being sent."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_KINDS = frozenset({"read", "write"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How much of its trouble a call rides out itself; beyond that the work goes back to its row. Seconds throughout."""

    deadline_seconds: float = 30.0
    """All tries together: sending, waiting for answers, and pauses between tries. Waiting for our own limits and for a
    token is not counted; both have bounds of their own."""
    gate_seconds: float = 120.0
    """The longest wait for the scope's limits before one try; one that is sure to be longer is refused at once."""
    short_seconds: float = 5.0
    """A partner that says "later" is waited for up to this long; a longer wait is the row's."""
    limited: int = 3
    """So many times may one call be told that the partner counts too many."""
    hops: int = 3
    """Redirects followed."""


@dataclass(frozen=True, slots=True)
class Shut:
    """Nothing may leave until then, and why."""

    until: datetime
    reason: str


class Trip:
    """The state of one call over its tries."""

    __slots__ = (
        "answered",
        "attempt",
        "body",
        "budgets",
        "headers",
        "hops",
        "into",
        "judging",
        "lane",
        "leaving",
        "left",
        "limited",
        "replayed",
        "request",
        "route",
        "stats",
        "target",
        "timeouts",
    )

    def __init__(
        self,
        request: Request,
        *,
        lane: Lane,
        stats: CallStats,
        target: Target,
        route: str,
        left: float,
        headers: dict[str, str],
        body: bytes,
        timeouts: Timeouts | None = None,
        judging: Judging | None = None,
        leaving: Leaving | None = None,
        into: Sink | None = None,
    ) -> None:
        self.request = request
        self.into = into
        """Where a file goes; None: the answer is a document of the API."""
        self.judging = judging
        self.lane = lane
        self.leaving = leaving
        self.stats = stats
        self.target = target
        """Where it goes; a redirect changes it."""
        self.route = route
        self.left = left
        """Seconds of the deadline not yet used."""
        self.headers = headers
        """Without the credential."""
        self.body = body
        self.timeouts = timeouts
        """Where the transport's own do not fit."""
        self.budgets = budgets_of(request, route)
        self.answered: Response | None = None
        """What the last try was told, while the call lasts."""
        self.attempt = 1
        self.limited = 0
        self.hops = 0
        self.replayed = False
        """Has it been sent with a second credential? Never with a third."""


class AgainError(SyncdError):
    """Not a failure: the call goes on with another try at once (a redirect, a replay). Never leaves the client."""

    def __init__(self) -> None:
        super().__init__("again")


def route_of(path: str) -> str:
    """The metric label of a request that names no route: its path without origin and query."""
    path = path.partition("?")[0].partition("#")[0]
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path or "/"


@lru_cache(maxsize=1024)
def _budgets(method: str, route: str, named: str) -> tuple[str, ...]:
    kind = named if named in _KINDS else "read" if method in _READS else "write"
    return (kind, method, route) if named in ("", kind) else (kind, method, route, named)


def budgets_of(request: Request, route: str) -> tuple[str, ...]:
    """The names under which the scope's limits may count a call: read or write, its method, its route, its own budget."""
    return _budgets(request.method, route, request.budget)
