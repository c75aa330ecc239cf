"""Spans on their way to the collector: a bounded queue, and a thread. A collector that is away costs the spans alone."""

from __future__ import annotations

import threading
from collections import deque

import structlog
from anyio import to_thread
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from syncd import metrics

log = structlog.get_logger()

WAITING = 4096
"""Spans that may wait (R12); of what comes then the oldest goes."""
AT_ONCE = 512
EVERY_SECONDS = 2.0
LAST_SECONDS = 3.0
"""Longest that a stop waits for what is left."""
LOST_SECONDS = 0.2
"""The same, where the collector did not take what came before."""


class Sending(SpanProcessor):
    """Hands batches to the exporter. `on_end` may be called by any thread and never waits."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._over = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        metrics.BOUND.labels("trace_spans_waiting").set(WAITING)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        if not span.context or not span.context.trace_flags.sampled:
            return
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            metrics.SPANS.labels("lost").inc()
        self._waiting.append(span)
        if len(self._waiting) >= AT_ONCE:
            self._wake.set()

    async def aclose(self) -> None:
        """Hand over what is left. A collector that is away keeps nobody."""
        self._over = True
        self._wake.set()
        if self._failing:
            self._exporter.shutdown()  # it is not tried again
        longest = LOST_SECONDS if self._failing else LAST_SECONDS
        await to_thread.run_sync(self._thread.join, longest, abandon_on_cancel=True)

    def _run(self) -> None:
        while not self._over or self._waiting:
            self._wake.wait(EVERY_SECONDS)
            self._wake.clear()
            while self._waiting:
                self._send([self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))])
                if self._failing and self._over:
                    metrics.SPANS.labels("lost").inc(len(self._waiting))
                    return

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # whatever the library meets: traces never harm the work
            sent = False
        metrics.SPANS.labels("sent" if sent else "lost").inc(len(batch))
        if sent is self._failing:
            self._failing = not sent
            if sent:
                log.info("traces_sent_again")
            else:
                log.warning("traces_lost", reason="the collector does not take them", action="see tracing.endpoint")
