"""`syncd credential`: which secrets an integration has, whether they work, and putting new ones in place. A file a verb."""

from __future__ import annotations

import click

from syncd.cli.credential_list import listed
from syncd.cli.credential_login import login
from syncd.cli.credential_rotate import rotate
from syncd.cli.credential_set import put
from syncd.cli.credential_test import test


@click.group()
def credential() -> None:
    """See, test and replace secrets of integrations.

    Values are never shown, and never taken from the command line.
    """


for command in (listed, test, put, rotate, login):
    credential.add_command(command)
