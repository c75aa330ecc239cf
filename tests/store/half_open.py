"""A way to the database on which the client's side of a connection may die without the server hearing of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit


class HalfOpen:
    """Listens on loopback and passes everything on to the server's Unix socket, until told otherwise."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = parse_qs(parts.query)["host"][0] + "/.s.PGSQL.5432"
        self._database = parts.path
        self._wires: list[asyncio.StreamWriter] = []
        self._cut: set[asyncio.StreamWriter] = set()
        self._ends: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.openings: list[bytes] = []
        """The first packet of each connection: it names the session's settings."""
        self.refuses_wires = False
        """New wires are not let through; other connections are."""

    async def __aenter__(self) -> HalfOpen:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for end in self._ends:
            end.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://syncd@127.0.0.1:{port}{self._database}?sslmode=disable"

    def cut_wires(self) -> int:
        """Our side of each wire is gone; the server goes on taking it for alive."""
        standing = [client for client in self._wires if not client.is_closing()]
        self._cut.update(standing)
        for client in standing:
            client.transport.abort()
        return len(standing)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        self.openings.append(first)
        wire = b"syncd wire" in first
        if wire and self.refuses_wires:
            client.transport.abort()
            return
        answers, server = await asyncio.open_unix_connection(self._socket)
        self._ends += [client, server]
        if wire:
            self._wires.append(client)
        server.write(first)
        await asyncio.gather(self._pass(reader, server, client), self._pass(answers, client, client))

    async def _pass(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                to.write(data)
                await to.drain()
        if client not in self._cut:
            to.close()
