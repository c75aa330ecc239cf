"""Durations, sizes, rates and addresses as people write them in YAML, parsed strictly.

A duration always names its unit (`2m`, `1h30m`; never a bare `60`), so nobody has to know whether a key means seconds.
In memory a duration is float seconds, a size an int of bytes. The pydantic annotations at the end carry the same rules
into validation and into the JSON Schema.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_UNIT_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_PATTERN = r"^(?=\d)(\d{1,9}w)?(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m(?!s))?(\d{1,9}s)?(\d{1,9}ms)?$"
_DURATION = re.compile(_DURATION_PATTERN, re.ASCII)
_PART = re.compile(r"(\d+)(ms|[wdhms])", re.ASCII)
DURATION_HELP = "a duration names its unit, largest first: 30s, 2m, 15m, 1h30m, 24h, 7d, 500ms"

SILENCE_HELP = "a duration such as 30m, 2h or 1d, or off"

_SIZE_BYTES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE_PATTERN = r"^(\d{1,12})(B|kB|KiB|MB|MiB|GB|GiB)$"
_SIZE = re.compile(_SIZE_PATTERN, re.ASCII)
CEILING_HELP = "a size such as 256MiB, or off"
SIZE_HELP = "a size names its unit: 512KiB, 1MiB, 2GiB (binary) or 500kB, 1MB, 2GB (decimal)"

LEAST_CEILING = 64 * 1024 * 1024
"""A memory ceiling below this would narrow a daemon that has nothing to do."""

_RATE_PATTERN = r"^(\d{1,9})/(\d{1,9})?(ms|s|min|m|h|d)$"
_RATE = re.compile(_RATE_PATTERN, re.ASCII)
RATE_HELP = "a rate is calls/window: 7/s, 80/min, 300/120s, 5000/h, 5/d"
_RATE_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls (or points of weight) in any window of so many seconds."""

    limit: int
    window_seconds: float

    def __str__(self) -> str:
        for unit, seconds in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0)):
            if self.window_seconds == seconds:
                return f"{self.limit}/{unit}"
        if self.window_seconds < 1 or self.window_seconds % 1:
            return f"{self.limit}/{round(self.window_seconds * 1000)}ms"
        return f"{self.limit}/{self.window_seconds:.0f}s"


class Address(str):
    """`host:port`, `[v6]:port` or `unix:/path`, as written; a str that also knows its parts."""

    __slots__ = ()

    @property
    def path(self) -> str | None:
        """The Unix socket's path, or None for TCP."""
        return self[len("unix:") :] if self.startswith("unix:") else None

    @property
    def host(self) -> str:
        """The host without brackets; empty for a Unix socket."""
        return "" if self.path is not None else self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """0 lets the system choose; also 0 for a Unix socket."""
        return 0 if self.path is not None else int(self.rpartition(":")[2])

    @property
    def private(self) -> bool:
        """Only this machine can reach it."""
        return self.path is not None or self.host in {"localhost", "::1"} or self.host.startswith("127.")


def parse_duration(text: str) -> float:
    """Seconds of `1h30m`. Raises ValueError with a sentence for a person."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration")
    return sum(int(amount) * _UNIT_SECONDS[unit] for amount, unit in _PART.findall(text))


def parse_silence(text: str) -> float:
    """Seconds of a duration, endless for `off`. Raises ValueError with a sentence for a person."""
    return math.inf if text == "off" else parse_duration(text)


def format_silence(seconds: float) -> str:
    """The text `parse_silence` reads back."""
    return "off" if seconds == math.inf else format_duration(seconds)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back to the same time, whole milliseconds."""
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    parts = []
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, left = divmod(left, milliseconds)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Bytes of `1MiB`. Raises ValueError with a sentence for a person."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a size")
    return int(found[1]) * _SIZE_BYTES[found[2]]


def parse_ceiling(text: str) -> int:
    """Bytes of a size, 0 for `off`. Raises ValueError with a sentence for a person."""
    if text == "off":
        return 0
    found = parse_size(text)
    if found < LEAST_CEILING:
        raise ValueError(f"{text!r} is less than the daemon needs by itself: at least {format_size(LEAST_CEILING)}")
    return found


def format_ceiling(size: int) -> str:
    """The text `parse_ceiling` reads back."""
    return format_size(size) if size else "off"


def format_size(size: int) -> str:
    """The largest binary unit that divides it, else plain bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZE_BYTES[unit] == 0:
            return f"{size // _SIZE_BYTES[unit]}{unit}"
    return f"{size}B"


def parse_rate(text: str) -> Rate:
    """Reads `300/120s`. Raises ValueError with a sentence for a person."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a rate")
    limit, window = int(found[1]), int(found[2] or 1) * _RATE_SECONDS[found[3]]
    if limit < 1 or window <= 0:
        raise ValueError(f"{text!r} lets nothing through")
    return Rate(limit, window)


