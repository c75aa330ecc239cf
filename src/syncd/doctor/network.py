"""Names and certificates of the hosts the configuration names, many at once, bounded in time. Sends no request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from cryptography import x509

from syncd.client.wire import tls_context
from syncd.clock import Clock
from syncd.doctor.facts import Certificate, HostFact

RESOLVE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
AT_ONCE = 32
"""A hundred hosts that all hang are through in forty seconds, one among sound ones in ten."""
DAY = 86_400.0


def named(urls: Iterable[tuple[str, str]]) -> dict[str, HostFact]:
    """The hosts of these (who names it, URL), each once by host and port."""
    found: dict[str, HostFact] = {}
    for why, url in urls:
        parts = urlsplit(url)
        if not parts.hostname:
            continue
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        key = f"{parts.hostname}:{port}"
        known = found.get(key) or HostFact(parts.hostname, port, (), secure)
        found[key] = replace(known, why=(*known.why, why), tls=known.tls or secure)
    return found


async def looked_at(
    hosts: dict[str, HostFact], clock: Clock, *, trust: Callable[[], ssl.SSLContext] = tls_context
) -> dict[str, HostFact]:
    """The same, with what was found. `trust`: whom we believe, as calls to partners do."""
    seats = anyio.CapacityLimiter(AT_ONCE)
    found: dict[str, HostFact] = {}

    async def look(key: str, host: HostFact) -> None:
        async with seats:
            found[key] = await _looked_at(host, clock, trust)

    async with anyio.create_task_group() as looking:
        for key, host in hosts.items():
            looking.start_soon(look, key, host)
    return {key: found[key] for key in hosts}


async def _looked_at(host: HostFact, clock: Clock, trust: Callable[[], ssl.SSLContext]) -> HostFact:
    # A thread of its own: a lookup cannot be ended, and one that hangs must not keep the others waiting for theirs.
    resolve = partial(socket.getaddrinfo, host.host, host.port, type=socket.SOCK_STREAM)
    alone = anyio.CapacityLimiter(1)
    try:
        async with clock.timeout(RESOLVE_SECONDS):
            told = await anyio.to_thread.run_sync(resolve, abandon_on_cancel=True, limiter=alone)
    except TimeoutError:
        return replace(host, resolve_error=f"no answer from DNS within {RESOLVE_SECONDS:g} s")
    except (OSError, UnicodeError) as error:
        return replace(host, resolve_error=f"its name is not found: {getattr(error, 'strerror', None) or error}")
    host = replace(host, addresses=tuple(dict.fromkeys(str(one[4][0]) for one in told)))
    if not host.tls:
        return host
    try:
        async with clock.timeout(CONNECT_SECONDS):
            return replace(host, certificate=await _certificate(host, clock.now(), trust()))
    except TimeoutError:
        return replace(host, connect_error=f"no answer within {CONNECT_SECONDS:g} s")
    except (OSError, ssl.SSLError) as error:
        return replace(host, connect_error=getattr(error, "strerror", None) or type(error).__name__)


async def _certificate(host: HostFact, now: datetime, trust: ssl.SSLContext) -> Certificate:
    """What it shows: first to somebody who looks closely, then, where that ends it, to anybody."""
    try:
        return _read(await _shown(host, trust), now, trusted=True)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message or str(error)
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE  # nothing is sent: its dates are read
    return _read(await _shown(host, anybody), now, trusted=False, error=why)


async def _shown(host: HostFact, context: ssl.SSLContext) -> bytes:
    _, writer = await asyncio.open_connection(host.host, host.port, ssl=context, server_hostname=host.host)
    try:
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return shown or b""


def _read(der: bytes, now: datetime, *, trusted: bool, error: str = "") -> Certificate:
    try:
        found = x509.load_der_x509_certificate(der)
    except ValueError:
        return Certificate(None, trusted, error)
    left = (found.not_valid_after_utc - now).total_seconds() / DAY
    return Certificate(left, trusted, error, found.subject.rfc4514_string())
