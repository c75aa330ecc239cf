"""Where partners' deliveries arrive: judged on their raw bytes, stored, and only then acknowledged (R2).

202 says: committed. 200: known already. 503 with Retry-After: we cannot tell, come again. What is not a partner's own gets
one and the same 401, whether the integration exists or not, for about the same work. Bodies are read, and those too large,
too slow or compressed refused, before a request comes here (`guard.py`). Neither partner nor worker is asked anything (R16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog
from aiohttp import web
from prometheus_client import Counter

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.kit import Delivery
from syncd.kit.receiver import Accepted, Receiver
from syncd.model import Headers
from syncd.store.intake import Arrival, IntakeFullError

say = structlog.get_logger()

Receivers = Mapping[tuple[str, str], Receiver]
"""By (partner, integration). Never changed: another one takes its place."""

BURST_SECONDS: Final = 5.0
"""An integration may bring what its cap allows in so many seconds at once."""
EVENT_TYPES: Final = 100
"""Event types counted by name, a partner; what comes beyond is counted as `other`."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1, 5
"""What a refused delivery is told to wait is drawn from between, so that they do not all come back at once."""
SAY_AGAIN_SECONDS: Final = 60.0

_JSON: Final = {"Content-Type": "application/json"}
_ACCEPTED: Final = b'{"status": "accepted"}\n'
_DUPLICATE: Final = b'{"status": "duplicate"}\n'
_REFUSED: Final = b'{"status": "refused"}\n'
_LATER: Final = b'{"status": "try again later"}\n'


class Keeper(Protocol):
    """Where deliveries are stored: `store.intake.Intake`."""

    async def put(self, arrival: Arrival) -> bool: ...
    def tell(self, integration: str) -> None: ...


