"""Whose account a listing is of: where records name it, a listing of another one than the stored records' is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncd.errors import PayloadError
from syncd.kit import Item, Resource
from syncd.sync.account import Account


@dataclass(slots=True)
class Tenant:
    """Remembers the account's name for as long as one listing is read."""

    account: Account
    resource: Resource
    _known: str | None = None

    async def check(self, items: Iterable[Item]) -> None:
        """Raises PayloadError, before anything of these is stored."""
        account, resource = self.account, self.resource
        if resource.tenant is None:
            return
        stated = account.driver.tenant_by(account.options)
        if self._known is None and stated is None:
            async for stored in account.store.records.scan(account.name, resource.name, batch=1, limit=1):
                self._known = account.driver.tenant(resource, stored.raw)
        for item in items:
            if account.processor.is_aside(item):
                continue
            told = account.driver.tenant(resource, item.raw) if item.raw is not None else None
            if told is None:
                continue
            if stated is not None and told != stated[1]:
                raise PayloadError(
                    f"{resource.name}: the listing is of another account ({told}) than `options` say"
                    f" ({stated[0]}: {account.options[stated[0]]}); nothing of it was stored",
                    hint=f"give {account.name} a credential of that account, or mend its options",
                )
            if self._known is None:
                self._known = told
            elif told != self._known:
                raise PayloadError(
                    f"{resource.name}: the listing is of another account ({told}) than the stored records"
                    f" ({self._known}); nothing of it was stored",
                    hint=f"syncd credential test {account.name}",
                )