def parse_address(text: str) -> Address:
    """Reads `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/syncd/admin.sock`. Raises ValueError."""
    if text.startswith("unix:"):
        if not text.startswith("unix:/"):
            raise ValueError(f"{text!r}: a socket path is absolute")
        return Address(text)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65_535:
        raise ValueError(f"{text!r} is not an address")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r}: an IPv6 host stands in brackets")
    return Address(text)


ADDRESS_HELP = "an address is host:port ([::1]:8080 for IPv6) or unix:/absolute/path"
URL_HELP = "write scheme and host, no user or password: https://api.example.com/v1"


def parse_base_url(text: str) -> str:
    """An http(s) URL without credentials, query or fragment; a trailing slash is dropped. Raises ValueError."""
    try:
        parts = urlsplit(text)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_sound or re.search(r"\s", text):
        raise ValueError(f"{text!r} is not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not carry a user or password")
    if parts.query or parts.fragment:
        raise ValueError("a base URL has no query and no fragment")
    return text.rstrip("/")


def parse_origin(text: str) -> str:
    """`https://host[:port]`, nothing after it. Raises ValueError."""
    url = parse_base_url(text)
    if urlsplit(url).path:
        raise ValueError(f"{text!r} has a path; an origin is scheme and host only")
    return url


class Unit:
    """Pydantic annotation: text in, parsed value out; a value already of the target type passes."""

    def __init__(self, kind: str, parse: Any, target: type, help_text: str, schema: dict[str, Any]) -> None:
        self.kind = kind
        self._parse = parse
        self._target = target
        self._help = help_text
        self.schema = schema

    def _read(self, value: object) -> object:
        if isinstance(value, str):
            try:
                return self._parse(value)
            except ValueError as error:
                # The text goes in as context, so that braces in it are never taken for placeholders.
                raise PydanticCustomError(self.kind, "{text}", {"text": str(error), "help": self._help}) from None
        if self._target is Rate and isinstance(value, Rate):
            return value
        raise PydanticCustomError(
            self.kind,
            "expected a {kind}, found {found}",
            {"kind": self.kind, "found": describe(value), "help": self._help},
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(self.show, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)

    def show(self, value: Any) -> str:
        """The value as a person writes it."""
        return {
            "duration": format_duration,
            "size": format_size,
            "silence": format_silence,
            "ceiling": format_ceiling,
        }.get(self.kind, str)(value)


def unit_of(annotation: Any) -> Unit | None:
    """The Unit of a field or annotation, also where it may be left out (`Duration | None`); None if it has none."""
    if isinstance(annotation, Unit):
        return annotation
    inner = [*getattr(annotation, "metadata", ()), *getattr(annotation, "__metadata__", ())]
    if isinstance(annotation, FieldInfo):
        inner.append(annotation.annotation)
    elif get_origin(annotation) in (Union, UnionType):
        inner += get_args(annotation)
    return next((found for part in inner if (found := unit_of(part))), None)


def describe(value: object) -> str:
    """What was found, in YAML's words and without the value itself where it is a collection."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:60]!r}"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
    return "something else"


Duration = Annotated[
    float,
    Unit(
        "duration",
        parse_duration,
        float,
        DURATION_HELP,
        {"type": "string", "pattern": _DURATION_PATTERN, "examples": ["30s", "15m", "1h30m", "7d"]},
    ),
]
"""Float seconds; written with units."""

Silence = Annotated[
    float,
    Unit(
        "silence",
        parse_silence,
        float,
        SILENCE_HELP,
        {"type": "string", "pattern": f"^off$|{_DURATION_PATTERN}", "examples": ["2h", "off"]},
    ),
]
"""A duration, or `off`: infinite."""

Size = Annotated[
    int,
    Unit("size", parse_size, int, SIZE_HELP, {"type": "string", "pattern": _SIZE_PATTERN, "examples": ["1MiB"]}),
]
"""Int bytes; written with units."""

Ceiling = Annotated[
    int,
    Unit(
        "ceiling",
        parse_ceiling,
        int,
        CEILING_HELP,
        {"type": "string", "pattern": rf"^off$|{_SIZE_PATTERN}", "examples": ["256MiB", "off"]},
    ),
]
"""Int bytes; 0 where there is none."""

RateText = Annotated[
    Rate,
    Unit(
        "rate",
        parse_rate,
        Rate,
        RATE_HELP,
        {"type": "string", "pattern": _RATE_PATTERN, "examples": ["7/s", "80/min", "300/120s"]},
    ),
]

Listen = Annotated[
    Address,
    Unit(
        "address",
        parse_address,
        Address,
        ADDRESS_HELP,
        {"type": "string", "examples": ["127.0.0.1:8080", "[::1]:8080", "unix:/run/syncd/admin.sock"]},
    ),
]

BaseUrl = Annotated[
    str,
    Unit("url", parse_base_url, str, URL_HELP, {"type": "string", "pattern": "^https?://[^\\s?#]+$"}),
]

Origin = Annotated[
    str,
    Unit("origin", parse_origin, str, URL_HELP, {"type": "string", "pattern": "^https?://[^\\s/?#]+/?$"}),
]
