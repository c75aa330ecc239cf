"""The border: what the HTTP library raises goes in, our errors come out, and nothing foreign rides along.

Messages name method and route, and the origin where that helps; never a query, a header or the library's own text, any
of which may hold a key. `unknown` is True when the request may have reached the partner and was not a mere read.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from syncd.errors import PartnerError, RejectedError, TransientError

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer: the error to raise and the label the metrics know it by."""

    error: PartnerError
    label: str


def changes_something(method: str) -> bool:
    """May the partner's data differ after such a call?"""
    return method not in _READS


def unclear(method: str, status: int) -> bool:
    """Does an answer with this status that is no success leave open whether a change was made?

    A server that broke while at it, one that gave up waiting for a request it may have had in full, and one that said yes in
    words nobody expected here: a proxy's page, `OK` where JSON was due.
    """
    return changes_something(method) and (status < 300 or status == 408 or status >= 500)


def failed(error: Exception, *, method: str, route: str, origin: str) -> Failure:
    """Our error for a foreign one. Never chains: the caller raises it outside the except block."""
    said = f"{method} {route}"
    lost = changes_something(method)
    match error:
        case httpx.PoolTimeout():
            return _transient(f"{said}: no free connection to {origin}", "timeout", breaks=False)
        case httpx.ConnectTimeout():
            return _transient(f"{said}: {origin} did not accept a connection in time", "timeout")
        case httpx.ProxyError():
            return _transient(f"{said}: the proxy refused", "refused")
        case httpx.ConnectError():
            return _unconnected(error, said, origin)
        case httpx.ReadTimeout():
            return _transient(f"{said}: {origin} went silent before its answer was complete", "timeout", unknown=lost)
        case httpx.TimeoutException() | TimeoutError():
            return _transient(f"{said}: {origin} did not take the request in time", "timeout", unknown=lost)
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            message = f"{said}: the request cannot be written as HTTP"
            return Failure(RejectedError(message, hint="look at its headers and URL"), "request")
        case httpx.RemoteProtocolError():
            return _transient(f"{said}: {origin} answered with broken HTTP", "protocol", unknown=lost)
        case ssl.SSLError():
            return _transient(f"{said}: TLS with {origin} failed", "tls", unknown=lost)
        case httpx.HTTPError() | OSError() | EOFError():
            words = "the answer was cut off" if "truncated" in error.args else "the connection broke before the answer"
            return _transient(f"{said}: {words}", "reset", unknown=lost)
        case _:
            # Ours to mend, not the partner's: its name tells where to look, its text might hold a URL.
            name = type(error).__name__
            return _transient(f"{said}: unexpected {name} in the transport", "error", breaks=False, unknown=lost)


def _transient(message: str, label: str, *, breaks: bool = True, unknown: bool = False, hint: str = "") -> Failure:
    return Failure(TransientError(message, breaks=breaks, unknown=unknown, hint=hint), label)


def _unconnected(error: Exception, said: str, origin: str) -> Failure:
    causes = tuple(_chain(error))
    if "dns" in error.args or any(isinstance(one, socket.gaierror) for one in causes):
        return _transient(
            f"{said}: the name of {origin} could not be resolved", "dns", hint="check the address and DNS"
        )
    if "tls" in error.args or any(isinstance(one, ssl.SSLError) for one in causes):
        hint = "check its certificate, this machine's clock and its certificate authorities"
        return _transient(f"{said}: TLS with {origin} failed", "tls", hint=hint)
    return _transient(f"{said}: {origin} refused the connection", "refused")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
