"""`syncd credential set`: a new value where the configuration says that this secret is kept. Nothing is tried beforehand."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncd.cli.app import App, common, known_integration
from syncd.cli.credential_steps import noted, reloaded
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, say

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.secrets import Ref

MOST_BYTES = 64 * 1024
WEBHOOK = "webhook"


@click.command("set", short_help="Put a new value where this secret is kept, untried.")
@click.argument("integration")
@click.argument("name")
@click.option(
    "--reload", "reload_now", is_flag=True, help="Have the daemon use it: one call is made first, and must be answered."
)
@common(database=True)
def put(app: App, integration: str, name: str, reload_now: bool) -> Exit:
    """Put a new value, read from stdin, where the configuration says that this secret is kept.

    Only secrets in files ({file: ...}) can be set: the file is replaced at once, readable by its owner alone. On a
    terminal the value is asked for without echo. `syncd credential rotate` also tries it before, and goes back if need be.
    """
    from syncd.cli.load import vault_of
    from syncd.errors import ConfigError
    from syncd.secrets import Secret, fingerprint

    config = app.config()
    ref = reference(config, integration, name)
    value = asked(integration, name)
    vault = vault_of(config)
    path = vault.path(ref)
    try:
        before: str | None = fingerprint(vault.resolve(ref))
    except ConfigError:
        before = None
    _replace(path, value)
    after = fingerprint(Secret(value.decode()))
    say(f"{path} replaced" + (": it is the same secret as before" if before == after else ""))
    noted(app, config, integration, "credential_set", {} if before is None else {name: before}, {name: after})
    if reload_now:
        return reloaded(app, config, integration, name, after)
    say(f"not in force yet. Use it: syncd reload --wait; see that it works: syncd credential test {integration}")
    return Exit.OK


def reference(config: Config, integration: str, name: str) -> Ref:
    """Where this secret is kept: a file. Raises Failure for another place, or none."""
    partner, found = known_integration(config, integration)
    hooks = found.webhook.secrets if found.webhook is not None else ()
    among = dict(found.credentials) | {(WEBHOOK if not n else f"{WEBHOOK} {n + 1}"): ref for n, ref in enumerate(hooks)}
    ref = among.get(name)
    if ref is None:
        from syncd.config import did_you_mean

        close = did_you_mean(name, among) or f"it has: {', '.join(among) or 'none'}"
        raise Failure(f"{integration} has no credential {name!r}", do=close, exit=Exit.USAGE)
    if ref.file is None:
        raise Failure(
            f"{integration}.{name} is kept in {ref.text}, which this command cannot write",
            _why_not(ref),
            elsewhere(ref, integration, name, partner.name),
            exit=Exit.USAGE,
        )
    return ref


def _why_not(ref: Ref) -> str:
    if ref.env is not None:
        return "the daemon has its environment from whoever starts it, and reads it once"
    if ref.credential is not None:
        return "systemd hands it over when the daemon starts, and not again"
    return "it stands in the YAML file itself"


def elsewhere(ref: Ref, integration: str, name: str, partner: str) -> str:
    """How a secret that is in no file is replaced: once by hand, and how it goes without a restart from then on."""
    file = f"{{file: {integration}/{name.replace(' ', '-')}}}"
    entry = f"under {integration}'s webhook.secrets" if name.startswith(WEBHOOK) else f"as {name} of {integration}"
    write = f"syncd credential set {integration} {shlex.quote(name)} < new.txt; then: syncd reload --wait"
    keep = f"keep it in a file: write {file} {entry} in partners/{partner}.yaml; {write}"
    if ref.env is not None:
        place = "/etc/syncd/environment with the shipped systemd unit, else where the service is started"
        now = f"set {ref.env} where the service has it from ({place})"
    elif ref.credential is not None:
        now = f"replace the file that LoadCredential={ref.credential}:... names (systemctl cat syncd)"
    else:
        return keep
    return (
        f"{now};\n  then: systemctl restart syncd; then: syncd credential test {integration}\n"
        f"or, so that no restart is needed from now on, {keep}"
    )


def asked(integration: str, name: str, *, verb: str = "set", file: Path | None = None) -> bytes:
    """The new value, from a file, a prompt or stdin. Raises Failure for what is none."""
    if file is not None:
        try:
            with file.open("rb") as opened:
                value = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise Failure(f"{file} cannot be read", error.strerror or str(error), exit=Exit.USAGE) from None
    elif sys.stdin.isatty():
        text: str = click.prompt(f"new value of {integration}.{name}", hide_input=True, err=True)
        value = text.encode()
    else:
        value = sys.stdin.buffer.read(MOST_BYTES + 1)
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value.strip():
        do = f"syncd credential {verb} {integration} {name} < file"
        raise Failure("no value was given", f"{file or 'stdin'} was empty", do, exit=Exit.USAGE)
    if len(value) > MOST_BYTES or b"\0" in value or not _is_text(value):
        raise Failure(
            "that is no secret", "it is larger than 64 KiB, holds a NUL byte, or is no UTF-8 text", exit=Exit.USAGE
        )
    return value


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


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
