"""A partner that costs nothing: pages of records made beforehand, served by a bare protocol in a process of its own.

`python -m bench.static_server --records 100000 --paging cursor` prints its port on one line and serves until killed:

* `/records?limit=100&offset=300` (paging offset) answers `{"data": [...], "total": n}`
* `/records?limit=100&after=300` (paging cursor) answers `{"data": [...], "next": "400" or null}`
* `/_stats` says how many requests came since the last `/_reset`, and when the first and the last one did

Every record is 1 KB of JSON. The page size is fixed at the start; `limit` is there for clients that must send one.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from email.utils import formatdate

import orjson
import uvloop

PAGE = 100
RECORD_BYTES = 1024
WORDS = [
    "harbour",
    "lantern",
    "orchard",
    "meadow",
    "granite",
    "willow",
    "copper",
    "thistle",
    "juniper",
    "marble",
    "fir",
    "oak",
]


def record(n: int) -> dict[str, object]:
    """The nth record: nested, with numbers, text and a list, and exactly 1 KB as compact JSON."""
    made: dict[str, object] = {
        "id": f"rec_{n:08d}",
        "created_at": f"2026-01-{n % 28 + 1:02d}T08:00:00Z",
        "updated_at": f"2026-02-{n % 28 + 1:02d}T{n % 24:02d}:{n % 60:02d}:00Z",
        "name": f"{WORDS[n % 12].title()} {WORDS[n // 12 % 12]} {n}",
        "status": ("active", "inactive", "draft")[n % 3],
        "amount": n * 37 % 100_000 / 100,
        "count": n % 1000,
        "flags": {"listed": n % 2 == 0, "instant": n % 5 == 0},
        "address": {
            "street": f"{n % 300} {WORDS[n % 7]} street",
            "city": "Lisbon",
            "postal_code": f"{n % 9999:04d}-100",
        },
        "tags": [WORDS[(n + k) % 12] for k in range(4)],
        "owner": {"id": f"usr_{n % 997:05d}", "email": f"owner{n % 997}@example.com"},
        "text": "",
    }
    missing = RECORD_BYTES - len(orjson.dumps(made))
    made["text"] = (" ".join(WORDS[(n + k) % 12] for k in range(140)))[:missing].ljust(missing, ".")
    return made


def pages(records: int, paging: str) -> list[bytes]:
    """Every page's body, in order."""
    bodies = []
    for start in range(0, records, PAGE):
        end = min(start + PAGE, records)
        data = b"[%s]" % b",".join(orjson.dumps(record(n)) for n in range(start, end))
        following = b'"%d"' % end if end < records else b"null"
        tail = b'"total":%d' % records if paging == "offset" else b'"next":%s' % following
        bodies.append(b'{"data":%s,%s}' % (data, tail))
    return bodies


class Answers:
    """What all connections share: the pages, and what was asked."""

    def __init__(self, bodies: list[bytes], paging: str) -> None:
        self.bodies = bodies
        self.mark = b"offset=" if paging == "offset" else b"after="
        self.beyond = (
            b'{"data":[],"total":%d}' % (len(bodies) * PAGE) if paging == "offset" else b'{"data":[],"next":null}'
        )
        self.head = b""
        self.reset()

    def reset(self) -> None:
        self.requests, self.first, self.last = 0, 0.0, 0.0

    def answer(self, target: bytes) -> bytes:
        if target.startswith(b"/records"):
            self.last = time.time()
            self.first = self.first or self.last
            self.requests += 1
            _, _, rest = target.partition(self.mark)
            number = int(rest.partition(b"&")[0] or 0) // PAGE
            return self.bodies[number] if number < len(self.bodies) else self.beyond
        if target == b"/_reset":
            self.reset()
        return orjson.dumps({"requests": self.requests, "first": self.first, "last": self.last})


class Connection(asyncio.Protocol):
    """Keep-alive GETs, one after the other or pipelined; headers are skipped unread."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.waiting = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop does not derive from asyncio

    def data_received(self, data: bytes) -> None:
        data = self.waiting + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            body = self.answers.answer(data[: data.index(b"\r\n")].split(b" ")[1])
            self.transport.writelines([self.answers.head % len(body), body])
            data = data[end + 4 :]
        self.waiting = data


def head() -> bytes:
    date = formatdate(usegmt=True).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %s\r\nContent-Length: %%d\r\n\r\n" % date


async def serve(records: int, paging: str) -> None:
    answers = Answers(pages(records, paging), paging)
    answers.head = head()
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(lambda: Connection(answers), sock=listener)
    print(listener.getsockname()[1], flush=True)
    async with server:
        while True:
            await asyncio.sleep(1)
            answers.head = head()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--paging", choices=["cursor", "offset"], default="cursor")
    options = parser.parse_args()
    uvloop.run(serve(options.records, options.paging))
