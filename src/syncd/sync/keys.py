"""An integration's credentials in force: its file's, and over those what the partner has handed us since.

What the partner handed us counts for as long as the file names the secret it took the place of. Whoever puts another one
into the file has decided anew, and it is the file's that is used (docs/decisions/0010-rotated-credentials.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from syncd import codec
from syncd.client import Auth
from syncd.client.grants import Consent
from syncd.client.tokens import TokenCall
from syncd.client.transport import Outgoing
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.ports import StoredCredential
from syncd.secrets import Secret, fingerprint
from syncd.store import Store
from syncd.sync.ownership import Ownership

ROTATED = "rotated"
"""The kind of the sealed row."""
LOOK_SECONDS = 5.0
"""Where another instance owns the scope the row is read at most so often."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What the sealed row says."""

    secrets: Mapping[str, Secret]
    made_from: Mapping[str, str]
    """By name the short hash of the file's secret it took the place of."""
    announced_at: datetime

    def value(self) -> dict[str, str]:
        """As it is sealed."""
        return {
            "secrets": dumped({name: secret.reveal() for name, secret in self.secrets.items()}),
            "made_from": dumped(dict(self.made_from)),
            "announced_at": self.announced_at.astimezone(UTC).isoformat(),
        }

    @classmethod
    def of(cls, stored: StoredCredential) -> Rotated:
        secrets = loaded(stored.value["secrets"])
        return cls(
            {name: Secret(text) for name, text in secrets.items()},
            loaded(stored.value["made_from"]),
            datetime.fromisoformat(stored.value["announced_at"]),
        )


class Keys:
    """The credentials of one integration by their names; called like a mapping's `__getitem__`."""

    def __init__(
        self, integration: str, configured: Mapping[str, Secret], ownership: Ownership, store: Store, clock: Clock
    ) -> None:
        self.configured = dict(configured)
        self._integration = integration
        self._ownership = ownership
        self._store = store
        self._clock = clock
        self._over: dict[str, Secret] = {}
        self._seen: int | None = None
        """The fence under which the row was read; -1: somebody else's."""
        self._look_at = float("-inf")

    def __call__(self, name: str) -> Secret:
        """Raises KeyError for one that is not configured."""
        configured = self.configured[name]
        return self._over.get(name, configured)

    def file_prints(self, names: Mapping[str, Any]) -> dict[str, str]:
        """Short hashes of the file's secrets of these names."""
        return {name: fingerprint(self.configured[name]) for name in names}

    async def ensure(self) -> None:
        """Before a call: whoever has the scope since the last one may have been handed others. Raises StoreError."""
        mark = self._ownership.fence if self._ownership.held else -1
        if mark == self._seen and (mark >= 0 or self._clock.monotonic() < self._look_at):
            return
        await self.look()
        self._seen = mark

    async def look(self) -> None:
        """Read the row; what of it counts is in force from here on. Raises StoreError."""
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        credentials = self._store.credentials
        if all(note.kind != ROTATED for note in await credentials.list(self._integration)):
            self._over = {}  # nothing is opened, and no key is needed, where nothing was handed over
            return
        stored = await credentials.get(self._integration, ROTATED)
        rotated = Rotated.of(stored) if stored is not None else None
        self._over = {
            name: secret
            for name, secret in (rotated.secrets if rotated is not None else {}).items()
            if rotated is not None
            and name in self.configured
            and rotated.made_from.get(name) == fingerprint(self.configured[name])
        }


class KeptUp(Auth):
    """Any kind of auth, over credentials that may be rotated."""

    def __init__(self, inner: Auth, keys: Keys) -> None:
        self._inner = inner
        self._keys = keys

    @property
    def needs(self) -> str | None:
        return self._inner.needs

    async def prepare(self) -> None:
        await self._keys.ensure()
        await self._inner.prepare()

    def stamp(self, out: Outgoing, now: datetime) -> object:
        return self._inner.stamp(out, now)

    async def renewed(self, mark: object) -> bool:
        with contextlib.suppress(StoreError):
            await self._keys.look()
        return await self._inner.renewed(mark)

    async def consented(self, consent: Consent) -> StoredCredential:
        await self._keys.ensure()
        return await self._inner.consented(consent)

    def bind(self, send: TokenCall) -> None:
        self._inner.bind(send)

    def rest(self, seconds: float) -> None:
        self._inner.rest(seconds)

    def forget(self) -> None:
        self._inner.forget()

    async def aclose(self) -> None:
        await self._inner.aclose()


def dumped(value: Any) -> str:
    return codec.dumps(value).decode()


def loaded(text: str) -> dict[str, Any]:
    found = codec.loads(text.encode())
    return found if isinstance(found, dict) else {}
