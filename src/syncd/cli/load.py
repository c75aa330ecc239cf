"""Opening what commands work on: the configuration, its secrets, the database. Imported when a command needs it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli.exits import Exit
from syncd.cli.output import Failure
from syncd.config import Config, Loaded, PartnerConfig, barred, load, main_file
from syncd.config.facts import Finding
from syncd.secrets import SecretError, Vault

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.store import KeyRing, Store


def how_to_get_a_database(app: App) -> str:
    """What to write where, a line each; the first alone will do."""
    steps = [
        (f"set in {main_file(app.config_directory)}", "database: {url: {env: SYNCD_DATABASE_URL}}"),
        ("and in the environment", "SYNCD_DATABASE_URL=postgresql://user@host/syncd"),
        ("or let syncd keep one", "syncd run --embedded   (pip install 'syncd[demo]')"),
    ]
    width = max(len(step) for step, _ in steps)
    return "\n".join(f"{step:<{width}}   {how}" for step, how in steps)


def read_config(directory: Path, *, strict: bool = False, forecast: bool = False) -> Loaded:
    """Everything that can be said about the files, good and bad; with `forecast` also of schedules that cannot fit."""
    from syncd import drivers

    advise: Callable[[PartnerConfig], Iterable[Finding]] | None = None
    if forecast:
        from syncd.planning import findings

        advise = findings

    if barred(directory) is None and not directory.exists():
        raise Failure(
            f"no configuration at {directory}",
            "neither a directory nor a file is there",
            "name it: --config DIR or SYNCD_CONFIG; or see first what syncd does: syncd demo",
            exit=Exit.CONFIG,
        )
    return load(directory, drivers=drivers.facts(), env=os.environ, strict=strict, advise=advise)


def load_config(directory: Path) -> Config:
    """The configuration, with every partner whose file is sound: a mistake in one file must not keep a person from looking
    after the others. Raises ConfigProblems where anything else is wrong, or none is left."""
    loaded = read_config(directory)
    config, broken = loaded.config, loaded.broken_partners
    elsewhere = any(problem.partner not in broken for problem in loaded.errors)
    if config is None or not config.partners or not broken or elsewhere:
        return loaded.require()
    from syncd.cli.output import paint, say

    names = ", ".join(sorted(broken))
    say(f"{paint('warning:', 'yellow')} left out, for its file is wrong: {names}. See: syncd check")
    return config


def vault_of(config: Config) -> Vault:
    return Vault(config.secrets.directory, os.environ)


def is_embedded(app: App, config: Config) -> bool:
    """Is the database syncd's own? It was asked for; or none is configured, and `syncd run --embedded` has left one; or the
    configured variable is not set, and that one runs right now (one that was only tried long ago is not meant)."""
    if app.embedded:
        return True
    from syncd.store import embedded

    url = config.database.url
    if url is None:
        return embedded.is_kept(app.state_directory(config))
    return url.env is not None and url.env not in os.environ and embedded.is_running(app.state_directory(config))


@contextmanager
def database_url(app: App, config: Config) -> Iterator[str]:
    """The URL to connect to; an embedded server runs, or is joined, inside the block."""
    if not is_embedded(app, config):
        if config.database.url is None:
            why = f"database.url is not set, and {app.state_directory(config)} (--state-dir) holds none of syncd's own"
            raise Failure("no database is configured", why, how_to_get_a_database(app), exit=Exit.CONFIG)
        try:
            url = vault_of(config).resolve(config.database.url)
        except SecretError as error:
            own = "--embedded (and its --state-dir), where the daemon runs with a PostgreSQL of its own"
            raise SecretError(str(error), hint=f"{error.hint}; or {own}") from None
        yield url.reveal()
        return
    from syncd.store import embedded

    with embedded.start(app.state_directory(config)) as server:
        yield server.url


@asynccontextmanager
async def open_store(app: App, config: Config, *, for_calls: bool = False, make: bool = False) -> AsyncIterator[Store]:
    """The store, for reading and small writes; a schema of another release is refused. `for_calls`: the sealing key too, made
    where there is none yet. `make`: in an empty database the schema is made, as the first `syncd run` would."""
    from syncd.cli.output import say
    from syncd.errors import StoreError
    from syncd.store import Store

    ring = _key_ring(app, config) if for_calls else None
    with database_url(app, config) as url:
        empty = for_calls and await _is_empty(app, url)
        if empty and not make:
            raise StoreError(
                "the database is empty, and limits and tokens of a call are kept in it: none is made",
                hint="syncd migrate",
            )
        store = await Store.open(url, clock=app.clock, key_ring=ring, pool_size=2, migrate=empty)
        if empty:
            say("made syncd's schema in the empty database")
        try:
            yield store
        finally:
            await store.aclose()


def _key_ring(app: App, config: Config) -> KeyRing:
    """The daemon's own: what we seal it must be able to open, and the other way round."""
    from syncd.opening import key_ring

    return key_ring(config, vault_of(config), app.state_directory(config), os.environ)


async def _is_empty(app: App, url: str) -> bool:
    from syncd.store.database import Database
    from syncd.store.migrate import Migrations

    database = await Database.open(url, clock=app.clock, pool_size=1)
    try:
        return not (await Migrations(database).status()).applied
    finally:
        await database.aclose()
