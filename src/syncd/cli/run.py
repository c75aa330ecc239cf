"""`syncd run`: the daemon, in the foreground."""

from __future__ import annotations

import sys

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, plural, say


@click.command(short_help="Run the daemon in the foreground.")
@common(database=True)
def run(app: App) -> Exit:
    """Run the daemon in the foreground; logs go to stderr. Ctrl-C or TERM drains and stops, a second one stops at once.

    A wrong configuration ends it with exit code 78 before anything is opened. SIGHUP reads the configuration anew; where it
    comes because the terminal was closed, it ends the daemon (nohup and setsid let it go on).
    """
    import faulthandler

    from syncd.cli.app import arun
    from syncd.cli.load import how_to_get_a_database, load_config, vault_of
    from syncd.daemon import Options
    from syncd.daemon import run as serve
    from syncd.secrets import SecretError

    directory = app.config_directory
    config = load_config(directory)
    if config.database.url is None and not app.embedded:
        how = how_to_get_a_database(app)
        raise Failure("no database is configured", "database.url is not set", how, exit=Exit.CONFIG)
    if config.database.url is not None and not app.embedded:
        try:
            vault_of(config).resolve(config.database.url)
        except SecretError as error:
            own = "or let syncd keep a PostgreSQL of its own: syncd run --embedded"
            raise SecretError(str(error), hint=f"{error.hint}\n{own}") from None
    if _on_a_terminal():
        from syncd import __version__

        partners = ", ".join(config.partners) or "none yet: syncd check says what to copy"
        say(f"syncd {__version__}  configuration {directory}")
        say(f"  partners   {partners} ({plural(len(config.integrations), 'integration')})")
        say(f"  public     http://{config.server.listen}/health, /ready, /metrics")
        say(f"  admin      {config.server.admin}    try: syncd status")
        say(f"  database   {'embedded, in ' + str(app.state_directory(config)) if app.embedded else 'as configured'}")
    # A watchdog ends what stands still with ABRT: the log then says where it stood, as after a crash in compiled code.
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    options = Options(config=directory, embedded=app.embedded, state_directory=app.state_dir)
    return Exit(arun(serve(options), fast=True))


def _on_a_terminal() -> bool:
    return sys.stderr.isatty()
