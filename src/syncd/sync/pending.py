"""What a rotation of credentials keeps while it is under way: its sealed row, its trial's tokens, what it replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from syncd.ports import StoredCredential
from syncd.secrets import Secret
from syncd.store import Store
from syncd.store.credentials import Put
from syncd.sync.keys import dumped, loaded

TRIAL = " on trial"
"""What is added to the kind of tokens that a trial was given."""
EXPIRES = "(expires at)"


@dataclass(frozen=True, slots=True)
class Pending:
    """A rotation under way."""

    state: str
    """`announced`; `stored`: in force, to be verified; `refused`: over, and to be said."""
    announced_at: datetime
    delivery: int
    """The inbox row it came with, whose body is forgotten in the end: the secret stands in it."""
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    former: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By kind the sealed values that were replaced."""
    reason: str = ""

    def value(self) -> dict[str, str]:
        return {
            "state": self.state,
            "announced_at": self.announced_at.astimezone(UTC).isoformat(),
            "delivery": str(self.delivery),
            "secrets": dumped({name: secret.reveal() for name, secret in self.secrets.items()}),
            "former": dumped({kind: dict(value) for kind, value in self.former.items()}),
            "reason": self.reason,
        }

    @classmethod
    def of(cls, stored: StoredCredential) -> Pending:
        value = stored.value
        return cls(
            value["state"],
            datetime.fromisoformat(value["announced_at"]),
            int(value["delivery"]),
            {name: Secret(text) for name, text in loaded(value["secrets"]).items()},
            loaded(value["former"]),
            value["reason"],
        )


class TrialKeeper:
    """Keeps a trial's tokens beside the ones in force: committed before they are used, as all are (R10).

    The token in force is not shown to it, else it would be that one that is tried; its refresh token is, which may be the
    only one that lives. Whoever spends that one gets the next of its chain, and the one before is dead by then: so the next
    one is in force at once, whatever becomes of the trial, and of whoever tries.
    """

    def __init__(self, store: Store) -> None:
        self._credentials = self.lends = store.credentials
        self._borrowed = False

    async def get(self, integration: str, kind: str) -> StoredCredential | None:
        trial = await self._credentials.get(integration, kind + TRIAL)
        self._borrowed = trial is None
        if trial is not None:
            return trial
        in_force = await self._credentials.get(integration, kind)
        if in_force is None or "refresh_token" not in in_force.value:
            return None
        return replace(in_force, value={**in_force.value, "access_token": ""})

    async def put(
        self,
        integration: str,
        kind: str,
        value: Mapping[str, str],
        *,
        expires_at: datetime | None,
        replaces: int | None,
    ) -> StoredCredential:
        in_force = await self._credentials.get(integration, kind)
        if in_force is not None and same_chain(value, in_force.value):
            await self._credentials.put(integration, kind, value, expires_at=expires_at, replaces=in_force.version)
        return await self._credentials.put(
            integration, kind + TRIAL, value, expires_at=expires_at, replaces=None if self._borrowed else replaces
        )


async def forget_chained(store: Store, integration: str, kinds: Iterable[str]) -> None:
    """Before a trial: the token that an earlier one was given of the chain in force is forgotten. It would pass for a new
    client secret that nobody has tried. Raises StoreError."""
    for kind in kinds:
        trial = await store.credentials.get(integration, kind + TRIAL)
        in_force = await store.credentials.get(integration, kind) if trial is not None else None
        if trial is not None and in_force is not None and same_chain(trial.value, in_force.value):
            await store.credentials.remove(integration, kind + TRIAL, version=trial.version)


def kept(stored: StoredCredential) -> dict[str, str]:
    """A sealed value with its expiry, as it is remembered."""
    expires = {} if stored.expires_at is None else {EXPIRES: stored.expires_at.astimezone(UTC).isoformat()}
    return {**stored.value, **expires}


def restored(kind: str, former: Mapping[str, str] | None, now: StoredCredential | None) -> Put:
    """What puts a remembered value into the place of what is there now; without one that is removed."""
    if former is None:
        return Put(kind, None, None, version_of(now))
    expires = former.get(EXPIRES)
    value = {name: text for name, text in former.items() if name != EXPIRES}
    return Put(kind, value, datetime.fromisoformat(expires) if expires else None, version_of(now))


def same_chain(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Do both descend from one configured refresh token?"""
    return "refresh_token" in one and "refresh_token" in other and one.get("made_from") == other.get("made_from")


def version_of(stored: StoredCredential | None) -> int | None:
    """Of what is to be replaced; None: nothing is there."""
    return stored.version if stored is not None else None
