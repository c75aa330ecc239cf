"""What `syncd check --env` and `--live` look at, beyond the files: secrets, database, addresses, partners."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli.exits import Exit, exit_of
from syncd.cli.link import Link, Unreachable
from syncd.cli.output import Failure, plural
from syncd.errors import SyncdError
from syncd.wording import lasting

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Address, Config
    from syncd.secrets import Ref


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    detail: str
    do: str = ""
    exit: Exit = Exit.OK


async def probe(app: App, config: Config, *, live: bool) -> list[Finding]:
    """Everything, however much of it fails."""
    found = list(_secrets(config, embedded=app.embedded))
    found += [finding async for finding in _database(app, config)]
    found += [_address("server.listen", config.server.listen, app, public=True)]
    found += [_address("server.admin", config.server.admin, app, public=False)]
    if live and all(finding.ok for finding in found if finding.exit is Exit.CONFIG):
        found += [finding async for finding in _partners(app, config)]
    return found


def references(config: Config, *, embedded: bool = False) -> Iterator[tuple[str, Ref]]:
    """Every secret the configuration names, with the place that names it; `embedded`: whose database has no need of any."""
    if config.database.url is not None and not embedded:
        yield "database.url", config.database.url
    if config.server.admin_token is not None:
        yield "server.admin_token", config.server.admin_token
    for key, ref in (("alerts.url", config.alerts.url), ("alerts.secret", config.alerts.secret)):
        if ref is not None:
            yield key, ref
    for name, (partner, integration) in config.integrations.items():
        if not partner.is_enabled(name):
            continue
        for key, credential in integration.credentials.items():
            yield f"{name}.{key}", credential
        for number, secret in enumerate(integration.webhook.secrets if integration.webhook else (), 1):
            yield f"{name}.webhook.{number}", secret


def _secrets(config: Config, *, embedded: bool) -> Iterator[Finding]:
    from syncd.cli.load import vault_of

    vault = vault_of(config)
    count = 0
    for place, ref in references(config, embedded=embedded):
        try:
            vault.resolve(ref)
            count += 1
        except SyncdError as error:
            yield Finding(place, False, str(error), error.hint, Exit.CONFIG)
    yield Finding("secrets", True, f"{plural(count, 'secret')} resolved")


async def _database(app: App, config: Config) -> AsyncIterator[Finding]:
    from syncd.cli.load import database_url, how_to_get_a_database
    from syncd.store.database import Database
    from syncd.store.locks import holders
    from syncd.store.migrate import Migrations
    from syncd.store.vitals import SLOW_SECONDS

    if config.database.url is None and not app.embedded:
        yield Finding("database", False, "none is configured", how_to_get_a_database(app).splitlines()[0], Exit.CONFIG)
        return
    try:
        with database_url(app, config) as url:
            database = await Database.open(url, clock=app.clock, pool_size=2)
            try:
                status = await Migrations(database).status()
                began = app.clock.monotonic()
                others = await holders(database)
                took = app.clock.monotonic() - began
            finally:
                await database.aclose()
    except SyncdError as error:
        yield Finding("database", False, str(error), error.hint or "is PostgreSQL running?", exit_of(error))
        return
    pending = f", {plural(len(status.pending), 'migration')} to apply at the next start" if status.pending else ""
    slow = took > SLOW_SECONDS
    yield Finding(
        "database",
        not slow,
        f"{database.name} answers in {took * 1000:.0f} ms, schema {status.version:04}{pending}",
        "look at its machine (load, memory, disk) and at the way there" if slow else "",
        Exit.TRY_LATER if slow else Exit.OK,
    )
    for one in others:
        idle = ", with nothing done in it," if one.is_idle else ""
        yield Finding(
            "locks",
            False,
            f"{one.program} of {one.usename} (session {one.pid}) holds {', '.join(one.tables)}: its transaction is open"
            f"{idle} for {lasting(one.seconds)}",
            f"let it end, or end it: psql -c 'SELECT pg_terminate_backend({one.pid})'",
            Exit.TRY_LATER,
        )


def _address(what: str, address: Address, app: App, *, public: bool) -> Finding:
    """Free, or held by the daemon that runs with this configuration."""
    if address.path is not None:
        path = Path(address.path)
        if path.parent.is_dir():
            return Finding(what, True, f"{address}: its directory is there")
        return Finding(
            what, False, f"{path.parent} does not exist", "RuntimeDirectory= in the unit makes it", Exit.CONFIG
        )
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address.host, address.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            if _is_ours(app, public=public):
                return Finding(what, True, f"{address} is held by the running syncd")
            do = f"see who has it: ss -ltnp 'sport = :{address.port}'"
            return Finding(what, False, f"{address} is taken by another program", do, Exit.CONFIG)
        return Finding(what, False, f"{address}: {error.strerror or error}", "choose another address", Exit.CONFIG)
    return Finding(what, True, f"{address} is free")


def _is_ours(app: App, *, public: bool) -> bool:
    try:
        link = Link.of(app.config_directory, public=public)
        return link.serves_syncd("/health" if public else "/api/v1/names")
    except Failure:
        return False


async def _partners(app: App, config: Config) -> AsyncIterator[Finding]:
    from syncd.cli.live import tested

    for name, (partner, _) in config.integrations.items():
        if not partner.is_enabled(name):
            continue
        try:
            report = await tested(app, config, name)
        except (SyncdError, Unreachable) as error:
            yield Finding(name, False, str(error), getattr(error, "hint", ""), exit_of(error))
            continue
        except Failure as error:  # what the daemon does not know keeps nobody from looking at the others
            if error.exit_code != Exit.USAGE:
                raise
            yield Finding(name, False, "the daemon that runs does not know it", "syncd reload --wait", Exit.CONFIG)
            continue
        took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
        if report.ok:
            yield Finding(name, True, f"authenticated{took}")
            continue
        why = report.explanation
        detail = why.reason if why is not None else f"answered {report.status}{took}"
        do = (why.action if why is not None else "") or f"syncd credential set {name} NAME < file"
        yield Finding(name, False, detail, do, Exit.REFUSED if report.refused else Exit.TRY_LATER)
