"""What systemd wants to hear, one datagram each: ready, reloading, stopping, alive, and one line about how things are.

Outside systemd (no NOTIFY_SOCKET) every call does nothing, so nobody has to ask where we run. The protocol is that of
sd_notify(3); `Type=notify-reload` would need systemd 253, so the unit uses `Type=notify` and we send both halves of
RELOADING ourselves, which newer releases understand as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from syncd.clock import Clock


class Notifier:
    """Speaks to the service manager, if there is one."""

    def __init__(self, environ: Mapping[str, str] | None = None, *, clock: Clock, pid: int | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._clock = clock
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._last_status = ""
        self.watchdog_seconds = _watchdog(environ, os.getpid() if pid is None else pid)
        """How often systemd wants a sign of life at least; None when it does not watch. Send twice as often."""

    @property
    def listening(self) -> bool:
        return self._address is not None

    def ready(self) -> None:
        """Start or reload is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1_000_000)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog. Call it only when the loop, the scheduler and the workers have moved."""
        self._send("WATCHDOG=1")

    def status(self, line: str) -> None:
        """The line `systemctl status` shows; the same line twice is sent once."""
        line = " ".join(line.split())
        if line != self._last_status:
            self._last_status = line
            self._send(f"STATUS={line}")

    def extend(self, seconds: float) -> None:
        """A start or stop that takes longer is not stuck: ask for so much more time."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(), self._address)
        except OSError:
            # Nobody there, or its queue is full. A missed sign of life is the watchdog's to judge, no reason to fail.
            return


def _address(text: str) -> str | None:
    """A path, or a name in the abstract namespace, which systemd writes with a leading @."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """WATCHDOG_USEC, unless WATCHDOG_PID says that it is meant for another process."""
    meant_for = environ.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(pid):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    return int(usec) / 1_000_000
