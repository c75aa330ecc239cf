"""The command line: parsing and printing, one small file a family of verbs. What it knows it asks daemon or store.

Nothing here imports anything heavy at its top, so that `syncd --help` and the short commands start at once.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from syncd.cli.root import cli

    cli()
