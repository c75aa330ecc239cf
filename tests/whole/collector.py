"""A collector: takes OTLP over HTTP on loopback and keeps the spans."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Kept:
    name: str
    kind: int
    trace: str
    id: str
    above: str
    attributes: dict[str, Any]
    service: dict[str, Any]
    links: tuple[str, ...]
    failed: bool


@dataclass
class Collector:
    spans: list[Kept] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def named(self, name: str) -> list[Kept]:
        return [one for one in self.spans if one.name == name]

    async def until(self, what: Any, *, seconds: float = 30.0) -> Any:
        """Wait until `what()` is true."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := what()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(
                f"spans are {[(one.name, one.trace[:6], one.above[:4]) for one in self.spans]}"
            ) from None
        return found

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.headers = dict(request.headers)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {one.key: _value(one.value) for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Kept(
                            span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                            {one.key: _value(one.value) for one in span.attributes}, service,
                            tuple(link.span_id.hex() for link in span.links), span.status.code == 2,
                        )
                    )  # fmt: skip
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@asynccontextmanager
async def collecting(port: int = 0) -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
