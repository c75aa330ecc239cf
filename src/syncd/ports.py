"""What a lower floor needs from a higher one, stated as Protocols; `daemon.py` hands the real thing over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class SlotKeeper(Protocol):
    """Where a scope's quota book survives a restart (table `limit_state`); implemented by the store."""

    async def save(self, scope: str, state: Mapping[str, Any]) -> None:
        """Returns once the state is committed."""
        ...

    async def load(self, scope: str) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A secret obtained at run time, decrypted. Never logged: `value` holds a mapping of secret strings."""

    integration: str
    kind: str
    value: Mapping[str, str]
    expires_at: datetime | None
    version: int

    def __repr__(self) -> str:
        return f"StoredCredential({self.integration!r}, {self.kind!r}, version={self.version})"


class CredentialKeeper(Protocol):
    """Where tokens live, encrypted and bound to integration and kind (table `credentials`); implemented by the store."""

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        """The newest version, or None. Raises StoreError where it does not open, and where nothing could be kept."""
        ...

    async def put(
        self,
        integration: str,
        kind: str,
        value: Mapping[str, str],
        *,
        expires_at: datetime | None,
        replaces: int | None,
    ) -> StoredCredential:
        """Commit a new version and return it. `replaces` is the version it was made from (None: there was none).

        Raises OwnershipError when another version has been stored meanwhile: read again instead of using this one.
        """
        ...