class Webhooks:
    """The public side of intake."""

    def __init__(
        self,
        receivers: Callable[[], Receivers],
        intake: Keeper,
        *,
        clock: Clock,
        arrived: Callable[[str], bool] = lambda _: True,
        sure: Callable[[], bool] = lambda: True,
    ) -> None:
        """`arrived(integration)` is told of each delivery stored; False says that another instance works on it. While
        `sure()` is False, secrets may be missing and a refusal may be wrong: it is a doubt, and answered 503."""
        self._receivers = receivers
        self._intake = intake
        self._clock = clock
        self._arrived = arrived
        self._sure = sure
        self._current: Receivers = {}
        self._decoys: dict[str, Receiver] = {}
        """By partner and, for partners there are none of, by "": who judges in the place of an unknown integration."""
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._received: dict[tuple[str, str], Counter] = {}
        self._types: dict[str, int] = {}
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        metrics.BOUND.labels("webhook_event_types").set(EVENT_TYPES)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/webhooks/{partner}/{integration}", self.take),
            web.post("/webhooks/{partner}/{integration}/{route}", self.take),
        ]

    async def take(self, request: web.Request) -> web.Response:
        """One delivery, from its bytes to its answer."""
        body = await request.read()
        receivers = self._receivers()
        if receivers is not self._current:
            self._replace(receivers)
        match = request.match_info
        partner, name, route = match["partner"], match["integration"], match.get("route", "")
        delivery = Delivery(body, _headers(request), request.raw_path, "POST", route)
        now = self._clock.now()
        receiver = receivers.get((partner, name))
        if receiver is None:
            return self._unknown(partner, delivery, now)
        verdict = receiver.judge(delivery, now)
        if not isinstance(verdict, Accepted):
            metrics.WEBHOOK_FAILURES.labels(partner, verdict.reason).inc()
            self._tell(receiver, "webhooks_refused", verdict.reason)
            return self._refused()
        wait = self._flood(receiver)
        if wait:
            metrics.WEBHOOK_FAILURES.labels(partner, "flood").inc()
            self._tell(receiver, "webhooks_flooded", f"more than {receiver.per_second:g} deliveries a second")
            return web.Response(status=429, body=_LATER, headers={**_JSON, "Retry-After": f"{wait:.0f}"})
        event_id, event_type, kept = verdict
        self._count(partner, event_type)
        return await self._store(receiver, Arrival(name, event_id, delivery.route, event_type, kept, body, now))

    async def _store(self, receiver: Receiver, arrival: Arrival) -> web.Response:
        name = receiver.integration
        try:
            stored = await self._intake.put(arrival)
        except StoreError as error:
            why = "intake_full" if isinstance(error, IntakeFullError) else "not_stored"
            metrics.WEBHOOK_FAILURES.labels(receiver.partner, why).inc()
            self._tell(receiver, "webhooks_not_stored", str(error))
            self._arrived(name)  # in doubt it is there
            return self._later()
        except Exception:
            say.exception("intake_failed", partner=receiver.partner, integration=name)
            metrics.WEBHOOK_FAILURES.labels(receiver.partner, "not_stored").inc()
            return self._later()
        if not stored:
            metrics.WEBHOOK_DUPLICATES.labels(receiver.partner).inc()
            return web.Response(status=200, body=_DUPLICATE, headers=_JSON)
        if not self._arrived(name):
            self._intake.tell(name)
        return web.Response(status=202, body=_ACCEPTED, headers=_JSON)

    def _later(self) -> web.Response:
        seconds = FIRST_RETRY_SECONDS + int(self._clock.random() * (LAST_RETRY_SECONDS - FIRST_RETRY_SECONDS + 1))
        return web.Response(status=503, body=_LATER, headers={**_JSON, "Retry-After": str(seconds)})

    def _replace(self, receivers: Receivers) -> None:
        self._current = receivers
        self._decoys = {}
        for (partner, _), receiver in receivers.items():
            self._decoys.setdefault(partner, receiver)
            self._decoys.setdefault("", receiver)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key in receivers}

    def _unknown(self, partner: str, delivery: Delivery, now: datetime) -> web.Response:
        """Judge it all the same, by another integration: the time it takes shall not tell that there is none."""
        decoy = self._decoys.get(partner) or self._decoys.get("")
        if decoy is not None:
            decoy.judge(delivery, now)
        metrics.WEBHOOK_FAILURES.labels(partner if partner in self._decoys else "unknown", "unknown").inc()
        return self._refused()

    def _refused(self) -> web.Response:
        return web.Response(status=401, body=_REFUSED, headers=_JSON) if self._sure() else self._later()

    def _tell(self, receiver: Receiver, event: str, reason: str) -> None:
        """One line at first, then one a minute with how many there were."""
        key, now = (receiver.integration, event), self._clock.monotonic()
        last, count = self._said.get(key, (-SAY_AGAIN_SECONDS, 0))
        count += 1
        if now - last >= SAY_AGAIN_SECONDS:
            say.warning(event, partner=receiver.partner, integration=receiver.integration, reason=reason, count=count)
            last, count = now, 0
        self._said[key] = (last, count)

    def _flood(self, receiver: Receiver) -> float:
        """Seconds until this integration may bring another one; 0 where it may bring this one. Only what is proven to be
        its partner's is counted: nobody else can spend its share."""
        key, now = (receiver.partner, receiver.integration), self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(receiver.per_second * BURST_SECONDS, now)
        return bucket.take(receiver.per_second, now)

    def _count(self, partner: str, event_type: str) -> None:
        counter = self._received.get((partner, event_type))
        if counter is None:
            if self._types.get(partner, 0) >= EVENT_TYPES:
                event_type = "other"
            else:
                self._types[partner] = self._types.get(partner, 0) + 1
            counter = metrics.WEBHOOKS_RECEIVED.labels(partner, event_type)
            if event_type != "other":
                self._received[partner, event_type] = counter
        counter.inc()


class _Bucket:
    """What one integration may still bring at this moment."""

    __slots__ = ("_at", "_left")

    def __init__(self, left: float, now: float) -> None:
        self._left = left
        self._at = now

    def take(self, per_second: float, now: float) -> float:
        most = per_second * BURST_SECONDS
        left = self._left + (now - self._at) * per_second
        self._left, self._at = min(left, most), now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return max(1.0, (1.0 - self._left) / per_second)


def _headers(request: web.Request) -> Headers:
    return Headers(list(request.headers.items()))
