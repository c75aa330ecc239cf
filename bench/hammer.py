"""`python -m bench.hammer --port 8080`: signed deliveries of 1 KB over open connections, as fast as they are answered.

Made to cost next to nothing: the requests are written beforehand, and a bare protocol sends the next one when the answer to
the last one is complete. Prints one JSON object: requests, seconds, rate, p50 and p99 in milliseconds, answers by status.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import time
from collections import Counter
from collections.abc import Iterator

import orjson
import uvloop

from bench.static_server import record
from syncd.kit import signatures

PATH = "/webhooks/bench/bench_one"
SECRET = "whsec_c3ludGhldGljLXdlYmhvb2sta2V5LTAwMDAwMDAx"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
EVENT_BYTES = 1024


def event(n: int, run: str, records: int) -> bytes:
    """The nth event: a record is new or changed, and the event carries it."""
    told = record(n % records)
    told["updated_at"] = f"2026-03-01T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}.{n % 1_000_000:06d}Z"
    body: dict[str, object] = {"id": f"evt_{run}_{n:08d}", "type": "record.updated", "record": told}
    told["text"] = ""
    told["text"] = "x" * max(0, EVENT_BYTES - len(orjson.dumps(body)))
    return orjson.dumps(body)


def requests(count: int, run: str, records: int) -> Iterator[bytes]:
    """Whole requests, signed now by Standard Webhooks."""
    stamp = str(int(time.time()))
    for n in range(count):
        body = event(n, run, records)
        name = f"evt_{run}_{n:08d}"
        seal = signatures.sign_standard(body, name, stamp, SECRET)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: partner/1.0\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nwebhook-id: {name}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: {seal}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


class Line(asyncio.Protocol):
    """One connection; `load` is shared by all."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._got = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.lines.append(self)

    def send(self) -> None:
        request = self._load.next()
        if request is None:
            self._load.done()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._got:
            data = self._got + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            at = data.find(b"Content-Length: ") + 16
            length = int(data[at : data.find(b"\r\n", at)]) if at > 15 else 0
            if len(data) >= end + 4 + length:
                self._load.took(data[9:12], time.perf_counter() - self._sent_at)
                self._got = b""
                self.send()
                return
        self._got = data

    def connection_lost(self, exc: BaseException | None) -> None:
        self._load.lost()


class Load:
    def __init__(self, made: list[bytes]) -> None:
        self._made = iter(made)
        self.lines: list[Line] = []
        self.statuses: Counter[bytes] = Counter()
        self.seconds: list[float] = []
        self._idle = 0
        self.over = asyncio.Event()

    def next(self) -> bytes | None:
        return next(self._made, None)

    def took(self, status: bytes, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.append(seconds)

    def done(self) -> None:
        self._idle += 1
        if self._idle == len(self.lines):
            self.over.set()

    def lost(self) -> None:
        if not self.over.is_set():
            raise SystemExit("the server closed a connection")


async def hammer(port: int, made: list[bytes], connections: int) -> dict[str, object]:
    load = Load(made)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Line(load), "127.0.0.1", port)
    begun = time.perf_counter()
    for line in load.lines:
        line.send()
    await load.over.wait()
    seconds = time.perf_counter() - begun
    each = sorted(load.seconds)
    return {
        "requests": len(each),
        "seconds": seconds,
        "rate": len(each) / seconds,
        "p50_ms": each[len(each) // 2] * 1000,
        "p99_ms": each[len(each) * 99 // 100] * 1000,
        "statuses": {status.decode(): count for status, count in sorted(load.statuses.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hammer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--records", type=int, default=1_000, help="how many records the events are about")
    parser.add_argument("--run", default="a", help="a word in every event id, so that two runs bring different events")
    options = parser.parse_args()
    made = list(requests(options.requests, options.run, options.records))
    gc.disable()
    print(json.dumps(uvloop.run(hammer(options.port, made, options.connections))))


if __name__ == "__main__":
    main()
