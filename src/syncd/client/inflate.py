"""Bodies are inflated here, under a cap, so that a small answer cannot grow into a large one.

Only gzip and deflate are ever offered: both come with Python and both can be told how much to give out at a time.
"""

from __future__ import annotations

import zlib

OFFERED = "gzip, deflate"
"""The Accept-Encoding of every call."""

_SLICE = 1 << 20


class TooLargeError(Exception):
    """The body passed its cap; the rest was not read."""


class UndecodableError(Exception):
    """The body is not what its Content-Encoding says, or ends before its end."""


class UnknownEncodingError(Exception):
    """A Content-Encoding nobody offered."""


class Plain:
    """A body sent as it is: counted, not changed."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self._cap:
            raise TooLargeError
        return data

    def finish(self) -> None:
        """Nothing to check: the length of a plain body is the transport's business."""


class Inflated:
    """A gzip or deflate body. Several gzip members in a row are one body, as RFC 1952 has it."""

    def __init__(self, cap: int, *, gzip: bool) -> None:
        self._cap = cap
        self._gzip = gzip
        self._size = 0
        self._raw_deflate = False
        self._head = b""
        self._begun = False
        self._zlib = self._fresh()

    def _fresh(self) -> zlib._Decompress:
        if self._gzip:
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        return zlib.decompressobj(-zlib.MAX_WBITS if self._raw_deflate else zlib.MAX_WBITS)

    def feed(self, data: bytes) -> bytes:
        if not self._begun:
            data = self._begin(data)
        out: list[bytes] = []
        full = False  # zlib may have swallowed all input and still hold output back
        while data or full:
            if self._zlib.eof:
                if not self._gzip:
                    break  # padding after a complete deflate stream is harmless
                if not data.strip(b"\0"):
                    break
                self._zlib = self._fresh()
            limit = min(_SLICE, self._cap - self._size + 1)
            try:
                piece = self._zlib.decompress(data, limit)
            except zlib.error:
                raise UndecodableError from None
            self._size += len(piece)
            if self._size > self._cap:
                raise TooLargeError
            out.append(piece)
            full = len(piece) == limit and not self._zlib.eof
            data = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
        return b"".join(out)

    def _begin(self, data: bytes) -> bytes:
        """Some servers send deflate without the zlib header; the first two bytes tell."""
        self._head += data
        if len(self._head) < 2:
            return b""
        self._begun = True
        if not self._gzip:
            first, second = self._head[0], self._head[1]
            if first & 0x0F != 8 or (first * 256 + second) % 31:
                self._raw_deflate = True
                self._zlib = self._fresh()
        return self._head

    def finish(self) -> None:
        """Raises UndecodableError when the compressed stream did not reach its end."""
        if self._head and not self._zlib.eof:
            raise UndecodableError


def decoder(encoding: str, cap: int) -> Plain | Inflated:
    """Who reads a body of this Content-Encoding, giving out at most `cap` bytes."""
    match encoding.strip().lower():
        case "" | "identity":
            return Plain(cap)
        case "gzip" | "x-gzip":
            return Inflated(cap, gzip=True)
        case "deflate":
            return Inflated(cap, gzip=False)
        case _:
            raise UnknownEncodingError
