"""JSON in and out, and the stable hash of a record's content. Built on orjson, with a slow road for hostile input.

What is decided here:

* Whole numbers of any size keep their value; a float beyond the range of a double is refused; NaN and Infinity are refused.
* `1` and `1.0` are different content (a needless update is cheap, a missed one is not), as are `0.0` and `-0.0`; the order
  of keys is not content. The last of duplicate keys wins.
* Nesting is limited: at `MAX_DEPTH` levels a record can still be stored, anything deeper is a PayloadError, never a crash.
* PostgreSQL's jsonb holds neither NUL characters nor lone surrogates: `storable` replaces them by U+FFFD, and only looks
  closely where there is something to replace. Its json type, which keeps the raw, takes both as escapes.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson

from syncd.errors import PayloadError

MAX_DEPTH = 250
"""Levels of nesting that `dumps` accepts (orjson's own bound is 254); `loads` accepts 1,024, so one deep record does not
take its whole page with it."""

MAX_DIGITS = 4000
"""Digits of one whole number; Python refuses to parse more by default (4,300), PostgreSQL's numeric would take more."""

_DIGITS_ONLY = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_RUN = b"0" * 19
_NUMBERS_ONLY = bytes(0x30 if 0x30 <= byte <= 0x39 else byte | 0x20 if byte in b"eE+" else 0x20 for byte in range(256))
"""Every digit becomes a 0, an E an e, a + stays one (0x2B has that bit), everything else a space."""
_OUT_OF_RANGE = b"0e000", b"0e+000", b"0" * 200
"""Without one of these there is no float beyond a double's range (less than 200 digits, exponent below 100) and no number of
`MAX_DIGITS`."""
_BACKSLASH = 0x5C
_NUL_ESCAPE = b"\\u0000"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def loads(document: bytes | bytearray | memoryview | str) -> Any:
    """The value of a JSON document. Raises PayloadError for anything that is none."""
    data = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else bytes(document)
    if _may_hold_long_number(data):
        return _loads_exactly(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # Some documents that orjson refuses are sound enough to keep: a lone surrogate, a byte order mark.
        return _loads_exactly(data, first=error)


def _may_hold_long_number(data: bytes) -> bool:
    """Could there be a number that does not fit 64 bits? orjson would round it to a float without a word.

    A run of 20 digits shows as 4 neighbours in every fifth byte, so most documents are cleared by looking at a fifth.
    """
    if b"0000" not in data[::5].translate(_DIGITS_ONLY):
        return False
    return _LONG_RUN in data.translate(_DIGITS_ONLY)


def _loads_exactly(data: bytes, first: Exception | None = None) -> Any:
    if first is not None and "depth" in str(first):
        raise PayloadError(f"the answer is nested too deeply: {first}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PayloadError(f"the answer is not UTF-8: {error.reason} at byte {error.start}") from None
    # What Python's reader does by itself is ten times as fast as asking us for each number: only where one could be too big.
    shape = data.translate(_NUMBERS_ONLY)
    each: dict[str, Any] = (
        {"parse_float": _finite, "parse_int": _whole} if any(one in shape for one in _OUT_OF_RANGE) else {}
    )
    try:
        return json.loads(text, parse_constant=_refuse_constant, **each)
    except RecursionError:
        raise PayloadError("the answer is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise PayloadError(f"the answer is not JSON: {error.msg} at character {error.pos}") from None


def _refuse_constant(name: str) -> Any:
    raise PayloadError(f"the answer is not JSON: {name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise PayloadError(f"the answer holds a number out of range: {text[:40]}")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise PayloadError(f"the answer holds a number of {len(text)} digits")
    return int(text)


def dumps(value: Any) -> bytes:
    """The JSON of a value, compact, in UTF-8. Raises PayloadError for what JSON cannot say or is nested too deeply."""
    return _fitted(_dumps(value, sort=False))


def dumps_text(value: Any) -> str:
    """`dumps`, as text."""
    return dumps(value).decode()


def canonical(value: Any) -> bytes:
    """`dumps` with sorted keys: equal content gives equal bytes. Good enough to store as raw, so it is made only once."""
    return _dumps(value, sort=True)


def content_hash(raw: Any, adapter: str = "") -> bytes:
    """The 32 bytes that say whether content changed: SHA-256 over the canonical JSON and the adapter that will read it."""
    return hash_canonical(canonical(raw), adapter)


def hash_canonical(document: bytes, adapter: str = "") -> bytes:
    """`content_hash` of what `canonical` returned already."""
    return sha256(document + _mark(adapter)).digest()


@lru_cache(maxsize=64)
def _mark(adapter: str) -> bytes:
    return b"\x00" + adapter.encode() if adapter else b""


def fingerprint(raw: Any, adapter: str = "") -> tuple[bytes, bytes]:
    """`canonical` and `content_hash` of one record in one go: this runs for every record of every page."""
    try:
        document = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        document = _dumps_slowly(raw, sort=True, first=error)
    return document, sha256(document + _mark(adapter)).digest()


def storable(value: Any) -> Any:
    """The value as jsonb can hold it. The very same object comes back where nothing had to be replaced."""
    try:
        document = orjson.dumps(value)
    except TypeError:
        return _cleaned(value, 0)
    return _cleaned(value, 0) if _has_nul(document) else value


def dumps_storable(value: Any) -> bytes:
    """`dumps(storable(value))` for the price of one `dumps` where nothing had to be replaced."""
    try:
        document = orjson.dumps(value)
    except TypeError:
        return _fitted(_dumps(_cleaned(value, 0), sort=False))
    return _fitted(_dumps(_cleaned(value, 0), sort=False) if _has_nul(document) else document)


def _fitted(document: bytes) -> bytes:
    """The same in no more memory than it needs: orjson (3.13) leaves 4 kB or more behind every document, however short, and
    rows are kept by the thousand until they are stored."""
    return b"".join((document, b""))


def _has_nul(document: bytes) -> bool:
    # Most documents escape nothing, and one byte is found ten times as fast as six.
    return _BACKSLASH in document and _NUL_ESCAPE in document


def _dumps(value: Any, *, sort: bool) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else 0)
    except TypeError as error:
        return _dumps_slowly(value, sort=sort, first=error)


def _dumps_slowly(value: Any, *, sort: bool, first: Exception) -> bytes:
    """For what orjson refuses: whole numbers beyond 64 bits and lone surrogates."""
    if "ecursion" in str(first):
        raise PayloadError(
            f"the value is nested more than {MAX_DEPTH} levels deep"
        )  # measuring takes fifty times as long
    _measure_depth(value)
    try:
        text = json.dumps(
            value, ensure_ascii=True, allow_nan=False, sort_keys=sort, separators=(",", ":"), default=_by_orjson
        )
    except (TypeError, ValueError, RecursionError):
        raise PayloadError(f"the value cannot be written as JSON: {first}") from None
    return text.encode("ascii")


def _by_orjson(value: Any) -> Any:
    """Dates, UUIDs, dataclasses: as orjson writes them."""
    return orjson.loads(orjson.dumps(value))


def _measure_depth(value: Any) -> None:
    """Raise PayloadError for too many levels, without recursion of our own."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list | tuple)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise PayloadError(f"the value is nested more than {MAX_DEPTH} levels deep")


def _cleaned(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise PayloadError(f"the value is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict):
        return {
            _clean_text(key) if isinstance(key, str) else key: _cleaned(each, depth + 1) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(each, depth + 1) for each in value]
    return value


def _clean_text(text: str) -> str:
    text = text.replace("\x00", _REPLACEMENT)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_REPLACEMENT if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return text
