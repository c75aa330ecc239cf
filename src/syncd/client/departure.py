"""Everything that can be decided of a call before its first try: where it goes, what it says, how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from syncd import codec, markup
from syncd.client.addresses import Addresses, encode_params
from syncd.client.dates import dated
from syncd.client.recovery import ANYWHERE, check_crossing
from syncd.client.stats import CallStats
from syncd.client.transport import Sink, Timeouts, checked_header
from syncd.client.trip import Judging, Leaving, Patience, Trip
from syncd.clock import Clock
from syncd.errors import ConfigError, RejectedError, SyncdError
from syncd.model import Lane, Request


class Departures:
    """Of one session."""

    def __init__(
        self,
        clock: Clock,
        addresses: Addresses,
        patience: Patience,
        timeouts: Timeouts,
        headers: Mapping[str, str],
    ) -> None:
        """`headers` go with every call home. Raises ConfigError for one that cannot be."""
        self._clock = clock
        self._addresses = addresses
        self._patience = patience
        self._timeouts = timeouts
        self._headers = _merged(ANYWHERE, headers, ConfigError)

    def ready(
        self,
        request: Request,
        route: str,
        lane: Lane,
        stats: CallStats,
        judging: Judging | None,
        leaving: Leaving | None,
        into: Sink | None,
    ) -> tuple[Trip | None, SyncdError | None]:
        """The call as it is tried, or what forbids it."""
        left = self._patience.deadline_seconds if request.deadline_seconds is None else request.deadline_seconds
        try:
            if request.dated:
                request = dated(request, self._clock.now())
            target = self._addresses.target(request)
            headers = self._headers if target.home else ANYWHERE
            body = b""
            if request.json is not None:
                headers = {**headers, "Content-Type": "application/json"}
                body = codec.dumps(request.json)
            elif request.form is not None:
                headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
                body = encode_params(request.form).encode("ascii")
            elif request.xml is not None:
                headers = {**headers, "Content-Type": "application/xml"}
                body = markup.dumps(request.xml)
            if request.headers:
                headers = _merged(headers, request.headers, RejectedError)
            check_crossing(target)
        except SyncdError as error:
            return None, error
        timeouts = self._timeouts
        trip = Trip(
            request,
            lane=lane,
            stats=stats,
            target=target,
            route=route,
            left=left,
            headers=headers,
            body=body,
            # Who grants a call more time also means the silence before its answer.
            timeouts=replace(timeouts, read=left) if left > 2 * timeouts.read else None,
            judging=judging,
            leaving=leaving,
            into=into,
        )
        return trip, None


def _merged(base: Mapping[str, str], more: Mapping[str, str], refusal: type[SyncdError]) -> dict[str, str]:
    """Headers with others on top, whatever their letters' case."""
    merged = dict(base)
    places = {name.lower(): name for name in merged}
    for name, value in more.items():
        if not checked_header(name, value):
            raise refusal(f"header {name} holds a line break or a character HTTP headers cannot carry")
        merged.pop(places.get(name.lower(), ""), None)
        merged[name] = value
    return merged
