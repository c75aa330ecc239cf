"""A PostgreSQL of the test's own, to be restarted, frozen and killed, and a proxy that cuts its answers off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from syncd.store import embedded
from syncd.store.embedded import EmbeddedServer


class Postgres:
    """Runs from `start` to `stop`; the blocking calls go through threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: EmbeddedServer | None = None

    async def start(self) -> None:
        self._server = await asyncio.to_thread(embedded.start, self._folder, settings=embedded.DISPOSABLE)
        self._server.guard()

    async def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one, after which the server recovers from its log."""
        assert self._server is not None
        pid = self._server.pid
        if pid is not None:
            os.kill(pid, sign)
            while self._server.pid is not None:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(self._server.stop)

    @property
    def url(self) -> str:
        assert self._server is not None
        return self._server.url

    @property
    def socket(self) -> str:
        """The Unix socket it listens at."""
        return parse_qs(urlsplit(self.url).query)["host"][0] + "/.s.PGSQL.5432"

    def freeze(self) -> None:
        """Stop the server and all its backends where they are: nothing answers, nothing is refused."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def _pids(self) -> Iterator[int]:
        assert self._server is not None
        parent = self._server.pid
        assert parent is not None
        yield parent
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                yield int(path.parent.name)


class Cutter:
    """A TCP proxy before a server's socket. While armed it swallows answers to INSERTs, which are sent after their COMMIT,
    and cuts the connection instead: every so many of them."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._seen = 0
        self.every = 0
        """Cut every so manieth; 0: none."""
        self.cuts = 0
        self.delay_seconds = 0.0
        """How long each packet is under way, in either direction."""
        self._away = False

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def leave(self) -> None:
        """As a server that is gone: whoever is connected loses that, and nobody connects."""
        self._away = True
        for writer in list(self._writers):
            writer.transport.abort()

    def come_back(self) -> None:
        self._away = False

    def url(self, user: str, database: str) -> str:
        assert self._server is not None
        return f"postgresql://{user}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{database}?sslmode=disable"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._away:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._writers |= pair
        try:
            await asyncio.wait(
                [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._answer(there, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for each in pair:
                each.transport.abort()
            self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_seconds)
                if self.every and b"INSERT 0 " in data:
                    self._seen += 1
                    if self._seen % self.every == 0:
                        self.cuts += 1
                        return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
