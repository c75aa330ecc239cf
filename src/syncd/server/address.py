"""Questions about a listening address that only its server and its clients ask. Parsing is the configuration's."""

from __future__ import annotations

import ipaddress

from syncd.config import Address


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(address: Address) -> bool:
    """Can only this machine reach it? Stricter than a look at the first digits: `127.0.0.1.example.com` is a name."""
    return address.path is not None or is_loopback(address.host)


def url_of(address: Address) -> str:
    """The URL a client on this machine uses; for a Unix socket the host part says nothing."""
    if address.path is not None:
        return "http://localhost"
    host = address.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"


def names_this_machine(host_header: str) -> bool:
    """Does a Host header name the loopback? A page in a browser that was tricked into calling us (DNS rebinding) sends
    the name it was loaded from, so any other name is refused at a loopback admin site."""
    host = host_header.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return is_loopback(host)
