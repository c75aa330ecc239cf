"""What an integration's credential may do, as far as its partner tells: the scopes it holds, needs and lacks, and its end.

Asked when a person tests the credential, never by the way. Where the partner tells nothing of it, that is what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from syncd.client import Session
from syncd.errors import SyncdError
from syncd.kit.allowed import Asked, asking, split, told
from syncd.model import Lane
from syncd.sync.account import Account

WEBHOOK: Final = "webhook"
"""The kind of the sealed row that says that its webhooks were registered."""
TOKENS: Final = ("oauth2_client", "oauth2_refresh")


@dataclass(frozen=True, slots=True)
class Rights:
    """What is known, and by what word."""

    told_by: str
    """`GET /self`, or `its token's answer`; empty: not told."""
    held: tuple[str, ...]
    needed: tuple[str, ...]
    missing: tuple[str, ...]
    at: datetime
    expires_at: datetime | None = None
    """When the credential itself ends, where the partner says so."""
    trouble: str = ""
    """Why it could not be asked now."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "told_by": self.told_by or None,
            "held": list(self.held) if self.told_by and not self.trouble else None,
            "needed": list(self.needed),
            "missing": list(self.missing) if self.told_by and not self.trouble else None,
            "at": self.at,
            "trouble": self.trouble or None,
        }


async def rights_of(account: Account, session: Session | None = None, *, token_suffix: str = "") -> Rights:
    """Ask, by at most one call. Never raises for an answer, nor for none.

    `session`: another one than the account's own, which tries a new credential; its tokens are kept under a kind with
    `token_suffix`.
    """
    now, scopes = account.clock.now(), account.driver.spec.scopes
    needed: tuple[str, ...] = ()
    told_by = ""
    try:
        needed = await _needed(account)
        if isinstance(scopes.told, Asked):
            told_by = f"GET {scopes.told.path}"
            answer = await (session or account.session).call(asking(scopes.told), lane=Lane.HIGH)
            granted = told(scopes.told, answer)
            if not granted.valid:
                return Rights(told_by, (), needed, (), now, trouble="the partner says that it is no valid credential")
            held, ends = granted.scopes, granted.expires_at
        else:
            text = await _token_scope(account, token_suffix)
            told_by, held, ends = "its token's answer" if text else "", split(text), None
    except SyncdError as error:
        return Rights(told_by, (), needed, (), now, trouble=str(error))
    missing = tuple(scopes.missing(needed, held)) if told_by else ()
    return Rights(told_by, held, needed, missing, now, ends)


async def _needed(account: Account) -> tuple[str, ...]:
    """Raises StoreError."""
    registered = account.health.registered
    if not registered and account.driver.spec.scopes.webhooks:
        registered = any(note.kind == WEBHOOK for note in await account.store.credentials.list(account.name))
    return tuple(account.driver.spec.scopes.needed(account.plans, webhooks=registered))


async def _token_scope(account: Account, suffix: str) -> str:
    """What the token endpoint said that the token allows. Raises StoreError."""
    kind = account.driver.auth(account.options).kind
    if kind not in TOKENS:
        return ""
    stored = await account.store.credentials.get(account.name, kind + suffix)
    return stored.value.get("scope", "") if stored is not None else ""
