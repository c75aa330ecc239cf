"""What works for a partner beside its feeder: the events that came in, the pushes that go out."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """One such worker. Memory holds only what it took (R3), and it survives whatever its own work raises.

    One with `of_deliveries` true works on the inbox and is woken by each delivery; the others need not look that often.
    """

    async def run(self) -> None:
        """Work until cancelled."""
        ...

    def wake(self) -> None:
        """Rows may have come: look now."""
        ...

    async def stop(self) -> None:
        """Take nothing more; come back when what is held has ended or was given back."""
        ...
