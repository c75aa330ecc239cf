"""What a call does about an answer that is not the end: follow, wait, replay with another credential, or give up.

Each method looks at one kind of answer and either prepares the next try (AgainError) or returns the error to raise.
"""

from __future__ import annotations

from datetime import timedelta

from syncd.client import inflate
from syncd.client.addresses import Addresses, Target
from syncd.client.auth import Auth
from syncd.client.stats import CallStats
from syncd.client.teller import Teller
from syncd.client.transport import USER_AGENT
from syncd.client.trip import AgainError, Patience, Trip
from syncd.clock import Clock
from syncd.errors import AuthError, PartnerError, RateLimitError, RejectedError, SyncdError, TransientError
from syncd.limits import Gate, Slot
from syncd.limits.backoff import BackoffPolicy
from syncd.model import Response
from syncd.redaction import KNOWN

ANYWHERE = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": inflate.OFFERED}
"""All that is sent to an origin that is not the home one."""
_LOCKED_SECONDS = 2.0
"""A partner whose lock on one object refused a call, and told no time, is asked again after so long."""
_FORBIDDEN_SECONDS = 3600.0
"""A route that was forbidden even with a fresh token costs no further token for so long."""
_MOST_FORBIDDEN = 200
_MAYBE_MADE = (302, 303)
"""Redirects after a change by which some say "made, look there". The others say "not here"."""


class Recovery:
    """The second thoughts of one session."""

    def __init__(
        self,
        clock: Clock,
        addresses: Addresses,
        auth: Auth,
        gate: Gate,
        teller: Teller,
        *,
        integration: str,
        patience: Patience,
        backoff: BackoffPolicy,
        spent: CallStats,
    ) -> None:
        self._clock = clock
        self._addresses = addresses
        self._auth = auth
        self._gate = gate
        self._teller = teller
        self._integration = integration
        self._patience = patience
        self._backoff = backoff
        self._spent = spent
        self._forbidden: dict[str, float] = {}

    def worth(self, trip: Trip, error: BaseException) -> bool:
        """After a transient failure: can another try help, is it safe, and is there time for it?"""
        if not isinstance(error, TransientError) or (error.unknown and not trip.request.safe_to_repeat):
            return False
        wait = self._backoff.ceiling(trip.attempt)
        if error.retry_at is not None:
            told = (error.retry_at - self._clock.now()).total_seconds()
            if told > self._patience.short_seconds:
                return False
            wait = max(wait, told)
        return wait < trip.left

    def limited(self, trip: Trip, slot: Slot, error: RateLimitError, *, teaches: bool = True) -> None:
        """The partner counts too many: the whole scope pauses and learns, before another call takes this one's place.
        `teaches`: the partner said so; a fault on purpose says nothing of its limits, and the scope only pauses."""
        if not error.hopeless and error.about != "object":
            much = "calls at once" if error.about == "seats" else "calls"
            told = f" ({error.told_by})" if error.told_by else ""
            why = f"{trip.request.method} {trip.route} answered {error.status or 429}{told}: too many {much}"
            self._gate.limited(error.retry_at, why, call=slot, about=error.about if teaches else "object")

    def waits(self, trip: Trip, error: RateLimitError) -> bool:
        """After a 429: this call waits with its scope if the wait is short."""
        now = self._clock.now()
        for stats in (trip.stats, self._spent):
            stats.rate_limited += 1
        self._teller.rate_limited(self._gate.scope)
        if error.hopeless:
            return False
        trip.limited += 1
        if error.about == "object":  # a lock on one thing, which says nothing of the others
            error.retry_at = error.retry_at or now + timedelta(seconds=_LOCKED_SECONDS)
            return False
        until = self._gate.paused_until or now
        if error.retry_at is None or error.retry_at < now:
            error.retry_at = until
        wait = (max(until, error.retry_at) - now).total_seconds()
        if trip.limited > self._patience.limited or wait > min(self._patience.short_seconds, trip.left):
            return False
        self._again(trip, "rate_limited")
        return True

    async def refused(self, trip: Trip, error: AuthError, mark: object) -> SyncdError:
        """A credential was refused: get another one and replay once; a second refusal is for a person."""
        now, forbidden = self._clock.monotonic(), error.status == 403
        if error.permanent:
            return error
        if trip.replayed and forbidden:
            if len(self._forbidden) >= _MOST_FORBIDDEN:
                self._forbidden.clear()
            self._forbidden[trip.route] = now + _FORBIDDEN_SECONDS
            return _as_rejected(error)
        if forbidden and self._forbidden.get(trip.route, 0.0) > now:
            return _as_rejected(error)  # a fresh token did not help a while ago, and tokens may be dear
        if not trip.replayed:
            try:
                if await self._auth.renewed(mark):
                    trip.replayed = True
                    for stats in (trip.stats, self._spent):
                        stats.refreshes += 1
                    self._again(trip, "auth")
                    return AgainError()
            except SyncdError as trouble:
                return trouble
        error.permanent = True
        error.hint = error.hint or f"syncd credential test {self._integration}"
        return error

    def redirected(self, trip: Trip, response: Response) -> SyncdError:
        """Follow to an allowed origin, reads only, a few times; each hop is a call like any other."""
        told = f"answered {response.status_code}, a redirect"
        if trip.request.method not in ("GET", "HEAD"):
            hint = "look at base_url and the resource's path"
            return RejectedError(
                f"{told}, which is followed for reads only",
                hint=hint,
                status=response.status_code,
                unknown=response.status_code in _MAYBE_MADE,
            )
        if trip.hops >= self._patience.hops:
            return RejectedError(f"{told} after {trip.hops} others", status=response.status_code)
        try:
            target = self._addresses.link(trip.target, response.headers["location"])
            check_crossing(target)
        except PartnerError as refused:
            refused.status = response.status_code
            return refused
        if not target.home:
            trip.headers = ANYWHERE
        trip.target = target
        trip.hops += 1
        return AgainError()

    def retried(self, trip: Trip, attempt: int, waited_seconds: float) -> None:
        """Another attempt after a transient failure is about to wait so long and then be made."""
        trip.attempt = attempt
        trip.left -= waited_seconds
        self._again(trip, "transient")

    def _again(self, trip: Trip, reason: str) -> None:
        for stats in (trip.stats, self._spent):
            stats.retries += 1
        self._teller.retry(reason)


def check_crossing(target: Target) -> None:
    """A partner's link to another origin may carry our own key, put there by the partner's echo. Raises RejectedError."""
    if target.home:
        return
    words = target.path.replace("?", " ").replace("&", " ")  # a CDN's own `?signature=` is nobody's secret of ours
    if KNOWN.mask(words) != words:
        raise RejectedError(f"the URL would carry a credential to {target.origin}")


def _as_rejected(error: AuthError) -> RejectedError:
    """403 with a credential known to be good: it lacks a permission, and only this route's work suffers."""
    return RejectedError(
        f"{error} (with a fresh credential too)",
        hint=error.hint or "the credential lacks a permission for this call: give it one at the partner",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
