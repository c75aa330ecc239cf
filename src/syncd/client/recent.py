"""What came of an integration's latest calls, kept by whoever speaks of them and fetched every few seconds.

A call costs one search among some fifty bounds and one or two additions. Nothing here knows of time: whoever fetches does.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

from syncd.errors import AuthError, RateLimitError

CLASSES = ("401", "403", "404", "429", "4xx", "5xx", "timeout", "connect", "other")
"""What a call that brought nothing is counted as. `4xx`: the other ones; `connect`: no connection, or it broke; `other`: an
answer that cannot be used, whatever its status says."""
GOOD = "ok"
STEP = 1.2
FIRST_SECONDS = 0.005
BOUNDS = tuple(FIRST_SECONDS * STEP**power for power in range(56))
"""Upper ends of the spans durations are counted in, 5 ms to 113 s. Each is a fifth wider than the one below, so a percentile
read from them is off by a tenth at most."""
SPANS = len(BOUNDS) + 1

_OF_LABEL = {
    **{str(status): "4xx" for status in range(400, 500)},
    **{status: status for status in ("401", "403", "404", "429")},
    **{str(status): "5xx" for status in range(500, 600)},
    "timeout": "timeout", "refused": "connect", "reset": "connect", "dns": "connect", "tls": "connect",
}  # fmt: skip
_PLACE = {label: CLASSES.index(kind) for label, kind in _OF_LABEL.items()}
_CONNECT, _OTHER = CLASSES.index("connect"), CLASSES.index("other")


class Recent:
    """Counts since they were last fetched, of one integration."""

    __slots__ = ("errors", "seconds")

    def __init__(self) -> None:
        self.seconds = array("I", bytes(4 * SPANS))
        """Calls by how long they took: those that were answered, and those that waited for it in vain."""
        self.errors = array("I", bytes(4 * len(CLASSES)))

    def note(self, label: str, seconds: float, error: Exception | None = None) -> str:
        """One call ended: `label` is its status, or why there is none, and `error` what was made of the answer.

        Returns its class, `GOOD` where it brought something."""
        place = _PLACE.get(label)
        if isinstance(error, RateLimitError):
            place = _PLACE["429"]  # some partners say it by another status
        elif place is None and (error is not None or not label.isdigit()):
            place = _PLACE["401"] if isinstance(error, AuthError) else _OTHER
        if place is not None:
            self.errors[place] += 1
            if place == _CONNECT:
                return CLASSES[place]  # nobody was reached: that says nothing of how long an answer takes
        self.seconds[bisect_left(BOUNDS, seconds)] += 1
        return GOOD if place is None else CLASSES[place]

    def take(self) -> Recent:
        """What came since the last time, and begin anew."""
        taken = Recent()
        taken.seconds, self.seconds = self.seconds, taken.seconds
        taken.errors, self.errors = self.errors, taken.errors
        return taken

    @property
    def calls(self) -> int:
        return sum(self.seconds) + self.errors[_CONNECT]


def percentiles(seconds: array[int], shares: Sequence[float]) -> list[float | None]:
    """The durations, in seconds, that these shares (the lowest first) of the counted calls did not exceed; None where none
    were counted."""
    total = sum(seconds)
    if not total:
        return [None] * len(shares)
    found: list[float | None] = []
    below, wanted = 0, [share * total for share in shares]
    for place, count in enumerate(seconds):
        while count and len(found) < len(wanted) and below + count >= wanted[len(found)]:
            high = BOUNDS[min(place, len(BOUNDS) - 1)]
            low = high / STEP if place else 0.0
            found.append(low + (high - low) * (wanted[len(found)] - below) / count)
        below += count
    return found + [BOUNDS[-1]] * (len(wanted) - len(found))
