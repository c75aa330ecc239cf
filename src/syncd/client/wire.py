"""httpx's transport interface on aiohttp's connections: a fifth of the CPU of httpx's own (docs/decisions/0001).

Every aiohttp exception leaves as the httpx exception that says the same thing. That is why this is not the published
`httpx-aiohttp`: there a connection that broke after the request was sent reads as a failure to connect, and whoever
believes it repeats a write that may have taken effect.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import certifi
import httpx
from yarl import URL

LONGEST_HEADER = 16_384
"""Bytes of one response header line."""
MOST_HEADERS = 128
_READ_BUFFER = 256 * 1024
_KEEP_ALIVE_SECONDS = 30.0


@functools.cache
def tls_context() -> ssl.SSLContext:
    """One verifying context for the process: the machine's authorities, or certifi's where the machine has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_verify_locations(certifi.where())
    return context


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One keep-alive pool. Nothing is decoded, redirected, repeated or remembered here.

    `request.extensions["target"]` (bytes, an extension httpx names too) is sent as it stands where it is given, so
    that the URL which was checked is the URL which is sent.
    """

    def __init__(self, *, max_connections: int = 100, verify: ssl.SSLContext | bool = True, trust_env: bool = False):
        """`verify` takes a context for private authorities; False is for tests of TLS itself."""
        self._max_connections = max_connections
        self._verify = verify
        self._trust_env = trust_env
        self._session: aiohttp.ClientSession | None = None
        self._timeouts: dict[tuple[float | None, float | None, float | None], aiohttp.ClientTimeout] = {}

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            ssl=tls_context() if self._verify is True else self._verify,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # integrations of one partner share the pool, never a session
            auto_decompress=False,
            trust_env=self._trust_env,
            read_bufsize=_READ_BUFFER,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            max_headers=MOST_HEADERS,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        # aiohttp repeats a GET by itself when a kept connection turns out closed: a call no quota book has seen.
        # It has no public switch; tests/client/test_wire.py fails if this one stops working.
        session._retry_connection = False
        return session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._open()
        target = request.extensions.get("target")
        url = str(request.url) if target is None else f"{_root(request.url)}{target.decode('ascii')}"
        body = await request.aread()
        answer: aiohttp.ClientResponse | None = None
        failure: httpx.TransportError | None = None
        try:
            answer = await self._session._request(
                request.method,
                URL(url, encoded=True),
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=body or None,
                allow_redirects=False,
                timeout=self._timeout(request.extensions.get("timeout") or {}),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            failure = translated(error)
        if answer is None:
            # Raised out here, so that no foreign exception (with its URL) hangs on to it as context.
            raise failure or httpx.TransportError("no answer")
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    def _timeout(self, wanted: Mapping[str, float | None]) -> aiohttp.ClientTimeout:
        key = (wanted.get("connect"), wanted.get("read"), wanted.get("pool"))
        timeout = self._timeouts.get(key)
        if timeout is None:
            connect, read, pool = key
            both = None if connect is None or pool is None else connect + pool
            timeout = aiohttp.ClientTimeout(connect=both, sock_connect=connect, sock_read=read)
            self._timeouts[key] = timeout
        return timeout

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _root(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


class _Body(httpx.AsyncByteStream):
    """The raw bytes as they arrive. Closed before its end, the connection is dropped, not reused."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._answer.content
        while True:
            failure: httpx.TransportError | None = None
            chunk = b""
            try:
                chunk = await content.readany()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failure = translated(error)
            if failure is not None:
                raise failure
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        self._answer.release()


def translated(error: Exception) -> httpx.TransportError:
    """The httpx exception for an aiohttp one. Its text is fixed: aiohttp's may hold a URL.

    The order matters: aiohttp's classes overlap, and only failures of the connector itself mean "nothing was sent".
    """
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("connect")
        case aiohttp.SocketTimeoutError():
            return httpx.ReadTimeout("read")
        case aiohttp.ClientProxyConnectionError():
            return httpx.ProxyError("proxy")
        case aiohttp.ClientConnectorDNSError():
            return httpx.ConnectError("dns")
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return httpx.ConnectError("tls")
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError("refused")
        case aiohttp.ClientPayloadError():
            return httpx.ReadError("truncated")
        case aiohttp.ClientHttpProxyError():
            return httpx.ProxyError("proxy")
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError("protocol")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return httpx.UnsupportedProtocol("url")
        case aiohttp.ClientConnectionError() | ConnectionError():
            return httpx.ReadError("reset")
        case TimeoutError():
            return httpx.ConnectTimeout("connect")
        case ValueError():
            return httpx.LocalProtocolError("request")
        case _:
            return httpx.ReadError("reset")
