"""Where a call may go: the origin of the integration's `base_url`, the origins its file lists, and nowhere else.

Every URL that is ever sent is put together here from checked parts, so that what was checked is what is sent: a next
link, a redirect and a token endpoint all come through `Addresses`. What is refused is refused before anything leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

from syncd.errors import ConfigError, RejectedError
from syncd.model import Request

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_PLAIN_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*\Z")
_PLAIN_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*\Z")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9\-._~]*\Z")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_HOSTILE = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._\-]*[a-z0-9])?\Z|\[[0-9a-f:.]+\]\Z")
_PORTS = {"http": 80, "https": 443}
_SAFE = "/%:@!$&'()*+,;=-._~"
_LONGEST = 16_384
"""Characters of one URL; longer ones are refused by most servers, and a listing must not grow one without end."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a credential is bound to. `str()` is how a person writes it."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


@dataclass(frozen=True, slots=True)
class Target:
    """One checked address. `path` holds the query too and is fully escaped."""

    origin: Origin
    path: str
    home: bool
    """Is it the origin of `base_url`, or one the driver calls the partner's own? Only there do credentials go."""

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"


def origin_of(url: str) -> Origin:
    """The origin of an absolute http(s) URL. Raises ValueError, in words without the URL, for anything else."""
    if _HOSTILE.search(url) or len(url) > _LONGEST:
        raise ValueError("holds characters no URL may hold, or is too long")
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("carries a user name or password")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if not _HOST.match(host):
        raise ValueError("names no usable host")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("names a port that is none") from None
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


def fill(template: str, values: Mapping[str, object]) -> str:
    """A path template with ids put in, each one quoted whole: `fill("/listings/{id}", {"id": "a/b"})`.

    An id can never climb out of its segment. Raises RejectedError for an empty one and for `.` and `..`, which no
    quoting makes harmless, since servers and proxies resolve them even when escaped.
    """
    quoted: dict[str, str] = {}
    for name, value in values.items():
        text = str(value)
        if text in {"", ".", ".."} or _LONE_SURROGATE.search(text):
            raise RejectedError(f"{template}: {name} is {text!a}, which cannot stand in a path")
        quoted[name] = quote(text, safe="")
    return re.sub(r"\{([^{}]+)\}", lambda found: quoted[found[1]], template)


def encode_params(params: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Query parameters as text: lists repeat their key, True is `true`, None is left out."""
    pairs: list[str] = []
    for key, value in params.items() if isinstance(params, Mapping) else params:
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is None:
                continue
            pairs.append(f"{_quoted(key)}={_quoted(one if isinstance(one, str) else _text(one))}")
    return "&".join(pairs)


def _quoted(text: str) -> str:
    return text if _PLAIN_WORD.match(text) else quote(text, safe="", errors="replace")


def _text(value: object) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    return str(value)


class Addresses:
    """The origins one integration may call, and the one place that turns a request into a URL."""

    def __init__(self, base_url: str, origins: Iterable[str] = (), homes: Iterable[str] = ()) -> None:
        """`homes`: further origins of the partner's own API, which get the credential too: a driver's facts, never a file's.

        Raises ConfigError for a `base_url` or origin that cannot be one (user info, fragment, other schemes)."""
        self.home = _configured("base_url", base_url)
        parts = urlsplit(base_url)
        if parts.query or parts.fragment:
            raise ConfigError("base_url has a query or a fragment", hint="put parameters into the resources")
        path = parts.path.rstrip("/")
        if not _PLAIN_PATH.match(path) or _DOT_SEGMENT.search(path):
            raise ConfigError("base_url has a path that is not a plain one", hint="write it without .. and escaped")
        self._prefix = path
        self._homes = frozenset({self.home, *(_configured("hosts", one) for one in homes)})
        self.allowed = self._homes | {_configured("origins", one) for one in origins}

    def target(self, request: Request) -> Target:
        """The address of a request. Raises RejectedError when it may not be called; nothing was sent."""
        path = request.path
        if _ABSOLUTE.match(path):
            return self._absolute(path, request.params, "the link")
        if _HOSTILE.search(path):
            raise RejectedError("the path holds spaces or control characters", hint="ids must be quoted by the driver")
        if path.startswith("//"):
            raise RejectedError("the path begins with // and would name another host")
        if "#" in path:
            raise RejectedError("the path holds a #", hint="ids must be quoted by the driver")
        path, _, query = path.partition("?")
        if not path.startswith("/") and path:
            path = f"/{path}"
        return Target(self.home, _join(self._prefix + path, query, request.params), home=True)

    def link(self, seen_at: Target, location: str) -> Target:
        """Where a redirect leads, seen from the address that answered with it. Raises RejectedError as `target`."""
        if _HOSTILE.search(location) or location.startswith("//") or not location.isascii():
            raise RejectedError("the redirect's Location is not a sound URL")
        return self._absolute(urljoin(seen_at.url, location), (), "the redirect")

    def trusted(self, url: str) -> Target:
        """An address from our own configuration or the driver's own facts (a token endpoint), not from an answer.

        A path is taken from the root of the home origin; an absolute URL must be sound but may name any origin.
        """
        if not _ABSOLUTE.match(url):
            if not url.startswith("/") or url.startswith("//"):
                raise ConfigError("the token endpoint is neither a path nor a URL")
            path, _, query = url.partition("?")
            return Target(self.home, _join(path, query, ()), home=True)
        origin = _configured("token_url", url)
        if self.home.scheme == "https" and origin.scheme == "http":
            raise ConfigError("the token endpoint is plain http while base_url is https")
        parts = urlsplit(url)
        return Target(origin, _join(parts.path or "/", parts.query, ()), home=origin == self.home)

    def _absolute(self, url: str, params: Any, what: str) -> Target:
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise RejectedError(f"{what} {error}") from None
        if origin not in self.allowed:
            raise RejectedError(
                f"{what} leads to {origin}, which is neither {self.home} nor an origin this integration lists",
                hint=f"if {origin} belongs to the partner, add it to the integration's `origins`",
            )
        parts = urlsplit(url)
        return Target(origin, _join(parts.path or "/", parts.query, params), home=origin in self._homes)


def _configured(key: str, url: str) -> Origin:
    try:
        return origin_of(url)
    except ValueError as error:
        raise ConfigError(f"{key} {error}", hint="credentials belong under `credentials`") from None


def _join(path: str, query: str, params: Any) -> str:
    if not _PLAIN_PATH.match(path):
        path = quote(_BAD_ESCAPE.sub("%25", path), safe=_SAFE, errors="replace")
    if ("/." in path or "%2" in path) and _DOT_SEGMENT.search(path):
        raise RejectedError("the path holds a . or .. segment", hint="an id must never be used as a path unquoted")
    if params:
        added = encode_params(params)
        if query and added:
            given = {key for key, _ in parse_qsl(added, keep_blank_values=True)}
            kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in given]
            query = encode_params(kept)
        query = f"{query}&{added}" if query and added else query or added
    if query and not _PLAIN_QUERY.match(query):
        query = quote(_BAD_ESCAPE.sub("%25", query), safe=_SAFE + "?", errors="replace")
    if len(path) + len(query) > _LONGEST:
        raise RejectedError(f"the URL would be longer than {_LONGEST} characters")
    return f"{path}?{query}" if query else path or "/"
