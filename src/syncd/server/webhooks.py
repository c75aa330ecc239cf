"""Where partners' deliveries arrive: judged on their raw bytes, stored, and only then acknowledged (R2).

202 says: committed. 200: known already. (A partner may want to hear something else for both: `webhooks.answer`.) 503 with
Retry-After: we cannot tell, come again. What is not a partner's own gets one and the same 401, whether the integration
exists or not, for about the same work. Bodies are read, and those too large, too slow or compressed refused, before a
request comes here (`guard.py`). Neither partner nor worker is asked anything (R16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from math import ceil
from typing import Final, NamedTuple, Protocol

import structlog
from aiohttp import web
from prometheus_client import Counter

from syncd import metrics, spans
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.kit import Accepted, Delivery, Receiver
from syncd.model import Headers
from syncd.server.refusals import Refusals
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


OTHER_ADDRESS: Final = (
    "taken by the signature of the body; that of the address does not fit ours: is public_url what the partner calls? "
    "`webhook: {rules: {signed_url: off}}` stops this line, `reject` refuses such deliveries"
)


class Answer(NamedTuple):
    """What a delivery is answered; `retry_seconds` where it shall come again."""

    status: int
    body: bytes
    retry_seconds: int = 0
    kind: str = "application/json"


_ACCEPTED: Final = Answer(202, b'{"status": "accepted"}\n')
_DUPLICATE: Final = Answer(200, b'{"status": "duplicate"}\n')
_REFUSED: Final = Answer(401, b'{"status": "refused"}\n')
ROUTE: Final = "/webhooks/{partner}/{integration}"
_STORED: Final = {"db.system.name": "postgresql", "db.operation.name": "INSERT", "db.collection.name": "syncd.inbox"}
_LATER: Final = b'{"status": "try again later"}\n'


class Keeper(Protocol):
    """Where deliveries are stored: `store.intake.Intake`."""

    def offer(self, arrival: Arrival, caller: Callable[[bool | str], None]) -> None: ...
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
        refusals: Refusals | None = None,
    ) -> None:
        """`arrived(integration)` is told of each delivery stored; False says that another instance works on it. While
        `sure()` is False, secrets may be missing and a refusal may be wrong: it is a doubt, and answered 503."""
        self._receivers = receivers
        self._intake = intake
        self._clock = clock
        self._arrived = arrived
        self._sure = sure
        self._refusals = refusals or Refusals(clock)
        self._current: Receivers = {}
        self._decoys: dict[str, Receiver] = {}
        """By partner and, for partners there are none of, by "": who judges in the place of those who cannot."""
        self._partners: frozenset[str] = frozenset()
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._received: dict[tuple[str, str], Counter] = {}
        self._types: dict[str, int] = {}
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        metrics.BOUND.labels("webhook_event_types").set(EVENT_TYPES)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(ROUTE, self.take),
            web.post("/webhooks/{partner}/{integration}/{route}", self.take),
        ]

    async def take(self, request: web.Request) -> web.Response:
        """One delivery as the HTTP library brings it: a body of many pieces, an unusual head. `express.py` has the others."""
        match = request.match_info
        headers = Headers(list(request.headers.items()))
        path = request.raw_path
        if not path.startswith("/"):  # a whole address, as proxies are asked: ours is known, this one anybody can write
            path = request.rel_url.raw_path_qs
        delivery = Delivery(await request.read(), headers, path, "POST", match.get("route", ""))
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.begin(match["partner"], match["integration"], delivery, partial(_resolve, answered))
        status, body, seconds, kind = await answered
        response = web.Response(status=status, body=body, content_type=kind)
        if seconds:
            response.headers["Retry-After"] = str(seconds)
        return response

    def begin(self, partner: str, name: str, delivery: Delivery, answer: Callable[[Answer], None]) -> None:
        """Judge a delivery and have it stored; `answer` is called once, now or within five seconds. Never raises."""
        try:
            found = self._begin(partner, name, delivery, answer)
        except Exception:
            say.exception("intake_failed", partner=partner, integration=name)
            found = self._later()
        if found is not None:
            answer(found)

    def _begin(self, partner: str, name: str, delivery: Delivery, answer: Callable[[Answer], None]) -> Answer | None:
        receivers = self._receivers()
        if receivers is not self._current:
            self._replace(receivers)
        now = self._clock.now()
        receiver = receivers.get((partner, name))
        if receiver is None:
            return self._unknown(partner, delivery, now)
        if receiver.issues(delivery):
            return self._token(receiver, delivery, now)
        verdict = receiver.judge(delivery, now)
        if not isinstance(verdict, Accepted):
            if not receiver.judges:
                self._stand_in(partner, delivery, now)
            why = verdict.reason if self._sure() else "secrets_unread"
            if receiver.bears_signature(delivery):
                self._refusals.refused(name, why)
            metrics.WEBHOOK_FAILURES.labels(partner, why).inc()
            self._tell(receiver, "webhooks_refused", why)
            return self._refused()
        self._refusals.accepted(name)
        wait = self._flood(receiver)
        if wait:
            metrics.WEBHOOK_FAILURES.labels(partner, "flood").inc()
            self._tell(receiver, "webhooks_flooded", f"more than {receiver.per_second:g} deliveries a second")
            return Answer(429, _LATER, ceil(wait))
        if receiver.doubted:
            metrics.WEBHOOK_FAILURES.labels(partner, "address").inc()
            self._tell(receiver, "webhook_address_doubted", OTHER_ADDRESS)
        event_id, event_type, kept, handed = verdict
        self._count(partner, event_type)
        arrival = Arrival(handed or name, event_id, delivery.route, event_type, kept, delivery.body, now)
        try:
            self._intake.offer(arrival, partial(self._end, receiver, arrival, answer))
        except StoreError as error:
            return self._doubt(receiver, error)
        return None

    def _token(self, receiver: Receiver, delivery: Delivery, now: datetime) -> Answer:
        """The partner asks for a token to deliver with. One that is refused costs as much as one that is given."""
        granted = receiver.token(delivery, now)
        if granted is not None:
            return Answer(200, granted)
        metrics.WEBHOOK_FAILURES.labels(receiver.partner, "signature" if self._sure() else "secrets_unread").inc()
        self._tell(receiver, "webhook_tokens_refused", "not with one of its secrets")
        return self._refused()

    def _end(self, receiver: Receiver, arrival: Arrival, answer: Callable[[Answer], None], outcome: bool | str) -> None:
        """A delivery to this receiver's address, stored as one of the integration the arrival names."""
        name = arrival.integration
        try:
            if outcome is True:
                if not self._arrived(name):
                    self._intake.tell(name)
                found = _ACCEPTED
            elif outcome is False:
                metrics.WEBHOOK_DUPLICATES.labels(receiver.partner).inc()
                found = _DUPLICATE
            else:
                self._arrived(name)  # it may be there all the same
                found = self._doubt(receiver, StoreError(outcome))
            if receiver.answer is not None and found.status < 300:
                found = Answer(receiver.answer[0], receiver.answer[1], 0, receiver.answer[2])
        except Exception:
            say.exception("intake_failed", partner=receiver.partner, integration=receiver.integration)
            found = self._later()
        answer(found)
        if spans.on():
            self._trace(receiver, arrival, outcome, found.status)

    def _trace(self, receiver: Receiver, arrival: Arrival, outcome: bool | str, status: int) -> None:
        """The delivery's own span, which all that comes of it stands below."""
        told = {
            "http.request.method": "POST",
            "http.route": ROUTE,
            "http.response.status_code": status,
            "syncd.partner": receiver.partner,
            "syncd.integration": arrival.integration,
            "syncd.outcome": "accepted" if outcome is True else "duplicate" if outcome is False else "in doubt",
        }
        key, now = spans.webhook_key(arrival.integration, arrival.event_id), self._clock.now()
        below: list[tuple[str, spans.Kind, spans.Attributes]] = [("INSERT syncd.inbox", "client", _STORED)]
        spans.record(
            f"POST {ROUTE}", "server", told, arrival.received_at, now, trace=key, root=outcome is True, below=below
        )

    def _doubt(self, receiver: Receiver, error: StoreError) -> Answer:
        why = "intake_full" if isinstance(error, IntakeFullError) else "not_stored"
        metrics.WEBHOOK_FAILURES.labels(receiver.partner, why).inc()
        self._tell(receiver, "webhooks_not_stored", str(error))
        return self._later()

    def _later(self) -> Answer:
        spread = LAST_RETRY_SECONDS - FIRST_RETRY_SECONDS + 1
        return Answer(503, _LATER, FIRST_RETRY_SECONDS + int(self._clock.random() * spread))

    def _refused(self) -> Answer:
        return _REFUSED if self._sure() else self._later()

    def _replace(self, receivers: Receivers) -> None:
        self._current = receivers
        self._decoys = {}
        self._partners = frozenset(partner for partner, _ in receivers)
        for (partner, _), receiver in receivers.items():
            if receiver.judges:
                for whose in (partner, ""):  # the dearest: that a name is unknown must not be told by a quick answer
                    before = self._decoys.get(whose)
                    if before is None or receiver.cost > before.cost:
                        self._decoys[whose] = receiver
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key in receivers}

    def _unknown(self, partner: str, delivery: Delivery, now: datetime) -> Answer:
        self._stand_in(partner, delivery, now)
        metrics.WEBHOOK_FAILURES.labels(partner if partner in self._partners else "unknown", "unknown").inc()
        return self._refused()

    def _stand_in(self, partner: str, delivery: Delivery, now: datetime) -> None:
        """Judge by another integration, for nothing: the time it takes shall not tell that there is none, or none that can
        judge."""
        decoy = self._decoys.get(partner) or self._decoys.get("")
        if decoy is not None:
            decoy.judge(delivery, now)

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


def _resolve(answered: asyncio.Future[Answer], answer: Answer) -> None:
    if not answered.done():  # whoever asked may be gone
        answered.set_result(answer)
