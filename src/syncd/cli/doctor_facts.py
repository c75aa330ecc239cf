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
from syncd.cli.surroundings import AS_THE_SERVICE, SERVICE_ENVIRONMENT, Around, around, theirs
from syncd.config import Config
from syncd.doctor import Facts, files, network, service
from syncd.doctor.facts import DaemonFact, DatabaseFact, LiveFact, MachineFact, SecretFact, Subject, Verified
from syncd.doctor.subjects import urls
from syncd.errors import AuthError, SyncdError
from syncd.secrets import Ref
from syncd.surroundings import references

if TYPE_CHECKING:
    from syncd.cli.app import App
    from syncd.config import Problem
    from syncd.store.migrate import SchemaStatus

START = "start it, then again: syncd doctor"
SEE_DATABASE = "syncd check --env"
CONNECTIONS_BESIDE = 2
"""Of a command or a person, beside the daemon's own."""


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
    called = await _live(app, config, asked) if live else {}  # before the daemon is asked, which then knows more
    daemon, no_daemon, see_daemon = _daemon(app)
    seen = around(app) if daemon is not None else Around(no_daemon)
    known = [(place, _whose(place, config), ref) for place, ref in _references(app, config)]
    secrets = [_as_seen(one, seen) for one in files.secrets(known, vault, os.urandom(16))]
    tree = files.work_tree(directory if directory.is_dir() else directory.parent)
    hook, installed = files.hook(tree)
    kept = [one.path for one in secrets if one.path]
    loose = files.loose_files(tree, directory if directory.is_dir() else directory.parent, [SERVICE_ENVIRONMENT, *kept])
    see_database = SEE_DATABASE
    if not is_embedded(app, config) and theirs(config, seen):
        database, no_database = None, "this command was not given the address the running daemon has"
        see_database = f"{AS_THE_SERVICE} syncd doctor"
    else:
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
        git_silent=files.git_silent(tree),
        hook=hook,
        hook_installed=installed,
        hosts=hosts,
        daemon=daemon,
        no_daemon=no_daemon,
        see_daemon=see_daemon,
        seen_by=seen.who,
        database=database,
        no_database=no_database,
        see_database=see_database,
        machine=_machine(app, config, state, seen),
        live=called,
        alerts=_alerts(),
        runbooks=_runbooks(),
    )


def _as_seen(secret: SecretFact, seen: Around) -> SecretFact:
    """What the daemon says of it counts: it has to work with it, as another user and with other variables."""
    key = (secret.place, secret.text)
    if key not in seen.secrets:
        return secret
    error = seen.secrets[key]
    return replace(secret, error="" if error is None else str(error), hint="" if error is None else error.hint)


def _machine(app: App, config: Config, state: Path, seen: Around) -> MachineFact:
    from syncd.cli.load import is_embedded

    key = _key_file(config, state)
    found = replace(
        service.machine(state, embedded=is_embedded(app, config), key_kept=_key_kept(config, state)),
        key_file=str(key) if key is not None else "",
        key_mode=key.stat().st_mode & 0o777 if key is not None else None,
    )
    if not seen.told:
        return found
    return replace(
        found, daemon_user=seen.user, daemon_uid=seen.uid, descriptors=seen.descriptors, descriptors_of="the daemon"
    )


def _references(app: App, config: Config) -> Iterator[tuple[str, Ref]]:
    from syncd.cli.load import is_embedded

    yield from references(config, embedded=is_embedded(app, config))


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


def _key_file(config: Config, state: Path) -> Path | None:
    """The key's own file in the state directory, where that is what seals and can be seen."""
    from syncd.opening import KEY_CREDENTIAL, KEY_FILE

    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    if config.secrets.key is not None or (handed and (Path(handed) / KEY_CREDENTIAL).exists()):
        return None
    try:
        return state / KEY_FILE if (state / KEY_FILE).is_file() else None
    except OSError:
        return None


def _daemon(app: App) -> tuple[DaemonFact | None, str, str]:
    """What the running daemon says of itself; None, why, and what helps. Whatever answers there, this does not raise."""
    try:
        status = app.link().get("status")
        if status.get("schema") != "syncd.status/1":
            return None, f"what answers at {app.link().address} is no syncd", "syncd check --env"
        public = Link.of(app.config_directory, public=True)
        began = app.clock.monotonic()
        _, health = public.probe("/health")
        took = app.clock.monotonic() - began
        told = json.loads(health)
        if not isinstance(told, dict) or not isinstance(told.get("services"), dict):
            return None, f"what answers at {public.address} is no syncd", "syncd check --env"
        ready, _ = public.probe("/ready")
        _, exposed = public.probe("/metrics")
        rights = app.link().get("credentials")["integrations"]
        scopes = {name: one["scopes"] for name, one in rights.items() if one["scopes"]}
        return DaemonFact(status, told, took, ready == 200, _series(exposed), scopes), "", ""
    except Unreachable as away:
        if away.there:
            return None, f"the daemon does not answer: {away.why}", away.do
        return None, f"no daemon answers ({away.what.rpartition(' at ')[2]})", START
    except Failure as failed:
        return None, f"the daemon does not tell: {failed.why or failed.what}", failed.do or START
    except (SyncdError, ValueError, KeyError, TypeError, AttributeError) as failed_to_read:
        return (
            None,
            f"the daemon cannot be asked: {type(failed_to_read).__name__}: {failed_to_read}",
            "syncd --version; syncd status",
        )


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
            readable = not seen.schema_there or (seen.owns_schema and not seen.barred)
            schema = await _schema(app, url) if readable else None
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
        barred=seen.barred,
        schema_read=schema is not None,
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
        verified={name: Verified(*told) for name, told in seen.verified.items()},
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
    """One cheap authenticated call an integration."""
    from syncd.cli.live import tested_each

    found: dict[str, LiveFact] = {}
    for name, report in (await tested_each(app, config, [one.name for one in asked])).items():
        if isinstance(report, Exception):
            text = report.what if isinstance(report, Failure) else str(report)
            hint = getattr(report, "hint", "") or getattr(report, "do", "")
            found[name] = LiveFact(False, text, hint, refused=isinstance(report, AuthError))
            continue
        took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
        why = report.explanation
        found[name] = LiveFact(
            ok=report.ok,
            detail=f"one call made: {report.status}{took}" if report.ok or why is None else why.reason,
            do=why.action if why is not None else f"syncd credential test {name}",
            refused=report.refused,
        )
    return found


def _alerts() -> dict[str, str]:
    from syncd.alerts import ALERTS

    return {one.name: one.source for one in ALERTS}


def _runbooks() -> frozenset[str]:
    from syncd.runbooks import pages

    return frozenset(pages())
