"""Clients that are slow on purpose, too many, or too large. Time is the fake clock's, sockets are real."""

from __future__ import annotations

import asyncio

import pytest

from syncd.metrics import HTTP_CUT
from syncd.server import doors
from syncd.server.app import Server
from syncd.testing.clock import FakeClock
from tests.server.fakes import FakeStatus, serving

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: Server) -> Connection:
    return await asyncio.open_connection(server.public.host, server.public.port)


async def settle() -> None:
    """Let bytes cross the loopback."""
    await asyncio.sleep(0.05)


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes; b"" also for a reset."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""


async def test_headers_that_trickle_in_are_cut_off_after_their_deadline():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        reader, writer = await connect(server)
        for byte in b"GET /hea":  # one byte a second: the client is never silent, and still too slow
            writer.write(bytes([byte]))
            await settle()
            await clock.advance(1.0)
        assert not reader.at_eof()
        await clock.advance(3.0)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_never_speaks_is_cut_off_too():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        reader, _ = await connect(server)
        await settle()
        await clock.advance(11.5)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


async def test_slow_headers_of_a_later_request_have_the_same_deadline():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
        await clock.advance(30.0)  # idle between requests is allowed for longer
        writer.write(b"GET /health HT")
        await settle()
        await clock.advance(9.0)
        assert not reader.at_eof()
        await clock.advance(2.5)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_trickles_in_is_answered_408():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await settle()
        await clock.advance(19.0)
        assert not reader.at_eof()
        await clock.advance(1.5)
        found = await answer_of(reader)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"within 20 s" in found


async def test_a_body_over_the_cap_is_refused_before_it_is_read():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 413 ")


async def test_a_chunked_body_over_the_cap_is_refused_as_well():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(17):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.05])
@pytest.mark.parametrize("bad", [b"zz\r\nx\r\n", b"3\r\nabcdef\r\n", b"-1\r\n", b"\x00"])
async def test_a_chunk_that_is_none_is_refused_at_once_wherever_it_comes(bad: bytes, pause: float):
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        for piece in (b"3\r\nabc\r\n", bad):
            await asyncio.sleep(pause)
            writer.write(piece)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 400 ")  # no time passes: there is no deadline to wait for
        assert (await _asked(server)).startswith(b"HTTP/1.1 200 ")


async def test_a_request_behind_a_chunked_one_is_no_broken_chunk():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await settle()
        writer.write(b"3\r\nabc\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 405 ")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")


async def _asked(server: Server) -> bytes:
    reader, writer = await connect(server)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    return await answer_of(reader)


async def test_a_compressed_body_is_refused():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 415 ")


async def test_a_full_site_lets_slow_connections_go_first_then_idle_ones():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock, max_connections=3) as server:
        idle, idle_writer = await connect(server)
        idle_writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer_of(idle)
        silent, _silent_writer = await connect(server)
        await settle()
        await clock.advance(0.5)
        dripping, dripping_writer = await connect(server)
        dripping_writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        await settle()
        others = []
        for gone in (silent, dripping, idle):
            await clock.advance(1.0)
            reader, writer = await connect(server)
            others.append(writer)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
            assert await rest_of(gone) == b""


async def test_a_crowd_of_silent_connections_does_not_lock_others_out():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock, max_connections=8) as server:
        crowd = []
        for _ in range(8):
            crowd.append(await connect(server))
            await settle()
            await clock.advance(0.5)
        reader, writer = await connect(server)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")
        assert await rest_of(crowd[0][0]) == b""  # the oldest made room
        assert not crowd[7][0].at_eof()


async def test_beyond_the_cap_the_answer_is_503_with_a_time_to_come_back():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock, max_connections=2) as server:
        _others = [await connect(server) for _ in range(2)]
        await settle()
        reader, _ = await connect(server)  # the others are too young to be suspected
        found = await rest_of(reader)
        assert found.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in found


