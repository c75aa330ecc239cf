"""The latest calls of an integration, remembered for whoever has to show them to the partner. Bounded, and not masked here.

A call that went well costs one tuple of what is at hand. Of one that failed the answer's headers and the beginning of its
body are kept as they came; who shows them masks them then (`support/evidence.py`), since most are never looked at.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from syncd.client.addresses import Target
from syncd.client.classify import request_id
from syncd.model import Headers, Response

CALLS: Final = 200
FAILED: Final = 40
"""Failed calls that are remembered with what was answered, beside the latest of any kind."""
BODY: Final = 8 * 1024
MINUTES: Final = 60
_WORDS: Final = 300


class Told(NamedTuple):
    """What was answered to a call that failed, as it came."""

    headers: Headers
    content: bytes
    size: int
    """Of the whole body, in bytes."""


class Seen(NamedTuple):
    """One call that left: one try."""

    at: datetime
    """When it was sent, by our clock."""
    method: str
    route: str
    target: Target
    """Where it went, from before a credential was put on."""
    label: str
    """The status, or why there is none."""
    seconds: float
    attempt: int
    request_id: str | None
    reason: str | None
    """Why it failed, in our words; None: it did not."""
    told: Told | None


class Witness:
    """Of one integration's calls."""

    __slots__ = ("calls", "failed", "headers", "minutes")

    def __init__(self) -> None:
        self.calls: deque[Seen] = deque(maxlen=CALLS)
        self.failed: deque[Seen] = deque(maxlen=FAILED)
        self.minutes: deque[tuple[datetime, Counter[str]]] = deque(maxlen=MINUTES)
        """Calls by status, of each of the last minutes in which there were any; the oldest first."""
        self.headers: Headers | None = None
        """Of the latest answer: what it says of limits."""

    def note(
        self,
        at: datetime,
        seconds: float,
        *,
        method: str,
        route: str,
        target: Target,
        attempt: int,
        label: str,
        response: Response | None,
        error: Exception | None,
    ) -> None:
        """One call ended."""
        bad = error is not None or not label.isdigit() or label >= "400"
        told = number = None
        if response is not None:
            self.headers = response.headers
            number = request_id(response)
            if bad:
                told = Told(response.headers, response.content[:BODY], len(response.content))
        reason = str(error)[:_WORDS] if error is not None else (f"answered {label}" if bad else None)
        seen = Seen(at, method, route, target, label, seconds, attempt, number, reason, told)
        if bad:
            self.failed.append(seen)
            seen = seen._replace(told=None)  # bodies are kept once, and of few
        self.calls.append(seen)
        minute = at.replace(second=0, microsecond=0)
        if not self.minutes or self.minutes[-1][0] < minute:
            self.minutes.append((minute, Counter()))
        self.minutes[-1][1][label] += 1

    def begun(self, at: datetime) -> Seen | None:
        """The call that was sent at this very moment, if it is among the remembered ones."""
        return next((one for one in reversed(self.calls) if one.at == at), None)


def brief(seen: Seen) -> Mapping[str, object]:
    """One call as JSON, without its address."""
    return {
        "at": seen.at,
        "method": seen.method,
        "route": seen.route,
        "status": int(seen.label) if seen.label.isdigit() else None,
        "request_id": seen.request_id,
    }
