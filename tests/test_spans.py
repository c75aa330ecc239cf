"""Spans: nothing where nobody listens, and where somebody does, ids that every process makes alike."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from syncd import metrics, spans
from syncd.telemetry import sending
from syncd.telemetry.otel import Otel

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Kept:
    """An exporter that keeps, or fails."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.fails = False
        self.hangs: threading.Event | None = None
        self.inside = 0

    def shutdown(self) -> None:
        return None

    def export(self, batch: Any) -> SpanExportResult:
        self.inside += 1
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.fails:
            return SpanExportResult.FAILURE
        self.spans += batch
        return SpanExportResult.SUCCESS


def otel(service: str = "syncd", *, sample: float = 1.0, propagates: bool = False) -> tuple[Otel, Kept]:
    found, kept = Otel("http://127.0.0.1:9", {}, service=service, sample=sample, propagates=propagates), Kept()
    found._sending._exporter = kept  # type: ignore[assignment]
    return found, kept


def delivered(key: str) -> None:
    spans.record("arrived", "server", {"http.response.status_code": 202}, NOW, NOW, trace=key, root=True)


def test_where_nobody_listens_a_span_is_always_the_same_nothing():
    assert not spans.on() and spans.span("a") is spans.span("b", "client", {"x": 1})
    with spans.span("a") as span:
        span.set("x", 1)
        span.failed("Error")
    assert spans.current() is None and spans.traceparent() == ""
    delivered("k")


@pytest.mark.parametrize(
    ("cause", "event"),
    [
        ("webhook evt_1", "evt_1"),
        ("task 7: webhook evt 1: odd\n", "evt 1: odd\n"),
        ("task 7: task 8: webhook e", "e"),
        ("run 7 page 2", ""),
        ("asked by webhook anna", ""),
        ("", ""),
    ],
)
def test_the_cause_of_a_row_tells_its_trace(cause: str, event: str):
    assert spans.key_of("acme", cause) == (spans.webhook_key("acme", event) if event else "")


async def test_what_one_process_took_in_and_another_works_on_is_one_trace_and_another_service_has_another():
    found = {}
    for service, name in (("syncd", "first"), ("syncd", "second"), ("other", "third")):
        listener, kept = otel(service)
        if name != "second":
            delivered("acme-evt")
        else:
            with spans.span("task", trace="acme-evt"), spans.span("call", "client"):
                assert spans.traceparent() == ""
        await listener.aclose()
        found[name] = {span.name: span for span in kept.spans}
    root, task, call = found["first"]["arrived"], found["second"]["task"], found["second"]["call"]
    assert task.context.trace_id == root.context.trace_id == call.context.trace_id
    assert task.parent is not None and task.parent.span_id == root.context.span_id and root.parent is None
    assert call.parent is not None and call.parent.span_id == task.context.span_id
    assert found["third"]["arrived"].context.trace_id != root.context.trace_id


async def test_each_try_of_what_is_tried_again_stands_below_nothing_in_one_trace():
    """Below a beginning that was never sent a backend would show nothing."""
    found = []
    for _ in range(2):
        listener, kept = otel()
        with spans.span("push", "consumer", trace="acme-push-1", root=True), spans.span("call", "client"):
            pass
        await listener.aclose()
        found += kept.spans
    tries, calls = found[1::2], found[::2]
    assert [one.name for one in tries] == ["push"] * 2 and [one.parent for one in tries] == [None, None]
    assert len({one.context.trace_id for one in found}) == 1 and len({one.context.span_id for one in found}) == 4
    assert [one.parent.span_id for one in calls if one.parent] == [one.context.span_id for one in tries]


async def test_an_error_is_told_by_its_class_and_never_by_its_words():
    listener, kept = otel()
    with pytest.raises(ValueError, match="secret"), spans.span("work"):
        raise ValueError("the secret")
    await listener.aclose()
    (span,) = kept.spans
    assert span.attributes is not None and span.attributes["error.type"] == "ValueError"
    assert "secret" not in span.to_json()


async def test_partners_are_told_where_that_is_wanted():
    listener, _ = otel(propagates=True)
    with spans.span("call"):
        ids = spans.current()
        assert ids is not None and spans.traceparent() == f"00-{ids[0]}-{ids[1]}-01"
    await listener.aclose()


async def test_a_trace_that_is_not_sent_is_named_neither_to_partners_nor_in_the_log():
    listener, kept = otel(sample=0.0, propagates=True)
    with spans.span("call"):
        assert spans.current() is None and spans.traceparent() == ""
    await listener.aclose()
    assert not kept.spans


async def test_a_stop_waits_for_no_collector_that_is_known_to_be_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(sending, "LAST_SECONDS", 60.0)
    listener, kept = otel()
    kept.fails = True
    delivered("lost")
    while not listener._sending._failing:
        await asyncio.sleep(0.01)
    kept.hangs, tried = threading.Event(), kept.inside
    delivered("on its way")
    while kept.inside == tried:
        await asyncio.sleep(0.01)
    await listener.aclose()
    assert listener._sending._thread.is_alive(), "it was still waiting for the collector"
    kept.hangs.set()
    listener._sending._thread.join(10)
    assert not listener._sending._thread.is_alive()


async def test_what_cannot_be_handed_over_is_counted_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch):
    def lost() -> float:
        return metrics.REGISTRY.get_sample_value("syncd_trace_spans_total", {"result": "lost"}) or 0.0

    monkeypatch.setattr(sending, "EVERY_SECONDS", 60.0)
    monkeypatch.setattr(sending, "WAITING", 10)
    before, (listener, kept) = lost(), otel()
    kept.fails = True
    for number in range(25):
        delivered(f"{number}")
    assert len(listener._sending._waiting) <= 10
    await listener.aclose()
    assert lost() - before == 25 and not kept.spans
