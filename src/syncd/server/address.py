"""Where a site listens: a TCP host and port, or a Unix socket. Parsing and judging only; nothing is opened here."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from syncd.errors import ConfigError

_FORMS = "accepted: 127.0.0.1:8081, [::1]:8081, localhost:8081, :8080 (all interfaces), unix:/run/syncd/admin.sock"


@dataclass(frozen=True, slots=True)
class Address:
    """One place to listen at or to call. With `path` a Unix socket; else host (empty: all) and port."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ConfigError for anything that is neither host:port nor a socket path."""
        text = text.strip()
        if text.startswith(("unix:", "/")):
            path = Path(text.removeprefix("unix:"))
            if not path.is_absolute():
                raise ConfigError(f"{text!r} is not an absolute socket path", hint=_FORMS)
            return cls(path=path)
        host, colon, port = text.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"{text!r} is not an address to listen at", hint=_FORMS)
        bracketed = host.startswith("[") and host.endswith("]")
        if ":" in host and not bracketed:
            raise ConfigError(f"{text!r} needs brackets round its IPv6 address", hint=_FORMS)
        return cls(host=host[1:-1] if bracketed else host, port=int(port))

    @property
    def local(self) -> bool:
        """True when only this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """The URL a client on this machine uses; for a Unix socket the host part says nothing."""
        if self.path is not None:
            return "http://localhost"
        host = self.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def names_this_machine(host_header: str) -> bool:
    """Does a Host header name the loopback? A page in a browser that was tricked into calling us (DNS rebinding) sends
    the name it was loaded from, so any other name is refused at a loopback admin site."""
    host = host_header.strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return Address(host=host).local
