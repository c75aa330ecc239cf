"""One partner's HTTP: a single httpx client, its pool, its timeouts, and a bound on everything an answer may hold.

What lives here: one exchange, from a stamped request to a complete, inflated answer or an error of ours. What does not:
limits, retries, credentials, redirects (client.py).
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

import syncd
from syncd.client import border, inflate
from syncd.client.addresses import Origin, Target
from syncd.client.chaos import ON_PURPOSE, Chaos, ChaoticTransport
from syncd.client.wire import AiohttpTransport
from syncd.clock import Clock
from syncd.errors import PartnerError, PayloadError, StoreError, TransientError
from syncd.model import Headers, Response

USER_AGENT = f"syncd/{syncd.__version__}"
MOST_BODY = 32 * 1024 * 1024
"""Bytes of one body after inflation, unless configured otherwise."""
MOST_HEAD = 64 * 1024
"""Bytes of all headers of one answer together."""
_BODYLESS = frozenset({204, 205, 304})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds each step of one try may take. The total deadline over all tries is the session's."""

    connect: float = 10.0
    read: float = 25.0
    """Between two arrivals of bytes."""
    write: float = 20.0
    pool: float = 10.0

    def as_dict(self) -> dict[str, float]:
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


class Sink(Protocol):
    """Takes the content of an answer piece by piece, so that a file is never in memory as a whole."""

    def begin(self) -> None:
        """A try begins: what came before is void."""

    def write(self, data: bytes) -> None:
        """The next piece, inflated. Raises PayloadError for what it will not take, StoreError where it cannot be kept."""


@dataclass(slots=True, repr=False)
class Outgoing:
    """One request as it leaves, credentials included: hence no repr."""

    method: str
    route: str
    target: Target
    headers: dict[str, str]
    content: bytes = b""
    path: str = ""
    """The target's path with what the credential added to its query; empty is the target's own."""
    timeouts: Timeouts | None = None
    heard: Callable[[], None] | None = None
    """Called when the head of the answer is here: the partner has counted the call."""
    into: Sink | None = None
    """Where the content of a good answer goes, instead of into the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one exchange brought: an answer, or why there is none."""

    response: Response | None
    failure: border.Failure | None = None

    @property
    def label(self) -> str:
        """What the metrics call it: the status, or the reason that there is none."""
        if self.response is not None:
            return str(self.response.status_code)
        return self.failure.label if self.failure is not None else "cut"


