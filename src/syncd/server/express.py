"""The short way of a delivery through the public site: read, judged and answered without the HTTP library.

A partner's usual delivery is one segment: a plain head of ASCII lines, a Content-Length, the body. For those the library's
road (parser, task, router, request, body stream, response) costs more than judging and storing them. Whatever is the least
unusual (in pieces, pipelined, chunked, compressed, too large, with a name twice or a byte out of place) goes that
road as before: here nothing is ever refused, only taken or left. `tests/server/test_express.py` holds both to one answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import format_datetime
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

from syncd.clock import Clock
from syncd.kit import Delivery
from syncd.model import Headers
from syncd.server.answers import SIGNS

_PREFIX: Final = b"POST /webhooks/"
_LONGEST_HEAD: Final = 8_000
_MOST_FIELDS: Final = 100
"""Longer heads, and those of more fields, are the library's to judge, which has limits of its own."""
# What was matched is never given back (`*+`): there is one way to read a plain head, and none is looked for.
_NAME: Final = r"[A-Za-z0-9_~-][A-Za-z0-9_~.-]*+"
_HEAD: Final = re.compile(
    rf"POST (/webhooks/({_NAME})/({_NAME})(?:/({_NAME}))?+(?:\?[A-Za-z0-9_~.&=+-]*+)?+) HTTP/1\.1\r\n"
    r"((?:[A-Za-z0-9!#$%&'*+.^_`|~-]++:[\t\x20-\x7e]*+(?<![\t ])\r\n)++)\r\n"
)
_FIELD: Final = re.compile(r"([^:\r\n]++):[\t ]*+([^\r]*+)\r\n")
_ODD: Final = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te", "sec-websocket-key1"}
)
"""Headers that ask for more than reading so many bytes, and one the library will not have."""


class Answered(Protocol):
    """As `webhooks.Answer`."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def retry_seconds(self) -> int: ...
    @property
    def kind(self) -> str: ...


Begin = Callable[[str, str, Delivery, Callable[[Answered], None]], None]
"""`Webhooks.begin`: judge and store, and call back with the answer."""


class Express:
    """Takes deliveries that came whole, leaves everything else."""

    def __init__(self, begin: Begin, *, clock: Clock, body_bytes: int) -> None:
        self._begin = begin
        self._clock = clock
        self._body_bytes = body_bytes
        self._second = 0.0
        self._date = b""

    def take(self, data: bytes, answer: Callable[[bytes], None]) -> bool:
        """False: not for here, and nothing happened. True: `answer` is called once with the bytes to send, now or later."""
        if not data.startswith(_PREFIX):
            return False
        end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD) + 4
        if end < 4:
            return False
        try:
            head = data[:end].decode("ascii")
        except UnicodeDecodeError:
            return False
        found = _HEAD.fullmatch(head)
        if found is None:
            return False
        fields = _FIELD.findall(found[5])
        headers = {name.lower(): value for name, value in fields}
        length = headers.get("content-length", "")
        if (
            len(headers) != len(fields)
            or len(fields) > _MOST_FIELDS
            or not length.isdigit()
            or len(length) > 9
            or int(length) != len(data) - end
            or int(length) > self._body_bytes
            or "host" not in headers
            or not _ODD.isdisjoint(headers)
            or headers.get("connection", "keep-alive").lower() != "keep-alive"
        ):
            return False
        path, partner, integration, route, _ = found.groups()
        delivery = Delivery(data[end:], Headers.of_lower(headers), path, "POST", route or "")
        self._begin(partner, integration, delivery, partial(self._write, answer))
        return True

    def _write(self, answer: Callable[[bytes], None], said: Answered) -> None:
        now = self._clock.monotonic()
        if not self._date or now - self._second >= 1.0:
            self._second = now
            self._date = b"Date: " + format_datetime(self._clock.now(), usegmt=True).encode() + b"\r\n\r\n"
        known = said.status, len(said.body), said.kind
        start = _START.get(known)
        if start is None:
            start = _START[known] = _start(*known)
        if said.retry_seconds:
            start += b"Retry-After: %d\r\n" % said.retry_seconds
        answer(start + self._date + said.body)


_START: dict[tuple[int, int, str], bytes] = {}
"""All of an answer's head that does not change, by status, length and content type: one for each of the few there are."""


def _start(status: int, length: int, kind: str) -> bytes:
    signs = "".join(f"{name}: {value}\r\n" for name, value in SIGNS.items())
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{signs}"
    ).encode()
