"""`python -m tests.whole.flooding --port 8080 --path /webhooks/lone/lone_sick --per-second 4000`: deliveries without end.

A process of its own, killed when it is enough. Kinds: `whole` (signed, with the record), `thin` (signed, of `--records`
records in turn, to be read), `forged` (a signature that is none). Written beforehand where that can be; a line a second
tells how many were answered with what.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from datetime import UTC, datetime

import orjson
import uvloop

from syncd.kit import signatures

SECRET = "whsec_c3ludGhldGljLXdlYmhvb2sta2V5LTAwMDAwMDAx"
CONNECTIONS = 32


def delivery(path: str, name: str, told: dict[str, object], *, forged: bool = False) -> bytes:
    """One whole request, signed now as Standard Webhooks are."""
    body, stamp = orjson.dumps(told), str(int(time.time()))
    seal = (
        "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        if forged
        else signatures.sign_standard(body, name, stamp, SECRET)
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nwebhook-id: {name}\r\n"
        f"webhook-timestamp: {stamp}\r\nwebhook-signature: {seal}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Flood:
    """So many a second over all connections, or as fast as they are answered."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.run = f"{time.time_ns():x}"
        self.serial = 0
        self.answered: Counter[str] = Counter()
        self.began = time.monotonic()

    def next(self) -> bytes:
        self.serial += 1
        number, options = self.serial, self.options
        external = f"f{number % options.records}" if options.kind == "thin" else f"f{self.run}-{number}"
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        told: dict[str, object] = {"type": "told.updated", "told": {"id": external, "at": at}}
        if options.kind == "thin":
            told = {"type": "record.updated", "told": {"id": external, "at": at}}
        else:
            told["record"] = {"id": external, "at": at, "mark": "flood", "pad": "x" * 700}
        return delivery(options.path, f"evt_{self.run}_{number}", told, forged=options.kind == "forged")

    def due(self) -> float:
        """Seconds until the next one may go."""
        return self.began + self.serial / self.options.per_second - time.monotonic()


class Line(asyncio.Protocol):
    """One connection: the next one goes when the last one is answered, and it is due."""

    def __init__(self, flood: Flood) -> None:
        self.flood = flood

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        wait = self.flood.due()
        if wait > 0.001:
            asyncio.get_running_loop().call_later(wait, self.send)
        elif not self.transport.is_closing():
            self.transport.write(self.flood.next())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.flood.answered[data[9:12].decode()] += 1  # answers come in one piece
        self.send()


async def flood(options: argparse.Namespace) -> None:
    load = Flood(options)
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Line(load), "127.0.0.1", options.port)
    while True:
        await asyncio.sleep(1.0)
        print(json.dumps(load.answered), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--per-second", type=float, default=4000.0)
    parser.add_argument("--kind", choices=["whole", "thin", "forged"], default="whole")
    parser.add_argument("--records", type=int, default=100_000)
    uvloop.run(flood(parser.parse_args()))
