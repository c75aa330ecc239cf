"""`syncd credential`: which secrets an integration has, whether they work, and putting a new one in place."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, ago, clock_time, paint, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.secrets import Ref, Vault

MOST_BYTES = 64 * 1024


@click.group()
def credential() -> None:
    """See, test and replace secrets of integrations.

    Values are never shown, and never taken from the command line.
    """


@credential.command("list")
@click.argument("integration", required=False)
@common(json=True, database=True)
def listed(app: App, integration: str | None) -> Exit:
    """Every secret: where it is kept, whether it can be read, a short hash to compare by, and when it expires."""
    from syncd.cli.load import vault_of

    config = app.config()
    names = [integration] if integration else list(config.integrations)
    vault = vault_of(config)
    rows = []
    for name in names:
        _, found = known_integration(config, name)
        rows += [_row(name, key, ref, vault) for key, ref in found.credentials.items()]
    stored = arun(_stored(app, config, names))
    rows += stored
    if app.as_json:
        result_json({"schema": "syncd.credentials/1", "credentials": rows})
    else:
        cells = [
            (
                row["integration"],
                row["name"],
                row["kept"],
                paint(row["state"], None if row["ok"] else "red"),
                row["hash"],
                clock_time(row["expires_at"]) if row["expires_at"] else "",
            )
            for row in rows
        ]
        result(table(cells, ("INTEGRATION", "NAME", "KEPT IN", "STATE", "HASH", "EXPIRES")))
    return Exit.OK if all(row["ok"] for row in rows) else Exit.FAILURES


_ROTATIONS = {
    "rotated": "; handed over by the partner: in force instead of the file's as long as the file has the one it replaced",
    "rotation": "; announced by the partner: being tried, or refused and not in force (syncd status says which)",
}
"""What rows of rotation are, by their kind."""


def _row(integration: str, name: str, ref: Ref, vault: Vault) -> dict[str, Any]:
    from syncd.errors import ConfigError
    from syncd.secrets import fingerprint

    found: dict[str, Any] = {
        "integration": integration,
        "name": name,
        "kept": ref.text,
        "ok": True,
        "state": "readable",
        "hash": "",
        "expires_at": None,
    }
    try:
        found["hash"] = fingerprint(vault.resolve(ref))
    except ConfigError as error:
        found |= {"ok": False, "state": f"{error}; {error.hint}".rstrip("; ")}
    return found


async def _stored(app: App, config: Config, names: list[str]) -> list[dict[str, Any]]:
    """What was obtained at run time. The list is useful without a database too, so its absence is only said."""
    from syncd.cli.load import is_embedded
    from syncd.errors import SyncdError

    if config.database.url is None and not is_embedded(app, config):
        return []
    try:
        async with app.store(config) as store:
            found = [each for each in await store.credentials.list() if each.integration in names]
    except SyncdError as error:
        say(f"tokens obtained at run time are not shown: {error}")
        return []
    now = app.clock.now()
    rows = []
    for each in found:
        gone = each.expires_at is not None and each.expires_at <= now
        rows.append(
            {
                "integration": each.integration,
                "name": each.kind,
                "kept": f"database (version {each.version})",
                "ok": True,
                "state": "expired, renewed at the next call"
                if gone
                else f"stored {ago(each.stored_at, now)} ago{_ROTATIONS.get(each.kind, '')}",
                "hash": "",
                "expires_at": each.expires_at,
            }
        )
    return rows


@credential.command()
@click.argument("integration")
@common(json=True, database=True)
def test(app: App, integration: str) -> Exit:
    """Make one cheap call with the integration's credential, inside its limits: through the daemon where one runs."""
    from syncd.cli.live import tested

    config = app.config()
    known_integration(config, integration)
    report = arun(tested(app, config, integration, make=True))
    why = report.explanation
    if app.as_json:
        told = {name: getattr(report, name) for name in report.__dataclass_fields__}
        result_json({"schema": "syncd.test/1", **told, "explanation": why.as_dict() if why else None})
    else:
        took = "" if report.latency_ms is None else f" in {report.latency_ms:.0f} ms"
        if report.ok:
            result(f"{paint('✓', 'green')} {integration}: authenticated{took}")
        else:
            result(f"{paint('✗', 'red')} {integration}: {why.reason if why else f'answered {report.status}'}{took}")
            if why and why.cause:
                result(f"  likely: {why.cause}")
            if why and why.action:
                result(f"  do: {why.action}")
    if report.ok:
        return Exit.OK
    return Exit.REFUSED if report.refused else Exit.TRY_LATER


@credential.command("set")
@click.argument("integration")
@click.argument("name")
@common()
def put(app: App, integration: str, name: str) -> None:
    """Put a new value, read from stdin, where the configuration says that this secret is kept.

    Only secrets in files ({file: ...}) can be set: the file is replaced at once, readable by its owner alone. On a
    terminal the value is asked for without echo.
    """
    from syncd.cli.load import vault_of

    config = app.config()
    _, found = known_integration(config, integration)
    ref = found.credentials.get(name)
    if ref is None:
        from syncd.config import did_you_mean

        raise Failure(
            f"{integration} has no credential {name!r}", do=did_you_mean(name, found.credentials), exit=Exit.USAGE
        )
    if ref.file is None:
        raise Failure(
            f"{integration}.{name} is kept in {ref.text}, which this command cannot write",
            "only files can be replaced while the daemon runs",
            _elsewhere(ref, integration, name),
            exit=Exit.USAGE,
        )
    value = _asked(integration, name)
    path = vault_of(config).path(ref)
    _replace(path, value)
    say(f"{path} replaced")
    say("use it: syncd reload --wait; see that it works: syncd credential test " + integration)


def _elsewhere(ref: Ref, integration: str, name: str) -> str:
    if ref.env is not None:
        return f"change {ref.env} in the service's environment and restart it, or keep it as {{file: {integration}/{name}}}"
    if ref.credential is not None:
        return "change the file LoadCredential= names, then: systemctl restart syncd"
    return f"keep it out of the YAML file: {name}: {{file: {integration}/{name}}}"


def _asked(integration: str, name: str) -> bytes:
    if sys.stdin.isatty():
        text: str = click.prompt(f"new value of {integration}.{name}", hide_input=True, err=True)
        value = text.encode()
    else:
        value = sys.stdin.buffer.read(MOST_BYTES + 1)
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value.strip():
        do = f"syncd credential set {integration} {name} < file"
        raise Failure("no value was given", "stdin was empty", do, exit=Exit.USAGE)
    if len(value) > MOST_BYTES or b"\0" in value:
        raise Failure("that is no secret", "it is larger than 64 KiB or holds a NUL byte", exit=Exit.USAGE)
    return value


def _replace(path: Path, value: bytes) -> None:
    """All or nothing, mode 0600, owned by whoever owns the directory (so that root can set it for the service)."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.parent.stat()
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(value + b"\n")
                file.flush()
                os.fsync(descriptor)
                if os.geteuid() == 0:
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure(
            f"{path} could not be replaced", error.strerror or str(error), f"as its owner: ls -ld {path.parent}"
        ) from error
