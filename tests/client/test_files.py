"""Files are received piece by piece, over real sockets: never in memory as a whole, never half kept."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from aiohttp import web

from syncd.errors import GoneError, PayloadError, RejectedError, StoreError
from syncd.model import Request
from syncd.sync.depot import Depot
from tests.client.parts import failure
from tests.client.servers import raw_server, saying
from tests.client.test_real_servers import application, session_at

MEGABYTE = 1 << 20
FILE = Request("/file")


async def test_a_file_larger_than_any_answer_may_be_goes_to_the_disk_and_not_into_memory(tmp_path: Path) -> None:
    async def file(request: web.Request) -> web.StreamResponse:
        told = web.StreamResponse()
        await told.prepare(request)
        for _ in range(24 * 16):
            await told.write(b"x" * (MEGABYTE // 16))
        return told

    async with application(file=file) as url, session_at(url, most_body=MEGABYTE) as session:
        with Depot(tmp_path, 32 * MEGABYTE).grow() as growing:
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                answer = await session.call(FILE, into=growing)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert growing.size == 24 * MEGABYTE and answer.content == b""
            assert peak - before < 8 * MEGABYTE
            growing.keep()


async def test_a_file_cut_off_is_sent_again_from_its_beginning(tmp_path: Path) -> None:
    async with (
        raw_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"", close=True)) as server,
        session_at(server.url) as session,
    ):
        with Depot(tmp_path, 100).grow() as growing:
            await failure(session.call(FILE, into=growing))
            assert len(server.heads) == 3
            assert growing.size == 4, "each try began anew"
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


async def test_what_is_no_file_says_so(tmp_path: Path) -> None:
    async def big(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 200)

    async def gone(_: web.Request) -> web.Response:
        return web.json_response({"error": "gone"}, status=404)

    async def denied(_: web.Request) -> web.Response:
        return web.json_response({"error": "expired"}, status=403)

    kinds = {"big": PayloadError, "gone": GoneError, "denied": RejectedError}
    async with application(big=big, gone=gone, denied=denied) as url, session_at(url) as session:
        for path, kind in kinds.items():
            with Depot(tmp_path, 100).grow() as growing:
                error = await failure(session.call(Request(f"/{path}"), into=growing))
                assert isinstance(error, kind), error
                assert path == "big" or growing.size == 0, "an error's words are no part of the file"


async def test_a_disk_that_takes_nothing_is_no_fault_of_the_partner(tmp_path: Path) -> None:
    class Full:
        def begin(self) -> None: ...

        def write(self, data: bytes) -> None:
            raise StoreError("no room")

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=b"x")

    async with application(file=file) as url, session_at(url) as session:
        error = await failure(session.call(FILE, into=Full()))
        assert isinstance(error, StoreError)
        assert session.spent.calls == 1, "asked once: asking again makes no room"
