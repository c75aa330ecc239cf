"""Table `credentials`: secrets obtained at run time, sealed (see `sealing`). Implements ports.CredentialKeeper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from syncd.errors import OwnershipError
from syncd.ports import StoredCredential
from syncd.store.database import Database, affected
from syncd.store.sealing import HOW_TO_MAKE_A_KEY, KeyRing, SealError

REFRESHED: Final = "oauth2_refresh"
"""The kind of what a refresh token may lie with."""


@dataclass(frozen=True, slots=True)
class CredentialNote:
    """What may be shown of a stored credential."""

    integration: str
    kind: str
    key_id: str
    version: int
    expires_at: datetime | None
    stored_at: datetime
    refreshes: bool | None = None
    """Of a token that a person allowed: does a refresh token lie with it? None: another kind, or it does not open here."""


@dataclass(frozen=True, slots=True)
class Put:
    """One of several credentials that are stored with one commit."""

    kind: str
    value: Mapping[str, str] | None
    """None: it is removed."""
    expires_at: datetime | None
    replaces: int | None
    """The version it takes the place of; None: there was none."""


class Credentials:
    """Tokens and the like. Committed before use (R10), never replaced unseen."""

    def __init__(self, database: Database, key_ring: KeyRing | None) -> None:
        self._database = database
        self._ring = key_ring

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        """The newest version, opened, or None. Raises SealError where it does not open, and where there is no key at all:
        whoever finds nothing here asks the partner next, for something that must not be spent in vain."""
        ring = self._keys()
        found = await self._database.fetchrow(
            "SELECT ciphertext, key_id, expires_at, version FROM syncd.credentials WHERE integration = $1 AND kind = $2",
            integration,
            kind,
        )
        if found is None:
            return None
        value = ring.open(integration, kind, found["key_id"], found["ciphertext"])
        return StoredCredential(integration, kind, value, found["expires_at"], found["version"])

    async def put(
        self,
        integration: str,
        kind: str,
        value: Mapping[str, str],
        *,
        expires_at: datetime | None,
        replaces: int | None,
    ) -> StoredCredential:
        """Commit a new version. `replaces` is the version it was made from, None: there was none.

        Raises OwnershipError when another version has been stored meanwhile: read again, do not use this one.
        """
        key_id, ciphertext = self._keys().seal(integration, kind, value)
        now = self._database.clock.now()
        if replaces is None:
            version = await self._database.fetchval(
                "INSERT INTO syncd.credentials (integration, kind, ciphertext, key_id, expires_at, stored_at) "
                "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING version",
                integration,
                kind,
                ciphertext,
                key_id,
                expires_at,
                now,
            )
        else:
            version = await self._database.fetchval(
                "UPDATE syncd.credentials SET ciphertext = $3, key_id = $4, expires_at = $5, stored_at = $6, "
                "version = version + 1 WHERE integration = $1 AND kind = $2 AND version = $7 RETURNING version",
                integration,
                kind,
                ciphertext,
                key_id,
                expires_at,
                now,
                replaces,
            )
        if version is None:
            raise OwnershipError(f"the credential {kind} of {integration} has been replaced by somebody else")
        return StoredCredential(integration, kind, dict(value), expires_at, version)

    async def put_all(self, integration: str, puts: Sequence[Put]) -> None:
        """Store, replace and remove several at once, or nothing.

        Raises OwnershipError when one of them has been replaced meanwhile.
        """
        sealed = [
            (put, *(self._keys().seal(integration, put.kind, put.value) if put.value is not None else ("", b"")))
            for put in puts
        ]
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            for put, key_id, ciphertext in sealed:
                if put.value is None:
                    tag = await connection.execute(
                        "DELETE FROM syncd.credentials WHERE integration = $1 AND kind = $2 AND version = $3",
                        integration,
                        put.kind,
                        put.replaces,
                    )
                elif put.replaces is None:
                    tag = await connection.execute(
                        "INSERT INTO syncd.credentials (integration, kind, ciphertext, key_id, expires_at, stored_at) "
                        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                        integration,
                        put.kind,
                        ciphertext,
                        key_id,
                        put.expires_at,
                        now,
                    )
                else:
                    tag = await connection.execute(
                        "UPDATE syncd.credentials SET ciphertext = $3, key_id = $4, expires_at = $5, stored_at = $6, "
                        "version = version + 1 WHERE integration = $1 AND kind = $2 AND version = $7",
                        integration,
                        put.kind,
                        ciphertext,
                        key_id,
                        put.expires_at,
                        now,
                        put.replaces,
                    )
                if affected(tag) != 1:
                    raise OwnershipError(f"the credential {put.kind} of {integration} was replaced by somebody else")

    async def remove(self, integration: str, kind: str, *, version: int | None = None) -> bool:
        """Forget it; with `version`, only if it is that one still. False where nothing was forgotten."""
        return (
            await self._database.execute(
                "DELETE FROM syncd.credentials WHERE integration = $1 AND kind = $2 AND version = coalesce($3, version)",
                integration,
                kind,
                version,
            )
            == 1
        )

    async def having(self, kind: str, integrations: Sequence[str]) -> set[str]:
        """Those of the integrations that have one of this kind."""
        found = await self._database.fetch(
            "SELECT integration FROM syncd.credentials WHERE kind = $1 AND integration = ANY($2::text[])",
            kind,
            [*integrations],
        )
        return {each[0] for each in found}

    async def list(self, integration: str | None = None) -> list[CredentialNote]:
        """What is stored, and of it only what may be shown."""
        found = await self._database.fetch(
            "SELECT integration, kind, key_id, version, expires_at, stored_at, "
            "CASE kind WHEN $2 THEN ciphertext END AS ciphertext FROM syncd.credentials "
            "WHERE $1::text IS NULL OR integration = $1 ORDER BY 1, 2",
            integration,
            REFRESHED,
        )
        return [self._note(dict(each)) for each in found]

    def _note(self, row: dict[str, Any]) -> CredentialNote:
        ciphertext, refreshes = row.pop("ciphertext"), None
        if ciphertext is not None and self._ring is not None:
            with suppress(SealError):
                value = self._ring.open(row["integration"], row["kind"], row["key_id"], ciphertext)
                refreshes = bool(value.get("refresh_token"))
        return CredentialNote(**row, refreshes=refreshes)

    @property
    def ring(self) -> KeyRing | None:
        """The keys in use; None: nothing can be sealed or opened."""
        return self._ring

    def use(self, ring: KeyRing) -> None:
        """Seal and open with these keys from here on."""
        self._ring = ring

    async def by_key(self) -> dict[str, int]:
        """How many rows are sealed with each key."""
        found = await self._database.fetch("SELECT key_id, count(*) FROM syncd.credentials GROUP BY 1 ORDER BY 1")
        return {each[0]: each[1] for each in found}

    async def lost(self) -> Sequence[CredentialNote]:
        """Those that no key there is opens."""
        found = []
        for note in await self.list():
            try:
                await self.get(note.integration, note.kind)
            except SealError:
                found.append(note)
        return found

    async def reseal(self, *, batch: int = 100) -> int:
        """Move every credential to the ring's current key; returns how many moved. Versions stay.

        A batch at a time, a row a statement, each only if it is still the one that was read: whoever stores a newer one
        meanwhile wins, whoever is killed goes on, and several may do it at once. Raises SealError for one that does not open,
        once all others were moved.
        """
        ring, moved = self._keys(), 0
        after, failed = ("", ""), None
        while True:
            found = await self._database.fetch(
                "SELECT integration, kind, ciphertext, key_id, version FROM syncd.credentials "
                "WHERE key_id <> $1 AND (integration, kind) > ($2, $3) ORDER BY 1, 2 LIMIT $4",
                ring.current,
                *after,
                batch,
            )
            if not found:
                break
            for row in found:
                after = row["integration"], row["kind"]
                try:
                    value = ring.open(*after, row["key_id"], row["ciphertext"])
                except SealError as error:
                    failed = failed or error
                    continue
                moved += await self._database.execute(
                    "UPDATE syncd.credentials SET ciphertext = $3, key_id = $4 "
                    "WHERE integration = $1 AND kind = $2 AND version = $5 AND key_id = $6",
                    *after,
                    ring.seal(*after, value)[1],
                    ring.current,
                    row["version"],
                    row["key_id"],
                )
        if failed is not None:
            raise failed
        return moved

    def _keys(self) -> KeyRing:
        if self._ring is None:
            raise SealError(
                "there is no key to seal credentials with", hint=f"name its file as secrets.key; {HOW_TO_MAKE_A_KEY}"
            )
        return self._ring
