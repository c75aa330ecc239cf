"""Reaching the database: which one, with which key, embedded or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from anyio import to_thread

from syncd.clock import Clock
from syncd.config import MAIN_FILE, Config
from syncd.errors import ConfigError, StoreError
from syncd.secrets import Ref, SecretError, Vault
from syncd.store import KeyRing, Store
from syncd.store.embedded import EmbeddedServer, start

say = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between two looks whether the embedded server lives."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries to start it again, at most: where its disk is full, only a person can help."""
KEY_CREDENTIAL = "syncd.key"
"""The name under which systemd's LoadCredential hands over the key."""
KEY_FILE = "syncd.key"
"""Where the key lives in the state directory when nobody else keeps it."""

NO_DATABASE = (
    "set database.url in %s (for example {env: SYNCD_DATABASE_URL}), "
    "or run with --embedded, which keeps a PostgreSQL of its own under the state directory"
)


@dataclass(slots=True)
class OpenedStore:
    """The store, and the private server under it if there is one."""

    store: Store
    url: str
    """Where its database is; holds a password."""
    server: EmbeddedServer | None = None

    async def aclose(self) -> None:
        await self.store.aclose()
        if self.server is not None:
            await asyncio.to_thread(self.server.stop)


async def keep_alive(server: EmbeddedServer, clock: Clock, told: Callable[[str], None]) -> None:
    """Start the embedded server again whenever it has died: nobody else would. Until cancelled.

    `told` hears why it cannot be started, and the empty string once it was.
    """
    pause, trouble = LOOK_SECONDS, ""
    while True:
        await clock.sleep(pause)
        if server.pid is not None or not server.owned:
            pause = LOOK_SECONDS
            continue
        try:
            # A start that has begun is waited for, also while we stop: nobody would end a server that comes up later.
            await to_thread.run_sync(server.revive)
        except (StoreError, OSError) as error:
            if str(error) != trouble:
                say.error(
                    "embedded_server_not_restarted", reason=str(error), action=getattr(error, "hint", "") or "df -h"
                )
            trouble = str(error)
        else:
            say.warning("embedded_server_restarted", pid=server.pid, reason="it had ended without being asked to")
            trouble = ""
        told(trouble)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def open_store(
    config: Config,
    vault: Vault,
    clock: Clock,
    *,
    embedded: bool = False,
    state_directory: Path | None = None,
    url: str | None = None,
    migrate: bool = True,
    said_in: Path = MAIN_FILE,
) -> OpenedStore:
    """Open the configured database, or the embedded one. Raises StoreError while it is away, ConfigError for none at all,
    which names `said_in` as the file to name one in."""
    state = state_directory or config.state_directory or Path("/var/lib/syncd")
    server: EmbeddedServer | None = None
    if url is None and embedded:
        make_private(state)
        server = await asyncio.to_thread(start, state)
        url = server.url
    if url is None:
        url = database_url(config, vault, said_in)
    try:
        store = await Store.open(
            url,
            clock=clock,
            key_ring=key_ring(config, vault, state, os.environ),
            pool_size=config.database.pool_size,
            migrate=migrate,
        )
    except BaseException:
        if server is not None:
            await asyncio.to_thread(server.stop)
        raise
    return OpenedStore(store, url, server)


def database_url(config: Config, vault: Vault, said_in: Path = MAIN_FILE) -> str:
    """The configured URL. Raises ConfigError saying how to get a database where none is named."""
    if config.database.url is None:
        raise ConfigError("no database is configured", hint=NO_DATABASE % said_in)
    return vault.resolve(config.database.url).reveal()


def key_ring(config: Config, vault: Vault, state: Path, environ: Mapping[str, str]) -> KeyRing:
    """The keys that seal what is obtained at run time: as configured, else handed over by systemd, else our own file."""
    if config.secrets.key is not None:
        return KeyRing.parse(vault.resolve(config.secrets.key).reveal())
    handed = environ.get("CREDENTIALS_DIRECTORY")
    if handed is not None and (Path(handed) / KEY_CREDENTIAL).exists():
        return KeyRing.parse(vault.resolve(Ref.model_validate({"credential": KEY_CREDENTIAL})).reveal())
    try:
        make_private(state)
        return KeyRing.load_or_create(state / KEY_FILE)
    except OSError as error:
        raise SecretError(
            f"the key that seals tokens cannot be kept in {state}: {error.strerror}",
            hint=f"make {state} writable, set state_directory, or give the key: secrets.key",
        ) from None


def make_private(directory: Path) -> None:
    """Make the state directory, for us alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
