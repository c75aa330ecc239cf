"""A keeper of credentials obtained at run time that has no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from syncd.ports import StoredCredential


class Kept:
    """Credentials obtained at run time, in memory."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], StoredCredential] = {}

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        return self._rows.get((integration, kind))

    async def put(
        self,
        integration: str,
        kind: str,
        value: Mapping[str, str],
        *,
        expires_at: datetime | None,
        replaces: int | None,
    ) -> StoredCredential:
        row = StoredCredential(integration, kind, dict(value), expires_at, (replaces or 0) + 1)
        self._rows[integration, kind] = row
        return row
