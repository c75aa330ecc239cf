"""`syncd credential rotate`: a new secret is tried, put in force, verified; or the old one is back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncd.cli.app import App, common, known_integration
from syncd.cli.credential_set import asked
from syncd.cli.exits import Exit
from syncd.cli.output import Failure
from syncd.cli.rotation import Rotation
from syncd.cli.rotation_credential import CredentialRotation
from syncd.cli.rotation_webhook import WebhookRotation

if TYPE_CHECKING:
    from syncd.config import Config


@click.command(short_help="Replace a secret: the new one is tried, or the old one stays.")
@click.argument("integration")
@click.argument("name", required=False)
@click.option(
    "--from-file", type=click.Path(path_type=Path), metavar="FILE", help="The new secret is in there, not on stdin."
)
@click.option("--resume", is_flag=True, help="Go on with a rotation that was cut short.")
@click.option("--undo", is_flag=True, help="End a rotation that was cut short with the old secret.")
@click.option("--finish", is_flag=True, help="webhook: the secret before is valid no longer.")
@click.option("--anyway", is_flag=True, help="Also where the new secret lacks scopes that are needed.")
@common(database=True)
def rotate(
    app: App,
    integration: str,
    name: str | None,
    from_file: Path | None,
    resume: bool,
    undo: bool,
    finish: bool,
    anyway: bool,
) -> Exit:
    """Replace a secret that is kept in a file: the new one is tried first, and the old one comes back if it is refused.

    The new value is read from stdin, a prompt, or --from-file. NAME may be left out where there is one; `webhook` is what
    deliveries are verified with: the new one is added, and the one before stays valid until --finish.
    """
    if resume + undo + finish > 1:
        raise click.UsageError("one of --resume, --undo and --finish")
    config = app.config()
    known_integration(config, integration)
    name = name or _only(config, integration)
    rotation: Rotation = (
        CredentialRotation(app, config, integration, name, anyway)
        if name in config.integrations[integration][1].credentials
        else WebhookRotation(app, config, integration, name)
    )
    if resume or undo or finish:
        with rotation.alone():
            return rotation.undo() if undo else rotation.finish() if finish else rotation.resume()
    rotation.be_free()
    value = asked(integration, rotation.name, verb="rotate", file=from_file)
    with rotation.alone():
        return rotation.begin(value)


def _only(config: Config, integration: str) -> str:
    """The one that can be meant."""
    found = config.integrations[integration][1].credentials
    files = [name for name, ref in found.items() if ref.file is not None]
    if len(files) == 1:
        return files[0]
    if not files and len(found) == 1:
        return next(iter(found))  # which says where it is kept, and how it is replaced there
    do = f"name it: syncd credential rotate {integration} {'|'.join(files or found) or 'NAME'}"
    if not files:
        kept = ", ".join(f"{name} in {ref.text}" for name, ref in found.items()) or "it has none"
        raise Failure(f"no secret of {integration} is kept in a file", kept, do, exit=Exit.USAGE)
    raise Failure(f"{integration} has {len(files)} secrets in files", "one is rotated at a time", do, exit=Exit.USAGE)
