"""Faults on purpose, between the client and the wire: what a partner does on its worst day, as often as one likes.

The same seed gives the same faults to the same calls (told apart by route and by how often it was called), so that what was
found once is found again. Nothing here knows what a fault should lead to: that is what it is for.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase

import httpx

from syncd import metrics
from syncd.clock import Clock
from syncd.config.chaos import ChaosConfig, Fault

TOKEN_ROUTE = "token"  # noqa: S105 - the route of requests for tokens, as `token_call` calls it
ON_PURPOSE = "syncd.on_purpose"
"""The extension of an answer that no partner gave: what it says of the partner's limits is not learned."""
_STATUSES = (500, 502, 503, 504)
_PAGE = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Chaos:
    """One integration's. Decides, call by call."""

    def __init__(self, integration: str, settings: ChaosConfig, clock: Clock) -> None:
        self.integration = integration
        self.settings = settings
        self.clock = clock
        self.met: Counter[Fault] = Counter()
        """How many calls met which fault."""
        self._calls: Counter[str] = Counter()

    @property
    def says(self) -> str:
        """What is put on, for a person."""
        told = self.settings
        where = f" of {', '.join(told.routes)}" if told.routes else ""
        return f"{told.rate:.0%} of the calls{where} meet {_either(told.faults)}, seed {told.seed}"

    def fault(self, method: str, route: str) -> tuple[Fault, float] | None:
        """The fault this call meets, and a number in [0, 1) to shape it by; None: it is left alone."""
        if not self._concerns(method, route):
            return None
        where = f"{method} {route}"
        self._calls[where] += 1
        number = f"{self.settings.seed}:{where}:{self._calls[where]}"
        met, kind, shape = (_share(number, part) for part in ("met", "kind", "shape"))
        if met >= self.settings.rate:
            return None
        fault = self.settings.faults[int(kind * len(self.settings.faults))]
        self.met[fault] += 1
        metrics.CHAOS_FAULTS.labels(self.integration, fault).inc()
        return fault, shape

    def _concerns(self, method: str, route: str) -> bool:
        if not self.settings.routes:
            return route != TOKEN_ROUTE  # a rotated refresh token whose answer is lost is lost for good
        return any(fnmatchcase(f"{method} {route}" if " " in each else route, each) for each in self.settings.routes)


class ChaoticTransport(httpx.AsyncBaseTransport):
    """Round the real transport. `request.extensions["route"]` is the call's route template."""

    def __init__(self, inner: httpx.AsyncBaseTransport, chaos: Chaos) -> None:
        self._inner = inner
        self._chaos = chaos

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        met = self._chaos.fault(request.method, str(request.extensions.get("route", request.url.path)))
        if met is None:
            return await self._inner.handle_async_request(request)
        fault, shape = met
        pause = self._chaos.settings.pause
        match fault:
            case "error":
                return self._failed(request, shape)
            case "limited":
                return self._limited(request, shape, pause)
            case "reset" if shape < 0.5:
                raise httpx.ReadError("reset on purpose")
        answer = await self._inner.handle_async_request(request)
        if fault in {"timeout", "reset"}:
            # The partner has done what it was asked, and we are not told.
            await answer.aclose()
            if fault == "timeout":
                await self._chaos.clock.sleep(pause)
                raise httpx.ReadTimeout("silent on purpose")
            raise httpx.ReadError("reset on purpose")
        stream = answer.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        body = _Slow(stream, self._chaos.clock, pause) if fault == "slow" else _Cut(stream)
        return httpx.Response(answer.status_code, headers=answer.headers.raw, stream=body, request=request)

    def _failed(self, request: httpx.Request, shape: float) -> httpx.Response:
        status = _STATUSES[int(shape * len(_STATUSES))]
        kind, body = (
            ("text/html", _PAGE) if status == 502 else ("application/json", b'{"message": "chaos, on purpose"}')
        )
        return _made(status, {"Content-Type": kind}, body, request)

    def _limited(self, request: httpx.Request, shape: float, pause: float) -> httpx.Response:
        """Both ways of saying when to come back: whole seconds, and a date by the answer's own clock."""
        now = self._chaos.clock.now()
        wait = max(1, math.ceil(pause))
        later = str(wait) if shape < 0.5 else format_datetime(now + timedelta(seconds=wait), usegmt=True)
        headers = {"Content-Type": "application/json", "Retry-After": later, "Date": format_datetime(now, usegmt=True)}
        body = b'{"message": "too many requests, on purpose"}'
        return _made(429, headers, body, request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _made(status: int, headers: dict[str, str], body: bytes, request: httpx.Request) -> httpx.Response:
    extensions = {ON_PURPOSE: True}
    return httpx.Response(
        status, headers=headers, stream=httpx.ByteStream(body), request=request, extensions=extensions
    )


class _Slow(httpx.AsyncByteStream):
    """A body that comes in two halves with a pause between."""

    def __init__(self, inner: httpx.AsyncByteStream, clock: Clock, pause: float) -> None:
        self._inner, self._clock, self._pause = inner, clock, pause

    async def __aiter__(self) -> AsyncIterator[bytes]:
        waited = False
        async for chunk in self._inner:
            half = len(chunk) // 2
            yield chunk[:half]
            if not waited:
                waited = True
                await self._clock.sleep(self._pause)
            yield chunk[half:]

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Cut(httpx.AsyncByteStream):
    """A body whose connection breaks in its middle."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk[: len(chunk) // 2]
            break
        raise httpx.ReadError("truncated")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _share(number: str, part: str) -> float:
    return int.from_bytes(hashlib.blake2b(f"{part}:{number}".encode(), digest_size=6).digest()) / 2**48


def _either(words: Iterable[str]) -> str:
    *others, last = list(words)
    return f"{', '.join(others)} or {last}" if others else last
