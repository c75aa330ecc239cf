"""Keyed hashes, each key prepared once, and the verdict that a look at a signature ends in. The schemes: `signatures.py`."""

from __future__ import annotations

import base64
import hashlib
import hmac
from enum import Enum
from functools import lru_cache
from typing import Final, Literal

Algorithm = Literal["sha256", "sha1"]
_BLOCK: Final = 64
"""Bytes that SHA-1 and SHA-256 take at once."""
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Verdict(Enum):
    """What a look at a signature found. `FITS`, `DOUBTED` and `KNOWN` are true."""

    FITS = "fits"
    DOUBTED = "doubted"
    """The body is rightly signed; the signature of the address, which the rules only have looked at, does not fit."""
    KNOWN = "known"
    """By the secret in the address: the partner's, and yet nothing in it is signed."""
    FORGED = "signature"
    """None there, or none that any of the secrets makes."""
    STALE = "stale"
    """Rightly signed, at a time too far from ours."""
    MALFORMED = "malformed"
    """There is one, and it cannot be read as the scheme's."""

    def __bool__(self) -> bool:
        return self is Verdict.FITS or self is Verdict.KNOWN or self is Verdict.DOUBTED


def verdict(fits: bool) -> Verdict:
    """Of a scheme that signs no time."""
    return Verdict.FITS if fits else Verdict.FORGED


def same(given: str | bytes, expected: bytes) -> bool:
    """Equal? In time that tells nothing about where they differ; text that is not UTF-8 is simply different."""
    if isinstance(given, str):
        given = given.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, expected)


class Hmac:
    """HMAC with one key, whose part of the work is done once (RFC 2104): a third of the time for a body of 1 KB."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        made = hashlib.sha256 if algorithm == "sha256" else hashlib.sha1
        block = (made(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = made(block.translate(_INNER))
        self._outer = made(block.translate(_OUTER))

    def __repr__(self) -> str:
        return "Hmac(****)"

    def digest(self, message: bytes) -> bytes:
        """The raw HMAC of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@lru_cache(maxsize=4096)
def keyed(key: str | bytes, algorithm: Algorithm = "sha256") -> Hmac:
    """The same for as long as it is used: each delivery is judged by the same few secrets."""
    return Hmac(key.encode() if isinstance(key, str) else key, algorithm)


def digest(
    key: bytes,
    message: bytes,
    algorithm: Algorithm = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
) -> bytes:
    """HMAC of a message as it stands in a header, without any prefix."""
    raw = hmac.digest(key, message, algorithm)
    return base64.b64encode(raw) if encoding == "base64" else raw.hex().encode()
