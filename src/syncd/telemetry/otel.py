"""Spans as OpenTelemetry's, sent as OTLP over HTTP.

The ids of a trace that a key names are made from the key: every instance, and every process after a death, makes the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from syncd import __version__, spans
from syncd.telemetry.sending import Sending

_KINDS = {
    "internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
}  # fmt: skip
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
EXPORT_SECONDS = 5.0
"""Longest that one try to hand spans over may take."""
_current: ContextVar[trace.Span | None] = ContextVar("span", default=None)
_wanted: ContextVar[tuple[int, int] | None] = ContextVar("wanted_ids", default=None)
"""The ids the next span has to have; span id 0: any."""


class Otel:
    """Listens to spans. `aclose` hands over what is left."""

    def __init__(
        self, endpoint: str, headers: Mapping[str, str], *, service: str, sample: float, propagates: bool
    ) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what is lost is counted, and said once
        exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces", headers=dict(headers), timeout=EXPORT_SECONDS
        )
        self._service = service
        self._sending = Sending(exporter)
        resource = Resource.create(
            {"service.name": service, "service.version": __version__, "service.instance.id": platform.node()}
        )
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(sample), resource=resource, id_generator=_Ids(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(self._sending)
        self._tracer = self._provider.get_tracer("syncd", __version__)
        spans.listen(self, propagates=propagates)

    async def aclose(self) -> None:
        """Hand over what is left, for some seconds at most, and listen no more."""
        spans.listen(None)
        await self._sending.aclose()

    @contextlib.contextmanager
    def span(
        self, name: str, kind: spans.Kind, attributes: spans.Attributes, *,
        trace: str, root: bool, links: Sequence[spans.Span], apart: bool,
    ) -> Iterator[spans.Span]:  # fmt: skip
        begun = _Span(self._begin(name, kind, attributes, trace, root, links, apart))
        try:
            if apart:
                yield begun
            else:
                with self.within(begun):
                    yield begun
        except Exception as error:
            begun.failed(type(error).__name__)
            raise
        finally:
            begun.span.end()

    @contextlib.contextmanager
    def within(self, span: spans.Span) -> Iterator[spans.Span]:
        token = _current.set(span.span if isinstance(span, _Span) else None)
        try:
            yield span
        finally:
            with contextlib.suppress(ValueError):  # left in another context than it was entered in
                _current.reset(token)

    def record(
        self, name: str, kind: spans.Kind, attributes: spans.Attributes, began_at: datetime, ended_at: datetime, *,
        trace: str, root: bool, below: Sequence[tuple[str, spans.Kind, spans.Attributes]],
    ) -> None:  # fmt: skip
        began, ended = _nanoseconds(began_at), _nanoseconds(ended_at)
        if root:
            with _wanting(self._ids(trace)):
                whole = self._start(name, kind, attributes, otel_context.Context(), began)
        else:
            whole = self._start(name, kind, attributes, self._of(trace), began)
        for each, its_kind, its in below:
            self._start(each, its_kind, its, _below(whole), began).end(ended)
        _mark(whole, attributes)
        whole.end(ended)

    def current(self) -> tuple[str, str] | None:
        span = _current.get()
        if span is None or not (ids := span.get_span_context()).trace_flags.sampled:
            return None  # a trace that is not sent is named to nobody
        return f"{ids.trace_id:032x}", f"{ids.span_id:016x}"

    def _begin(
        self,
        name: str,
        kind: spans.Kind,
        attributes: spans.Attributes,
        key: str,
        root: bool,
        links: Sequence[spans.Span],
        apart: bool,
    ) -> trace.Span:
        linked = [Link(one.span.get_span_context()) for one in links if isinstance(one, _Span)]
        if root:
            with _wanting((self._ids(key)[0], 0)):
                return self._start(name, kind, attributes, otel_context.Context(), None, linked)
        above = self._of(key) if key else _below(None if apart else _current.get())
        return self._start(name, kind, attributes, above, None, linked)

    def _start(
        self, name: str, kind: spans.Kind, attributes: spans.Attributes, context: otel_context.Context, at: int | None,
        links: Sequence[Link] = (),
    ) -> trace.Span:  # fmt: skip
        told = {key: value for key, value in attributes.items() if value is not None}
        return self._tracer.start_span(
            name,
            context,
            _KINDS[kind],
            told,
            links,
            start_time=at,
            record_exception=False,
            set_status_on_exception=False,
        )

    def _of(self, key: str) -> otel_context.Context:
        """Below the root of the trace of this key, whether or not that was ever sent."""
        trace_id, span_id = self._ids(key)
        return _below(NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=_SAMPLED)))

    def _ids(self, key: str) -> tuple[int, int]:
        digest = hashlib.blake2s(f"{self._service}\0{key}".encode("utf-8", "surrogatepass"), digest_size=24).digest()
        return int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:], "big") or 1


class _Span:
    """One span, as the rest of syncd sees it."""

    __slots__ = ("_failed", "span")

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self._failed = False

    def set(self, name: str, value: Any) -> None:
        if value is not None:
            self.span.set_attribute(name, value)

    def failed(self, kind: str) -> None:
        if self._failed:
            return
        self._failed = True
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR))


class _Ids(IdGenerator):
    """Random ones, but for a root whose trace has a key."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        wanted = _wanted.get()
        return wanted[0] if wanted is not None else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        return (wanted[1] if wanted is not None else 0) or self._random.generate_span_id()


@contextlib.contextmanager
def _wanting(ids: tuple[int, int]) -> Iterator[None]:
    token = _wanted.set(ids)
    try:
        yield
    finally:
        _wanted.reset(token)


def _below(span: trace.Span | None) -> otel_context.Context:
    return otel_context.Context() if span is None else trace.set_span_in_context(span, otel_context.Context())


def _mark(span: trace.Span, attributes: spans.Attributes) -> None:
    """A server's own failure is an error; that a client asked wrongly is none."""
    if attributes.get("http.response.status_code", 0) >= 500 or "error.type" in attributes:
        span.set_status(Status(StatusCode.ERROR))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
