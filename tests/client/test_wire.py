"""The transport on real sockets: what is sent, what is never repeated, and how each way to fail reads."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from syncd.client.addresses import Addresses
from syncd.client.transport import Answer, Outgoing, PartnerTransport, Timeouts
from syncd.client.wire import AiohttpTransport, tls_context
from syncd.clock import SystemClock
from syncd.errors import PartnerError, PayloadError, TransientError
from syncd.model import Request
from tests.client.servers import answer, raw_server, saying

CAP = 1 << 20
EMPTY = gzip.compress(b"") * (CAP // 20 + 1000)
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


@pytest.fixture
async def transport() -> AsyncIterator[PartnerTransport]:
    made = PartnerTransport("acme", clock=SystemClock(), most_body=CAP, timeouts=Timeouts(connect=5, read=5))
    yield made
    await made.aclose()


async def exchange(
    transport: PartnerTransport, url: str, method: str = "GET", path: str = "/x", **more: object
) -> Answer:
    out = Outgoing(method, "/x", Addresses(url).target(Request(path)), {"Accept": "*/*"}, **more)  # type: ignore[arg-type]
    return await transport.exchange(out)


def refusal(found: Answer) -> PartnerError:
    assert found.failure is not None, found
    assert found.failure.error.__context__ is None
    assert found.failure.error.__cause__ is None
    return found.failure.error


async def test_the_checked_url_is_sent_byte_for_byte_and_nothing_is_added(transport: PartnerTransport) -> None:
    async with raw_server(saying(answer())) as server:
        await exchange(transport, server.url, path="/a%2Fb/%C3%BC%7E%41;x=1/~:@?q=%2B+a%20&r='")
    head = server.heads[0].decode().split("\r\n")
    assert head[0] == "GET /a%2Fb/%C3%BC%7E%41;x=1/~:@?q=%2B+a%20&r=' HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in head[1:] if line}
    assert names == {"host", "accept"}


async def test_bodies_are_sent_with_their_length(transport: PartnerTransport) -> None:
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        heard.append(await reader.readexactly(5))
        writer.write(answer())

    async with raw_server(script) as server:
        found = await exchange(transport, server.url, "POST", content=b"a=b&c")
    assert found.response is not None
    assert heard == [b"a=b&c"]
    assert b"content-length: 5" in server.heads[0].lower()


async def test_connections_are_kept_and_cookies_are_not(transport: PartnerTransport) -> None:
    async with raw_server(saying(answer(b"{}", "200 OK", "Set-Cookie: session=abc; Path=/"))) as server:
        for _ in range(3):
            found = await exchange(transport, server.url)
            assert found.response is not None
            assert "set-cookie" not in found.response.headers
    assert server.connections == 1
    assert all(b"cookie" not in head.lower() for head in server.heads)


async def test_a_kept_connection_that_was_closed_costs_no_second_request_nobody_counted(
    transport: PartnerTransport,
) -> None:
    """aiohttp would send a GET again by itself: a call no gate has seen."""
    turns = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            writer.write(answer())
        else:
            writer.close()

    async with raw_server(script) as server:
        assert (await exchange(transport, server.url)).response is not None
        error = refusal(await exchange(transport, server.url))
    assert isinstance(error, TransientError)
    assert len(server.heads) == 2


async def test_a_redirect_is_an_answer_not_an_order(transport: PartnerTransport) -> None:
    async with raw_server(saying(answer(b"", "302 Found", "Location: /elsewhere"))) as server:
        found = await exchange(transport, server.url)
    assert found.response is not None
    assert (found.response.status_code, len(server.heads)) == (302, 1)


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ([answer(b"[1, 2", length=100)], "close"),
        ([answer(b"[1, 2", length=100)], "reset"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n"], "close"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nrubbish\r\n"], "close"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le"], "close"),
        ([b""], "close"),
        ([b""], "reset"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "close"),
        ([answer(gzip.compress(b"x" * 5000)[:-9], "200 OK", "Content-Encoding: gzip")], "keep"),
        ([answer(b"no gzip", "200 OK", "Content-Encoding: gzip")], "keep"),
    ],
)
async def test_a_broken_answer_is_transient_and_a_broken_write_unknown(
    transport: PartnerTransport, parts: list[bytes], end: str
) -> None:
    async with raw_server(saying(*parts, close=end == "close", reset=end == "reset")) as server:
        read = refusal(await exchange(transport, server.url))
        written = refusal(await exchange(transport, server.url, "POST"))
    assert isinstance(read, TransientError) and not read.unknown
    assert isinstance(written, TransientError) and written.unknown
    assert read.breaks


async def test_a_refused_connection_was_never_sent(transport: PartnerTransport) -> None:
    async with raw_server(saying(b"")) as server:
        url = server.url
    found = await exchange(transport, url, "POST")
    error = refusal(found)
    assert isinstance(error, TransientError) and not error.unknown
    assert found.label == "refused"


async def test_silence_ends_in_a_timeout() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        await asyncio.sleep(30)

    transport = PartnerTransport("acme", clock=SystemClock(), timeouts=Timeouts(read=0.05))
    async with raw_server(never) as server:
        found = await exchange(transport, server.url)
    await transport.aclose()
    assert found.label == "timeout"
    assert isinstance(refusal(found), TransientError)


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = Encoding.PEM
    (folder / "c.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "k.pem").write_bytes(key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c.pem", folder / "k.pem")
    return context


async def test_a_certificate_nobody_vouches_for_is_tls_trouble_and_gets_no_request(
    transport: PartnerTransport, tmp_path: Path
) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await exchange(transport, url, "POST")
    error = refusal(found)
    assert found.label == "tls"
    assert isinstance(error, TransientError) and not error.unknown
    assert not any(b"HTTP" in one for one in heard)


def test_certificates_are_checked_unless_a_test_says_otherwise() -> None:
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert AiohttpTransport()._verify is True


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [answer(b"x" * (CAP + 1))],
        lambda: [answer(b"x", length=CAP + 1)],
        lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[CHUNK] * 18],
        lambda: [answer(gzip.compress(b"\0" * (200 << 20)), "200 OK", "Content-Encoding: gzip")],
        lambda: [answer(zlib.compress(b"\0" * (200 << 20)), "200 OK", "Content-Encoding: deflate")],
        lambda: [
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n" % len(EMPTY) + EMPTY + b"\r\n",
            b"0\r\n\r\n",
        ],
    ],
    ids=["long", "announced", "chunked", "gzip bomb", "deflate bomb", "nothing without end"],
)  # fmt: skip
async def test_an_answer_above_the_cap_is_dropped_and_its_connection_too(
    transport: PartnerTransport, parts: Callable[[], list[bytes]]
) -> None:
    """Made when it is asked for: each bomb is 200 MiB before it is packed, and every worker collects this file."""
    async with raw_server(saying(*parts(), close=True)) as server:
        error = refusal(await exchange(transport, server.url))
    assert isinstance(error, PayloadError)
    assert str(CAP) in str(error)


async def test_headers_without_end_are_refused(transport: PartnerTransport) -> None:
    one = b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"
    many = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n"
    for head in (one, many):
        async with raw_server(saying(head, close=True)) as server:
            assert isinstance(refusal(await exchange(transport, server.url)), TransientError)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body_are_complete(transport: PartnerTransport, status: str) -> None:
    async with raw_server(saying(f"HTTP/1.1 {status}\r\n\r\n".encode())) as server:
        found = await exchange(transport, server.url)
    assert found.response is not None
    assert found.response.content == b""


async def test_a_head_request_expects_no_body(transport: PartnerTransport) -> None:
    async with raw_server(saying(answer(b"", length=500))) as server:
        found = await exchange(transport, server.url, "HEAD")
        again = await exchange(transport, server.url, "HEAD")
    assert found.response is not None and again.response is not None
    assert server.connections == 1


async def test_chunked_and_compressed_bodies_arrive_whole(transport: PartnerTransport) -> None:
    packed = gzip.compress(b'{"a": 1}' * 1000)
    chunked = b"".join(
        b"%x\r\n" % len(packed[n : n + 7]) + packed[n : n + 7] + b"\r\n" for n in range(0, len(packed), 7)
    )
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    async with raw_server(saying(head + chunked + b"0\r\n\r\n")) as server:
        found = await exchange(transport, server.url)
    assert found.response is not None
    assert found.response.content == b'{"a": 1}' * 1000


async def test_a_body_that_ends_with_the_connection_is_taken(transport: PartnerTransport) -> None:
    async with raw_server(saying(b"HTTP/1.1 200 OK\r\n\r\n[1]", close=True)) as server:
        found = await exchange(transport, server.url)
    assert found.response is not None
    assert found.response.content == b"[1]"


async def test_the_wire_serves_an_ordinary_httpx_client_too() -> None:
    async with (
        raw_server(saying(answer(b'{"a": 1}'))) as server,
        httpx.AsyncClient(transport=AiohttpTransport()) as client,
    ):
        found = await client.post(f"{server.url}/x", params={"a": "b c"}, content=b"")
    assert found.json() == {"a": 1}
    assert b"POST /x?a=b+c HTTP/1.1" in server.heads[0] or b"POST /x?a=b%20c HTTP/1.1" in server.heads[0]
