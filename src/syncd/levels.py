"""From which level on a line is logged: the configured one, or for a while another, of everything or of one integration."""

from __future__ import annotations

EVERYTHING = ""
"""The name under which a level of all lines is set."""


class Levels:
    """Numbers of the standard library: debug 10, info 20, warning 30, error 40."""

    def __init__(self, configured: int = 20) -> None:
        self.configured = configured
        self.for_a_while: dict[str, int] = {}
        """By integration, or `EVERYTHING`."""

    @property
    def lowest(self) -> int:
        """Below this no line is logged, whosever it is."""
        every = self.for_a_while.get(EVERYTHING, self.configured)
        return min([every, *(level for name, level in self.for_a_while.items() if name != EVERYTHING)])

    def of(self, integration: str) -> int:
        """From which level on a line of this integration is logged."""
        every = self.for_a_while.get(EVERYTHING, self.configured)
        return self.for_a_while.get(integration, every) if integration else every
