"""Foreign exceptions become ours at one border; what they say about "was it sent" must be right."""

from __future__ import annotations

import socket
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from syncd.client import border
from syncd.client.wire import translated
from syncd.errors import RejectedError, TransientError

KEY = ConnectionKey("api.acme.example", 443, True, True, None, None, None)
REFUSED = aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused"))
NO_NAME = aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "not known"))
BAD_CERTIFICATE = aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed"))


def judged(error: Exception, method: str = "POST") -> border.Failure:
    return border.failed(error, method=method, route="/things", origin="https://api.acme.example")


@pytest.mark.parametrize(
    ("error", "label", "unknown"),
    [
        (REFUSED, "refused", False),
        (NO_NAME, "dns", False),
        (BAD_CERTIFICATE, "tls", False),
        (aiohttp.ConnectionTimeoutError(), "timeout", False),
        (aiohttp.SocketTimeoutError(), "timeout", True),
        (aiohttp.ServerDisconnectedError(), "reset", True),
        (aiohttp.ClientOSError(104, "reset"), "reset", True),
        (aiohttp.ClientConnectionResetError(), "reset", True),
        (aiohttp.ClientPayloadError("short"), "reset", True),
        (ConnectionResetError(), "reset", True),
        (aiohttp.ClientResponseError(None, (), status=400, message="https://h/?key=TOPSECRET"), "protocol", True),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_write_may_be_repeated_only_where_nothing_was_sent(error: Exception, label: str, unknown: bool) -> None:
    for foreign in (translated(error), error) if not isinstance(error, aiohttp.ClientError) else (translated(error),):
        failure = judged(foreign)
        assert isinstance(failure.error, TransientError)
        assert (failure.label, failure.error.unknown) == (label, unknown)
        assert "TOPSECRET" not in str(failure.error)
        assert not judged(foreign, "GET").error.unknown


@pytest.mark.parametrize(
    ("error", "label", "unknown"),
    [
        (httpx.ConnectError("https://h/?key=TOPSECRET"), "refused", False),
        (httpx.ConnectTimeout(""), "timeout", False),
        (httpx.PoolTimeout(""), "timeout", False),
        (httpx.ProxyError(""), "refused", False),
        (httpx.ReadTimeout("https://h/?key=TOPSECRET"), "timeout", True),
        (httpx.WriteTimeout(""), "timeout", True),
        (httpx.ReadError("TOPSECRET"), "reset", True),
        (httpx.WriteError(""), "reset", True),
        (httpx.RemoteProtocolError("TOPSECRET"), "protocol", True),
        (RuntimeError("TOPSECRET"), "error", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_exception_of_httpx_has_its_place(error: Exception, label: str, unknown: bool) -> None:
    failure = judged(error)
    assert isinstance(failure.error, TransientError)
    assert (failure.label, failure.error.unknown) == (label, unknown)
    assert "TOPSECRET" not in str(failure.error) + failure.error.hint
    assert str(failure.error).startswith("POST /things: ")


@pytest.mark.parametrize(
    "error", [httpx.LocalProtocolError("x"), httpx.UnsupportedProtocol("x"), httpx.InvalidURL("x")]
)
def test_a_request_that_is_no_http_is_ours_to_mend(error: Exception) -> None:
    assert isinstance(judged(error).error, RejectedError)


def test_our_own_trouble_does_not_open_the_partners_breaker() -> None:
    for error in (httpx.PoolTimeout(""), RuntimeError("a defect")):
        failure = judged(error)
        assert isinstance(failure.error, TransientError)
        assert not failure.error.breaks


def test_causes_of_httpx_own_transport_are_looked_into() -> None:
    error = httpx.ConnectError("")
    error.__cause__ = ssl.SSLCertVerificationError("x")
    assert judged(error).label == "tls"
    error.__cause__ = socket.gaierror(-2, "x")
    assert judged(error).label == "dns"
