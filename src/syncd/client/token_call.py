"""The road to a token endpoint: through the scope's gate like every call, but alone, unstamped and never repeated.

The flight in tokens.py decides what follows. Here a request for a token spends the scope's `token` budget, is judged for
the breaker of its own endpoint group, and may take longer than other calls.
"""

from __future__ import annotations

from syncd.client import border, inflate
from syncd.client.addresses import Addresses
from syncd.client.grants import TokenRequest
from syncd.client.stats import CallStats
from syncd.client.teller import Teller
from syncd.client.transport import USER_AGENT, Answer, LostError, Outgoing, PartnerTransport, Timeouts
from syncd.errors import TransientError
from syncd.limits import Gate, Slot
from syncd.model import Lane, Response

ROUTE = "token"
"""The label of every token endpoint in metrics and logs."""


class TokenCaller:
    """Sends the token requests of one integration."""

    def __init__(
        self,
        transport: PartnerTransport,
        gate: Gate,
        addresses: Addresses,
        teller: Teller,
        *,
        member: str,
        spent: CallStats,
        gate_seconds: float,
    ) -> None:
        self._transport = transport
        self._clock = transport.clock
        self._gate = gate
        self._addresses = addresses
        self._teller = teller
        self._member = member
        self._spent = spent
        self._gate_seconds = gate_seconds

    async def __call__(self, request: TokenRequest) -> Response:
        """The endpoint's answer, whatever it says. Raises TransientError for none, OverBudgetError, BreakerOpenError."""
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": inflate.OFFERED, **request.headers}
        out = Outgoing("POST", ROUTE, self._addresses.trusted(request.token), headers, request.content)
        out.timeouts = Timeouts(read=request.timeout_seconds)
        answer: Answer | None = None
        try:
            async with self._gate.admit(
                lane=Lane.HIGH,
                member=self._member,
                budgets=(request.budget,),
                group=request.group,
                deadline_at=self._clock.monotonic() + self._gate_seconds,
            ) as slot:
                answer = await self._send(out, slot, request.timeout_seconds)
        except LostError as lost:
            answer = lost.answer
        if answer.response is not None:
            return answer.response
        assert answer.failure is not None
        raise self._teller.complete(answer.failure.error, out.method, ROUTE).with_traceback(None)

    async def _send(self, out: Outgoing, slot: Slot, timeout_seconds: float) -> Answer:
        answer: Answer | None = None
        label = "cut"
        out.heard = slot.answered
        began, began_at = self._clock.monotonic(), self._clock.now()
        try:
            async with self._clock.timeout(timeout_seconds):
                answer = await self._transport.exchange(out)
        except TimeoutError:
            message = f"POST {ROUTE}: no complete answer within {timeout_seconds:g} s"
            answer = Answer(None, border.Failure(TransientError(message, unknown=True), "timeout"))
        finally:
            seconds = self._clock.monotonic() - began
            if answer is not None:
                label = answer.label
            self._spent.sent(seconds)
            self._teller.call(ROUTE, label, seconds)
        response = answer.response
        if response is None:
            assert answer.failure is not None
            slot.failure(str(answer.failure.error))
        elif response.status_code >= 500:
            slot.failure(f"POST {ROUTE}: answered {response.status_code}")
        elif response.status_code == 429:
            self._teller.rate_limited(self._gate.scope)
        else:
            slot.success()
        lost = answer.failure.error if answer.failure else None
        self._teller.line("POST", ROUTE, 1, seconds, response, lost)
        self._teller.witness.note(
            began_at, seconds, method="POST", route=ROUTE, target=out.target, attempt=1, label=label,
            response=response, error=lost,
        )  # fmt: skip
        if response is None:
            raise LostError(answer)
        return answer
