"""Looks at the age and the end of every credential now and then: for reminders, and as metrics."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog
from anyio import to_thread

from syncd import metrics
from syncd.clock import Clock
from syncd.conditions.condition import Condition
from syncd.config import Config
from syncd.credentials import rows as kept
from syncd.credentials.reminders import ages, ends, reminders
from syncd.credentials.rows import Row
from syncd.errors import StoreError
from syncd.secrets import Vault
from syncd.store import Store
from syncd.store.audit import AuditEntry
from syncd.sync.account import Account

log = structlog.get_logger()

LOOK_SECONDS = 30.0
AUDIT_ROWS = 1_000


class CredentialWatch:
    """`look` reads files and rows; `conditions` says what is known since."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store | None],
        clock: Clock,
        environ: Mapping[str, str],
        company: Callable[[str], str],
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._environ = environ
        self._company = company
        self._rows: list[Row] = []

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            try:
                await self.look()
            except Exception:  # a driver's or a file's oddity must not end the watch over the others
                log.exception("credentials_not_looked_at")
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Read what there is. Without the database what the files tell is known all the same."""
        config, now = self._config(), self._clock.now()
        names = [name for name, (partner, _) in config.integrations.items() if partner.is_enabled(name)]
        audit: defaultdict[str, list[AuditEntry]] = defaultdict(list)
        sealed: list[Row] = []
        store = self._store()
        if store is not None:
            with suppress(StoreError):
                for entry in await store.audit.list(actions=kept.SET, limit=AUDIT_ROWS):
                    audit[entry.integration].append(entry)
                notes = [note for note in await store.credentials.list() if note.integration in names]
                sealed = kept.sealed(config, notes, now)
        vault = Vault(config.secrets.directory, self._environ)
        found = await to_thread.run_sync(kept.configured, config, names, vault, audit, now)
        self._rows = [self._known(row) for row in found] + [row for row in sealed if not row.renews]
        self._tell()

    def conditions(self) -> Iterator[Condition]:
        """What is to be reminded of now."""
        now, config = self._clock.now(), self._config()
        there = config.integrations
        rows = [row for row in self._rows if row.integration in there]
        for one in reminders(rows, config.remind_after, now):
            yield Condition(one.state, one.told, one.integration, one.partner, self._company(one.integration))

    def _known(self, row: Row) -> Row:
        """With the end that its partner told when it was tested, where the integration has one credential. Without an age
        where that asks nobody for anything."""
        account = next((one for one in self._accounts() if one.name == row.integration), None)
        if account is None or account.keys is None or row.name not in account.keys.configured:
            return row
        keys, rights = account.keys, account.health.rights
        handed = keys(row.name) != keys.configured[row.name]  # by the partner, which will do so again
        if handed or row.name in account.driver.auth(account.options).ageless:
            row = replace(row, set_at=None, age_seconds=None, age_by="nobody replaces it for its age")
        if row.expires_at is not None or rights is None or list(keys.configured) != [row.name]:
            return row
        return replace(row, expires_at=rights.expires_at)

    def _tell(self) -> None:
        config, there = self._config(), self._config().integrations
        aging = {(row.integration, row.name): row for row in self._rows if ages(row)}
        ending = {(row.integration, row.name): row.expires_at for row in self._rows if ends(row) and row.expires_at}
        after = {key: config.remind_after(key[0]) for key in aging if key[0] in there}
        wanted = {key: seconds for key, seconds in after.items() if math.isfinite(seconds)}
        for key, row in aging.items():
            metrics.CREDENTIAL_AGE.labels(*key).set(row.age_seconds or 0.0)
        for key, seconds in wanted.items():
            metrics.CREDENTIAL_REMINDER.labels(*key).set(seconds)
        for key, at in ending.items():
            metrics.CREDENTIAL_EXPIRES.labels(*key).set(at.timestamp())
        metrics.keep_only(metrics.CREDENTIAL_AGE, aging)
        metrics.keep_only(metrics.CREDENTIAL_REMINDER, wanted)
        metrics.keep_only(metrics.CREDENTIAL_EXPIRES, ending)
