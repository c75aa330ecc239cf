"""Spans: nothing where nobody listens, and where somebody does, ids that every process makes alike."""

from __future__ import annotations

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

    def export(self, batch: Any) -> SpanExportResult:
        if self.fails:
            return SpanExportResult.FAILURE
        self.spans += batch
        return SpanExportResult.SUCCESS


def otel(service: str = "syncd", *, propagates: bool = False) -> tuple[Otel, Kept]:
    found, kept = Otel("http://127.0.0.1:9", {}, service=service, sample=1.0, propagates=propagates), Kept()
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
