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
from syncd.cli.surroundings import Around, around, theirs
from syncd.errors import SyncdError
from syncd.surroundings import references
from syncd.wording import lasting

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Address, Config


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
    seen = around(app)
    found = list(_secrets(config, seen, embedded=app.embedded))
    found += [finding async for finding in _database(app, config, seen)]
    found += [_address("server.listen", config.server.listen, app, public=True)]
    found += [_address("server.admin", config.server.admin, app, public=False)]
    if live and all(finding.ok for finding in found if finding.exit is Exit.CONFIG):
        found += [finding async for finding in _partners(app, config)]
    return found


def _secrets(config: Config, seen: Around, *, embedded: bool) -> Iterator[Finding]:
    """As the running daemon can read them: another user or shell finds other files and variables."""
    from syncd.cli.load import vault_of

    vault = vault_of(config)
    count = 0
    for place, ref in references(config, embedded=embedded):
        error: SyncdError | None = None
        if (place, ref.text) in seen.secrets:
            error = seen.secrets[place, ref.text]
        else:
            try:
                vault.resolve(ref)
            except SyncdError as failed:
                error = failed
        if error is None:
            count += 1
        else:
            yield Finding(place, False, str(error), error.hint, Exit.CONFIG)
    yield Finding("secrets", True, f"{plural(count, 'secret')} resolved, {seen.eyes}")


async def _database(app: App, config: Config, seen: Around) -> AsyncIterator[Finding]:
    from syncd.cli.load import database_url, how_to_get_a_database, is_embedded
    from syncd.store.database import Database
    from syncd.store.locks import holders
    from syncd.store.migrate import Migrations
    from syncd.store.vitals import SLOW_SECONDS

    if config.database.url is None and not app.embedded:
        yield Finding("database", False, "none is configured", how_to_get_a_database(app).splitlines()[0], Exit.CONFIG)
        return
    if not is_embedded(app, config) and theirs(config, seen):
        yield _told_database(app)
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


def _told_database(app: App) -> Finding:
    """What the daemon says of the database whose address this command was not given."""
    own = "this command was given another address than the running daemon, or none; the daemon says:"
    try:
        why = app.link().get("status")["ready"]
    except Failure as failed:
        return Finding("database", False, f"{own} nothing ({failed.why or failed.what})", failed.do, Exit.TRY_LATER)
    if why:
        return Finding("database", False, f"{own} {why[0]}", "syncd status", Exit.TRY_LATER)
    return Finding("database", True, f"{own} ready, a webhook sent now would be stored")


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
    from syncd.cli.live import tested_each

    names = [name for name, (partner, _) in config.integrations.items() if partner.is_enabled(name)]
    for name, report in (await tested_each(app, config, names)).items():
        if isinstance(report, SyncdError | Unreachable):
            yield Finding(name, False, str(report), getattr(report, "hint", ""), exit_of(report))
            continue
        if isinstance(report, Failure):  # what the daemon does not know keeps nobody from looking at the others
            if report.exit_code != Exit.USAGE:
                raise report
            yield Finding(name, False, "the daemon that runs does not know it", "syncd reload --wait", Exit.CONFIG)
            continue
        if isinstance(report, Exception):
            raise report
        took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
        if report.ok:
            yield Finding(name, True, f"authenticated{took}")
            continue
        why = report.explanation
        detail = why.reason if why is not None else f"answered {report.status}{took}"
        do = (why.action if why is not None else "") or f"syncd credential set {name} NAME < file"
        yield Finding(name, False, detail, do, Exit.REFUSED if report.refused else Exit.TRY_LATER)