async def test_a_client_that_does_not_read_its_answer_is_cut_off():
    clock = FakeClock()
    engine = FakeStatus()
    engine.seen = {"filling": "x" * 30_000_000}
    async with serving(engine, clock=clock) as server:
        reader, writer = await asyncio.open_connection(server.admin.host, server.admin.port, limit=1024)
        writer.write(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.sleep(0.3)
        await clock.advance(32.0)
        found = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(1 << 20), 10):
                found += chunk
        except ConnectionError:
            pass
        assert 0 < len(found) < 30_000_000


async def test_pipelined_requests_are_all_answered():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        for _ in range(3):
            assert (await answer_of(reader)).startswith(b"HTTP/1.1 200 ")


async def test_what_is_no_http_is_answered_and_counted_but_fills_no_log(caplog: pytest.LogCaptureFixture):
    before = HTTP_CUT.labels("public", "malformed")._value.get()
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n")
        assert (await answer_of(reader)).split()[1] == b"400"
    assert HTTP_CUT.labels("public", "malformed")._value.get() == before + 1
    assert caplog.records == []


async def test_unfinished_bodies_hold_so_much_memory_together_and_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doors, "BODIES_BYTES", 280_000)
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        clients = []
        for _ in range(4):
            reader, writer = await connect(server)
            clients.append((reader, writer))
            writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n1")
            await settle()
            writer.write(b"x" * 80_000)
            await settle()
            await clock.advance(0.1)
        assert await rest_of(clients[0][0]) == b""  # the first one has been sending for longest
        for reader, writer in clients[1:]:
            writer.write(b"x" * 19_999)
            assert (await answer_of(reader)).startswith(b"HTTP/1.1 405 ")
        assert server._public.doors.held == 0


def crowd(count: int) -> bytes:
    """So many header lines of 7 KB."""
    return b"".join(b"X-%d: %b\r\n" % (number, b"a" * 7_000) for number in range(count))


@pytest.mark.parametrize(
    "data",
    [
        b"POST /health HTTP/1.1\r\nHost: x\r\n" + crowd(7),
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 49_000,
    ],
    ids=["heads", "first pieces of bodies"],
)
async def test_whatever_is_unfinished_counts(monkeypatch: pytest.MonkeyPatch, data: bytes):
    monkeypatch.setattr(doors, "BODIES_BYTES", 130_000)
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        clients = []
        for _ in range(4):
            clients.append(await connect(server))
            clients[-1][1].write(data)
            await settle()
            await clock.advance(0.1)
        assert 49_000 < server._public.doors.held <= 130_000
        assert await rest_of(clients[0][0]) == b""
    assert server._public.doors.held == 0


async def test_a_head_without_end_is_cut_off():
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\n" + crowd(11))
        assert await rest_of(reader) == b""
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\n" + crowd(8) + b"Content-Length: 100000\r\n\r\n")
        writer.write(b"x" * 100_000)  # what is long here is the body
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 405 ")


async def test_half_a_head_behind_a_whole_request_has_the_time_of_a_head():
    clock = FakeClock()
    async with serving(FakeStatus(), clock=clock) as server:
        reader, writer = await connect(server)
        writer.write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        await settle()
        writer.write(b"1GET /health HTTP/1.1\r\nHost: x\r\n" + crowd(1))
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 405 ")
        writer.write(crowd(1))
        await settle()
        assert server._public.doors.held >= 7_000
        await clock.advance(13.0)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 408 ")
        assert server._public.doors.held == 0


@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_who_closes_his_side_only_gets_his_answer_and_the_end(pause: float):
    async with serving(FakeStatus(), clock=FakeClock()) as server:
        for data in (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /health HTTP/1.1\r\nHost: x\r\n"
                     b"Content-Length: 2\r\n\r\n12"):  # fmt: skip
            reader, writer = await connect(server)
            writer.write(data)
            await asyncio.sleep(pause)
            writer.write_eof()
            assert (await rest_of(reader)).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 405 "))
            reader, writer = await connect(server)
            writer.write(data[:-1])
            writer.write_eof()
            assert await rest_of(reader) == b""
        assert len(server._public.doors) == 0
