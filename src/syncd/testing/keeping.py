"""A keeper of credentials obtained at run time that has no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from syncd.errors import OwnershipError
from syncd.ports import StoredCredential


class Kept:
    """Credentials obtained at run time, in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], StoredCredential] = {}

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        return self.rows.get((integration, kind))

    async def put(
        self,
        integration: str,
        kind: str,
        value: Mapping[str, str],
        *,
        expires_at: datetime | None,
        replaces: int | None,
    ) -> StoredCredential:
        known = self.rows.get((integration, kind))
        if (known.version if known is not None else None) != replaces:
            raise OwnershipError("another version is stored")
        row = StoredCredential(integration, kind, dict(value), expires_at, (replaces or 0) + 1)
        self.rows[integration, kind] = row
        return row