class LostError(Exception):
    """No answer came. It leaves the gate's block as an exception, so that the book keeps the slot for as long as the
    request may still be on its way; nobody outside the client sees it."""

    def __init__(self, answer: Answer, error: PartnerError | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.error = error


class PartnerTransport:
    """The connections to one partner, shared by its integrations. Knows no credential and keeps no cookie."""

    def __init__(
        self,
        partner: str,
        *,
        clock: Clock,
        max_connections: int = 100,
        timeouts: Timeouts | None = None,
        most_body: int = MOST_BODY,
        trust_env: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` takes the place of the real one in tests: `httpx.MockTransport(router.async_handler)`."""
        self.partner = partner
        self.clock = clock
        self.most_body = most_body
        self.timeouts = timeouts or Timeouts()
        self._timeout_parts = self.timeouts.as_dict()
        wire = transport or AiohttpTransport(max_connections=max_connections, trust_env=trust_env)
        self._exact = isinstance(wire, AiohttpTransport)
        self._wire = wire
        # The client owns the pool. Calls go to its transport itself: the layers between cost 100 us a call and are all
        # things syncd does otherwise or must not do (cookies, redirects, auth, a log line with the whole URL).
        self._client = httpx.AsyncClient(transport=wire, trust_env=False)
        self._roots: dict[Origin, httpx.URL] = {}

    async def exchange(self, out: Outgoing) -> Answer:
        """Send once and read the whole answer. Never raises for what the other side did: see `Answer.failure`.

        Raises only what is not about the call: cancellation, TimeoutError of a deadline around it, StoreError of a sink.
        """
        foreign: Exception | None = None
        response: Response | None = None
        ours: PartnerError | None = None
        try:
            response = await self._exchange(out)
        except PartnerError as error:
            ours = error
        except StoreError:
            raise
        except Exception as error:  # every foreign exception stops at this line
            foreign = error
        if response is not None:
            return Answer(response)
        if ours is not None:
            return Answer(None, border.Failure(ours, "reset" if isinstance(ours, TransientError) else "payload"))
        assert foreign is not None
        origin = str(out.target.origin)
        return Answer(None, border.failed(foreign, method=out.method, route=out.route, origin=origin))

    async def _exchange(self, out: Outgoing) -> Response:
        clock = self.clock
        began_at, began = clock.now(), clock.monotonic()
        answer = await self._wire.handle_async_request(self._request(out))
        if out.heard is not None:
            out.heard()
        stream = answer.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            raw_headers = answer.headers.raw
            if sum([len(name) + len(value) for name, value in raw_headers]) > MOST_HEAD:
                raise self._cut(out, f"answered with more than {MOST_HEAD} bytes of headers")
            headers = Headers(
                [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in raw_headers
                    if name.lower() != b"set-cookie"
                ]
            )
            if out.method == "HEAD" or answer.status_code in _BODYLESS:
                content = b""
            else:
                content = await self._read(out, headers, stream, out.into if answer.status_code == 200 else None)
        finally:
            await stream.aclose()
        return Response(
            status_code=answer.status_code,
            headers=headers,
            content=content,
            url=out.target.url,
            requested_at=began_at,
            elapsed_seconds=clock.monotonic() - began,
            on_purpose=ON_PURPOSE in answer.extensions,
        )

    def _request(self, out: Outgoing) -> httpx.Request:
        path = out.path or out.target.path
        timeouts = self._timeout_parts if out.timeouts is None else out.timeouts.as_dict()
        extensions: dict[str, Any] = {"timeout": timeouts, "route": out.route}
        if self._exact:
            # Parsing a URL costs httpx 25 us; ours is checked and escaped already, so it goes beside a kept one.
            url = self._roots.get(out.target.origin)
            if url is None:
                url = self._roots[out.target.origin] = httpx.URL(str(out.target.origin))
            extensions["target"] = path.encode("ascii")
            # A stream, given as such, spares building all headers a second time; the wire adds Host and length itself.
            stream = httpx.ByteStream(out.content)
            return httpx.Request(out.method, url, headers=out.headers, stream=stream, extensions=extensions)
        url = httpx.URL(f"{out.target.origin}{path}")
        return httpx.Request(out.method, url, headers=out.headers, content=out.content or None, extensions=extensions)

    async def _read(
        self, out: Outgoing, headers: Headers, stream: httpx.AsyncByteStream, into: Sink | None = None
    ) -> bytes:
        declared = _length(headers)
        if into is not None:
            into.begin()
        elif declared is not None and declared > self.most_body:
            raise self._too_large(out)
        most = self.most_body if into is None else sys.maxsize  # the sink has a bound of its own
        refusal: PartnerError | None = None
        chunks: list[bytes] = []
        received = 0
        try:
            decoder = inflate.decoder(headers.get("content-encoding", ""), most)
            async for chunk in stream:
                received += len(chunk)
                if received > most:
                    raise inflate.TooLargeError
                if into is None:
                    chunks.append(decoder.feed(chunk))
                else:
                    into.write(decoder.feed(chunk))
            decoder.finish()
        except inflate.TooLargeError:
            refusal = self._too_large(out)
        except inflate.UndecodableError:
            refusal = self._cut(out, "the compressed answer is broken or cut off")
        except inflate.UnknownEncodingError:
            refusal = PayloadError(
                f"{out.method} {out.route}: answered in an encoding nobody offered", hint=f"offered: {inflate.OFFERED}"
            )
        if refusal is not None:
            raise refusal
        if declared is not None and declared != received:
            raise self._cut(out, f"{declared} bytes were announced and {received} came")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _cut(self, out: Outgoing, why: str) -> TransientError:
        return TransientError(f"{out.method} {out.route}: {why}", unknown=border.changes_something(out.method))

    def _too_large(self, out: Outgoing) -> PayloadError:
        return PayloadError(
            f"{out.method} {out.route}: the answer is larger than {self.most_body} bytes after inflation",
            hint="ask for smaller pages (page_size)",
            unknown=border.changes_something(out.method),
        )

    def disturbed(self, chaos: Chaos) -> PartnerTransport:
        """The same connections, with faults on purpose between: for one integration of several. Only this one is closed."""
        other = copy.copy(self)
        other._wire = ChaoticTransport(self._wire, chaos)
        return other

    async def aclose(self) -> None:
        """Close the pool. Calls under way end as if the connection had broken."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"PartnerTransport({self.partner!r})"


def _length(headers: Headers) -> int | None:
    """Content-Length where it counts: not beside a Transfer-Encoding, and only if it is one number."""
    value = headers.get("content-length")
    if value is None or "transfer-encoding" in headers:
        return None
    value = value.strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None


_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


def checked_header(name: str, value: str) -> bool:
    """Can the header be sent without beginning another one?"""
    return bool(_HEADER_NAME.match(name)) and value.isascii() and value.isprintable()
