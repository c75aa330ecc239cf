"""`driver: rest`: nothing of its own, the whole description comes from the partner's file."""

from __future__ import annotations

from typing import ClassVar

from syncd.kit import RestDriver


class Rest(RestDriver):
    """A partner that needs no Python."""

    needs_spec: ClassVar[bool] = True
