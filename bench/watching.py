"""What is watched all the time, and what that costs: `python -m bench.watching`. CPU of this process alone, the best of
several rounds, because another process on the machine disturbs that least.

    a call           Session.call of a page of 93 KB, 16 at once, as it is, and where OpenTelemetry's spans are made of it
    its witness      of these, remembering the call for a partner's support desk (client/witness.py), measured alone
    a span, off      what the work pays where nobody listens
    a statement      SELECT 1, as it is
    its telling      of these, what is noted as it ends (store/vitals.py), measured alone
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace.export import SpanExportResult

from bench import transport
from syncd import log, spans
from syncd.client.addresses import Origin, Target
from syncd.client.witness import Witness
from syncd.clock import SystemClock
from syncd.model import Headers, Response
from syncd.store import embedded
from syncd.store.database import Database
from syncd.store.vitals import Vitals
from syncd.telemetry.otel import Otel

AT_ONCE = 16


class Dropped:
    """An exporter that has nobody to hand spans to."""

    def export(self, batch: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return None


@asynccontextmanager
async def traced(origin: str, sample: float) -> AsyncIterator[transport.Call]:
    otel = Otel("http://127.0.0.1:9", {}, service="bench", sample=sample, propagates=False)
    otel._sending._exporter = Dropped()  # type: ignore[assignment]
    async with transport.session(origin) as call:
        yield call
    await otel.aclose()


async def calls(origin: str, count: int, rounds: int) -> None:
    ways = {
        "a call": lambda: transport.session(origin),
        "traced": lambda: traced(origin, 1.0),
        "traced, 1 in 100": lambda: traced(origin, 0.01),
    }
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            async with way() as call:
                spent = await transport.cost(call, AT_ONCE, count)
            best[name] = min(spent, best.get(name, spent))
    for name, spent in best.items():
        print(f"{name:18s}{spent:10.1f} us{spent / best['a call']:8.2f}", flush=True)


def alone(name: str, work: Callable[[], object], rounds: int, times: int = 50_000) -> None:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - began) / times * 1e6)
    print(f"{name:18s}{best:10.2f} us", flush=True)


def witness(rounds: int) -> None:
    noted, now = Witness(), SystemClock().now()
    target = Target(Origin("https", "api.example.com", 443), "/v1/listings", home=True)
    answer = Response(200, Headers([("x-request-id", "abc"), ("date", "now")]), b"{}")

    def one() -> None:
        noted.note(
            now,
            0.1,
            method="GET",
            route="/listings",
            target=target,
            attempt=1,
            label="200",
            response=answer,
            error=None,
        )

    alone("its witness", one, rounds)


async def statements(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240 - nothing else goes on
        with embedded.start(Path(folder), settings=embedded.DURABLE) as server:
            database = await Database.open(server.url, clock=SystemClock(), pool_size=1)
            best = float("inf")
            for _ in range(rounds):
                began = time.process_time()
                for _ in range(count):
                    await database.fetchval("SELECT 1")
                best = min(best, (time.process_time() - began) / count * 1e6)
            await database.aclose()
    print(f"{'a statement':18s}{best:10.1f} us", flush=True)
    vitals, ended = Vitals(SystemClock()), SimpleNamespace(elapsed=0.001, exception=None, query="SELECT 1")
    alone("its telling", lambda: vitals.heard(ended), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    log.configure("info", "json")
    server = subprocess.Popen([sys.executable, transport.__file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        asyncio.run(calls(f"http://127.0.0.1:{int(server.stdout.readline())}", options.calls, options.rounds))
    finally:
        server.terminate()
        server.wait()
    witness(options.rounds)
    alone("a span, off", lambda: spans.span("a", "client"), options.rounds)
    asyncio.run(statements(options.calls, options.rounds))


if __name__ == "__main__":
    main()
