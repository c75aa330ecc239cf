"""What is told of a call: metrics, one log line, and errors completed with who and where.

Label objects are kept, since looking one up in the registry costs more than counting. Labels are bounded (R12): past
`_MOST_ROUTES` route templates, further ones count as `other`.
"""

from __future__ import annotations

from typing import TypeVar

import structlog
from prometheus_client import Counter, Histogram

from syncd import metrics
from syncd.client.classify import request_id
from syncd.client.recent import CLASSES, GOOD, Recent
from syncd.client.witness import Witness
from syncd.errors import AuthError, PartnerError, RateLimitError, SyncdError, TransientError
from syncd.model import Response
from syncd.redaction import KNOWN

E = TypeVar("E", bound=SyncdError)

_MOST_ROUTES = 100
CUT = "cut"
"""The label of a call that was cancelled before anything came of it."""
SICK = frozenset({"401", "403", "5xx", "timeout", "connect", "other"})
"""Classes of what came of a call that say something about the partner's health, or our credential's."""


class Teller:
    """Speaks for one integration."""

    def __init__(self, partner: str, integration: str) -> None:
        self._partner = partner
        self._integration = integration
        # Bound once: binding costs as much as the rest of a call's bookkeeping.
        self._log = structlog.get_logger("syncd.client").bind(partner=partner, integration=integration)
        self._was_ill = False
        self.recent = Recent()
        self.witness = Witness()
        """The latest calls themselves."""
        self.good = self.bad = 0
        """Tries that showed the partner and our credential to be well (it may still have said no), and that did not."""
        self._results = {kind: metrics.CALLS.labels(partner, integration, kind) for kind in (GOOD, *CLASSES)}
        self._refused = metrics.AUTH_FAILURES.labels(partner, integration)
        self._calls: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def complete(self, error: E, method: str, route: str) -> E:
        """The error with partner, integration, method and route; nothing secret in its words, nothing foreign behind it."""
        if isinstance(error, PartnerError):
            error.partner = error.partner or self._partner
            error.integration = error.integration or self._integration
            words = str(error)
            said = words if words.startswith(f"{method} ") else f"{method} {route}: {words}"
            error.args = (KNOWN.mask(said),)
            # Partners echo what they were sent, at the oddest places.
            error.code = error.code and KNOWN.mask(error.code)
            error.request_id = error.request_id and KNOWN.mask(error.request_id)
        error.__context__ = error.__cause__ = None
        return error

    def call(self, route: str, label: str, seconds: float, error: SyncdError | None = None) -> None:
        """Count one try: `label` is the status, or why there is none, and `error` what the answer turned out to be."""
        if label != CUT:  # it was us who gave it up: nothing came of it, good or bad
            kind = self.recent.note(label, seconds, error)
            self._results[kind].inc()
            if kind in SICK:
                self.bad += 1
            else:
                self.good += 1
        histogram = self._seconds.get(route)
        if histogram is None:
            if len(self._seconds) >= _MOST_ROUTES:
                route = "other"
            histogram = self._seconds[route] = metrics.API_CALL_SECONDS.labels(self._partner, route)
        counter = self._calls.get((route, label))
        if counter is None:
            counter = self._calls[route, label] = metrics.API_CALLS.labels(self._partner, route, label)
        counter.inc()
        histogram.observe(seconds)

    def line(
        self, method: str, route: str, attempt: int, seconds: float, response: Response | None, error: SyncdError | None
    ) -> None:
        """The log line of one try: debug, and info where trouble begins and where it ends (said once each)."""
        is_ill = isinstance(error, TransientError | RateLimitError | AuthError)
        say = self._log.debug if is_ill is self._was_ill else self._log.info
        self._was_ill = is_ill
        say(
            "call_answered" if response is not None else "call_failed",
            method=method,
            route=route,
            status=response.status_code if response is not None else None,
            duration_ms=round(seconds * 1000, 1),
            attempt=attempt,
            request_id=request_id(response) if response is not None else None,
            reason=str(error) if error is not None else None,
        )

    def failed(self, error: SyncdError) -> None:
        """A call ended in this error, after all that was tried."""
        if isinstance(error, AuthError) or (isinstance(error, PartnerError) and error.status in (401, 403)):
            self._refused.inc()

    def retry(self, reason: str) -> None:
        """A call is sent again: transient, rate_limited, auth."""
        metrics.RETRIES.labels(self._partner, reason).inc()

    def budget_empty(self) -> None:
        """A retry was not made: the partner's budget of retries is spent."""
        metrics.RETRY_BUDGET_EMPTY.labels(self._partner).inc()

    def rate_limited(self, scope: str) -> None:
        """The partner said that it counts too many."""
        metrics.RATE_LIMITED.labels(scope).inc()
