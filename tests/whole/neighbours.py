"""Partners that live beside each other: listings without an end, records by id, and what each of them suffers from.

A bare protocol in a process of its own, so that what is measured is the daemon: `python -m tests.whole.neighbours` prints
its ports and serves until killed. A path begins with the integration's name, and each name has a mood of its own:

* `well`: a page of 100 records of 300 bytes after 50 ms, every page another one; `fast`: at once; `idle`: an empty listing;
  `reads`: that, and records by id at once; what else there is stands in `Connection.answer`
* `POST /_moods {"name": "mood"}` sets some; what hung is cut. `GET /_stats`: calls by name, and when each push arrived
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from functools import cache

import orjson
import uvloop

PAGE = 100
LATENCY_SECONDS = 0.05
BIG_BYTES = 30 * 1024 * 1024
"""Of one large page: near the cap of 32 MiB."""
_PAD = "x" * 190
HEAD = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nDate: %s\r\n%sContent-Length: %d\r\n\r\n"


def record(name: str, number: int, pad: str = _PAD) -> bytes:
    """One record of the listing, about 300 bytes."""
    return b'{"id":"%s-%d","number":%d,"name":"Record %d","at":"2026-01-01T00:00:00Z","pad":"%s"}' % (
        name.encode(), number, number, number, pad.encode(),
    )  # fmt: skip


def single(name: str) -> bytes:
    """A record by its id."""
    return b'{"id":"%s","number":1,"name":"One","at":"2026-01-01T00:00:00Z"}' % name.encode()


def page(name: str, at: int, *, last: bool = False) -> bytes:
    """Records from `at` on, and where the listing goes on: nowhere if `last`."""
    items = b",".join(record(name, number) for number in range(at, at + PAGE))
    return b'{"items":[%s],"next":%s}' % (items, b"null" if last else b'"%d"' % (at + PAGE))


@cache
def big(kind: str) -> bytes:
    """The items of a large page; `@` stands where its number goes."""
    size = {"large records": 100_000, "many records": 800, "tiny records": 40}[kind]
    pad = b"y" * size
    items, total = [], 0
    while total < BIG_BYTES:
        items.append(b'{"id":"r@-%d","number":%d,"name":"Record","pad":"%s"}' % (len(items), len(items), pad))
        total += len(items[-1]) + 9
    return b",".join(items)


def _deep() -> bytes:
    inner = b"[" * 200_000 + b"]" * 200_000
    return b'{"items":[{"id":"d","deep":%s}],"next":null}' % inner


def _nested(at: int) -> bytes:
    """Records nested so deeply that they can be parsed and not be stored."""
    inner = b"[" * 600 + b"]" * 600
    return b'{"items":[%s],"next":"%d"}' % (
        b",".join(b'{"id":"n%d","deep":%s}' % (number, inner) for number in range(at, at + PAGE)), at + PAGE,
    )  # fmt: skip


def _poison(at: int) -> bytes:
    """Records that are none, each in another way: no id, ids of all kinds, numbers beyond all bounds, NUL, no objects."""
    kinds = (
        b'{"number":%d}',
        b'{"id":{"x":%d}}',
        b'{"id":[%d]}',
        b'{"id":"h%d","number":1e300}',
        b'{"id":"z%d\\u0000","name":"\\u0000"}',
        b'{"id":"w%d","number":"many","at":"yesterday"}',
        b"%d",
        b'{"id":"l%d","number":123456789012345678901234567890}',
    )
    made = b",".join(kinds[number % len(kinds)] % number for number in range(at, at + PAGE))
    return b'{"items":[%s],"next":"%d"}' % (made, at + PAGE)


class World:
    """What all connections share."""

    def __init__(self) -> None:
        self.moods: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.pages: Counter[str] = Counter()
        self.pushed: dict[str, float] = {}
        self.hung: set[asyncio.Transport] = set()
        self.date = b""
        self.serial = 0
        self.deep = b""

    def tick(self) -> None:
        self.date = formatdate(usegmt=True).encode()

    def mood_of(self, name: str) -> str:
        return self.moods.get(name, "well")

    def control(self, path: str, body: bytes) -> bytes:
        if path == "/_moods":
            self.moods |= orjson.loads(body)
            for transport in self.hung:
                transport.abort()
            self.hung.clear()
        return orjson.dumps({"calls": dict(self.calls), "pages": dict(self.pages), "pushed": self.pushed})


class Connection(asyncio.Protocol):
    """Keep-alive calls, one at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop does not derive from asyncio

    def connection_lost(self, exc: BaseException | None) -> None:
        self.world.hung.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        data = self.waiting + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].decode("latin-1")
            length = 0
            for line in head.split("\r\n")[1:]:
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            if len(data) < end + 4 + length:
                break
            body, data = data[end + 4 : end + 4 + length], data[end + 4 + length :]
            method, target, _ = head.split(" ", 2)
            self.take(method, target, head, body)
        self.waiting = data

    def say(self, body: bytes, status: int = 200, more: bytes = b"", kind: bytes = b"application/json") -> None:
        if not self.transport.is_closing():
            self.transport.writelines([HEAD % (status, b"x", kind, self.world.date, more, len(body)), body])

    def soon(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, what)

    def take(self, method: str, target: str, head: str, body: bytes) -> None:
        world = self.world
        path, _, query = target.partition("?")
        if path.startswith("/_"):
            self.say(world.control(path, body))
            return
        name, _, rest = path[1:].partition("/")
        world.calls[name] += 1
        if method == "POST":
            told = orjson.loads(body)
            world.pushed[f"{name}/{told['mark']}"] = time.time()
            self.soon(
                LATENCY_SECONDS, lambda: self.say(orjson.dumps({"id": told["mark"], "at": "2026-01-01T00:00:00Z"}))
            )
            return
        if rest == "told" or rest == "me":
            self.say(b'{"items":[],"next":null}')
            return
        after = next((part[6:] for part in query.split("&") if part.startswith("after=")), "")
        number = int(after or 0)
        if not after:
            # Each pass over the listing brings others, however short the one before it was.
            world.serial += 1
            number = world.serial * 10_000_000
        self.answer(name, world.mood_of(name), rest.partition("/")[2], number)

    def answer(self, name: str, mood: str, one: str, at: int) -> None:
        world = self.world
        if not one:
            world.pages[name] += 1
        match mood:
            case "well" if not one:
                self.soon(LATENCY_SECONDS, lambda: self.say(page(name, at)))
            case "reads" if not one:
                self.say(b'{"items":[],"next":null}')
            case "well" | "fast" | "reads":
                self.say(single(one) if one else page(name, at))
            case "idle":
                self.say(b'{"items":[],"next":null}')
            case "hangs":
                world.hung.add(self.transport)
            case "drips":
                world.hung.add(self.transport)
                self.transport.write(
                    HEAD % (200, b"OK", b"application/json", world.date, b"", 1_000_000) + b'{"items":['
                )
                self.drip()
            case "large records" | "many records" | "tiny records":
                world.serial += 1
                items = big(mood).replace(b"@", b"%d" % world.serial)
                self.say(b'{"next":"%d","items":[%s]}' % (world.serial, items))
            case "garbage":
                self.say(bytes(range(256)) * 4000)
            case "html":
                self.say(b"<html><body>" + b"<p>We are improving our service.</p>" * 30_000, kind=b"text/html")
            case "deep":
                world.deep = world.deep or _deep()
                self.say(world.deep)
            case "nested":
                self.say(_nested(at))
            case "poison":
                self.say(_poison(at))
            case "429":
                self.say(b"{}", 429)
            case "503":
                self.say(b"{}", 503)
            case "401":
                self.say(b"{}", 401)
            case "422":
                self.say(b'{"error":"no"}', 422)
            case "slow":
                self.soon(3.0, lambda: self.say(single(one) if one else page(name, at, last=True)))
            case _:
                self.say(b"{}", 500)

    def drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b" ")
            self.soon(0.3, self.drip)


class Silent(asyncio.Protocol):
    """Takes connections and says nothing: a TLS handshake that never ends."""


async def serve() -> None:
    world = World()
    world.tick()
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(lambda: Connection(world), sock=listener)
    silent = await loop.create_server(Silent, "127.0.0.1", 0)
    full = socket.create_server(
        ("127.0.0.1", 0), backlog=0
    )  # nobody ever accepts: what comes after the first ones waits
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    ports = listener.getsockname()[1], silent.sockets[0].getsockname()[1], full.getsockname()[1]
    print(*ports, flush=True)
    async with server, silent:
        while True:
            await asyncio.sleep(1)
            world.tick()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    uvloop.run(serve())
