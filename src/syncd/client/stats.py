"""What calls cost, counted where they are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class CallStats:
    """Counters of one or more calls. Hand a fresh one to each run, or read the session's own total."""

    calls: int = 0
    """Requests that left: retries, redirects and replays included. Token requests count in the session's total only."""
    waited_seconds: float = 0.0
    """Spent waiting for a limit before any of them."""
    seconds: float = 0.0
    """Spent between send and complete answer."""
    retries: int = 0
    rate_limited: int = 0
    refreshes: int = 0
    """Times the credential was refused and another one was tried."""
    received_bytes: int = 0
    """Of bodies, after inflation."""

    def sent(self, seconds: float, received_bytes: int = 0) -> None:
        """One request left and was answered, lost or cut."""
        self.calls += 1
        self.seconds += seconds
        self.received_bytes += received_bytes
