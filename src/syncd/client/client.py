"""One integration's way to its partner. The order is written here, once: retry( gate( auth( http ))).

A call leaves only through the gate of its scope, each of its tries by itself; a credential is put on inside the gate, at
the last moment, and only for the home origin; whatever fails is one of our errors. What does not live here: how long to
wait (limits), what an answer means (the driver), tokens (tokens.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from syncd import markup, spans
from syncd.client import border
from syncd.client.addresses import Addresses
from syncd.client.answers import Answers, Classify
from syncd.client.auth import Auth
from syncd.client.classify import REDIRECTS
from syncd.client.classify import classify as by_status
from syncd.client.departure import Departures
from syncd.client.evidence import evidence_of
from syncd.client.pace import Pace
from syncd.client.recovery import Recovery
from syncd.client.stats import CallStats
from syncd.client.teller import CUT, Teller
from syncd.client.token_call import TokenCaller
from syncd.client.transport import Answer, LostError, Outgoing, PartnerTransport, Sink
from syncd.client.trip import AgainError, Judging, Leaving, Patience, Shut, Trip, route_of
from syncd.errors import AuthError, PartnerError, RateLimitError, RejectedError, SyncdError, TransientError
from syncd.limits import Gate, OverBudgetError, Slot
from syncd.limits.backoff import BackoffPolicy, RetryBudget, retrying
from syncd.limits.dialects import STANDARD, LimitDialect
from syncd.model import Lane, Request, Response


class Session:
    """Calls of one integration. Safe to use from any number of coroutines at once."""

    def __init__(
        self,
        transport: PartnerTransport,
        *,
        integration: str,
        base_url: str,
        gate: Gate,
        origins: Iterable[str] = (),
        homes: Iterable[str] = (),
        auth: Auth | None = None,
        classify: Classify = by_status,
        headers: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        backoff: BackoffPolicy | None = None,
        retries: RetryBudget | None = None,
        cost_header: str | None = None,
        told: LimitDialect = STANDARD,
    ) -> None:
        """`headers` go with every call home; `cost_header` names the answer's header with what a call cost, and `told`
        is how answers tell of the limit itself.

        `retries` is the partner's, shared by its sessions. Raises ConfigError for a base_url, origin or header that
        cannot be.
        """
        self.integration = integration
        self.partner = transport.partner
        self.transport = transport
        self.gate = gate
        self.clock = transport.clock
        self.addresses = Addresses(base_url, origins, homes)
        self.auth = auth or Auth()
        self.patience = patience or Patience()
        self.shut: Shut | None = None
        """Until when nothing is sent, whoever asks, and why."""
        self.spent = CallStats()
        """Everything this session ever cost."""
        self.pace = Pace()
        self._answers = Answers(self.clock, gate, classify=classify, cost_header=cost_header, told=told)
        self._backoff = backoff or BackoffPolicy()
        self._retries = retries or RetryBudget(self.clock)
        self._teller = Teller(self.partner, integration)
        self.recent = self._teller.recent
        """What came of its calls since somebody last fetched that."""
        self.witness = self._teller.witness
        """Its latest calls."""
        self._departures = Departures(self.clock, self.addresses, self.patience, transport.timeouts, headers or {})
        self._recovery = Recovery(
            self.clock,
            self.addresses,
            self.auth,
            gate,
            self._teller,
            integration=integration,
            patience=self.patience,
            backoff=self._backoff,
            spent=self.spent,
        )
        self.auth.bind(
            TokenCaller(
                transport,
                gate,
                self.addresses,
                self._teller,
                member=integration,
                spent=self.spent,
                gate_seconds=self.patience.gate_seconds,
            )
        )

    @property
    def skew_seconds(self) -> float | None:
        """How far the partner's clock was ahead of ours at its latest answer; None before one with a Date."""
        return self._answers.skew_seconds

    def stats(self) -> CallStats:
        """Fresh counters for one run, to be handed to `call`."""
        return CallStats()

    async def call(
        self,
        request: Request,
        *,
        lane: Lane = Lane.NORMAL,
        stats: CallStats | None = None,
        judging: Judging | None = None,
        leaving: Leaving | None = None,
        into: Sink | None = None,
    ) -> Response:
        """Make the call and return its sound, complete answer. `judging` goes round what the driver makes of each answer;
        `leaving` is called right before each try is sent, for whoever has to remember that it may arrive. `into` takes the
        content of a good answer: it is a file then, and no document for the driver to judge.

        Raises what `classify` says of the last answer; TransientError when none came; RateLimitError when the wait would
        be long (OverBudgetError: our own gate refused); AuthError when the credential is refused for good; RejectedError
        for an address that may not be called; BreakerOpenError when nothing was sent. No foreign exception, and none
        that holds a secret.
        """
        route = request.route or route_of(request.path)
        trip, error = self._departures.ready(request, route, lane, stats or CallStats(), judging, leaving, into)
        if trip is not None:
            self._retries.earn()
            response, error = await self._pass(trip)
            if response is not None:
                return response
            if error is not None and self._recovery.worth(trip, error):  # a good call pays nothing for the loop
                response, error = await self._retry(trip, error)
                if response is not None:
                    return response
        assert error is not None
        if isinstance(error, TransientError | RateLimitError):
            error.cooled = True
        if isinstance(error, PartnerError) and error.evidence is None:
            error.evidence = evidence_of(request, trip.answered if trip is not None else None, route=route)
        self._teller.failed(error)
        # Raised from here alone, without the frames below: they held headers and URLs.
        raise self._teller.complete(error, request.method, route).with_traceback(None)

    @property
    def good(self) -> int:
        """Tries so far that showed the partner and our credential to be well, whatever it said."""
        return self._teller.good

    @property
    def bad(self) -> int:
        """Tries so far that did not."""
        return self._teller.bad

    async def aclose(self) -> None:
        """End a token request under way. The transport is the partner's, and stays."""
        await self.auth.aclose()

    def __repr__(self) -> str:
        return f"Session({self.integration!r})"

    # -- retry

    async def _retry(self, trip: Trip, error: SyncdError) -> tuple[Response | None, SyncdError | None]:
        """Further tries after a transient failure, with full jitter, inside the partner's retry budget."""
        first: SyncdError | None = error

        def before(attempt: int, failed: BaseException, seconds: float) -> None:
            self._recovery.retried(trip, attempt + 1, seconds)

        tries = retrying(
            self._backoff,
            clock=self.clock,
            worth=lambda failed: self._recovery.worth(trip, failed),
            budget=self._retries,
            before=before,
            exhausted=self._teller.budget_empty,
        )
        try:
            async for attempt in tries:
                with attempt:
                    known, first = first, None
                    if known is None:
                        response, known = await self._pass(trip)
                        if response is not None:
                            return response, None
                    assert known is not None
                    raise known
        except SyncdError as failed:
            return None, failed
        raise AssertionError("retrying() ends by success or by error")

    async def _pass(self, trip: Trip) -> tuple[Response | None, SyncdError | None]:
        """Tries that cost no attempt: redirects, the replay after a refused credential, a short "later"."""
        while True:
            response, error = await self._try(trip)
            if error is None:
                return response, None
            if not isinstance(error, AgainError):
                return None, error

    # -- gate, auth, http

    async def _try(self, trip: Trip) -> tuple[Response | None, SyncdError | None]:
        """Through gate and auth to one answer. Errors are returned, so that nothing foreign hangs on to them."""
        request, home = trip.request, trip.target.home
        trip.answered = None
        if (refused := self._shut()) is not None:
            return None, refused
        if trip.left <= 0:
            return None, TransientError("the deadline passed before the call could be sent", breaks=False)
        answer: Answer | None = None
        error: SyncdError | None = None
        mark: object = None
        asked: float | None = None
        try:
            if home:
                await self.auth.prepare()  # before the gate: nobody holds a slot while waiting for a token
            out = Outgoing(
                request.method,
                trip.route,
                trip.target,
                dict(trip.headers),
                trip.body,
                timeouts=trip.timeouts,
                into=trip.into,
            )
            asked = self.clock.monotonic()
            async with self.gate.admit(
                lane=trip.lane,
                member=self.integration,
                weight=self._answers.weight(trip),
                budgets=trip.budgets,
                group=request.group,
                deadline_at=self.clock.monotonic() + self.patience.gate_seconds,
            ) as slot:
                asked = None
                self._waited(trip, slot.waited_seconds)
                if (refused := self._shut()) is not None:  # since it came to stand in line
                    raise refused
                if home:
                    mark = self.auth.stamp(out, self.clock.now())
                if trip.leaving is not None:
                    await trip.leaving()
                answer, error = await self._traced(trip, out, slot)
        except LostError as lost:
            return None, lost.error
        except SyncdError as refused:
            if asked is not None:  # refused by the gate, perhaps after a while in line
                self._waited(trip, self.clock.monotonic() - asked)
            return None, refused
        response = answer.response
        assert response is not None
        if isinstance(error, AuthError):
            if not home:
                told = f"{trip.target.origin} wants a credential, and ours goes to {self.addresses.home} only"
                return None, RejectedError(told, status=error.status)
            return None, await self._recovery.refused(trip, error, mark)
        if isinstance(error, RateLimitError) and self._recovery.waits(trip, error):
            return None, AgainError()  # the gate itself makes it wait
        if error is None and response.status_code in REDIRECTS and "location" in response.headers:
            return None, self._recovery.redirected(trip, response)
        return (response, None) if error is None else (None, error)

    def _shut(self) -> OverBudgetError | None:
        if self.shut is None or self.clock.now() >= self.shut.until:
            return None
        return OverBudgetError(f"nothing is sent: {self.shut.reason}", retry_at=self.shut.until)

    async def _traced(self, trip: Trip, out: Outgoing, slot: Slot) -> tuple[Answer, PartnerError | None]:
        """`_send`, as one span."""
        if not spans.on():
            return await self._send(trip, out, slot)
        with spans.span(f"{out.method} {trip.route}", "client", self._spanned(trip, out)) as span:
            if trip.target.home and (parent := spans.traceparent()):
                out.headers["traceparent"] = parent
            try:
                answer, error = await self._send(trip, out, slot)
            except LostError as lost:
                span.failed(type(lost.error).__name__)
                raise
            if answer.response is not None:
                span.set("http.response.status_code", answer.response.status_code)
            if error is not None:
                span.failed(type(error).__name__)
            return answer, error

    def _spanned(self, trip: Trip, out: Outgoing) -> dict[str, object]:
        """What a span says of the call: the route as the driver names it, never an address with ids or a query."""
        found: dict[str, object] = {
            "http.request.method": out.method,
            "url.template": trip.route,
            "server.address": out.target.origin.host,
            "server.port": out.target.origin.port,
            "syncd.partner": self.partner,
            "syncd.integration": self.integration,
        }
        if trip.attempt > 1:
            found["http.request.resend_count"] = trip.attempt - 1
        return found

    def _waited(self, trip: Trip, seconds: float) -> None:
        trip.stats.waited_seconds += seconds
        self.spent.waited_seconds += seconds

    async def _send(self, trip: Trip, out: Outgoing, slot: Slot) -> tuple[Answer, PartnerError | None]:
        """Inside the gate: send, judge, tell the breaker, count, log. Raises LostError when no answer came."""
        clock = self.clock
        answer: Answer | None = None
        if not self._answers.tells_cost:
            out.heard = slot.answered
        began, began_at = clock.monotonic(), clock.now()
        try:
            async with clock.timeout(trip.left):
                answer = await self.transport.exchange(out)
        except TimeoutError:
            answer = Answer(None, _timed_out(out))
        finally:
            seconds = clock.monotonic() - began
            trip.left -= seconds
            size = len(answer.response.content) if answer is not None and answer.response is not None else 0
            trip.stats.sent(seconds, size)
            self.spent.sent(seconds, size)
            if answer is None:
                self._teller.call(trip.route, CUT, seconds)  # cancelled: no verdict for the breaker
        response = answer.response
        if response is not None and trip.request.reads is not None:
            response.reads = trip.request.reads
            response.content = markup.without(response.content, response.reads)  # before anybody sees it
        error = answer.failure.error if response is None and answer.failure is not None else None
        if response is not None and trip.into is None and not response.on_purpose:
            self.pace.note(clock.monotonic(), seconds)  # a file takes as long as it is large
        if response is not None and trip.judging is not None:
            async with trip.judging():
                error = self._answers.read(trip, slot, response)
        elif response is not None:
            error = self._answers.read(trip, slot, response)
        if isinstance(error, TransientError) and error.breaks:
            self._sick(slot, self._teller.complete(error, out.method, trip.route))
        elif isinstance(error, RateLimitError):
            self._recovery.limited(trip, slot, error, teaches=response is None or not response.on_purpose)
        elif response is not None:
            slot.success()  # any complete answer but a 429, which says neither sick nor well
        self._teller.call(trip.route, answer.label, seconds, error)
        if error is not None:
            error = self._teller.complete(error, out.method, trip.route)
        self._teller.line(out.method, trip.route, trip.attempt, seconds, response, error)
        self.witness.note(
            (response.requested_at if response is not None else None) or began_at, seconds, method=out.method,
            route=trip.route, target=trip.target, attempt=trip.attempt, label=answer.label, response=response, error=error,
        )  # fmt: skip
        if response is None:
            raise LostError(answer, error)
        if trip.target.home and not isinstance(error, AuthError) and response.status_code not in (401, 403):
            self.pace.authenticated_at = clock.now()
        trip.answered = response
        return answer, error

    def _sick(self, slot: Slot, error: TransientError) -> None:
        """Tell the breaker. A probe that failed says nothing about the work it was made for: that waits for the next."""
        slot.failure(str(error))
        if slot.probe:
            error.blameless = True
            error.retry_at = self.gate.breakers.refusal(slot.group, self.clock.monotonic()).retry_at


def _timed_out(out: Outgoing) -> border.Failure:
    message = f"{out.method} {out.route}: no complete answer within the deadline"
    return border.Failure(TransientError(message, unknown=border.changes_something(out.method)), "timeout")
