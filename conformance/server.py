"""A partner on the loopback that gives each caller one row's answer and from then on a good one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from conformance.rows import Row

GOOD = json.dumps({"data": [{"id": 1}], "object": "customer", "id": "cus_1"}).encode()
_REASONS = {200: "OK", 429: "Too Many Requests", 503: "Service Unavailable"}


@dataclass
class Partner:
    """`calls` counts requests by path; `/TOOL/ROW` (and anything below it) answers row ROW first, then 200."""

    rows: dict[str, Row]
    now: Callable[[], datetime]
    calls: dict[str, int] = field(default_factory=dict)
    arrived: Callable[[str], None] = lambda path: None
    port: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Written on bare streams: a web framework would add, join or trim headers."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                lengths = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
                if lengths:
                    await reader.readexactly(int(lengths[0]))
                tool, _, rest = lines[0].split()[1].partition("?")[0].lstrip("/").partition("/")
                name = rest.partition("/")[0]
                path = f"/{tool}/{name}"
                self.calls[path] = self.calls.get(path, 0) + 1
                self.arrived(path)
                writer.write(self._answer(name, first=self.calls[path] == 1))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, name: str, *, first: bool) -> bytes:
        status, headers, body = 200, [("Content-Type", "application/json")], GOOD
        if first and name in self.rows:
            row = self.rows[name]
            status, (headers, body) = row.status, row.answer(self.now())
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{key}: {value}" for key, value in headers)]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


@asynccontextmanager
async def partner(rows: list[Row], now: Callable[[], datetime]) -> AsyncIterator[Partner]:
    """A running one, stopped at the end."""
    one = Partner({row.name: row for row in rows}, now)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
