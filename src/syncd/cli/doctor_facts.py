"""Gathers what `syncd doctor` looks at: configuration, secrets, daemon, database, hosts, machine. Each may be away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from syncd.cli.link import Link, Unreachable
from syncd.cli.output import Failure
from syncd.config import Config
from syncd.doctor import Facts, files, network, service
from syncd.doctor.facts import DaemonFact, DatabaseFact, LiveFact, Subject
from syncd.doctor.subjects import urls
from syncd.errors import AuthError, SyncdError
from syncd.secrets import Ref

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Problem
    from syncd.store.migrate import SchemaStatus

CONNECTIONS_BESIDE = 2
"""Of a command or a person, beside the daemon's own."""
ENVIRONMENT_FILES = ("/etc/syncd/environment",)


async def gathered(
    app: App,
    config: Config,
    problems: Sequence[Problem],
    found: list[Subject],
    asked: Sequence[Subject],
    *,
    offline: bool,
    live: bool,
) -> Facts:
    """All of it. `asked`: those whose partners are called with `live`."""
    from syncd.cli.load import is_embedded, vault_of

    directory = app.config_directory.resolve()
    vault = vault_of(config)
    known = [(place, _whose(place, config), ref) for place, ref in _references(app, config)]
    secrets = files.secrets(known, vault, os.urandom(16))
    tree = files.work_tree(directory if directory.is_dir() else directory.parent)
    kept = [one.path for one in secrets if one.path]
    loose = files.loose_files(tree, directory if directory.is_dir() else directory.parent, [*ENVIRONMENT_FILES, *kept])
    called = await _live(app, config, asked) if live else {}  # before the daemon is asked, which then knows more
    daemon, no_daemon = _daemon(app)
    database, no_database = await _database(app, config)
    hosts = None if offline else await network.looked_at(network.named(urls(config, found)), app.clock)
    state = app.state_directory(config)
    subscribed = database.subscribed if database is not None else frozenset()
    return Facts(
        now=app.clock.now(),
        config=config,
        directory=str(directory),
        subjects=tuple(
            replace(one, registered=True, webhook_url=config.webhook_url(one.name)) if one.name in subscribed else one
            for one in found
        ),
        problems=tuple(one for one in problems if one.severity == "warning"),
        secrets=tuple(secrets),
        env_files=tuple(loose),
        environment=frozenset(name for one in loose for name in one.names),
        work_tree=tree,
        hook=files.hook(tree),
        hosts=hosts,
        daemon=daemon,
        no_daemon=no_daemon,
        database=database,
        no_database=no_database,
        machine=service.machine(state, embedded=is_embedded(app, config), key_kept=_key_kept(config, state)),
        live=called,
        alerts=_alerts(),
        runbooks=_runbooks(),
    )


def _references(app: App, config: Config) -> Iterator[tuple[str, Ref]]:
    from syncd.cli.load import is_embedded
    from syncd.cli.probes import references

    yield from references(config, embedded=is_embedded(app, config))
    if config.secrets.key is not None:
        yield "secrets.key", config.secrets.key


def _whose(place: str, config: Config) -> str:
    name = place.partition(".")[0]
    return name if name in config.integrations and place not in {"database.url", "server.admin_token"} else ""


def _key_kept(config: Config, state: Path) -> str:
    from syncd.opening import KEY_CREDENTIAL, KEY_FILE

    if config.secrets.key is not None:
        return f"secrets.key is {config.secrets.key.text}"
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    if handed and (Path(handed) / KEY_CREDENTIAL).exists():
        return f"systemd's credential {KEY_CREDENTIAL}"
    return f"the key is {state / KEY_FILE}"


def _daemon(app: App) -> tuple[DaemonFact | None, str]:
    """What the running daemon says of itself; None, and why."""
    try:
        status = app.link().get("status")
        public = Link.of(app.config_directory, public=True)
        began = app.clock.monotonic()
        _, health = public.probe("/health")
        took = app.clock.monotonic() - began
        ready, _ = public.probe("/ready")
        _, exposed = public.probe("/metrics")
        rights = app.link().get("credentials")["integrations"]
        scopes = {name: one["scopes"] for name, one in rights.items() if one["scopes"]}
        return DaemonFact(status, json.loads(health), took, ready == 200, _series(exposed), scopes), ""
    except Unreachable as away:
        return None, f"no daemon answers ({away.what.rpartition(' at ')[2]})"
    except Failure as failed:
        return None, f"the daemon does not tell: {failed.why or failed.what}"
    except (SyncdError, ValueError) as failed_to_read:
        return None, f"the daemon cannot be asked: {failed_to_read}"


def _series(text: str) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def _database(app: App, config: Config) -> tuple[DatabaseFact | None, str]:
    from syncd.cli.load import database_url
    from syncd.store.inspection import inspect

    try:
        with database_url(app, config) as url:
            seen = await inspect(url, app.clock)
            schema = await _schema(app, url) if seen.owns_schema or not seen.schema_there else None
    except Failure as failed:
        return None, failed.what
    except SyncdError as error:
        return None, str(error)
    pending = schema.pending if schema is not None else ()
    return DatabaseFact(
        name=seen.name,
        version=seen.version,
        skew_seconds=seen.skew_seconds,
        can_create=seen.can_create,
        owns_schema=seen.owns_schema,
        schema_there=seen.schema_there,
        temp=seen.temp,
        listen=seen.listen,
        advisory=seen.advisory,
        read_only=seen.read_only,
        isolation=seen.isolation,
        timezone=seen.timezone,
        max_connections=seen.max_connections,
        used_connections=seen.used_connections,
        needs_connections=config.database.pool_size + seen.own_connections + CONNECTIONS_BESIDE,
        size_bytes=seen.size_bytes,
        pending=tuple(f"{one.version:04} {one.name}: previous release: {one.previous_release}" for one in pending),
        applied=schema.version if schema is not None else 0,
        inbox_unique=seen.inbox_unique,
        local_free_bytes=service.free_bytes(seen.directory) if seen.directory is not None else None,
        instances=seen.instances,
        passes=seen.passes,
        checkpoints=seen.checkpoints,
        subscribed=seen.subscribed,
        verified=seen.verified,
    ), ""


async def _schema(app: App, url: str) -> SchemaStatus:
    from syncd.store.database import Database
    from syncd.store.migrate import Migrations

    database = await Database.open(url, clock=app.clock, pool_size=1)
    try:
        return await Migrations(database).status()
    finally:
        await database.aclose()


async def _live(app: App, config: Config, asked: Sequence[Subject]) -> dict[str, LiveFact]:
    """One cheap authenticated call an integration, one after the other."""
    from syncd.cli.live import tested

    found: dict[str, LiveFact] = {}
    for one in asked:
        try:
            report = await tested(app, config, one.name)
        except (SyncdError, Failure) as error:
            text = str(error) if isinstance(error, SyncdError) else error.what
            hint = getattr(error, "hint", "") or getattr(error, "do", "")
            found[one.name] = LiveFact(False, text, hint, refused=isinstance(error, AuthError))
            continue
        took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
        why = report.explanation
        found[one.name] = LiveFact(
            ok=report.ok,
            detail=f"one call made: {report.status}{took}" if report.ok or why is None else why.reason,
            do=why.action if why is not None else f"syncd credential test {one.name}",
            refused=report.refused,
        )
    return found


def _alerts() -> dict[str, str]:
    from syncd.alerts import ALERTS

    return {one.name: one.source for one in ALERTS}


def _runbooks() -> frozenset[str]:
    from syncd.runbooks import pages

    return frozenset(pages())
